//! What a container is told whose flow is refused (RFC 5508, REQ-8; RFC 6888, REQ-11).

use netpath_common::{
    DropReason,
    conntrack::tcp::SYN,
    counters::Counter,
    datapath::{TOLD_AT_ONCE, TOLD_PER_SECOND},
    testing::*,
    tuple,
};

/// A host where endpoints may have begun one flow, and C1 has.
fn full() -> Host {
    let mut h = Host::new();
    h.tables.config.as_mut().unwrap().endpoint_flows = 1;
    let _ = h.from(&C1, &udp(C1.addr, 5000, S, 53, b"")).to_uplink();
    h
}

/// The answer to a packet of `c`: where it goes, and everything behind the Ethernet header.
fn answer(out: &Outcome, c: &Container) -> Vec<u8> {
    let answer = out.answer.as_ref().expect("no answer");
    assert_eq!(answer.bytes[..6], c.mac);
    assert_eq!(answer.bytes[6..12], BRIDGE1_MAC);
    assert_eq!(answer.bytes[12..14], [8, 0]);
    answer.bytes[14..].to_vec()
}

#[test]
fn every_protocol_is_told_with_the_head_of_its_packet() {
    let mut h = full();
    for packet in [
        udp(C1.addr, 6000, S, 53, &[7; 100]),
        tcp(C1.addr, 6000, S, 80, SYN),
        query(C1.addr, S, 8, 6000),
        udp(C1.addr, 6001, S, 53, b"").options(10),
        tcp(C1.addr, 6001, S, 80, SYN).options(1),
    ] {
        let sent = packet.frame(C1.mac, BRIDGE1_MAC, C1.ifindex).bytes;
        let out = h.from(&C1, &packet);
        assert_eq!(out.dropped(), Some(DropReason::EndpointQuota));
        let told = answer(&out, &C1);
        let quoted = usize::from(sent[14] & 15) * 4 + 8;
        assert_eq!(told.len(), 28 + quoted);
        // Version, precedence; TTL, protocol; from the gateway to the container; type and code.
        assert_eq!(told[..2], [0x45, 0xc0]);
        assert_eq!(told[2..4], ((28 + quoted) as u16).to_be_bytes());
        assert_eq!(told[8..10], [64, 1]);
        assert_eq!(told[12..20], [GW1, C1.addr].concat());
        assert_eq!(told[20..22], [3, 13]);
        assert_eq!(told[24..28], [0; 4]);
        assert_eq!(told[28..], sent[14..14 + quoted]);
    }
    assert_eq!(h.tables.counter(Counter::RefusalTold), 5);
    assert_eq!(h.drops_of(DropReason::EndpointQuota), 5);
}

#[test]
fn a_full_table_and_the_lack_of_ports_are_told_too() {
    let mut h = Host::new();
    h.tables.ct_capacity = 1;
    let out = h.from(&C1, &udp(C1.addr, 5000, S, 53, b""));
    assert_eq!(out.dropped(), Some(DropReason::ConntrackFull));
    let _ = answer(&out, &C1);
    let mut h = Host::new();
    (1..=u16::MAX).for_each(|p| h.tables.set_reserved(tuple::UDP, p, true));
    let out = h.from(&C2, &udp(C2.addr, 5000, S, 53, b""));
    assert_eq!(out.dropped(), Some(DropReason::NoPort));
    let _ = answer(&out, &C2);
}

#[test]
fn what_is_forbidden_or_comes_from_outside_is_dropped_in_silence() {
    let mut h = full();
    for packet in [
        udp(S, 6000, S2, 53, b""),
        udp(C1.addr, 6000, C3.addr, 53, b""),
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
                let out = h.from(&C1, &udp(C1.addr, 6000 + i, S, 53, b""));
                out.answer.is_some()
            })
            .count() as u64
    };
    assert_eq!(told(&mut h, 1000), TOLD_AT_ONCE);
    h.tables.advance_ms(100);
    assert_eq!(told(&mut h, 1000), TOLD_PER_SECOND / 10);
    // Another container's answers are its own.
    let _ = h.from(&C2, &udp(C2.addr, 5000, S, 53, b"")).to_uplink();
    let out = h.from(&C2, &udp(C2.addr, 5001, S, 53, b""));
    let _ = answer(&out, &C2);
    h.tables.advance_ms(10_000);
    assert_eq!(told(&mut h, 1000), TOLD_AT_ONCE);
}

#[test]
fn over_ipv6_the_head_behind_extension_headers_is_told_too() {
    let mut h = Host::new();
    for config in [&mut h.tables.config, &mut h.tables6.config] {
        config.as_mut().unwrap().endpoint_flows = 1;
    }
    let _ = h.from6(&C1, &udp6(C1.addr6, 5000, S6, 53, b"")).to_uplink();
    // What is sent, and how many bytes of it are told: the headers, eight more, and 96 at most.
    for (packet, quoted) in [
        (udp6(C1.addr6, 6000, S6, 53, &[7; 200]), 48),
        (tcp6(C1.addr6, 6000, S6, 80, SYN), 48),
        (query6(C1.addr6, S6, 128, 6000), 48),
        (
            tcp6(C1.addr6, 6001, S6, 80, SYN).options(header::DESTINATION, 3),
            72,
        ),
        (
            udp6(C1.addr6, 6002, S6, 53, b"").options(header::DESTINATION, 8),
            96,
        ),
    ] {
        let sent = packet.frame(C1.mac, BRIDGE1_MAC, C1.ifindex).bytes;
        let out = h.from6(&C1, &packet);
        assert_eq!(out.dropped(), Some(DropReason::EndpointQuota));
        let told = out.answer.expect("no answer").bytes;
        assert_eq!(
            told[..14],
            [&C1.mac[..], &BRIDGE1_MAC, &[0x86, 0xdd]].concat()
        );
        assert_eq!(told.len(), 14 + 48 + quoted);
        // Version; payload length, next header, hop limit; addresses; type and code.
        assert_eq!(told[14..18], [0x60, 0, 0, 0]);
        assert_eq!(told[18..20], ((8 + quoted) as u16).to_be_bytes());
        assert_eq!(told[20..22], [tuple::ICMPV6, 64]);
        assert_eq!(told[22..54], [GW1_6, C1.addr6].concat());
        assert_eq!(told[54..56], [1, 1]);
        assert_eq!(told[58..62], [0; 4]);
        assert_eq!(told[62..], sent[14..14 + quoted]);
    }
    assert_eq!(h.tables6.counter(Counter::RefusalTold), 5);
}
