//! What IPv4 has and IPv6 has not, by the engine that is the same for both.
//!
//! Tests of RFCs have the numbers of the requirements, as `docs/conformance.md` names them.

use netpath_common::{
    DropReason, Verdict,
    conntrack::tcp::{ACK, SYN},
    event::Hook,
    testing::*,
    tuple,
};

use super::v4::both::{
    big_tcp::{SEGMENT, from_c1},
    fragment::joined,
    fragment_order::again,
    malformed::{HOOKS, frame, packets},
};

#[test]
fn a_udp_checksum_of_zero_stays_zero() {
    let mut h = Host::new();
    let out = h.from(&C1, &udp_without_checksum(C1.addr, 5000, S, 53, b"x"));
    assert_eq!(out.to_uplink(), "udp 192.0.2.1:5000 > 198.51.100.9:53");
    assert_eq!(out.frame.bytes[40..42], [0, 0]);
}

#[test]
fn a_quoted_udp_checksum_of_zero_stays_zero() {
    let mut h = Host::new();
    let _ = h
        .from(&C1, &udp_without_checksum(C1.addr, 5000, S, 53, b"x"))
        .to_uplink();
    let seen = udp_without_checksum(H, 5000, S, 53, b"x");
    let out = h.from_outside(&error(R, H, 3, 4, &seen, 1000));
    let _ = out.to_container(&C1);
    assert_eq!(out.frame.bytes[68..70], [0, 0]);
}

#[test]
fn the_drivers_hook_leaves_the_answers_to_the_hosts_flows_to_tc() {
    let mut h = Host::new();
    h.xdp_translates = true;
    let _ = h.from(&C1, &udp(C1.addr, 5000, S, 53, b"?")).to_uplink();
    let out = h.from_stack(&udp(H, 5000, S, 53, b"?"));
    let _ = out.to_stack();
    let given = u16::from_be_bytes([out.frame.bytes[34], out.frame.bytes[35]]);
    let answer = udp(S, 53, H, given, b"!").frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF);
    assert!(h.run(Hook::Xdp, &answer).passed());
}

/// C1 has sent to S; the packet as it has left.
fn asked(h: &mut Host) -> Datagram {
    let _ = h.from(&C1, &udp(C1.addr, 5000, S, 53, b"?")).to_uplink();
    udp(H, 5000, S, 53, b"?").ttl(63)
}

#[test]
fn rfc5508_req3a_a_wrong_checksum_of_the_quoted_header_stays_wrong() {
    let mut h = Host::new();
    let mut seen = asked(&mut h).bytes();
    seen[10] ^= 0x10;
    let out = h.from_outside(&icmp(R, H, 3, 1, [0; 4], &seen));
    let _ = out.to_container(&C1);
    assert_eq!(
        verify(&out.frame),
        Err("quoted IP header checksum".to_owned()),
        "and nothing else"
    );
}

#[test]
fn rfc5508_req10b_redirects_masks_and_router_messages_are_not_translated() {
    let mut h = Host::new();
    let about = asked(&mut h);
    for code in 0..=3 {
        assert!(h.from_outside(&error(R, H, 5, code, &about, 8)).passed());
        let about = udp(S, 53, C1.addr, 5000, b"");
        let out = h.from(&C1, &error(C1.addr, S, 5, code, &about, 8));
        assert_eq!(out.dropped(), Some(DropReason::IcmpRedirect));
        let out = h.from_stack(&error(C1.addr, S, 5, code, &about, 8));
        assert_eq!(out.dropped(), Some(DropReason::IcmpRedirect));
    }
    for kind in [9, 10, 17, 18] {
        let out = h.from(&C1, &query(C1.addr, S, kind, 7));
        assert_eq!(out.dropped(), Some(DropReason::IcmpUnmatched), "{kind}");
        assert!(h.from_outside(&query(S, H, kind, 7)).passed(), "{kind}");
    }
}

#[test]
fn rfc5508_req10c_source_quench_is_translated_and_information_requests_are_not() {
    let mut h = Host::new();
    let about = asked(&mut h);
    let _ = h
        .from_outside(&error(R, H, 4, 0, &about, 8))
        .to_container(&C1);
    for kind in [15, 16] {
        let out = h.from(&C1, &query(C1.addr, S, kind, 7));
        assert_eq!(out.dropped(), Some(DropReason::IcmpUnmatched));
        assert!(h.from_outside(&query(S, H, kind, 7)).passed());
    }
}

#[test]
fn a_fragment_of_another_protocol_is_another_datagrams() {
    let mut h = Host::new();
    let parts = udp(C1.addr, 5000, S, 53, &[3; 2000]).fragments(1480);
    let _ = h.from(&C1, &parts[0]).to_uplink();
    let other = Datagram {
        proto: tuple::TCP,
        ..parts[1].clone()
    };
    assert_eq!(h.from(&C1, &other).result, Ok(Verdict::Held));
}

#[test]
fn fragments_that_are_larger_than_the_way_go_by_the_stack() {
    let mut h = Host::new();
    h.tables.uplinks[usize::from(UPLINK)].mtu = 1000;
    // In both orders: the stack fragments them further, and the uplink's hook translates.
    for (id, order) in [(1, [0, 1, 2]), (2, [1, 0, 2])] {
        let whole = udp(C1.addr, 5000, S, 53, &[3; 3000]).id(id);
        let parts = whole.fragments(1480);
        let mut up = 0;
        for part in order {
            let out = h.from(&C1, &parts[part]);
            up += usize::from(out.passed());
            let later = again(&mut h, Hook::Veth, &out);
            up += later.iter().filter(|o| o.passed()).count();
        }
        assert_eq!(up, 3, "{order:?}");
        let out: Vec<_> = whole
            .fragments(976)
            .iter()
            .map(|f| h.from_stack(f))
            .collect();
        out.iter().for_each(|o| drop(o.to_stack()));
        assert_eq!(joined(&out), "udp 192.0.2.1:5000 > 198.51.100.9:53");
    }
    // A part whose first one the uplink has never seen does not leave.
    let parts = udp(C1.addr, 5000, S, 53, &[3; 3000]).id(99).fragments(1480);
    assert!(h.from(&C1, &parts[0]).passed());
    assert_eq!(
        h.from_stack(&parts[1]).dropped(),
        Some(DropReason::FragmentUnmatched)
    );
}

#[test]
fn small_tails_of_a_large_first_fragment_that_the_stack_has() {
    let mut h = Host::new();
    h.tables.uplinks[usize::from(UPLINK)].mtu = 1000;
    let parts = udp(C1.addr, 5000, S, 53, &[3; 2000]).fragments(1480);
    assert!(h.from(&C1, &parts[0]).passed());
    // The stack fragments the fragment; every piece is translated on its way out.
    let mut outcomes = Vec::new();
    for (i, piece) in parts[0].l4.chunks(976).enumerate() {
        let frag = (i * 976 / 8) as u16 | 0x2000;
        let piece = Datagram {
            l4: piece.to_vec(),
            frag,
            ..parts[0].clone()
        };
        let out = h.from_stack(&piece);
        let _ = out.to_stack();
        outcomes.push(out);
    }
    let out = h.from(&C1, &parts[1]);
    let _ = out.to_uplink();
    outcomes.push(out);
    assert_eq!(joined(&outcomes), "udp 192.0.2.1:5000 > 198.51.100.9:53");
}

#[test]
fn xdp_leaves_other_protocols_to_the_tc_hook() {
    let raw = |src, dst, proto| Datagram::new(src, dst, proto, vec![0x20; 10]);
    for translates in [false, true] {
        let mut h = Host::new();
        h.xdp_translates = translates;
        let _ = h.from(&C1, &raw(C1.addr, S, tuple::GRE)).to_uplink();
        for packet in [
            raw(S, H, tuple::GRE),
            raw(S2, H, 50),
            sctp(S, 1, H, 2, 1),
            dccp(S, 1, H, 2, 0, 0),
        ] {
            let frame = packet.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF);
            let out = h.run(Hook::Xdp, &frame);
            assert!(out.passed() || packet.proto == tuple::GRE, "{}", out.text());
        }
    }
    assert!(tuple::has_connections(tuple::DCCP) && !tuple::has_connections(tuple::UDPLITE));
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

/// A length of 0 is believed of super-packets of TCP that need it, and of nothing else.
#[test]
fn any_other_length_of_zero_is_a_lie() {
    let sent = |length: usize, gso_size: u32, proto: u8| {
        let mut h = Host::new();
        let _ = h.from(&C1, &tcp(C1.addr, 40000, S, 80, SYN)).to_uplink();
        let _ = h.from_outside(&tcp(S, 80, H, 40000, SYN | ACK));
        let packet = tcp_data(C1.addr, 40000, S, 80, ACK, &vec![7; length - 40]);
        let mut frame = from_c1(&packet);
        frame.bytes[16..18].copy_from_slice(&[0, 0]);
        frame.bytes[23] = proto;
        frame.gso_size = gso_size;
        h.run(Hook::Veth, &frame).dropped()
    };
    const TCP: u8 = 6;
    /// Longest packet that the field can say, bytes.
    const LARGEST: usize = 65_535;
    assert_eq!(sent(LARGEST + 1, SEGMENT, TCP), None);
    let lie = Some(DropReason::BadIpHeader);
    assert_eq!(sent(LARGEST, SEGMENT, TCP), lie, "the field can say it");
    assert_eq!(sent(LARGEST + 1, 0, TCP), lie, "no super-packet");
    assert_eq!(sent(LARGEST + 1, SEGMENT, 17), lie, "UDP");
    assert_eq!(sent(LARGEST + 1, SEGMENT, 1), lie, "ICMP");
    assert_eq!(sent(1000, SEGMENT, TCP), lie, "short");
}
