//! Which outside port a flow gets (cases 2, 3, 4, 8, 19).

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, RST, SYN},
    counters::Counter,
    records::CONFIG_PRESERVE_PORTS,
    tuple,
};

use super::family::*;

/// The outside source port of a translated frame.
fn outside_port(o: &Outcome) -> u16 {
    let _ = o.to_uplink();
    source_port(&o.frame)
}

#[test]
fn a_taken_port_is_replaced_within_its_class() {
    // RFC 4787 REQ-3 and the kernel's ranges.
    for (sport, range) in [(80, 1..=511), (700, 600..=1023), (40000, 1024..=65535)] {
        let mut h = Host::new();
        assert_eq!(
            outside_port(&h.from(&C1, &tcp(C1.ip(), sport, S, 80, SYN))),
            sport
        );
        let second = outside_port(&h.from(&C2, &tcp(C2.ip(), sport, S, 80, SYN)));
        assert_ne!(second, sport);
        assert!(range.contains(&second), "{sport} became {second}");
        assert_eq!(h.tables.counter(Counter::PortChanged), 1);
        let back = h.from_outside(&tcp(S, 80, H, second, SYN | ACK));
        assert_eq!(
            back.to_container(&C2),
            said(&format!("tcp S:80 > C2:{sport}"))
        );
        // Another destination, another outside tuple.
        assert_eq!(
            outside_port(&h.from(&C2, &tcp(C2.ip(), sport, S2, 80, SYN))),
            sport
        );
        // The same flow keeps what it has.
        assert_eq!(
            outside_port(&h.from(&C2, &tcp(C2.ip(), sport, S, 80, SYN))),
            second
        );
    }
}

#[test]
fn udp_and_tcp_do_not_collide() {
    let mut h = Host::new();
    assert_eq!(
        outside_port(&h.from(&C1, &tcp(C1.ip(), 53, S, 53, SYN))),
        53
    );
    assert_eq!(
        outside_port(&h.from(&C2, &udp(C2.ip(), 53, S, 53, b""))),
        53
    );
}

#[test]
fn reserved_ports_and_ports_of_host_sockets_are_not_chosen() {
    let mut h = Host::new();
    // Case 8: 8080 is published.
    assert_ne!(
        outside_port(&h.from(&C1, &tcp(C1.ip(), 8080, S, 80, SYN))),
        8080
    );
    // Reserved for TCP alone.
    assert_eq!(
        outside_port(&h.from(&C1, &udp(C1.ip(), 8080, S, 80, b""))),
        8080
    );
    // Case 7: a socket of the host would get the answers.
    let answer = Tuple {
        src: S,
        dst: H,
        sport: 80,
        dport: 40000,
        proto: tuple::TCP,
        ..Tuple::default()
    };
    h.tables.host_sockets.insert(answer);
    assert_ne!(
        outside_port(&h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN))),
        40000
    );
    assert!(
        h.from_outside(&tcp(S, 80, H, 40000, ACK)).passed(),
        "the host's own"
    );
}

#[test]
fn the_sixty_fifth_flow_finds_no_port() {
    let mut h = Host::new();
    let config = h.tables.config.as_mut().unwrap();
    (config.port_min, config.port_max) = (50_000, 50_063);
    let mut given: Vec<u16> = (0..64)
        .map(|n| outside_port(&h.from(&C1, &tcp(C1.ip(), 40_000 + n, S, 80, SYN))))
        .collect();
    given.sort_unstable();
    assert_eq!(given, (50_000..50_064).collect::<Vec<u16>>(), "every port");
    let entries = h.tables.entries().len();
    assert_eq!(entries, 128);
    let out = h.from(&C2, &tcp(C2.ip(), 50_000, S, 80, SYN));
    assert_eq!(out.dropped(), Some(DropReason::NoPort));
    assert_eq!(h.drops_of(DropReason::NoPort), 1);
    assert_eq!(
        h.tables.entries().len(),
        entries,
        "nothing is left of the attempt"
    );
    // The last hook does not let it out either.
    let out = h.from_stack(&tcp(C2.ip(), 50_000, S, 80, SYN));
    assert_eq!(out.dropped(), Some(DropReason::NoPort));
    // Elsewhere the same ports are free.
    let _ = h.from(&C2, &tcp(C2.ip(), 50_000, S2, 80, SYN)).to_uplink();
}

#[test]
fn a_port_within_the_range_is_preserved() {
    let mut h = Host::new();
    let config = h.tables.config.as_mut().unwrap();
    (config.port_min, config.port_max) = (50_000, 59_999);
    let mut port = |sport| outside_port(&h.from(&C1, &udp(C1.ip(), sport, S, 53, b"")));
    assert_eq!(port(50_000), 50_000);
    assert_eq!(port(59_999), 59_999);
    assert!((50_000..60_000).contains(&port(60_000)));
    assert!((50_000..60_000).contains(&port(80)));
}

#[test]
fn without_preservation_ports_are_random_and_never_follow_each_other() {
    let mut h = Host::new();
    h.tables.config.as_mut().unwrap().flags &= !CONFIG_PRESERVE_PORTS;
    let ports: Vec<u16> = (0..2000)
        .map(|n| outside_port(&h.from(&C1, &udp(C1.ip(), 10_000 + n, S, 53, b""))))
        .collect();
    let kept = (10_000..).zip(&ports).filter(|(n, p)| n == *p).count();
    assert!(kept < 4, "{kept} of 2000 kept their own port");
    let next = ports
        .windows(2)
        .filter(|w| w[1].wrapping_sub(w[0]) == 1)
        .count();
    assert!(next < 4, "{next} of 2000 followed the one before");
    // 2000 draws of 64,512 values fill each sixteenth of the range with about 125.
    let mut parts = [0; 16];
    ports
        .iter()
        .for_each(|p| parts[usize::from((p - 1024) / 4032).min(15)] += 1);
    assert!(parts.iter().all(|n| (80..180).contains(n)), "{parts:?}");
    // What begins in the middle cannot have kept what it had.
    let out = h.from(&C1, &tcp(C1.ip(), 700, S, 80, ACK));
    assert_eq!(out.dropped(), Some(DropReason::TcpNotSyn));
}

#[test]
fn a_nearly_full_range_is_still_used() {
    // 90 % of the range is taken; the schedule of the kernel finds a port nevertheless.
    let mut h = Host::new();
    for port in 1024..=65535u16 {
        h.tables.set_reserved(tuple::UDP, port, port % 10 != 0);
    }
    for n in 0..500 {
        let out = h.from(&C1, &udp(C1.ip(), 2001 + 10 * n, S, 53, b""));
        assert_eq!(outside_port(&out) % 10, 0);
    }
}

#[test]
fn an_expired_flow_gives_its_port_back() {
    let mut h = Host::new();
    assert_eq!(
        outside_port(&h.from(&C1, &udp(C1.ip(), 5000, S, 53, b""))),
        5000
    );
    h.tables.advance_ms(30_000);
    assert_eq!(
        outside_port(&h.from(&C2, &udp(C2.ip(), 5000, S, 53, b""))),
        5000
    );
    assert_eq!(
        h.tables.entries().len(),
        2,
        "the expired flow is gone, both halves"
    );
    let back = h.from_outside(&udp(S, 53, H, 5000, b""));
    assert_eq!(back.to_container(&C2), said("udp S:53 > C2:5000"));
}

#[test]
fn echo_identifiers_are_ports() {
    for (ask, answer) in QUERIES {
        let mut h = Host::new();
        let _ = h.from(&C1, &query(C1.ip(), S, ask, 7)).to_uplink();
        let second = h.from(&C2, &query(C2.ip(), S, ask, 7));
        let _ = second.to_uplink();
        let id = query_id(&second.frame);
        assert_ne!(id, 7);
        let a = h.from_outside(&query(S, H, answer, 7));
        assert_eq!(
            a.to_container(&C1),
            said(&format!("icmp {answer} S > C1 id 7"))
        );
        let b = h.from_outside(&query(S, H, answer, id));
        assert_eq!(
            b.to_container(&C2),
            said(&format!("icmp {answer} S > C2 id 7"))
        );
    }
}

#[test]
fn a_full_table_refuses_new_flows_and_keeps_the_old() {
    for spare in [0, 1] {
        let mut h = Host::new();
        super::connection::open(&mut h);
        h.tables.ct_capacity = 2 + spare;
        let out = h.from(&C2, &tcp(C2.ip(), 50_000, S, 80, SYN));
        assert_eq!(out.dropped(), Some(DropReason::ConntrackFull));
        assert_eq!(h.tables.entries().len(), 2, "no half of a flow is left");
        let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, ACK)).to_uplink();
        let _ = h.from_outside(&tcp(S, 80, H, 40000, ACK)).to_container(&C1);
    }
}

#[test]
fn a_full_table_gives_the_place_of_the_unanswered_and_closing() {
    let mut h = Host::new();
    super::connection::open(&mut h);
    // Two flows that nobody answers: the older one makes room.
    let _ = h.from(&C1, &udp(C1.ip(), 1001, S, 53, b"")).to_uplink();
    let _ = h.from(&C1, &udp(C1.ip(), 1002, S, 53, b"")).to_uplink();
    h.tables.ct_capacity = 6;
    let out = h.from(&C2, &tcp(C2.ip(), 50_000, S, 80, SYN));
    assert_eq!(out.to_uplink(), said("tcp H:50000 > S:80"));
    assert_eq!(h.tables.counter(Counter::FlowReclaimed), 1);
    let old = super::masquerade::record_key(tuple::UDP, 53, 1001);
    let young = super::masquerade::record_key(tuple::UDP, 53, 1002);
    assert!(h.tables.entry(&old).is_none() && h.tables.entry(&young).is_some());
    // Answered, the younger one stays, and so does the connection that was just begun and
    // answered: nothing is left to give.
    let _ = h.from_outside(&udp(S, 53, H, 1002, b"")).to_container(&C1);
    let _ = h
        .from_outside(&tcp(S, 80, H, 50_000, SYN | ACK))
        .to_container(&C2);
    let out = h.from(&C2, &tcp(C2.ip(), 50_001, S, 80, SYN));
    assert_eq!(out.dropped(), Some(DropReason::ConntrackFull));
    // A reset connection is worth less than a new one.
    let _ = h
        .from_outside(&tcp(S, 80, H, 50_000, RST | ACK))
        .to_container(&C2);
    let out = h.from(&C2, &tcp(C2.ip(), 50_001, S, 80, SYN));
    assert_eq!(out.to_uplink(), said("tcp H:50001 > S:80"));
    // The established connection went through all of it.
    let _ = h.from_outside(&tcp(S, 80, H, 40000, ACK)).to_container(&C1);
}
