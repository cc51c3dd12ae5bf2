//! Endpoint-independent mapping and filtering: one outside port for one inside address and port.

use netpath_common::{
    DropReason,
    addr::V4,
    conntrack::{
        Budget,
        tcp::{ACK, SYN},
    },
    counters::Counter,
    datapath::Tables,
    event::Hook,
    records::{CONFIG_BINDINGS, CONFIG_PRESERVE_PORTS, NETWORK_BINDINGS},
    testing::*,
    tuple::{BINDING, UDP},
};

use super::rfc4787::port;

/// A host whose first network has bindings.
fn host() -> Host {
    seeded(1)
}

fn seeded(seed: u64) -> Host {
    let mut h = Host::seeded(seed);
    h.tables.networks[usize::from(NET1)].flags |= NETWORK_BINDINGS;
    h.tables.config.as_mut().unwrap().flags |= CONFIG_BINDINGS;
    h
}

/// The same with ports that are not kept.
fn random() -> Host {
    let mut h = host();
    h.tables.config.as_mut().unwrap().flags &= !CONFIG_PRESERVE_PORTS;
    h
}

fn ask(h: &mut Host, c: &Container, dst: Addr, dport: u16) -> u16 {
    port(&h.from(c, &udp(c.addr, 5000, dst, dport, b"")))
}

fn bindings(h: &Host) -> usize {
    let entries = h.tables.entries();
    entries.iter().filter(|(k, _)| k.proto == BINDING).count() / 2
}

#[test]
fn req1_a_mapping_does_not_depend_on_the_destination() {
    let mut h = random();
    let p = ask(&mut h, &C1, S, 53);
    assert_ne!(p, 5000);
    for (dst, dport) in [(S, 54), (S2, 53), (R, 3478), (S, 53)] {
        assert_eq!(ask(&mut h, &C1, dst, dport), p);
    }
    assert_eq!(bindings(&h), 1);
    // Another inside port, another container, another protocol: others.
    let other = port(&h.from(&C1, &udp(C1.addr, 5001, S, 53, b"")));
    assert_ne!(other, p);
    assert_ne!(ask(&mut h, &C2, S, 53), p);
    let _ = port(&h.from(&C1, &tcp(C1.addr, 5000, S, 53, SYN)));
    assert_eq!(bindings(&h), 4);
}

#[test]
fn req1_also_where_somebody_else_has_the_own_port() {
    let mut h = host();
    assert_eq!(ask(&mut h, &C1, S, 53), 5000);
    // Taken for every destination, also for those that C1 has not asked.
    let p = ask(&mut h, &C2, S2, 53);
    assert_ne!(p, 5000);
    assert_eq!(ask(&mut h, &C2, S, 53), p);
    assert_eq!(ask(&mut h, &C1, S2, 53), 5000);
}

#[test]
fn req1_of_tcp_too() {
    let mut h = random();
    let syn = |dst: Addr| tcp(C1.addr, 5000, dst, 80, SYN);
    let p = port(&h.from(&C1, &syn(S)));
    assert_eq!(port(&h.from(&C1, &syn(S2))), p);
    // Whoever is not asked may begin, by a SYN alone.
    for flags in [ACK, SYN | ACK, 4] {
        assert!(h.from_outside(&tcp(R, 9, H, p, flags)).passed());
    }
    let out = h.from_outside(&tcp(R, 9, H, p, SYN));
    assert_eq!(out.to_container(&C1), "tcp 192.0.2.254:9 > 172.17.0.2:5000");
    let out = h.from(&C1, &tcp(C1.addr, 5000, R, 9, SYN | ACK));
    assert_eq!(
        out.to_uplink(),
        format!("tcp 192.0.2.1:{p} > 192.0.2.254:9")
    );
}

#[test]
fn req8_anybody_may_answer() {
    let mut h = random();
    let p = ask(&mut h, &C1, S, 53);
    let made = h.tables.counter(Counter::FlowNew);
    for (n, (src, sport)) in [(S, 54), (S2, 53), (R, 9)].into_iter().enumerate() {
        let out = h.from_outside(&udp(src, sport, H, p, b""));
        let text = out.to_container(&C1);
        assert!(text.ends_with("> 172.17.0.2:5000"), "{text}");
        // A flow of its own, of which the answer has the same port.
        assert_eq!(h.tables.counter(Counter::FlowNew), made + n as u64 + 1);
        let back = h.from(&C1, &udp(C1.addr, 5000, src, sport, b""));
        assert_eq!(port(&back), p);
    }
    assert_eq!(bindings(&h), 1);
    // The port next to it is nobody's.
    assert!(h.from_outside(&udp(R, 9, H, p ^ 1, b"")).passed());
}

#[test]
fn what_the_outside_begins_counts_against_its_budget() {
    let mut h = random();
    h.tables.config.as_mut().unwrap().inbound_embryonic = 2;
    let p = ask(&mut h, &C1, S, 53);
    for n in 1..=5 {
        let _ = h.from_outside(&udp(R, n, H, p, b"")).to_container(&C1);
        assert_eq!(h.tables.live(Budget::inbound::<V4>()), i64::from(n.min(2)));
    }
    let out = h.from_outside(&udp(C2.addr, 1, H, p, b""));
    assert_eq!(out.dropped(), Some(DropReason::Martian));
}

#[test]
fn a_binding_lives_as_long_as_the_last_of_its_flows() {
    let mut h = random();
    let p = ask(&mut h, &C1, S, 53);
    h.tables.advance_ms(20_000);
    assert_eq!(ask(&mut h, &C1, S2, 53), p);
    // The first one is over.
    h.tables.advance_ms(20_000);
    collect(&h);
    assert_eq!(ask(&mut h, &C1, R, 53), p);
    h.tables.advance_ms(30_000);
    collect(&h);
    h.tables.advance_ms(2_000);
    collect(&h);
    assert_eq!(h.tables.entries(), [], "nothing is left");
    assert_eq!(h.tables.live(Budget::ports(C1.slot)), 0);
    assert_eq!(h.tables.live(Budget::flows(C1.slot)), 0);
    assert!(h.from_outside(&udp(S, 53, H, p, b"")).passed());
}

#[test]
fn req6_packets_outwards_keep_it_also_those_of_a_flow_that_the_outside_has_begun() {
    let mut h = random();
    let p = ask(&mut h, &C1, S, 53);
    let _ = h.from_outside(&udp(R, 9, H, p, b"")).to_container(&C1);
    for _ in 0..10 {
        h.tables.advance_ms(25_000);
        collect(&h);
        assert_eq!(port(&h.from(&C1, &udp(C1.addr, 5000, R, 9, b""))), p);
    }
    assert_eq!(ask(&mut h, &C1, S2, 77), p);
}

/// Removes what is over, as the agent does.
fn collect(h: &Host) {
    for _ in 0..2 {
        for (key, _) in h.tables.entries() {
            let _ = netpath_common::datapath::collect(&h.tables, &key, false);
        }
    }
}

#[test]
fn an_endpoint_that_has_gone_has_no_binding() {
    let mut h = random();
    let p = ask(&mut h, &C1, S, 53);
    h.tables.remove_container(&C1);
    assert!(h.from_outside(&udp(R, 9, H, p, b"")).passed());
    h.tables.add_container(&C1);
    assert!(h.from_outside(&udp(R, 9, H, p, b"")).passed());
    let _ = ask(&mut h, &C1, S, 53);
}

#[test]
fn a_quota_counts_a_binding_once() {
    let mut h = host();
    h.tables.config.as_mut().unwrap().endpoint_ports = 2;
    for n in 0..50 {
        assert_eq!(ask(&mut h, &C1, S, 100 + n), 5000);
    }
    assert_eq!(h.tables.live(Budget::ports(C1.slot)), 1);
    assert_eq!(h.tables.live(Budget::flows(C1.slot)), 50);
    let _ = port(&h.from(&C1, &udp(C1.addr, 5001, S, 53, b"")));
    let out = h.from(&C1, &udp(C1.addr, 5002, S, 53, b""));
    assert_eq!(out.dropped(), Some(DropReason::EndpointQuota));
    // Of flows as ever.
    h.tables.config.as_mut().unwrap().endpoint_flows = 51;
    let out = h.from(&C1, &udp(C1.addr, 5001, S, 54, b""));
    assert_eq!(out.dropped(), Some(DropReason::EndpointQuota));
}

#[test]
fn published_ports_and_sockets_of_the_host_come_first() {
    let mut h = host();
    // No binding has them.
    h.tables.host_listeners.insert((UDP, 5001));
    assert_ne!(port(&h.from(&C2, &udp(C2.addr, 5353, S, 53, b""))), 5353);
    assert_ne!(port(&h.from(&C2, &udp(C2.addr, 5001, S, 53, b""))), 5001);
    // One that is published afterwards is what it is published for, one that is listened at the host's.
    assert_eq!(ask(&mut h, &C2, S, 53), 5000);
    h.tables.publish(UDP, 5000, &C1, 53, 3);
    let out = h.from_outside(&udp(R, 9, H, 5000, b""));
    assert_eq!(out.to_container(&C1), "udp 192.0.2.254:9 > 172.17.0.2:53");
    h.tables.unpublish(UDP, 5000, 3);
    h.tables.host_listeners.insert((UDP, 5000));
    assert!(h.from_outside(&udp(R, 10, H, 5000, b"")).passed());
}

#[test]
fn another_networks_flow_is_not_given_the_port_of_a_binding() {
    let mut h = host();
    assert_eq!(ask(&mut h, &C1, S, 53), 5000);
    // To any destination, so that the binding can be used to reach it.
    assert_ne!(ask(&mut h, &C3, S2, 53), 5000);
    assert_eq!(ask(&mut h, &C1, S2, 53), 5000);
}

#[test]
fn networks_without_bindings_are_as_ever() {
    let mut h = host();
    assert_eq!(ask(&mut h, &C3, S, 53), 5000);
    assert_eq!(bindings(&h), 0);
    assert!(h.from_outside(&udp(R, 9, H, 5000, b"")).passed());
}

#[test]
fn req9_containers_reach_each_other_by_their_outside_ports() {
    let mut h = random();
    let (p1, p2) = (ask(&mut h, &C1, S, 53), ask(&mut h, &C2, S, 53));
    let out = h.from(&C1, &udp(C1.addr, 5000, H, p2, b""));
    // The source is the outside one (a).
    assert_eq!(
        out.to_container(&C2),
        format!("udp 192.0.2.1:{p1} > 172.17.0.3:5000")
    );
    let back = h.from(&C2, &udp(C2.addr, 5000, H, p1, b""));
    assert_eq!(
        back.to_container(&C1),
        format!("udp 192.0.2.1:{p2} > 172.17.0.2:5000")
    );
    // Who has no binding yet is given one.
    let out = h.from(&C1, &udp(C1.addr, 6000, H, p2, b""));
    let text = out.to_container(&C2);
    assert!(text.starts_with("udp 192.0.2.1:"), "{text}");
    assert_eq!(bindings(&h), 3);
    // One's own, from another port and from itself.
    let _ = h
        .from(&C1, &udp(C1.addr, 6000, H, p1, b""))
        .to_container(&C1);
    let out = h.from(&C1, &udp(C1.addr, 5000, H, p1, b""));
    assert_eq!(
        out.to_container(&C1),
        "udp 172.17.0.1:5000 > 172.17.0.2:5000"
    );
    let back = h.from(&C1, &udp(C1.addr, 5000, GW1, 5000, b""));
    assert_eq!(
        back.to_container(&C1),
        format!("udp 192.0.2.1:{p1} > 172.17.0.2:5000")
    );
    // A network without bindings: the client itself.
    let out = h.from(&C3, &udp(C3.addr, 7000, H, p1, b""));
    assert_eq!(
        out.to_container(&C1),
        "udp 172.18.0.2:7000 > 172.17.0.2:5000"
    );
}

#[test]
fn early_drop_knows_bindings() {
    let mut h = random();
    let p = ask(&mut h, &C1, S, 53);
    for n in 1..=2 * netpath_common::datapath::REFUSED_AT_ONCE as u16 {
        let frame = udp(R, n, H, p, b"").frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF);
        assert!(h.run(Hook::Xdp, &frame).passed());
    }
}

#[test]
fn a_connection_that_is_picked_up_has_its_own_port_or_none() {
    let mut h = host();
    assert_eq!(port(&h.from(&C1, &tcp(C1.addr, 5000, S, 80, ACK))), 5000);
    let out = h.from(&C2, &tcp(C2.addr, 5000, S, 80, ACK));
    assert_eq!(out.dropped(), Some(DropReason::TcpNotSyn));
}

#[test]
fn a_full_table_makes_no_half_of_it() {
    for capacity in 0..4 {
        let mut h = host();
        h.tables.ct_capacity = capacity;
        let out = h.from(&C1, &udp(C1.addr, 5000, S, 53, b""));
        assert_eq!(out.dropped(), Some(DropReason::ConntrackFull), "{capacity}");
        assert_eq!(h.tables.live(Budget::flows(C1.slot)), 0);
        assert_eq!(
            h.tables.live(Budget::ports(C1.slot)),
            i64::from(capacity >= 2),
            "a binding without a flow goes by itself"
        );
        h.tables.advance_ms(2_000);
        collect(&h);
        assert_eq!(h.tables.entries(), []);
        assert_eq!(h.tables.live(Budget::ports(C1.slot)), 0);
    }
}

#[test]
fn an_uplinks_other_address_has_bindings_of_its_own() {
    let mut h = host();
    assert_eq!(ask(&mut h, &C1, S, 53), 5000);
    h.tables.networks[usize::from(NET1)].snat = [192, 0, 2, 77];
    h.tables.host_addrs.insert([192, 0, 2, 77]);
    let out = h.from(&C1, &udp(C1.addr, 5000, S2, 53, b""));
    assert_eq!(out.to_uplink(), "udp 192.0.2.77:5000 > 203.0.113.5:53");
    assert_eq!(bindings(&h), 2);
    let back = h.from_outside(&udp(R, 9, [192, 0, 2, 77], 5000, b""));
    let _ = back.to_container(&C1);
}
