//! Cases 20 and 21: UDP's checksum that is none, and checksums that a device completes.

use netpath_common::{
    conntrack::tcp::{ACK, PSH},
    event::Hook,
    testing::*,
};

use super::help::{delivered, left, open};

#[test]
fn c20_no_checksum_stays_none() {
    let none = udp_without_checksum;
    let mut h = Host::new();
    // Out and the answer.
    let out = h.from(&C1, &none(C1.addr, 5000, S, 53, b"x"));
    left(&out, &none(H, 5000, S, 53, b"x").ttl(63));
    let back = h.from_outside(&none(S, 53, H, 5000, b"x"));
    delivered(&back, &C1, &none(S, 53, C1.addr, 5000, b"x").ttl(63));
    // In by a published port and the answer.
    let out = h.from_outside(&none(S, 51000, H, 5353, b"x"));
    delivered(&out, &C1, &none(S, 51000, C1.addr, 53, b"x").ttl(63));
    let back = h.from(&C1, &none(C1.addr, 53, S, 51000, b"x"));
    left(&back, &none(H, 5353, S, 51000, b"x").ttl(63));
    // By a neighbour.
    let out = h.from(&C2, &none(C2.addr, 51000, H, 5353, b"x"));
    delivered(&out, &C1, &none(C2.addr, 51000, C1.addr, 53, b"x").ttl(63));
}

#[test]
fn c20_a_checksum_that_becomes_zero_is_ffff() {
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.addr, 5000, S, 53, b"")).to_uplink();
    // The payload runs through all words: one of them makes the checksum zero after translation, in
    // each direction.
    let (mut out, mut back) = (0, 0);
    for word in 0..=u16::MAX {
        let payload = word.to_be_bytes();
        let o = h.from(&C1, &udp(C1.addr, 5000, S, 53, &payload));
        left(&o, &udp(H, 5000, S, 53, &payload).ttl(63));
        out += u32::from(o.frame.bytes[40..42] == [0xff, 0xff]);
        let o = h.from_outside(&udp(S, 53, H, 5000, &payload));
        delivered(&o, &C1, &udp(S, 53, C1.addr, 5000, &payload).ttl(63));
        back += u32::from(o.frame.bytes[40..42] == [0xff, 0xff]);
    }
    assert_eq!((out, back), (1, 1));
}

/// On real devices, with every offload on and off: `tests/netns/bulk.rs`. What the engine sees of
/// them is the field's meaning and the segment size.
#[test]
fn c21_offloads() {
    let payload = vec![0x5a; 64_000];
    let mut h = Host::new();
    open(&mut h);
    for offload in [Offload::None, Offload::Partial] {
        let sent = tcp_data(C1.addr, 40000, S, 80, ACK | PSH, &payload);
        let came = tcp_data(S, 80, H, 40000, ACK | PSH, &payload);
        let frames = [
            (Hook::Veth, sent.frame(C1.mac, BRIDGE1_MAC, C1.ifindex)),
            (
                Hook::UplinkIngress,
                came.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF),
            ),
        ];
        for (hook, mut frame) in frames {
            frame.gso_size = 1448;
            frame.offload = offload;
            if offload == Offload::Partial {
                // Only the pseudo header is summed up.
                let ip = &frame.bytes[14..34];
                let len = (frame.bytes.len() - 34) as u16;
                let proto = [0, ip[9]];
                let parts = [&ip[12..20], &proto[..], &len.to_be_bytes()[..]].concat();
                let [a, b] = netpath_common::checksum::full(&[&parts]);
                frame.bytes[50..52].copy_from_slice(&[!a, !b]);
            }
            assert_eq!(verify(&frame), Ok(()), "the test's own packet");
            let out = h.run(hook, &frame);
            match hook {
                Hook::Veth => {
                    assert_eq!(out.to_uplink(), "tcp 192.0.2.1:40000 > 198.51.100.9:80");
                }
                _ => assert_eq!(
                    out.to_container(&C1),
                    "tcp 198.51.100.9:80 > 172.17.0.2:40000"
                ),
            }
            assert_eq!(verify(&out.frame), Ok(()), "right in its own meaning");
            assert_eq!(out.frame.gso_size, 1448);
            assert_eq!(out.frame.offload, offload);
            assert!(out.frame.bytes.ends_with(&payload));
        }
    }
}
