//! RFC 5508, requirements 3, 4 and 5, and what RFC 1191 and RFC 8200 say of MTUs: how ICMP errors are translated,
//! each variant compared byte by byte.

use netpath_common::{DropReason, conntrack::tcp::SYN, counters::Counter};

use super::family::*;

/// C1:5000 to S:53 with a payload of `len` bytes; the packet as it has left.
fn asked(h: &mut Host, len: usize) -> Datagram {
    let _ = h
        .from(&C1, &udp(C1.ip(), 5000, S, 53, &vec![7; len]))
        .to_uplink();
    udp(H, 5000, S, 53, &vec![7; len]).ttl(63)
}

/// The same packet as C1 has sent it.
fn original(len: usize) -> Datagram {
    udp(C1.ip(), 5000, S, 53, &vec![7; len]).ttl(63)
}

#[track_caller]
fn is(out: &Outcome, want: &Datagram) {
    assert_eq!(out.frame.bytes[14..], want.bytes()[..], "{}", out.text());
}

#[test]
fn req3_a_wrong_icmp_checksum_stays_wrong() {
    // It is not looked at; what changes is added to it, so that the receiver finds it wrong.
    let mut h = Host::new();
    let seen = asked(&mut h, 20);
    let right = icmp(R, H, UNREACHABLE, 1, [0; 4], &seen.bytes());
    let want = icmp(R, C1.ip(), UNREACHABLE, 1, [0; 4], &original(20).bytes()).ttl(63);
    for by in [1_u16, 0x100, 0x1234] {
        let mut wrong = right.clone();
        let field = u16::from_be_bytes([wrong.l4[2], wrong.l4[3]]) ^ by;
        wrong.l4[2..4].copy_from_slice(&field.to_be_bytes());
        let out = h.from_outside(&wrong);
        let _ = out.to_container(&C1);
        assert!(verify(&out.frame).unwrap_err().contains("ICMP"));
        // Nothing else differs from what becomes of the right one.
        let (got, want) = (&out.frame.bytes[14..], want.bytes());
        assert_eq!(got[..HEADER + 2], want[..HEADER + 2]);
        assert_eq!(got[HEADER + 4..], want[HEADER + 4..]);
    }
}

#[test]
fn req3b_what_follows_the_quoted_header_is_passed_over() {
    for words in 0..=10 {
        let mut h = Host::new();
        let sent = udp(C1.ip(), 5000, S, 53, b"question").padded(words);
        let _ = h.from(&C1, &sent).to_uplink();
        let seen = udp(H, 5000, S, 53, b"question").padded(words).ttl(63);
        for quoted in [8, 16] {
            let end = seen.header_len() + quoted;
            let error = icmp(R, H, TIME_EXCEEDED, 0, [0; 4], &seen.bytes()[..end]);
            let out = h.from_outside(&error);
            let _ = out.to_container(&C1);
            let mine = sent.clone().ttl(63).bytes();
            is(
                &out,
                &icmp(R, C1.ip(), TIME_EXCEEDED, 0, [0; 4], &mine[..end]).ttl(63),
            );
        }
    }
}

#[test]
fn req3c_a_wrong_transport_checksum_in_the_quotation_is_no_matter() {
    let mut h = Host::new();
    let mut seen = asked(&mut h, 20);
    seen.l4[6] ^= 0x40;
    let mut mine = original(20);
    mine.l4[6] ^= 0x40;
    let out = h.from_outside(&icmp(R, H, UNREACHABLE, 1, [0; 4], &seen.bytes()));
    let _ = out.to_container(&C1);
    // As wrong as it was.
    assert_eq!(
        verify(&out.frame),
        Err("quoted UDP checksum".to_owned()),
        "the message itself is right"
    );
    let quoted = &out.frame.bytes[L4 + 8..];
    assert_eq!(quoted[..HEADER + 6], mine.bytes()[..HEADER + 6]);
}

/// An extension structure of RFC 4884: version 2, its checksum, one object of an MPLS label stack.
fn extension() -> Vec<u8> {
    let mut e = vec![0x20, 0, 0, 0, 0, 8, 1, 1, 0x12, 0x34, 0x51, 0xff];
    let check = netpath_common::checksum::full(&[&e]);
    e[2..4].copy_from_slice(&check);
    e
}

#[test]
fn req3d_extensions_and_padding_are_left_whole() {
    // The quoted packet is longer than what is quoted of it, just as long, and shorter: padded.
    for len in [500, 100, 40, 0] {
        let (kinds, word) = EXTENDED;
        for &kind in kinds {
            let mut h = Host::new();
            let quote = |d: &Datagram| {
                let mut b = d.bytes();
                b.resize(128, 0);
                b.extend(extension());
                b
            };
            let seen = asked(&mut h, len);
            let out = h.from_outside(&icmp(R, H, kind, 0, word, &quote(&seen)));
            let _ = out.to_container(&C1);
            let want = icmp(R, C1.ip(), kind, 0, word, &quote(&original(len))).ttl(63);
            is(&out, &want);
            assert!(out.frame.bytes.ends_with(&extension()));
        }
    }
}

#[test]
fn req4_an_error_from_outside_without_a_mapping_reaches_no_container() {
    let mut h = Host::new();
    let _ = asked(&mut h, 0);
    for about in [
        udp(H, 5001, S, 53, b""),
        udp(H, 5000, S, 54, b""),
        udp(H, 5000, S2, 53, b""),
        tcp(H, 5000, S, 53, SYN),
        query(H, S, ECHO, 5000),
        udp(S, 53, H, 5000, b""),
    ] {
        for kind in ERRORS {
            let out = h.from_outside(&error(R, H, kind, 0, &about, 8));
            assert!(out.passed(), "{}", out.text());
        }
    }
    assert_eq!(h.tables.counter(Counter::IcmpErrorTranslated), 0);
}

#[test]
fn req4_an_error_about_an_error_reaches_nobody() {
    // The quoted error quotes in its turn what C1 has sent: only the outer one counts.
    let mut h = Host::new();
    let seen = asked(&mut h, 0);
    let inner = no_port(H, S, &seen);
    for kind in ERRORS {
        assert!(h.from_outside(&error(R, H, kind, 0, &inner, 100)).passed());
    }
    let inner = no_port(S, C1.ip(), &original(0));
    let out = h.from(&C1, &error(C1.ip(), S, NO_PORT[0], NO_PORT[1], &inner, 100));
    assert_eq!(out.dropped(), Some(DropReason::IcmpErrorUnmatched));
    assert_eq!(h.tables.counter(Counter::IcmpErrorTranslated), 0);
}

#[test]
fn req4_an_error_from_outside_is_reverted() {
    // a: the quoted headers as they were sent; b: type and code unchanged; c: the outer destination
    // is the source of the quoted packet. For every type and code that quotes.
    let mut h = Host::new();
    let seen = asked(&mut h, 20).bytes();
    let mine = original(20).bytes();
    for kind in ERRORS {
        for code in 0..=15 {
            let word = [0, 0, 0x05, 0x14];
            let out = h.from_outside(&icmp(R, H, kind, code, word, &seen));
            let _ = out.to_container(&C1);
            is(&out, &icmp(R, C1.ip(), kind, code, word, &mine).ttl(63));
        }
    }
}

#[test]
fn req5_an_error_from_inside_without_a_mapping_never_leaves() {
    let mut h = Host::new();
    let _ = asked(&mut h, 0);
    for about in [
        udp(S, 53, C1.ip(), 5001, b""),
        udp(S, 54, C1.ip(), 5000, b""),
        udp(S2, 53, C1.ip(), 5000, b""),
        tcp(S, 53, C1.ip(), 5000, SYN),
        udp(S, 53, C2.ip(), 5000, b""),
        udp(C1.ip(), 5000, S, 53, b""),
    ] {
        for kind in ERRORS {
            let e = error(C1.ip(), S, kind, 0, &about, 8);
            let out = h.from(&C1, &e);
            assert_eq!(out.dropped(), Some(DropReason::IcmpErrorUnmatched));
            let out = h.from_stack(&e);
            assert_eq!(out.dropped(), Some(DropReason::IcmpErrorUnmatched));
        }
    }
}

#[test]
fn req5_an_error_from_inside_is_reverted_and_has_the_hosts_source() {
    let mut h = Host::new();
    let request = udp(S, 51000, H, 5353, b"question");
    let _ = h.from_outside(&request).to_container(&C1);
    let seen = udp(S, 51000, C1.ip(), 53, b"question").ttl(63).bytes();
    let sent = request.ttl(63).bytes();
    for [kind, code] in [
        NO_PORT,
        PROHIBITED,
        [UNREACHABLE, 0],
        [TIME_EXCEEDED, 1],
        [PARAMETER_PROBLEM, 2],
    ] {
        let out = h.from(&C1, &icmp(C1.ip(), S, kind, code, [0; 4], &seen));
        let _ = out.to_uplink();
        is(&out, &icmp(H, S, kind, code, [0; 4], &sent).ttl(63));
        // By the stack, which has counted the hop.
        let out = h.from_stack(&icmp(C1.ip(), S, kind, code, [0; 4], &seen));
        let _ = out.to_stack();
        is(&out, &icmp(H, S, kind, code, [0; 4], &sent));
        // Of the host itself on the container's behalf.
        let out = h.from_stack(&icmp(H, S, kind, code, [0; 4], &seen));
        let _ = out.to_stack();
        is(&out, &icmp(H, S, kind, code, [0; 4], &sent));
    }
    // No router within: whoever is not the container does not speak for it.
    let out = h.from(&C1, &icmp(C2.ip(), S, TIME_EXCEEDED, 0, [0; 4], &seen));
    assert_eq!(out.dropped(), Some(DropReason::SpoofedAddress));
}

#[test]
fn an_impossible_mtu_is_dropped() {
    let mut h = Host::new();
    let seen = asked(&mut h, 20).bytes();
    let mine = original(20).bytes();
    let [kind, code] = TOO_BIG;
    let mut bad = 0;
    for mtu in 0..=1500_u16 {
        let [a, b] = mtu.to_be_bytes();
        let out = h.from_outside(&icmp(R, H, kind, code, [0, 0, a, b], &seen));
        if is_bad_mtu(mtu) {
            assert_eq!(out.dropped(), Some(DropReason::IcmpBadMtu), "{mtu}");
            bad += 1;
        } else {
            let _ = out.to_container(&C1);
            let want = icmp(R, C1.ip(), kind, code, [0, 0, a, b], &mine).ttl(63);
            is(&out, &want);
        }
        // In other errors the field means something else, or nothing.
        let out = h.from_outside(&icmp(R, H, UNREACHABLE, 1, [0, 0, a, b], &seen));
        let _ = out.to_container(&C1);
    }
    assert_eq!(h.drops_of(DropReason::IcmpBadMtu), bad);
    // Of a container the same.
    let _ = h
        .from_outside(&udp(S, 51000, H, 5353, b"?"))
        .to_container(&C1);
    let seen = udp(S, 51000, C1.ip(), 53, b"?").bytes();
    let e = icmp(C1.ip(), S, kind, code, [0, 0, 0, 67], &seen);
    assert_eq!(h.from(&C1, &e).dropped(), Some(DropReason::IcmpBadMtu));
    let out = h.from_stack(&e);
    assert_eq!(out.dropped(), Some(DropReason::IcmpBadMtu));
}
