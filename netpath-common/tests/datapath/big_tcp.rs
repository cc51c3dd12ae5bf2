//! Super-packets that are longer than the length field of the IP header can say (BIG TCP).

use netpath_common::{
    conntrack::tcp::{ACK, PSH, SYN},
    event::Hook,
};

use super::family::*;

pub(crate) const SEGMENT: u32 = 1480 - HEADER as u32;
/// The frame as a super-packet whose checksum a device is to complete.
fn segmented(mut frame: Frame) -> Frame {
    frame.gso_size = SEGMENT;
    frame
}

/// As the stack of a container leaves it: only the pseudo header is summed up.
fn partial(mut frame: Frame, packet: &Datagram) -> Frame {
    let sum = pseudo_sum(packet);
    let at = 14 + packet.header_len() + 16;
    frame.bytes[at..at + 2].copy_from_slice(&sum);
    frame.offload = Offload::Partial;
    assert_eq!(verify(&frame), Ok(()));
    frame
}

/// The folded sum of the pseudo header, computed from the packet anew.
fn pseudo_sum(packet: &Datagram) -> [u8; 2] {
    let words = |b: &[u8]| -> u64 {
        b.chunks(2)
            .map(|w| u64::from(u16::from_be_bytes([w[0], w[1]])))
            .sum()
    };
    let mut sum = words(&packet.src) + words(&packet.dst) + u64::from(packet.proto);
    sum += packet.l4.len() as u64;
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (sum as u16).to_be_bytes()
}

pub(crate) fn from_c1(packet: &Datagram) -> Frame {
    segmented(packet.frame(C1.mac, BRIDGE1_MAC, C1.ifindex))
}

fn from_outside(packet: &Datagram) -> Frame {
    segmented(packet.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF))
}

#[test]
fn masqueraded_and_answered() {
    let mut h = Host::new();
    let payload = vec![0xa5; 190_001];
    let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN)).to_uplink();
    let _ = h
        .from_outside(&tcp(S, 80, H, 40000, SYN | ACK))
        .to_container(&C1);

    let out = tcp_data(C1.ip(), 40000, S, 80, ACK | PSH, &payload).jumbo();
    for frame in [from_c1(&out), partial(from_c1(&out), &out)] {
        assert_eq!(
            frame.bytes[LENGTH..LENGTH + 2],
            [0, 0],
            "no length in the header"
        );
        let left = h.run(Hook::Veth, &frame);
        assert_eq!(left.to_uplink(), said("tcp H:40000 > S:80"));
        assert_eq!(left.frame.bytes[LENGTH..LENGTH + 2], [0, 0]);
        assert!(left.frame.bytes.ends_with(&payload));
    }
    let answer = tcp_data(S, 80, H, 40000, ACK | PSH, &payload).jumbo();
    let came = h.run(Hook::UplinkIngress, &from_outside(&answer));
    assert_eq!(came.to_container(&C1), said("tcp S:80 > C1:40000"));
    assert!(came.frame.bytes.ends_with(&payload));
}

#[test]
fn through_a_published_port() {
    let mut h = Host::new();
    let payload = vec![0x5a; 120_000];
    let _ = h
        .from_outside(&tcp(S, 51000, H, 8080, SYN))
        .to_container(&C1);
    let _ = h
        .from(&C1, &tcp(C1.ip(), 80, S, 51000, SYN | ACK))
        .to_uplink();
    let question = tcp_data(S, 51000, H, 8080, ACK | PSH, &payload).jumbo();
    let came = h.run(Hook::UplinkIngress, &from_outside(&question));
    assert_eq!(came.to_container(&C1), said("tcp S:51000 > C1:80"));
    let answer = tcp_data(C1.ip(), 80, S, 51000, ACK | PSH, &payload).jumbo();
    for frame in [from_c1(&answer), partial(from_c1(&answer), &answer)] {
        let left = h.run(Hook::Veth, &frame);
        assert_eq!(left.to_uplink(), said("tcp H:8080 > S:51000"));
    }
}

#[test]
fn measured_by_its_segments() {
    let mut h = Host::new();
    let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN)).to_uplink();
    let _ = h.from_outside(&tcp(S, 80, H, 40000, SYN | ACK));
    let mut frame = from_c1(&tcp_data(C1.ip(), 40000, S, 80, ACK, &[7; 100_000]).jumbo());
    let _ = h.run(Hook::Veth, &frame).to_uplink();
    frame.gso_size = SEGMENT + 1;
    assert!(h.run(Hook::Veth, &frame).passed());
}
