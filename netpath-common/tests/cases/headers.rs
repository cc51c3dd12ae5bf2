//! Case 23: odd headers. A packet is translated at the right offsets or dropped whole.
//!
//! Frames whose headers are not in linear memory exist in the kernel
//! alone: super-packets of real devices in `tests/netns/bulk.rs`.

use netpath_common::{
    DropReason, Verdict,
    conntrack::tcp::{ACK, SYN},
    event::Hook,
    tuple,
};

use super::{
    family::*,
    help::{delivered, left},
};

#[test]
fn c23_what_follows_the_ip_header() {
    // IPv4: header lengths of 20 to 60 bytes (ihl 5 to 15).
    for words in 0..=10 {
        let mut h = Host::new();
        for (sent, outside, came, inside) in [
            (
                tcp(C1.ip(), 40000, S, 80, SYN),
                tcp(H, 40000, S, 80, SYN),
                tcp(S, 80, H, 40000, SYN | ACK),
                tcp(S, 80, C1.ip(), 40000, SYN | ACK),
            ),
            (
                udp(C1.ip(), 5000, S, 53, b"question"),
                udp(H, 5000, S, 53, b"question"),
                udp(S, 53, H, 5000, b"answer"),
                udp(S, 53, C1.ip(), 5000, b"answer"),
            ),
            (
                query(C1.ip(), S, ECHO, 7),
                query(H, S, ECHO, 7),
                query(S, H, ECHO_REPLY, 7),
                query(S, C1.ip(), ECHO_REPLY, 7),
            ),
        ] {
            let out = h.from(&C1, &sent.padded(words));
            left(&out, &outside.padded(words).ttl(63));
            let back = h.from_outside(&came.padded(words));
            delivered(&back, &C1, &inside.padded(words).ttl(63));
        }
        // Where a port changes, the options do not.
        let second = h.from(&C2, &udp(C2.ip(), 5000, S, 53, b"question").padded(words));
        let _ = second.to_uplink();
        let sent = udp(C2.ip(), 5000, S, 53, b"").padded(words);
        let at = 14 + sent.header_len();
        let port = u16::from_be_bytes([second.frame.bytes[at], second.frame.bytes[at + 1]]);
        assert_ne!(port, 5000);
        left(
            &second,
            &udp(H, port, S, 53, b"question").padded(words).ttl(63),
        );
    }
}

/// With an 802.1Q tag behind the addresses.
fn tagged(mut frame: Frame) -> Frame {
    frame.bytes.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
    frame
}

#[test]
fn c23_vlan_tag_in_the_frame() {
    let mut h = Host::new();
    let packet = tcp(C1.ip(), 40000, S, 80, SYN);
    let frame = tagged(packet.frame(C1.mac, BRIDGE1_MAC, C1.ifindex));
    let out = h.run(Hook::Veth, &frame);
    assert_eq!(out.dropped(), Some(DropReason::BadEthertype));
    // Of an uplink it belongs to another interface of the host, or to nobody.
    let packet = tcp(S, 51000, H, 8080, SYN);
    let frame = tagged(packet.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF));
    assert!(h.run(Hook::UplinkIngress, &frame).passed());
    assert_eq!(h.tables.entries(), []);
}

/// As the kernel hands it over: it takes the tag out of the frame before any hook sees it. For real:
/// `tests/netns/vlan.rs`.
#[test]
fn c23_vlan_tag_beside_the_frame() {
    let tagged = |frame: Frame| Frame {
        tagged: true,
        ..frame
    };
    let mut h = Host::new();
    let syn = tcp(C1.ip(), 40000, S, 80, SYN);
    // Before and after there is a flow that it would belong to.
    for _ in 0..2 {
        let out = h.run(
            Hook::Veth,
            &tagged(syn.frame(C1.mac, BRIDGE1_MAC, C1.ifindex)),
        );
        assert_eq!(out.dropped(), Some(DropReason::BadEthertype));
        let _ = h.from(&C1, &syn).to_uplink();
    }
    // What comes in belongs to another interface of the host: an answer, a published port, a
    // container's own address.
    for packet in [
        tcp(S, 80, H, 40000, SYN | ACK),
        tcp(S, 51000, H, 8080, SYN),
        tcp(S, 51000, C1.ip(), 80, SYN),
    ] {
        let frame = tagged(packet.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF));
        assert!(h.run(Hook::UplinkIngress, &frame).passed());
    }
    // What goes out too, whatever flows there are; but nothing with a container's source.
    let own = tagged(tcp(H, 40000, S, 80, SYN).frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF));
    assert!(h.run(Hook::UplinkEgress, &own).passed());
    let private = tagged(syn.frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF));
    let out = h.run(Hook::UplinkEgress, &private);
    assert_eq!(out.dropped(), Some(DropReason::UntranslatedSource));
}

#[test]
fn c23_truncated_transport_header() {
    let packets = [
        tcp(C1.ip(), 40000, S, 80, SYN),
        udp(C1.ip(), 5000, S, 53, b""),
        query(C1.ip(), S, ECHO, 7),
    ];
    let inward = [
        tcp(S, 51000, H, 8080, SYN),
        udp(S, 51000, H, 5353, b""),
        query(S, H, ECHO, 7),
    ];
    for words in [0, 1, 10] {
        for (mine, theirs) in packets.iter().zip(&inward) {
            let header = if mine.proto == tuple::TCP { 20 } else { 8 };
            for len in 0..header {
                let cut = |p: &Datagram| Datagram {
                    l4: p.l4[..len].to_vec(),
                    ..p.clone().padded(words)
                };
                let mut h = Host::new();
                let out = h.from(&C1, &cut(mine));
                assert_eq!(out.dropped(), Some(DropReason::Truncated), "{len}");
                let out = h.from_stack(&cut(mine));
                assert_eq!(out.dropped(), Some(DropReason::Truncated), "{len}");
                // The host's stack judges what is its own; it is not translated.
                assert_eq!(h.from_outside(&cut(theirs)).result, Ok(Verdict::Pass));
                assert_eq!(h.tables.entries(), [], "nothing begins");
            }
        }
    }
}

#[test]
fn c23_frame_shorter_than_the_packet_says() {
    let packet = tcp(C1.ip(), 40000, S, 80, SYN).padded(2);
    let frame = packet.frame(C1.mac, BRIDGE1_MAC, C1.ifindex);
    for len in 14..frame.bytes.len() {
        let mut h = Host::new();
        let out = h.run(Hook::Veth, &frame.truncated(len));
        let want = if len < L4 {
            DropReason::Truncated
        } else {
            DropReason::BadIpHeader
        };
        assert_eq!(out.dropped(), Some(want), "{len}");
        assert_eq!(h.tables.entries(), []);
    }
}
