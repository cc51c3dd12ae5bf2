//! What a container is told whose flow is refused (RFC 5508, REQ-8; RFC 6888, REQ-11).

use netpath_common::{
    DropReason,
    conntrack::tcp::SYN,
    counters::Counter,
    datapath::{TOLD_AT_ONCE, TOLD_PER_SECOND},
    tuple,
};

use super::family::*;

/// A host where endpoints may have begun one flow, and C1 has.
fn full() -> Host {
    let mut h = Host::new();
    h.tables.config.as_mut().unwrap().endpoint_flows = 1;
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    h
}

/// The answer to a packet of `c`.
fn answer(out: &Outcome, c: &Container) -> Frame {
    let answer = out.answer.clone().expect("no answer");
    assert_eq!(
        answer.bytes[..14],
        [&c.mac[..], &BRIDGE1_MAC, &ETHERTYPE].concat()
    );
    answer
}

#[test]
fn every_protocol_is_told_with_the_head_of_its_packet() {
    let mut h = full();
    let [kind, code] = PROHIBITED;
    for packet in [
        udp(C1.ip(), 6000, S, 53, &[7; 200]),
        tcp(C1.ip(), 6000, S, 80, SYN),
        query(C1.ip(), S, ECHO, 6000),
        udp(C1.ip(), 6001, S, 53, b"").padded(10),
        tcp(C1.ip(), 6001, S, 80, SYN).padded(1),
    ] {
        let out = h.from(&C1, &packet);
        assert_eq!(out.dropped(), Some(DropReason::EndpointQuota));
        let told = answer(&out, &C1);
        // The headers, eight bytes more, and 96 at most.
        let quoted = (packet.header_len() + 8).min(96);
        let want = icmp(GW1, C1.ip(), kind, code, [0; 4], &packet.bytes()[..quoted]);
        assert_eq!(told.bytes[L4..], want.l4);
        assert_eq!(source(&told), GW1);
        assert_eq!(
            (ds(&told), told.ttl(), verify(&told)),
            (ROUTER_DS, 64, Ok(()))
        );
    }
    assert_eq!(h.tables.counter(Counter::RefusalTold), 5);
    assert_eq!(h.drops_of(DropReason::EndpointQuota), 5);
}

#[test]
fn a_full_table_and_the_lack_of_ports_are_told_too() {
    let mut h = Host::new();
    h.tables.ct_capacity = 1;
    let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b""));
    assert_eq!(out.dropped(), Some(DropReason::ConntrackFull));
    let _ = answer(&out, &C1);
    let mut h = Host::new();
    (1..=u16::MAX).for_each(|p| h.tables.set_reserved(tuple::UDP, p, true));
    let out = h.from(&C2, &udp(C2.ip(), 5000, S, 53, b""));
    assert_eq!(out.dropped(), Some(DropReason::NoPort));
    let _ = answer(&out, &C2);
}

#[test]
fn what_is_forbidden_or_comes_from_outside_is_dropped_in_silence() {
    let mut h = full();
    for packet in [
        udp(S, 6000, S2, 53, b""),
        udp(C1.ip(), 6000, C3.ip(), 53, b""),
    ] {
        let out = h.from(&C1, &packet);
        assert!(out.dropped().is_some() && out.answer.is_none());
    }
    // An answered flow gives no way.
    let _ = h.from_outside(&udp(S, 53, H, 5000, b"")).to_container(&C1);
    h.tables.ct_capacity = h.tables.entries().len();
    let out = h.from_outside(&tcp(S, 4000, H, 8080, SYN));
    assert_eq!(out.dropped(), Some(DropReason::ConntrackFull));
    assert_eq!(out.answer, None);
    assert_eq!(h.tables.counter(Counter::RefusalTold), 0);
}

#[test]
fn answers_are_rationed_for_each_endpoint() {
    let mut h = full();
    let told = |h: &mut Host, n: u16| {
        (0..n)
            .filter(|i| {
                let out = h.from(&C1, &udp(C1.ip(), 6000 + i, S, 53, b""));
                out.answer.is_some()
            })
            .count() as u64
    };
    assert_eq!(told(&mut h, 1000), TOLD_AT_ONCE);
    h.tables.advance_ms(100);
    assert_eq!(told(&mut h, 1000), TOLD_PER_SECOND / 10);
    // Another container's answers are its own.
    let _ = h.from(&C2, &udp(C2.ip(), 5000, S, 53, b"")).to_uplink();
    let out = h.from(&C2, &udp(C2.ip(), 5001, S, 53, b""));
    let _ = answer(&out, &C2);
    h.tables.advance_ms(10_000);
    assert_eq!(told(&mut h, 1000), TOLD_AT_ONCE);
}
