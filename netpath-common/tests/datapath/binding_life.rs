//! Which flows a binding counts, and among which ports its own is chosen.

use netpath_common::{
    DropReason,
    conntrack::{Budget, tcp::ACK},
    counters::Counter,
    datapath::{Tables as _, collect},
    records::{CONFIG_BINDINGS, CONFIG_PRESERVE_PORTS, NETWORK_BINDINGS},
    tuple::BINDING,
};

use super::family::*;

/// The standard host; the first network has bindings, and ports are not kept.
fn host() -> Host {
    let mut h = Host::new();
    h.tables.networks[usize::from(NET1)].flags |= NETWORK_BINDINGS;
    let flags = &mut h.tables.config.as_mut().unwrap().flags;
    *flags = (*flags | CONFIG_BINDINGS) & !CONFIG_PRESERVE_PORTS;
    h
}

/// The outside port by which a container's port 5000 asks.
#[track_caller]
fn ask(h: &mut Host, c: &Container, dst: Addr, dport: u16) -> u16 {
    let out = h.from(c, &udp(c.ip(), 5000, dst, dport, b""));
    let _ = out.to_uplink();
    source_port(&out.frame)
}

/// Removes what is over, as the agent does.
fn collect_all(h: &Host) {
    for (key, _) in h.tables.entries() {
        let _ = collect(&h.tables, &key, false);
    }
}

/// The binding of C1 lives beyond the time that one without flows is kept for.
#[track_caller]
fn assert_lives(h: &mut Host, port: u16) {
    collect_all(h);
    h.tables.advance_ms(3_000);
    collect_all(h);
    let out = h.from_outside(&udp(R, 9, H, port, b""));
    assert_eq!(out.to_container(&C1), said("udp R:9 > C1:5000"));
    assert_eq!(ask(h, &C1, S2, 54), port);
}

#[test]
fn flows_of_an_earlier_binding_are_not_taken_off_the_next() {
    let mut h = host();
    let _ = ask(&mut h, &C1, S, 53);
    let _ = ask(&mut h, &C1, S2, 53);
    h.tables.uplinks[usize::from(UPLINK)].generation += 1;
    let port = ask(&mut h, &C1, S, 53);
    assert_lives(&mut h, port);
}

#[test]
fn nor_are_hairpins() {
    let mut h = host();
    let neighbours = ask(&mut h, &C2, S, 53);
    let out = h.from(&C1, &udp(C1.ip(), 5000, H, neighbours, b""));
    let _ = out.to_container(&C2);
    h.tables.uplinks[usize::from(UPLINK)].generation += 1;
    let port = ask(&mut h, &C1, S, 53);
    assert_lives(&mut h, port);
}

#[test]
fn a_neighbour_that_has_gone_is_taken_off() {
    let mut h = host();
    let neighbours = ask(&mut h, &C2, S, 53);
    let out = h.from(&C1, &udp(C1.ip(), 5000, H, neighbours, b""));
    let _ = out.to_container(&C2);
    h.tables.remove_container(&C2);
    collect_all(&h);
    h.tables.advance_ms(3_000);
    collect_all(&h);
    assert_eq!(h.tables.entry_count(), 0, "nothing uses the binding");
}

#[test]
fn a_binding_is_no_flow_where_flows_are_counted() {
    let mut h = host();
    let _ = ask(&mut h, &C1, S, 53);
    assert_eq!(h.tables.entry_count(), 4);
    assert_eq!(h.tables.counter(Counter::FlowNew), 1);
    h.tables.advance_ms(60_000);
    collect_all(&h);
    h.tables.advance_ms(3_000);
    collect_all(&h);
    assert_eq!(h.tables.entry_count(), 0);
    assert_eq!(h.tables.live(Budget::ports(C1.slot)), 0);
    assert_eq!(h.tables.counter(Counter::FlowRemoved), 1);
}

#[test]
fn a_connection_that_is_picked_up_has_a_port_of_the_range_or_none() {
    let pick_up = |h: &mut Host, sport| h.from(&C1, &tcp(C1.ip(), sport, S, 80, ACK));
    let mut h = host();
    let config = h.tables.config.as_mut().unwrap();
    config.flags |= CONFIG_PRESERVE_PORTS;
    (config.port_min, config.port_max) = (40_000, 40_010);
    let out = pick_up(&mut h, 40_003);
    assert_eq!(out.to_uplink(), said("tcp H:40003 > S:80"));
    let out = pick_up(&mut h, 5000);
    assert_eq!(out.dropped(), Some(DropReason::TcpNotSyn));
    // As without bindings, where ports are not kept.
    let mut h = host();
    let out = pick_up(&mut h, 5000);
    assert_eq!(out.dropped(), Some(DropReason::TcpNotSyn));
}

#[test]
fn a_binding_that_a_hairpin_makes_has_a_port_of_the_range() {
    for keep in [0, CONFIG_PRESERVE_PORTS] {
        let mut h = host();
        let config = h.tables.config.as_mut().unwrap();
        config.flags |= keep;
        (config.port_min, config.port_max) = (40_000, 40_001);
        let neighbours = ask(&mut h, &C2, S, 53);
        let out = h.from(&C1, &udp(C1.ip(), 5000, H, neighbours, b""));
        let _ = out.to_container(&C2);
        let port = source_port(&out.frame);
        assert!((40_000..=40_001).contains(&port), "{port}");
        assert_eq!(ask(&mut h, &C1, S, 53), port);
        let bindings = h.tables.entries().into_iter();
        assert_eq!(bindings.filter(|(k, _)| k.proto == BINDING).count(), 4);
    }
    // Nor its own port, where ports are not kept.
    let mut h = host();
    let neighbours = ask(&mut h, &C2, S, 53);
    let out = h.from(&C1, &udp(C1.ip(), 5000, H, neighbours, b""));
    assert_ne!(source_port(&out.frame), 5000);
}
