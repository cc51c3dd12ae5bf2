//! Headers that lie.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, FIN, RST, SYN},
    event::Hook,
    records::LOOPBACK_IFINDEX,
    testing::*,
};

const HOOKS: [Hook; 3] = [Hook::Veth, Hook::UplinkIngress, Hook::UplinkEgress];

/// A frame from C1 for each hook but the uplink's ingress, where it comes from S.
fn frame(hook: Hook, packet: &Datagram) -> Frame {
    match hook {
        Hook::Veth | Hook::Bridge => packet.frame(C1.mac, BRIDGE1_MAC, C1.ifindex),
        Hook::UplinkIngress | Hook::Xdp => packet.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF),
        Hook::Loopback => packet.frame([0; 6], [0; 6], LOOPBACK_IFINDEX),
        Hook::UplinkEgress => packet.frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF),
    }
}

fn packets(hook: Hook) -> [Datagram; 2] {
    if hook == Hook::UplinkIngress {
        [
            tcp_data(S, 51000, H, 8080, SYN, &[0; 60]),
            udp(S, 51000, H, 5353, &[0; 60]),
        ]
    } else {
        [
            tcp_data(C1.addr, 40000, S, 80, SYN, &[0; 60]),
            udp(C1.addr, 5000, S, 53, &[0; 60]),
        ]
    }
}

#[test]
fn ip_header_lengths_and_versions() {
    for hook in HOOKS {
        for packet in packets(hook) {
            for first in 0..=0xff_u8 {
                let mut h = Host::new();
                let mut f = frame(hook, &packet);
                f.bytes[14] = first;
                let out = h.run(hook, &f);
                if first >> 4 != 4 || first & 15 < 5 {
                    assert_eq!(out.dropped(), Some(DropReason::BadIpHeader), "{first:#x}");
                }
            }
        }
    }
}

#[test]
fn total_lengths() {
    for hook in HOOKS {
        for packet in packets(hook) {
            let real = packet.bytes().len() as u16;
            for lie in [0, 1, 19, real + 1, real + 40, u16::MAX] {
                let mut h = Host::new();
                let mut f = frame(hook, &packet);
                f.bytes[16..18].copy_from_slice(&lie.to_be_bytes());
                assert_eq!(
                    h.run(hook, &f).dropped(),
                    Some(DropReason::BadIpHeader),
                    "{lie}"
                );
            }
            // Too short for its transport header.
            for lie in [20, 27] {
                let mut h = Host::new();
                let mut f = frame(hook, &packet);
                f.bytes[16..18].copy_from_slice(&u16::to_be_bytes(lie));
                let out = h.run(hook, &f);
                if hook == Hook::UplinkIngress {
                    assert!(out.passed(), "to the host, whose stack drops it");
                } else {
                    assert_eq!(out.dropped(), Some(DropReason::Truncated));
                }
            }
        }
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
            f.bytes[38..40].copy_from_slice(&u16::to_be_bytes(len));
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
            f.bytes[46] = offset << 4;
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
            f.bytes[47] = flags;
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
    let mut f = frame(Hook::Veth, &tcp(C1.addr, 40000, S, 80, SYN));
    f.bytes[46] = 0x60;
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
    f.bytes[47] = 0;
    assert!(h.run(Hook::UplinkIngress, &f).passed());
    assert_eq!(h.tables.entries(), before);
}
