//! Cases 20 and 21: UDP's checksum that is none, and checksums that a device completes.

use netpath_common::{
    conntrack::tcp::{ACK, PSH},
    event::Hook,
    tuple,
};

use super::{
    family::*,
    help::{delivered, left, open},
};

#[test]
fn c20_a_checksum_that_becomes_zero_is_ffff() {
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    // The payload runs through all words: one of them makes the checksum zero after translation, in
    // each direction.
    let (mut out, mut back) = (0, 0);
    for word in 0..=u16::MAX {
        let payload = word.to_be_bytes();
        let o = h.from(&C1, &udp(C1.ip(), 5000, S, 53, &payload));
        left(&o, &udp(H, 5000, S, 53, &payload).ttl(63));
        out += u32::from(o.frame.bytes[L4 + 6..L4 + 8] == [0xff, 0xff]);
        let o = h.from_outside(&udp(S, 53, H, 5000, &payload));
        delivered(&o, &C1, &udp(S, 53, C1.ip(), 5000, &payload).ttl(63));
        back += u32::from(o.frame.bytes[L4 + 6..L4 + 8] == [0xff, 0xff]);
    }
    assert_eq!((out, back), (1, 1));
}

/// On real devices, with every offload on and off: `tests/netns/bulk.rs`. What the engine sees of
/// them is the field's meaning and the segment size.
#[test]
fn c21_offloads() {
    let payload = vec![0x5a; 64_000];
    let segment = 1468 - HEADER as u32;
    let mut h = Host::new();
    open(&mut h);
    for offload in [Offload::None, Offload::Partial] {
        let sent = tcp_data(C1.ip(), 40000, S, 80, ACK | PSH, &payload);
        let came = tcp_data(S, 80, H, 40000, ACK | PSH, &payload);
        let frames = [
            (
                Hook::Veth,
                C1.ip(),
                sent.frame(C1.mac, BRIDGE1_MAC, C1.ifindex),
            ),
            (
                Hook::UplinkIngress,
                H,
                came.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF),
            ),
        ];
        for (hook, other, mut frame) in frames {
            frame.gso_size = segment;
            frame.offload = offload;
            if offload == Offload::Partial {
                // Only the pseudo header is summed up.
                let len = (frame.bytes.len() - L4) as u16;
                let parts = [&S[..], &other, &[0, tuple::TCP], &len.to_be_bytes()].concat();
                let [a, b] = netpath_common::checksum::full(&[&parts]);
                frame.bytes[L4 + 16..L4 + 18].copy_from_slice(&[!a, !b]);
            }
            assert_eq!(verify(&frame), Ok(()), "the test's own packet");
            let out = h.run(hook, &frame);
            if matches!(hook, Hook::Veth) {
                assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
            } else {
                assert_eq!(out.to_container(&C1), said("tcp S:80 > C1:40000"));
            }
            assert_eq!(verify(&out.frame), Ok(()), "right in its own meaning");
            assert_eq!(out.frame.gso_size, segment);
            assert_eq!(out.frame.offload, offload);
            assert!(out.frame.bytes.ends_with(&payload));
        }
    }
}
