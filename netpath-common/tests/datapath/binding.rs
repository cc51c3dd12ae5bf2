//! Endpoint-independent mapping and filtering: one outside port for one inside address and port, of either
//! family.

use netpath_common::{
    DropReason,
    conntrack::{
        Budget,
        tcp::{ACK, SYN},
    },
    counters::Counter,
    records::{CONFIG_BINDINGS, CONFIG_PRESERVE_PORTS, NETWORK_BINDINGS},
    testing::*,
    tuple::UDP,
};

use super::either::{
    Either,
    Who::{self, Gateway, In, Router, Second, Server, Server2},
};

const C1S: (Who, u16) = (In(C1), 5000);
const C2S: (Who, u16) = (In(C2), 5000);

fn host_of(is_v6: bool) -> Either {
    let mut h = Either::new(is_v6);
    h.network(NET1).flags |= NETWORK_BINDINGS;
    h.config().flags |= CONFIG_BINDINGS;
    h
}

/// Hosts whose first network has bindings, one for each family.
fn hosts() -> [Either; 2] {
    [false, true].map(host_of)
}

/// The same with ports that are not kept.
fn random() -> [Either; 2] {
    hosts().map(|mut h| {
        h.config().flags &= !CONFIG_PRESERVE_PORTS;
        h
    })
}

/// The port by which a container's port 5000 asks.
#[track_caller]
fn ask(h: &mut Either, c: &Container, dst: Who, dport: u16) -> u16 {
    send(h, c, 5000, dst, dport)
}

#[track_caller]
fn send(h: &mut Either, c: &Container, sport: u16, dst: Who, dport: u16) -> u16 {
    let packet = h.udp((In(*c), sport), (dst, dport));
    let out = h.from(c, &packet);
    h.port(&out)
}

/// What becomes of a datagram from the outside to the host's address.
fn knock(h: &mut Either, src: Who, sport: u16, port: u16) -> Outcome {
    let packet = h.udp((src, sport), (Who::Host, port));
    h.arrive(&packet)
}

#[test]
fn req1_a_mapping_does_not_depend_on_the_destination() {
    for mut h in random() {
        let p = ask(&mut h, &C1, Server, 53);
        assert_ne!(p, 5000);
        for (dst, dport) in [(Server, 54), (Server2, 53), (Router, 3478), (Server, 53)] {
            assert_eq!(ask(&mut h, &C1, dst, dport), p);
        }
        assert_eq!(h.bindings(), 1);
        // Another inside port, another container, another protocol: others.
        assert_ne!(send(&mut h, &C1, 5001, Server, 53), p);
        assert_ne!(ask(&mut h, &C2, Server, 53), p);
        let syn = h.tcp(C1S, (Server, 53), SYN);
        let _ = h.from(&C1, &syn).to_uplink();
        assert_eq!(h.bindings(), 4);
    }
}

#[test]
fn req1_also_where_somebody_else_has_the_own_port() {
    for mut h in hosts() {
        assert_eq!(ask(&mut h, &C1, Server, 53), 5000);
        // Taken for every destination, also for those that C1 has not asked.
        let p = ask(&mut h, &C2, Server2, 53);
        assert_ne!(p, 5000);
        assert_eq!(ask(&mut h, &C2, Server, 53), p);
        assert_eq!(ask(&mut h, &C1, Server2, 53), 5000);
    }
}

#[test]
fn req1_of_tcp_too() {
    for mut h in random() {
        let mut ports = [Server, Server2].map(|dst| {
            let syn = h.tcp(C1S, (dst, 80), SYN);
            let out = h.from(&C1, &syn);
            h.port(&out)
        });
        ports.sort_unstable();
        let [p, q] = ports;
        assert_eq!(p, q);
        // Whoever is not asked may begin, by a SYN alone.
        for flags in [ACK, SYN | ACK, 4] {
            let packet = h.tcp((Router, 9), (Who::Host, p), flags);
            assert!(h.arrive(&packet).passed());
        }
        let (a, c) = (h.end(Router, 9), h.end(In(C1), 5000));
        let packet = h.tcp((Router, 9), (Who::Host, p), SYN);
        let out = h.arrive(&packet).to_container(&C1);
        assert_eq!(out, format!("tcp {a} > {c}"));
        let packet = h.tcp(C1S, (Router, 9), SYN | ACK);
        let out = h.from(&C1, &packet).to_uplink();
        assert_eq!(out, format!("tcp {} > {a}", h.end(Who::Host, p)));
    }
}

#[test]
fn req8_anybody_may_answer() {
    for mut h in random() {
        let p = ask(&mut h, &C1, Server, 53);
        let made = h.counter(Counter::FlowNew);
        for (n, (src, sport)) in [(Server, 54), (Server2, 53), (Router, 9)]
            .into_iter()
            .enumerate()
        {
            let text = knock(&mut h, src, sport, p).to_container(&C1);
            assert_eq!(text, h.text((src, sport), C1S));
            // A flow of its own, of which the answer has the same port.
            assert_eq!(h.counter(Counter::FlowNew), made + n as u64 + 1);
            assert_eq!(ask(&mut h, &C1, src, sport), p);
        }
        assert_eq!(h.bindings(), 1);
        // The port next to it is nobody's.
        assert!(knock(&mut h, Router, 9, p ^ 1).passed());
    }
}

#[test]
fn a_datagram_in_parts_finds_its_binding() {
    for mut h in random() {
        let p = ask(&mut h, &C1, Server, 53);
        let whole = h.datagram((Router, 9), (Who::Host, p), &[7; 3000]);
        let parts = h.parts(&whole);
        assert_eq!(parts.len(), 3);
        for part in &parts {
            let _ = h.arrive(part).to_container(&C1);
        }
        let whole = h.datagram(C1S, (Server2, 54), &[7; 3000]);
        for (i, part) in h.parts(&whole).iter().enumerate() {
            let out = h.from(&C1, part);
            let text = out.to_uplink();
            if i == 0 {
                let want = h.text((Who::Host, p), (Server2, 54));
                assert!(text.starts_with(&want), "{text}");
            }
        }
        assert_eq!(h.bindings(), 1);
    }
}

#[test]
fn errors_about_a_bound_flow_go_both_ways_and_identifiers_are_not_bound() {
    for mut h in random() {
        let p = ask(&mut h, &C1, Server, 53);
        let _ = knock(&mut h, Router, 9, p).to_container(&C1);
        // Of what the container sends and of what it is sent.
        let sent = h.udp((Who::Host, p), (Server, 53));
        let error = h.unreachable(Server, Who::Host, &sent);
        let text = h.arrive(&error).to_container(&C1);
        assert!(text.contains(&h.text(C1S, (Server, 53))), "{text}");
        let seen = h.udp((Router, 9), C1S);
        let error = h.unreachable(In(C1), Router, &seen);
        let text = h.from(&C1, &error).to_uplink();
        let want = h.text((Router, 9), (Who::Host, p));
        assert!(text.contains(&want), "{text}");
        let ping = h.ping(In(C1), Server, 77);
        let _ = h.from(&C1, &ping).to_uplink();
        assert_eq!(h.bindings(), 1);
        let ping = h.ping(Router, Who::Host, 77);
        assert!(h.arrive(&ping).passed(), "the host is asked");
    }
}

#[test]
fn what_the_outside_begins_counts_against_its_budget() {
    for mut h in random() {
        h.config().inbound_embryonic = 2;
        let p = ask(&mut h, &C1, Server, 53);
        for n in 1..=5 {
            let _ = knock(&mut h, Router, n, p).to_container(&C1);
            assert_eq!(h.inbound(), i64::from(n.min(2)));
        }
        let out = knock(&mut h, In(C2), 1, p);
        assert_eq!(out.dropped(), Some(DropReason::Martian));
    }
}

#[test]
fn a_link_local_source_is_the_hosts() {
    // A container could not say on which link it answers.
    let mut h = host_of(true);
    let p = ask(&mut h, &C1, Server, 53);
    let near = netpath_common::datapath::link_local(ROUTER_MAC);
    let out = h.host.from_outside6(&udp6(near, 9, H6, p, b""));
    assert!(out.passed(), "{:?}", out.result);
}

#[test]
fn a_binding_lives_as_long_as_the_last_of_its_flows() {
    for mut h in random() {
        let p = ask(&mut h, &C1, Server, 53);
        h.advance_ms(20_000);
        assert_eq!(ask(&mut h, &C1, Server2, 53), p);
        // The first one is over.
        h.advance_ms(20_000);
        h.collect(false);
        assert_eq!(ask(&mut h, &C1, Router, 53), p);
        h.advance_ms(30_000);
        h.collect(false);
        h.advance_ms(2_000);
        h.collect(false);
        assert_eq!(h.entries(), (0, 0), "nothing is left");
        assert_eq!(h.live(Budget::ports(C1.slot)), 0);
        assert_eq!(h.live(Budget::flows(C1.slot)), 0);
        assert!(knock(&mut h, Server, 53, p).passed());
    }
}

#[test]
fn a_flush_takes_bindings_as_well() {
    for mut h in random() {
        let p = ask(&mut h, &C1, Server, 53);
        let _ = knock(&mut h, Router, 9, p).to_container(&C1);
        h.collect(true);
        assert_eq!(h.entries(), (0, 0));
        assert_eq!(h.live(Budget::ports(C1.slot)), 0);
        assert!(knock(&mut h, Router, 9, p).passed());
        let _ = ask(&mut h, &C1, Server, 53);
    }
}

#[test]
fn req6_packets_outwards_keep_it_also_those_of_a_flow_that_the_outside_has_begun() {
    for mut h in random() {
        let p = ask(&mut h, &C1, Server, 53);
        let _ = knock(&mut h, Router, 9, p).to_container(&C1);
        for _ in 0..10 {
            h.advance_ms(25_000);
            h.collect(false);
            assert_eq!(ask(&mut h, &C1, Router, 9), p);
        }
        assert_eq!(ask(&mut h, &C1, Server2, 77), p);
    }
}

#[test]
fn an_endpoint_that_has_gone_has_no_binding() {
    for mut h in random() {
        let p = ask(&mut h, &C1, Server, 53);
        h.remove(&C1);
        assert!(knock(&mut h, Router, 9, p).passed());
        h.add(&C1);
        assert!(knock(&mut h, Router, 9, p).passed());
        let _ = ask(&mut h, &C1, Server, 53);
    }
}

#[test]
fn a_quota_counts_a_binding_once() {
    for mut h in hosts() {
        h.config().endpoint_ports = 2;
        for n in 0..50 {
            assert_eq!(ask(&mut h, &C1, Server, 100 + n), 5000);
        }
        assert_eq!(h.live(Budget::ports(C1.slot)), 1);
        assert_eq!(h.live(Budget::flows(C1.slot)), 50);
        let _ = send(&mut h, &C1, 5001, Server, 53);
        let packet = h.udp((In(C1), 5002), (Server, 53));
        let out = h.from(&C1, &packet);
        assert_eq!(out.dropped(), Some(DropReason::EndpointQuota));
        // Of flows as ever.
        h.config().endpoint_flows = 51;
        let packet = h.udp((In(C1), 5001), (Server, 54));
        let out = h.from(&C1, &packet);
        assert_eq!(out.dropped(), Some(DropReason::EndpointQuota));
    }
}

#[test]
fn published_ports_and_sockets_of_the_host_come_first() {
    for mut h in hosts() {
        // No binding has them.
        h.listen(UDP, 5001);
        assert_ne!(send(&mut h, &C2, 5353, Server, 53), 5353);
        assert_ne!(send(&mut h, &C2, 5001, Server, 53), 5001);
        // One that is published afterwards is what it is published for, one that is listened at the host's.
        assert_eq!(ask(&mut h, &C2, Server, 53), 5000);
        h.publish(UDP, 5000, (&C1, 53), 3);
        let text = knock(&mut h, Router, 9, 5000).to_container(&C1);
        assert_eq!(text, h.text((Router, 9), (In(C1), 53)));
        h.unpublish(UDP, 5000, 3);
        h.listen(UDP, 5000);
        assert!(knock(&mut h, Router, 10, 5000).passed());
    }
}

#[test]
fn another_networks_flow_is_not_given_the_port_of_a_binding() {
    for mut h in hosts() {
        assert_eq!(ask(&mut h, &C1, Server, 53), 5000);
        // To any destination, so that the binding can be used to reach it.
        assert_ne!(ask(&mut h, &C3, Server2, 53), 5000);
        assert_eq!(ask(&mut h, &C1, Server2, 53), 5000);
    }
}

#[test]
fn networks_without_bindings_are_as_ever() {
    for mut h in hosts() {
        assert_eq!(ask(&mut h, &C3, Server, 53), 5000);
        assert_eq!(h.bindings(), 0);
        assert!(knock(&mut h, Router, 9, 5000).passed());
    }
}

#[test]
fn req9_containers_reach_each_other_by_their_outside_ports() {
    for mut h in random() {
        let [p1, p2] = [C1, C2].map(|c| ask(&mut h, &c, Server, 53));
        let mut hairpin = |c: &Container, sport, port, to: &Container| {
            let packet = h.udp((In(*c), sport), (Who::Host, port));
            h.from(c, &packet).to_container(to)
        };
        let (one, two) = (hairpin(&C1, 5000, p2, &C2), hairpin(&C2, 5000, p1, &C1));
        // Who has no binding yet is given one.
        let new = hairpin(&C1, 6000, p2, &C2);
        // One's own, from another port and from itself.
        let _ = hairpin(&C1, 6000, p1, &C1);
        let itself = hairpin(&C1, 5000, p1, &C1);
        // A network without bindings.
        let other = hairpin(&C3, 7000, p1, &C1);
        // The source is the outside one (a).
        assert_eq!(one, h.text((Who::Host, p1), C2S));
        assert_eq!(two, h.text((Who::Host, p2), C1S));
        assert_eq!(new, h.text((Who::Host, source_port(&new)), C2S));
        assert_eq!(itself, h.text((Gateway, 5000), C1S));
        assert_eq!(other, h.text((In(C3), 7000), C1S), "the client itself");
        let packet = h.udp(C1S, (Gateway, 5000));
        let back = h.from(&C1, &packet).to_container(&C1);
        assert_eq!(back, h.text((Who::Host, p1), C1S));
        assert_eq!(h.bindings(), 3);
    }
}

#[test]
fn req9_of_tcp_too() {
    for mut h in random() {
        let p = send(&mut h, &C2, 80, Server, 53);
        let syn = h.tcp((In(C2), 80), (Server, 443), SYN);
        let out = h.from(&C2, &syn);
        let q = h.port(&out);
        assert_ne!(p, q, "TCP has bindings of its own");
        let packet = h.tcp(C1S, (Who::Host, q), SYN);
        let out = h.from(&C1, &packet);
        let seen = out.to_container(&C2);
        // Both ports are translated, in both directions.
        let of_c1 = source_port(&seen);
        let (host, c2) = (h.end(Who::Host, of_c1), h.end(In(C2), 80));
        assert_eq!(seen, format!("tcp {host} > {c2}"));
        let packet = h.tcp((In(C2), 80), (Who::Host, of_c1), SYN | ACK);
        let back = h.from(&C2, &packet).to_container(&C1);
        let (from, to) = (h.end(Who::Host, q), h.end(In(C1), 5000));
        assert_eq!(back, format!("tcp {from} > {to}"));
        let packet = h.tcp(C1S, (Who::Host, q), ACK);
        assert_eq!(h.from(&C1, &packet).to_container(&C2), seen);
        // By the same port outwards.
        let packet = h.tcp(C1S, (Server, 443), SYN);
        let out = h.from(&C1, &packet);
        assert_eq!(h.port(&out), of_c1);
    }
}

/// The source port in a text of [`Outcome`].
fn source_port(text: &str) -> u16 {
    let (from, _) = text.split_once(" > ").unwrap();
    let (_, port) = from.rsplit_once(':').unwrap();
    port.parse().unwrap()
}

#[test]
fn whoever_sends_keeps_a_binding() {
    for mut h in random() {
        let p = ask(&mut h, &C1, Server, 53);
        for _ in 0..5 {
            h.advance_ms(25_000);
            h.collect(false);
            let _ = knock(&mut h, Router, 9, p).to_container(&C1);
        }
        assert_eq!(ask(&mut h, &C1, Server2, 53), p);
        // Its flow counts like the container's own, and ends like them.
        for ms in [60_000, 2_000] {
            h.advance_ms(ms);
            h.collect(false);
        }
        assert_eq!(h.entries(), (0, 0));
    }
}

#[test]
fn early_drop_knows_bindings() {
    for mut h in random() {
        let p = ask(&mut h, &C1, Server, 53);
        for n in 1..=2 * netpath_common::datapath::REFUSED_AT_ONCE as u16 {
            let packet = h.udp((Router, n), (Who::Host, p));
            assert!(h.early(&packet).passed());
        }
    }
}

#[test]
fn a_connection_that_is_picked_up_has_its_own_port_or_none() {
    for mut h in hosts() {
        let packet = h.tcp(C1S, (Server, 80), ACK);
        let out = h.from(&C1, &packet);
        assert_eq!(h.port(&out), 5000);
        let packet = h.tcp(C2S, (Server, 80), ACK);
        let out = h.from(&C2, &packet);
        assert_eq!(out.dropped(), Some(DropReason::TcpNotSyn));
    }
}

#[test]
fn a_full_table_makes_no_half_of_it() {
    for (capacity, is_v6) in (0..4).flat_map(|n| [(n, false), (n, true)]) {
        let mut h = host_of(is_v6);
        h.set_capacity(capacity);
        let packet = h.udp(C1S, (Server, 53));
        let out = h.from(&C1, &packet);
        assert_eq!(out.dropped(), Some(DropReason::ConntrackFull), "{capacity}");
        assert_eq!(h.live(Budget::flows(C1.slot)), 0);
        assert_eq!(
            h.live(Budget::ports(C1.slot)),
            i64::from(capacity >= 2),
            "a binding without a flow goes by itself"
        );
        h.advance_ms(2_000);
        h.collect(false);
        assert_eq!(h.entries(), (0, 0));
        assert_eq!(h.live(Budget::ports(C1.slot)), 0);
    }
}

#[test]
fn an_uplinks_other_address_has_bindings_of_its_own() {
    for mut h in hosts() {
        assert_eq!(ask(&mut h, &C1, Server, 53), 5000);
        h.use_second();
        let packet = h.udp(C1S, (Server2, 53));
        let out = h.from(&C1, &packet).to_uplink();
        assert_eq!(out, h.text((Second, 5000), (Server2, 53)));
        assert_eq!(h.bindings(), 2);
        let packet = h.udp((Router, 9), (Second, 5000));
        let _ = h.arrive(&packet).to_container(&C1);
    }
}
