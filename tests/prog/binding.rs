//! Endpoint-independent mapping of both families: bytes, exact counters, and what the collector removes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use netpath_common::{
    Addr, Tuple, V6,
    conntrack::tcp::SYN,
    records::{CONFIG_BINDINGS, NETWORK_BINDINGS},
    testing::*,
    tuple::BINDING,
};
use netpath_tests::runner::{REDIRECT, Runner};

use crate::{Case, arrived, bridge, delivered, ipv6, left, sent};

const NEW_OUT: &[(&str, u64)] = &[("flow-new", 1), ("to-uplink", 1)];
const NEW_IN: &[(&str, u64)] = &[("flow-new", 1), ("to-endpoint", 1)];
const ERROR_IN: &[(&str, u64)] = &[("icmp-error-translated", 1), ("to-endpoint", 1)];

/// The first network of `r` has bindings.
fn bind(mut r: Runner) -> Runner {
    r.tables.networks[usize::from(NET1)].flags |= NETWORK_BINDINGS;
    r.tables.config.as_mut().unwrap().flags |= CONFIG_BINDINGS;
    r.sync();
    r
}

/// How many keys are those of bindings, and how many are others.
fn counted<A: Addr>(keys: &[Tuple<A>]) -> (usize, usize) {
    let bindings = keys.iter().filter(|k| k.proto == BINDING).count();
    (bindings, keys.len() - bindings)
}

fn out(name: &'static str, before: &Datagram, after: &Datagram) -> Case {
    Case {
        name,
        input: sent(&C1, before),
        action: REDIRECT,
        output: left(&C1, &after.clone().ttl(63)),
        counters: NEW_OUT,
    }
}

fn out6(name: &'static str, before: &Datagram6, after: &Datagram6) -> Case {
    Case {
        name,
        input: ipv6::sent(&C1, before),
        action: REDIRECT,
        output: Some(after.clone().hops(63).frame(C1.mac, bridge(&C1), 0)),
        counters: NEW_OUT,
    }
}

fn delivered6(c: &Container, packet: &Datagram6) -> Option<Frame> {
    Some(packet.clone().hops(63).frame(bridge(c), c.mac, 0))
}

#[test]
fn a_binding_is_one_port_for_all_and_open_to_all() {
    let mut r = bind(Runner::new());
    for case in [
        out(
            "the first",
            &udp(C1.addr, 5000, S, 53, b"?"),
            &udp(H, 5000, S, 53, b"?"),
        ),
        out(
            "another destination",
            &udp(C1.addr, 5000, S2, 54, b"?"),
            &udp(H, 5000, S2, 54, b"?"),
        ),
        Case {
            name: "a stranger",
            input: arrived(&udp(R, 9, H, 5000, b"!")),
            action: REDIRECT,
            output: delivered(&C1, &udp(R, 9, C1.addr, 5000, b"!").ttl(63)),
            counters: NEW_IN,
        },
        Case {
            name: "a neighbour, by the outside port that it is given",
            input: sent(&C2, &udp(C2.addr, 6000, H, 5000, b"!")),
            action: REDIRECT,
            output: delivered(&C1, &udp(H, 6000, C1.addr, 5000, b"!").ttl(63)),
            counters: NEW_IN,
        },
        Case::pass(
            "a port that is not bound",
            arrived(&udp(R, 9, H, 5001, b"!")),
        ),
        Case::pass("another protocol", arrived(&tcp(R, 9, H, 5000, SYN))),
    ] {
        case.check(&mut r);
    }
    // One binding each, four flows.
    let keys: Vec<_> = r.flows().into_iter().map(|(key, _)| key).collect();
    assert_eq!(counted(&keys), (2 * 2, 2 * 4));
}

#[test]
fn the_same_of_ipv6() {
    let mut r = bind(Runner::dual());
    let asked = udp6(H6, 5000, S6, 53, b"?");
    for case in [
        out6("the first", &udp6(C1.addr6, 5000, S6, 53, b"?"), &asked),
        out6(
            "another destination, behind an option",
            &udp6(C1.addr6, 5000, S2_6, 54, b"?").options(header::DESTINATION, 1),
            &udp6(H6, 5000, S2_6, 54, b"?").options(header::DESTINATION, 1),
        ),
        Case {
            name: "a stranger",
            input: ipv6::arrived(&udp6(R6, 9, H6, 5000, b"!")),
            action: REDIRECT,
            output: delivered6(&C1, &udp6(R6, 9, C1.addr6, 5000, b"!")),
            counters: NEW_IN,
        },
        Case {
            name: "the first part of a stranger's datagram",
            input: ipv6::arrived(&udp6(R6, 10, H6, 5000, &[7; 3000]).fragments(1200, 5)[0]),
            action: REDIRECT,
            output: delivered6(
                &C1,
                &udp6(R6, 10, C1.addr6, 5000, &[7; 3000]).fragments(1200, 5)[0],
            ),
            counters: NEW_IN,
        },
        Case {
            name: "a later part",
            input: ipv6::arrived(&udp6(R6, 10, H6, 5000, &[7; 3000]).fragments(1200, 5)[1]),
            action: REDIRECT,
            output: delivered6(
                &C1,
                &udp6(R6, 10, C1.addr6, 5000, &[7; 3000]).fragments(1200, 5)[1],
            ),
            counters: &[("fragment-translated", 1), ("to-endpoint", 1)],
        },
        Case {
            name: "an error about what the container has sent",
            input: ipv6::arrived(&error6(R6, H6, 1, 4, 0, &asked, 100)),
            action: REDIRECT,
            output: delivered6(
                &C1,
                &error6(
                    R6,
                    C1.addr6,
                    1,
                    4,
                    0,
                    &udp6(C1.addr6, 5000, S6, 53, b"?"),
                    100,
                ),
            ),
            counters: ERROR_IN,
        },
        Case {
            name: "a neighbour, by the outside port that it is given",
            input: ipv6::sent(&C2, &udp6(C2.addr6, 6000, H6, 5000, b"!")),
            action: REDIRECT,
            output: delivered6(&C1, &udp6(H6, 6000, C1.addr6, 5000, b"!")),
            counters: NEW_IN,
        },
        Case {
            name: "itself, by the gateway",
            input: ipv6::sent(&C1, &udp6(C1.addr6, 5000, H6, 5000, b"!")),
            action: REDIRECT,
            output: delivered6(&C1, &udp6(GW1_6, 5000, C1.addr6, 5000, b"!")),
            counters: NEW_IN,
        },
        Case::pass(
            "a port that is not bound",
            ipv6::arrived(&udp6(R6, 9, H6, 5001, b"!")),
        ),
        Case::pass(
            "another protocol",
            ipv6::arrived(&tcp6(R6, 9, H6, 5000, SYN)),
        ),
        Case::drop(
            "a source that cannot be",
            ipv6::arrived(&udp6(C2.addr6, 9, H6, 5000, b"!")),
            &[("martian", 1)],
        ),
    ] {
        case.check(&mut r);
    }
    let keys = |r: &Runner| -> Vec<Tuple<V6>> { r.flows6().into_iter().map(|(k, _)| k).collect() };
    // One binding each, six flows; nothing of it among those of IPv4.
    let all = keys(&r);
    assert_eq!(counted(&all), (2 * 2, 2 * 6));
    assert_eq!(r.flows(), []);
    assert_eq!(r.collect6(&all, false), 0, "all alive");
    let (of_bindings, of_flows): (Vec<_>, Vec<_>) = all.iter().partition(|k| k.proto == BINDING);
    r.tables.config.as_mut().unwrap().timeouts.udp = 0;
    r.sync();
    assert_eq!(r.collect6(&of_flows, false), 6);
    assert_eq!(keys(&r).len(), 4, "a binding stays a moment longer");
    assert_eq!(r.collect6(&of_bindings, true), 2);
    assert_eq!(keys(&r), []);
}
