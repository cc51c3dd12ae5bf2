//! What IPv4 has and IPv6 has not, by the engine that is the same for both.
//!
//! Tests of RFCs have the numbers of the requirements, as `docs/conformance.md` names them.

use netpath_common::{DropReason, testing::*};

#[test]
fn a_udp_checksum_of_zero_stays_zero() {
    let mut h = Host::new();
    let out = h.from(&C1, &udp_without_checksum(C1.addr, 5000, S, 53, b"x"));
    assert_eq!(out.to_uplink(), "udp 192.0.2.1:5000 > 198.51.100.9:53");
    assert_eq!(out.frame.bytes[40..42], [0, 0]);
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
