//! Endpoint-independent mapping and filtering: one outside port for one inside address and port, of either
//! family.

use netpath_common::{
    conntrack::{
        Budget,
        tcp::{ACK, SYN},
    },
    counters::Counter,
    records::{CONFIG_BINDINGS, CONFIG_PRESERVE_PORTS, NETWORK_BINDINGS},
    testing::*,
};

use super::either::{
    Either,
    Who::{self, Gateway, In, Router, Server, Server2},
};

pub(super) const C1S: (Who, u16) = (In(C1), 5000);
pub(super) const C2S: (Who, u16) = (In(C2), 5000);

pub(super) fn host_of(is_v6: bool) -> Either {
    let mut h = Either::new(is_v6);
    h.network(NET1).flags |= NETWORK_BINDINGS;
    h.config().flags |= CONFIG_BINDINGS;
    h
}

/// Hosts whose first network has bindings, one for each family.
pub(super) fn hosts() -> [Either; 2] {
    [false, true].map(host_of)
}

/// The same with ports that are not kept.
pub(super) fn random() -> [Either; 2] {
    hosts().map(|mut h| {
        h.config().flags &= !CONFIG_PRESERVE_PORTS;
        h
    })
}

/// The port by which a container's port 5000 asks.
#[track_caller]
pub(super) fn ask(h: &mut Either, c: &Container, dst: Who, dport: u16) -> u16 {
    send(h, c, 5000, dst, dport)
}

#[track_caller]
pub(super) fn send(h: &mut Either, c: &Container, sport: u16, dst: Who, dport: u16) -> u16 {
    let packet = h.udp((In(*c), sport), (dst, dport));
    let out = h.from(c, &packet);
    h.port(&out)
}

/// What becomes of a datagram from the outside to the host's address.
pub(super) fn knock(h: &mut Either, src: Who, sport: u16, port: u16) -> Outcome {
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
fn another_networks_flow_is_not_given_the_port_of_a_binding() {
    for mut h in hosts() {
        assert_eq!(ask(&mut h, &C1, Server, 53), 5000);
        // To any destination, so that the binding can be used to reach it.
        assert_ne!(ask(&mut h, &C3, Server2, 53), 5000);
        assert_eq!(ask(&mut h, &C1, Server2, 53), 5000);
    }
}

#[test]
fn a_binding_is_not_given_a_port_that_its_first_flow_would_not_find_free() {
    for mut h in hosts() {
        // Of another network, without a binding, and towards the same peer.
        assert_eq!(ask(&mut h, &C3, Server, 53), 5000);
        let p = ask(&mut h, &C1, Server, 53);
        assert_ne!(p, 5000);
        assert_eq!(ask(&mut h, &C1, Server2, 53), p);
        // Towards another one it is free.
        assert_eq!(ask(&mut h, &C2, Server2, 53), 5000);
    }
}

#[test]
fn a_flow_that_another_processor_is_making_is_no_other_one() {
    for mut h in hosts() {
        assert_eq!(ask(&mut h, &C1, Server, 53), 5000);
        h.keep_records();
        assert_eq!(ask(&mut h, &C1, Server, 53), 5000);
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
