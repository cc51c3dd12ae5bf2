//! Headers that lie.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, FIN, RST, SYN},
    event::Hook,
    records::LOOPBACK_IFINDEX,
};

use super::family::*;

pub(crate) const HOOKS: [Hook; 3] = [Hook::Veth, Hook::UplinkIngress, Hook::UplinkEgress];

/// A frame from C1 for each hook but the uplink's ingress, where it comes from S.
pub(crate) fn frame(hook: Hook, packet: &Datagram) -> Frame {
    match hook {
        Hook::Veth | Hook::Bridge => packet.frame(C1.mac, BRIDGE1_MAC, C1.ifindex),
        Hook::UplinkIngress | Hook::Xdp => packet.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF),
        Hook::BridgeEgress => packet.frame(BRIDGE1_MAC, C1.mac, BRIDGE1_IF),
        Hook::Loopback => packet.frame([0; 6], [0; 6], LOOPBACK_IFINDEX),
        Hook::UplinkEgress => packet.frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF),
    }
}

pub(crate) fn packets(hook: Hook) -> [Datagram; 2] {
    if hook == Hook::UplinkIngress {
        [
            tcp_data(S, 51000, H, 8080, SYN, &[0; 60]),
            udp(S, 51000, H, 5353, &[0; 60]),
        ]
    } else {
        [
            tcp_data(C1.ip(), 40000, S, 80, SYN, &[0; 60]),
            udp(C1.ip(), 5000, S, 53, &[0; 60]),
        ]
    }
}

#[test]
fn udp_lengths() {
    for hook in HOOKS {
        let [_, packet] = packets(hook);
        for (len, fine) in [
            (0, false),
            (7, false),
            (8, true),
            (68, true),
            (69, false),
            (u16::MAX, false),
        ] {
            let mut h = Host::new();
            let mut f = frame(hook, &packet);
            f.bytes[L4 + 4..L4 + 6].copy_from_slice(&u16::to_be_bytes(len));
            let out = h.run(hook, &f);
            if hook == Hook::UplinkIngress {
                assert_eq!(!out.passed(), fine);
            } else {
                assert_eq!(
                    out.dropped(),
                    (!fine).then_some(DropReason::BadL4Header),
                    "{len}"
                );
            }
        }
    }
}

#[test]
fn tcp_data_offsets_and_flags() {
    for hook in HOOKS {
        let [packet, _] = packets(hook);
        for offset in 0..16_u8 {
            let mut h = Host::new();
            let mut f = frame(hook, &packet);
            f.bytes[L4 + 12] = offset << 4;
            let out = h.run(hook, &f);
            assert_eq!(
                matches!(out.result, Ok(v) if !matches!(v, netpath_common::Verdict::Pass)),
                offset >= 5
            );
        }
        // nf_conntrack_proto_tcp.c tcp_valid_flags, without URG, PSH, ECE and CWR.
        for flags in 0..0x40_u8 {
            let mut h = Host::new();
            let mut f = frame(hook, &packet);
            f.bytes[L4 + 13] = flags;
            let kinds = flags & (SYN | FIN | RST | ACK);
            let valid = [SYN, SYN | ACK, RST, RST | ACK, FIN | ACK, ACK].contains(&kinds);
            let out = h.run(hook, &f);
            if hook != Hook::UplinkIngress {
                assert_eq!(
                    out.dropped() == Some(DropReason::BadL4Header),
                    !valid,
                    "{flags:#x}"
                );
            } else if !valid {
                assert!(out.passed(), "{flags:#x}");
            }
        }
    }
    // In a header that announces more than there is.
    let mut h = Host::new();
    let mut f = frame(Hook::Veth, &tcp(C1.ip(), 40000, S, 80, SYN));
    f.bytes[L4 + 12] = 0x60;
    assert_eq!(
        h.run(Hook::Veth, &f).dropped(),
        Some(DropReason::BadL4Header)
    );
}

#[test]
fn a_malformed_segment_does_not_touch_its_flow() {
    let mut h = Host::new();
    super::connection::open(&mut h);
    let before = h.tables.entries();
    let mut f = frame(Hook::UplinkIngress, &tcp(S, 80, H, 40000, ACK));
    f.bytes[L4 + 13] = 0;
    assert!(h.run(Hook::UplinkIngress, &f).passed());
    assert_eq!(h.tables.entries(), before);
}
