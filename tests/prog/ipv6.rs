//! IPv6 by the real programs, byte for byte, also under the kernel's checksum check.
//!
//! Owns what is different from IPv4: extension headers, fragment headers, ICMPv6, and a header without
//! a checksum. What is dropped, and neighbour discovery, is `ipv6_guard`.

use netpath_common::{
    conntrack::tcp::{ACK, PSH, SYN},
    event::Hook,
    testing::*,
};
use netpath_tests::runner::{NEXT, REDIRECT, Runner};

use crate::{Case, bridge, check6 as check};

const NEW_OUT: &[(&str, u64)] = &[("flow-new", 1), ("to-uplink", 1)];
const OUT: &[(&str, u64)] = &[("to-uplink", 1)];
const NEW_IN: &[(&str, u64)] = &[("flow-new", 1), ("to-endpoint", 1)];
const IN: &[(&str, u64)] = &[("to-endpoint", 1)];
const ERROR_IN: &[(&str, u64)] = &[("icmp-error-translated", 1), ("to-endpoint", 1)];
const ERROR_OUT: &[(&str, u64)] = &[("icmp-error-translated", 1), ("to-uplink", 1)];
const TAIL_OUT: &[(&str, u64)] = &[("fragment-translated", 1), ("to-uplink", 1)];
const TAIL_IN: &[(&str, u64)] = &[("fragment-translated", 1), ("to-endpoint", 1)];

pub(crate) fn sent(c: &Container, d: &Datagram6) -> (Hook, Frame) {
    (Hook::Veth, d.frame(c.mac, bridge(c), c.ifindex))
}

pub(crate) fn arrived(d: &Datagram6) -> (Hook, Frame) {
    (
        Hook::UplinkIngress,
        d.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF),
    )
}

fn from_stack(d: &Datagram6) -> (Hook, Frame) {
    (
        Hook::UplinkEgress,
        d.frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF),
    )
}

/// `inside` leaves the first container as `outside`.
fn out(
    name: &'static str,
    inside: &Datagram6,
    outside: &Datagram6,
    counters: &'static [(&'static str, u64)],
) -> Case {
    Case {
        name,
        input: sent(&C1, inside),
        action: REDIRECT,
        output: Some(outside.clone().hops(63).frame(C1.mac, bridge(&C1), 0)),
        counters,
    }
}

/// `outside` is given to the first container as `inside`.
fn come(
    name: &'static str,
    outside: &Datagram6,
    inside: &Datagram6,
    counters: &'static [(&'static str, u64)],
) -> Case {
    Case {
        name,
        input: arrived(outside),
        action: REDIRECT,
        output: Some(inside.clone().hops(63).frame(bridge(&C1), C1.mac, 0)),
        counters,
    }
}

#[test]
fn masquerade() {
    let c1 = C1.addr6;
    let udp_out = |src, data: &[u8]| udp6(src, 5000, S6, 53, data);
    check(&[
        out(
            "tcp syn out",
            &tcp6(c1, 40000, S6, 80, SYN),
            &tcp6(H6, 40000, S6, 80, SYN),
            NEW_OUT,
        ),
        come(
            "tcp syn-ack in",
            &tcp6(S6, 80, H6, 40000, SYN | ACK),
            &tcp6(S6, 80, c1, 40000, SYN | ACK),
            IN,
        ),
        out(
            "tcp data out, odd",
            &tcp_data6(c1, 40000, S6, 80, ACK | PSH, b"odd"),
            &tcp_data6(H6, 40000, S6, 80, ACK | PSH, b"odd"),
            OUT,
        ),
        come(
            "tcp data in behind options",
            &tcp_data6(S6, 80, H6, 40000, ACK, b"data").options(header::DESTINATION, 2),
            &tcp_data6(S6, 80, c1, 40000, ACK, b"data").options(header::DESTINATION, 2),
            IN,
        ),
        out(
            "udp out",
            &udp_out(c1, b"question"),
            &udp_out(H6, b"question"),
            NEW_OUT,
        ),
        out(
            "udp out behind six headers",
            &six_headers(udp_out(c1, b"again")),
            &six_headers(udp_out(H6, b"again")),
            OUT,
        ),
        come(
            "udp in",
            &udp6(S6, 53, H6, 5000, b"answer"),
            &udp6(S6, 53, c1, 5000, b"answer"),
            IN,
        ),
        out(
            "echo out",
            &query6(c1, S6, 128, 7),
            &query6(H6, S6, 128, 7),
            NEW_OUT,
        ),
        come(
            "echo in",
            &query6(S6, H6, 129, 7),
            &query6(S6, c1, 129, 7),
            IN,
        ),
        Case {
            name: "the last hop: the stack answers",
            input: sent(&C1, &udp_out(c1, b"").hops(1)),
            action: NEXT,
            output: None,
            counters: &[("passed", 1)],
        },
        Case {
            name: "to a container with a hop limit of one: translated for the stack",
            input: arrived(&udp6(S6, 53, H6, 5000, b"x").hops(1)),
            action: NEXT,
            output: Some(
                udp6(S6, 53, c1, 5000, b"x")
                    .hops(1)
                    .frame(ROUTER_MAC, UPLINK_MAC, 0),
            ),
            counters: &[("translated-to-stack", 1)],
        },
        Case {
            name: "what the stack sends is translated, its hop is counted already",
            input: from_stack(&udp_out(c1, b"large").hops(63)),
            action: NEXT,
            output: Some(
                udp_out(H6, b"large")
                    .hops(63)
                    .frame(UPLINK_MAC, ROUTER_MAC, 0),
            ),
            counters: &[("translated-to-stack", 1)],
        },
        Case::pass(
            "the host's own, out",
            from_stack(&tcp6(H6, 50000, S6, 80, SYN)),
        ),
        Case::pass(
            "the host's own, in",
            arrived(&tcp6(S6, 80, H6, 50000, SYN | ACK)),
        ),
    ]);
}

pub(crate) fn six_headers(d: Datagram6) -> Datagram6 {
    d.options(header::HOP_BY_HOP, 1)
        .options(header::DESTINATION, 1)
        .routing(4, 0)
        .fragment(0, false, 7)
        .header(header::AUTHENTICATION, &[0, 4, 0, 0, 0, 0, 0, 9].repeat(3))
        .options(header::DESTINATION, 1)
}

#[test]
fn published_ports() {
    let c1 = C1.addr6;
    check(&[
        come(
            "tcp in",
            &tcp6(S6, 51000, H6, 8080, SYN),
            &tcp6(S6, 51000, c1, 80, SYN),
            NEW_IN,
        ),
        out(
            "tcp reply",
            &tcp6(c1, 80, S6, 51000, SYN | ACK),
            &tcp6(H6, 8080, S6, 51000, SYN | ACK),
            OUT,
        ),
        come(
            "udp in, odd",
            &udp6(S6, 51000, H6, 5353, b"ask"),
            &udp6(S6, 51000, c1, 53, b"ask"),
            NEW_IN,
        ),
        out(
            "udp reply behind options",
            &udp6(c1, 53, S6, 51000, b"answer").options(header::HOP_BY_HOP, 1),
            &udp6(H6, 5353, S6, 51000, b"answer").options(header::HOP_BY_HOP, 1),
            OUT,
        ),
        Case::pass("unpublished", arrived(&tcp6(S6, 51000, H6, 8081, SYN))),
        Case::drop(
            "the container's own address",
            arrived(&tcp6(S6, 51000, c1, 80, SYN)),
            &[("direct-access", 1)],
        ),
    ]);
}

#[test]
fn fragments() {
    let c1 = C1.addr6;
    let question = |src| udp6(src, 5000, S6, 53, &[7; 3000]).fragments(1232, 77);
    let answer = |dst| udp6(S6, 53, dst, 5000, &[9; 3000]).fragments(1232, 78);
    let (inside, outside) = (question(c1), question(H6));
    let (there, here) = (answer(H6), answer(c1));
    check(&[
        out("first out", &inside[0], &outside[0], NEW_OUT),
        out("second out", &inside[1], &outside[1], TAIL_OUT),
        out("third out", &inside[2], &outside[2], TAIL_OUT),
        come("first in", &there[0], &here[0], IN),
        come("third in", &there[2], &here[2], TAIL_IN),
        come("second in", &there[1], &here[1], TAIL_IN),
        out(
            "a whole one in a fragment",
            &udp6(c1, 5000, S6, 53, b"?").fragment(0, false, 79),
            &udp6(H6, 5000, S6, 53, b"?").fragment(0, false, 79),
            OUT,
        ),
    ]);
}

#[test]
fn errors() {
    let mut r = Runner::dual();
    let c1 = C1.addr6;
    let behind = |d: Datagram6| d.options(header::DESTINATION, 1).fragment(0, false, 5);
    for (inside, outside) in [
        (
            tcp_data6(c1, 40000, S6, 80, SYN, b"data"),
            tcp_data6(H6, 40000, S6, 80, SYN, b"data"),
        ),
        (
            udp6(c1, 5000, S6, 53, b"data"),
            udp6(H6, 5000, S6, 53, b"data"),
        ),
        (query6(c1, S6, 128, 7), query6(H6, S6, 128, 7)),
    ] {
        let (hook, frame) = sent(&C1, &inside);
        assert_eq!(r.run(hook, &frame).action, REDIRECT);
        for (inside, outside) in [
            (inside.clone(), outside.clone()),
            (behind(inside.clone()), behind(outside.clone())),
        ] {
            for (kind, code, word) in [(2, 0, 1400), (1, 4, 0), (3, 0, 0), (4, 1, 6)] {
                for quoted in [8, 18, 1000] {
                    let there = error6(R6, H6, kind, code, word, &outside, quoted);
                    let here = error6(R6, c1, kind, code, word, &inside, quoted);
                    come("an error of a router", &there, &here, ERROR_IN).check(&mut r);
                }
            }
        }
        Case::drop(
            "a link that is none",
            arrived(&error6(R6, H6, 2, 0, 1279, &outside, 100)),
            &[("icmp-bad-mtu", 1)],
        )
        .check(&mut r);
    }
    // The other way.
    let (hook, frame) = arrived(&udp6(S6, 51000, H6, 5353, b"question"));
    assert_eq!(r.run(hook, &frame).action, REDIRECT);
    let seen_inside = udp6(S6, 51000, c1, 53, b"question").hops(63);
    let seen_outside = udp6(S6, 51000, H6, 5353, b"question").hops(63);
    out(
        "port unreachable from the container",
        &error6(c1, S6, 1, 4, 0, &seen_inside, 100),
        &error6(H6, S6, 1, 4, 0, &seen_outside, 100),
        ERROR_OUT,
    )
    .check(&mut r);
    Case {
        name: "the stack on behalf of the container",
        input: from_stack(&error6(H6, S6, 3, 0, 0, &seen_inside, 100)),
        action: NEXT,
        output: Some(
            error6(H6, S6, 3, 0, 0, &seen_outside, 100).frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF),
        ),
        counters: &[("icmp-error-translated", 1), ("translated-to-stack", 1)],
    }
    .check(&mut r);
    Case::drop(
        "about nobody's flow",
        sent(&C2, &error6(C2.addr6, S6, 1, 4, 0, &seen_inside, 100)),
        &[("icmp-error-unmatched", 1)],
    )
    .check(&mut r);
}
