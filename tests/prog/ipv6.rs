//! IPv6 by the real programs, byte for byte, also under the kernel's checksum check.
//!
//! Owns what is different from IPv4: extension headers, fragment headers, ICMPv6 and neighbour
//! discovery, and a header without a checksum.

use netpath_common::{
    conntrack::tcp::{ACK, PSH, SYN},
    datapath::link_local,
    event::Hook,
    testing::*,
};
use netpath_tests::runner::{NEXT, REDIRECT, Runner, SHOT};

use crate::{Case, bridge, check6 as check};

const NEW_OUT: &[(&str, u64)] = &[("flow-new", 1), ("to-uplink", 1)];
const OUT: &[(&str, u64)] = &[("to-uplink", 1)];
const NEW_IN: &[(&str, u64)] = &[("flow-new", 1), ("to-endpoint", 1)];
const IN: &[(&str, u64)] = &[("to-endpoint", 1)];
const ERROR_IN: &[(&str, u64)] = &[("icmp-error-translated", 1), ("to-endpoint", 1)];
const ERROR_OUT: &[(&str, u64)] = &[("icmp-error-translated", 1), ("to-uplink", 1)];
const TAIL_OUT: &[(&str, u64)] = &[("fragment-translated", 1), ("to-uplink", 1)];
const TAIL_IN: &[(&str, u64)] = &[("fragment-translated", 1), ("to-endpoint", 1)];

fn sent(c: &Container, d: &Datagram6) -> (Hook, Frame) {
    (Hook::Veth, d.frame(c.mac, bridge(c), c.ifindex))
}

fn arrived(d: &Datagram6) -> (Hook, Frame) {
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

fn six_headers(d: Datagram6) -> Datagram6 {
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

#[test]
fn what_is_not_translated() {
    let c1 = C1.addr6;
    let udp = || udp6(c1, 5000, S6, 53, b"?");
    let mut unchecked = udp();
    unchecked.l4[6..8].fill(0);
    check(&[
        Case::drop(
            "old routing",
            sent(&C1, &udp().routing(0, 0)),
            &[("routing-header", 1)],
        ),
        Case::drop(
            "on its way",
            sent(&C1, &udp().routing(4, 1)),
            &[("routing-header", 1)],
        ),
        Case::drop(
            "seven headers",
            sent(
                &C1,
                &(0..7).fold(udp(), |d, _| d.options(header::DESTINATION, 1)),
            ),
            &[("header-chain", 1)],
        ),
        Case::drop(
            "no checksum",
            sent(&C1, &unchecked),
            &[("bad-l4-header", 1)],
        ),
        Case::drop(
            "half a header",
            sent(&C1, &tcp6(c1, 1, S6, 2, SYN).fragments(16, 1)[0]),
            &[("fragment-tiny", 1)],
        ),
        Case::drop(
            "another protocol",
            sent(&C1, &Datagram6::new(c1, S6, header::ESP, vec![0; 40])),
            &[("unsupported-protocol", 1)],
        ),
        Case::pass(
            "to the host",
            arrived(&udp6(S6, 1, H6, 2, b"?").routing(0, 0)),
        ),
        Case::pass(
            "a redirect to the host",
            arrived(&icmp6(R6, H6, 137, 0, [0; 4], &[0; 32]).hops(255)),
        ),
    ]);
}

#[test]
fn neighbour_discovery() {
    let (own, link) = (C1.addr6, link_local(C1.mac));
    let (none, nodes) = ([0; 16], *b"\xff\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\x01");
    let (mine, theirs) = (mac_option(2, C1.mac), mac_option(2, C2.mac));
    let ask = mac_option(1, C1.mac);
    let spoofed: &[_] = &[("spoofed-neighbour", 1)];
    check(&[
        Case::pass("asks", sent(&C1, &neighbour(own, nodes, 135, GW1_6, &ask))),
        Case::pass(
            "asks by its link",
            sent(&C1, &neighbour(link, nodes, 135, GW1_6, &ask)),
        ),
        Case::pass("probes", sent(&C1, &neighbour(none, nodes, 135, own, &[]))),
        Case::pass(
            "answers",
            sent(&C1, &neighbour(own, nodes, 136, own, &mine)),
        ),
        Case::pass(
            "looks for routers",
            sent(&C1, &router_solicitation(link, nodes, &ask)),
        ),
        Case::pass(
            "reports",
            sent(
                &C1,
                &icmp6(link, nodes, 143, 0, [0, 0, 0, 1], &[0; 20]).options(header::HOP_BY_HOP, 1),
            ),
        ),
        Case::drop(
            "answers for a neighbour",
            sent(&C1, &neighbour(own, nodes, 136, C2.addr6, &mine)),
            spoofed,
        ),
        Case::drop(
            "answers for the gateway",
            sent(&C1, &neighbour(own, nodes, 136, GW1_6, &mine)),
            spoofed,
        ),
        Case::drop(
            "gives another's MAC",
            sent(&C1, &neighbour(own, nodes, 136, own, &theirs)),
            spoofed,
        ),
        Case::drop(
            "hides the option behind seven",
            sent(
                &C1,
                &neighbour(
                    own,
                    nodes,
                    136,
                    own,
                    &[[14, 1, 0, 0, 0, 0, 0, 0].repeat(7), theirs].concat(),
                ),
            ),
            spoofed,
        ),
        Case::drop(
            "plays the router",
            sent(&C1, &router_advertisement(link, nodes, &ask)),
            &[("rogue-ra", 1)],
        ),
        Case::drop(
            "plays it behind headers",
            sent(&C1, &six_headers(router_advertisement(link, nodes, &ask))),
            &[("rogue-ra", 1)],
        ),
        Case::drop(
            "redirects",
            sent(&C1, &icmp6(link, nodes, 137, 0, [0; 4], &[0; 32]).hops(255)),
            &[("icmp-redirect", 1)],
        ),
        Case::drop(
            "gives addresses",
            sent(&C1, &udp6(link, 547, nodes, 546, b"advertise")),
            &[("rogue-dhcp", 1)],
        ),
        Case::drop(
            "gives addresses by its own",
            sent(&C1, &udp6(own, 547, C2.addr6, 546, b"advertise")),
            &[("rogue-dhcp", 1)],
        ),
        Case::drop(
            "another source",
            sent(&C1, &udp6(C2.addr6, 1, S6, 2, b"?")),
            &[("spoofed-address", 1)],
        ),
        Case::drop(
            "a neighbour's link",
            sent(&C1, &udp6(link_local(C2.mac), 1, nodes, 2, b"?")),
            &[("spoofed-address", 1)],
        ),
    ]);
}

/// Every length of a frame, with a header that says so: the programs and the tests' reader agree on
/// what has a transport header, and nothing leaves that has none.
#[test]
fn every_length() {
    let mut r = Runner::dual();
    let whole = six_headers(tcp_data6(C1.addr6, 40000, S6, 80, SYN, b"data"));
    let (_, frame) = sent(&C1, &whole);
    for len in 55..=frame.bytes.len() {
        let mut f = frame.truncated(len);
        let payload = (len - 54) as u16;
        f.bytes[18..20].copy_from_slice(&payload.to_be_bytes());
        let has_header = plain6::line6(&f.bytes).is_some();
        let ran = r.run(Hook::Veth, &f);
        assert_eq!(
            ran.action,
            if has_header { REDIRECT } else { SHOT },
            "{len} bytes"
        );
        r.forget();
    }
}
