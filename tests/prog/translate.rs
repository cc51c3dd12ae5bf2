//! Masquerade, published ports, hairpin, and what the stack is left to do.

use netpath_common::{
    conntrack::tcp::{ACK, PSH, SYN},
    testing::*,
};
use netpath_tests::runner::{NEXT, REDIRECT, Runner};

use crate::{Case, arrived, check, delivered, from_stack, left, sent};

const NEW_OUT: &[(&str, u64)] = &[("flow-new", 1), ("to-uplink", 1)];
const OUT: &[(&str, u64)] = &[("to-uplink", 1)];
const NEW_IN: &[(&str, u64)] = &[("flow-new", 1), ("to-endpoint", 1)];
const IN: &[(&str, u64)] = &[("to-endpoint", 1)];

fn redirect(
    name: &'static str,
    input: (netpath_common::event::Hook, Frame),
    output: Option<Frame>,
    counters: &'static [(&'static str, u64)],
) -> Case {
    Case {
        name,
        input,
        action: REDIRECT,
        output,
        counters,
    }
}

#[test]
fn masquerade() {
    check(&[
        redirect(
            "tcp syn out",
            sent(&C1, &tcp(C1.addr, 40000, S, 80, SYN)),
            left(&C1, &tcp(H, 40000, S, 80, SYN).ttl(63)),
            NEW_OUT,
        ),
        redirect(
            "tcp syn-ack in",
            arrived(&tcp(S, 80, H, 40000, SYN | ACK)),
            delivered(&C1, &tcp(S, 80, C1.addr, 40000, SYN | ACK).ttl(63)),
            IN,
        ),
        redirect(
            "tcp data out",
            sent(&C1, &tcp_data(C1.addr, 40000, S, 80, ACK | PSH, b"odd")),
            left(&C1, &tcp_data(H, 40000, S, 80, ACK | PSH, b"odd").ttl(63)),
            OUT,
        ),
        redirect(
            "tcp data in, with IP options",
            arrived(&tcp_data(S, 80, H, 40000, ACK, b"data").options(5)),
            delivered(
                &C1,
                &tcp_data(S, 80, C1.addr, 40000, ACK, b"data")
                    .options(5)
                    .ttl(63),
            ),
            IN,
        ),
        redirect(
            "udp out",
            sent(&C1, &udp(C1.addr, 5000, S, 53, b"question")),
            left(&C1, &udp(H, 5000, S, 53, b"question").ttl(63)),
            NEW_OUT,
        ),
        redirect(
            "udp in without checksum",
            arrived(&udp_without_checksum(S, 53, H, 5000, b"answer")),
            delivered(
                &C1,
                &udp_without_checksum(S, 53, C1.addr, 5000, b"answer").ttl(63),
            ),
            IN,
        ),
        redirect(
            "echo out",
            sent(&C1, &query(C1.addr, S, 8, 7)),
            left(&C1, &query(H, S, 8, 7).ttl(63)),
            NEW_OUT,
        ),
        redirect(
            "echo in",
            arrived(&query(S, H, 0, 7)),
            delivered(&C1, &query(S, C1.addr, 0, 7).ttl(63)),
            IN,
        ),
        Case {
            name: "expired in transit: the stack answers",
            input: sent(&C1, &udp(C1.addr, 5000, S, 53, b"").ttl(1)),
            action: NEXT,
            output: None,
            counters: &[("passed", 1)],
        },
        Case {
            name: "to a container with a TTL of one: translated for the stack",
            input: arrived(&udp(S, 53, H, 5000, b"x").ttl(1)),
            action: NEXT,
            output: delivered_up(&udp(S, 53, C1.addr, 5000, b"x").ttl(1)),
            counters: &[("translated-to-stack", 1)],
        },
        Case {
            name: "what the stack sends is translated, its hop is counted already",
            input: from_stack(&udp(C1.addr, 5000, S, 53, b"large").ttl(63)),
            action: NEXT,
            output: Some(
                udp(H, 5000, S, 53, b"large")
                    .ttl(63)
                    .frame(UPLINK_MAC, ROUTER_MAC, 0),
            ),
            counters: &[("translated-to-stack", 1)],
        },
        Case::pass(
            "the host's own, out",
            from_stack(&tcp(H, 50000, S, 80, SYN)),
        ),
        Case::pass(
            "the host's own, in",
            arrived(&tcp(S, 80, H, 50000, SYN | ACK)),
        ),
    ]);
}

/// A packet that came in by the uplink and goes up the stack: the MAC addresses stay.
fn delivered_up(p: &Datagram) -> Option<Frame> {
    Some(p.frame(ROUTER_MAC, UPLINK_MAC, 0))
}

#[test]
fn published_ports() {
    check(&[
        redirect(
            "tcp in",
            arrived(&tcp(S, 51000, H, 8080, SYN)),
            delivered(&C1, &tcp(S, 51000, C1.addr, 80, SYN).ttl(63)),
            NEW_IN,
        ),
        redirect(
            "tcp reply",
            sent(&C1, &tcp(C1.addr, 80, S, 51000, SYN | ACK)),
            left(&C1, &tcp(H, 8080, S, 51000, SYN | ACK).ttl(63)),
            OUT,
        ),
        redirect(
            "udp in",
            arrived(&udp(S, 51000, H, 5353, b"question")),
            delivered(&C1, &udp(S, 51000, C1.addr, 53, b"question").ttl(63)),
            NEW_IN,
        ),
        redirect(
            "udp reply",
            sent(&C1, &udp(C1.addr, 53, S, 51000, b"answer")),
            left(&C1, &udp(H, 5353, S, 51000, b"answer").ttl(63)),
            OUT,
        ),
        Case::pass("not published", arrived(&tcp(S, 51000, H, 8081, SYN))),
    ]);
}

#[test]
fn hairpin() {
    check(&[
        redirect(
            "a neighbour keeps its address",
            sent(&C2, &tcp(C2.addr, 50000, H, 8080, SYN)),
            delivered(&C1, &tcp(C2.addr, 50000, C1.addr, 80, SYN).ttl(63)),
            NEW_IN,
        ),
        redirect(
            "the answer",
            sent(&C1, &tcp(C1.addr, 80, C2.addr, 50000, SYN | ACK)),
            delivered(&C2, &tcp(H, 8080, C2.addr, 50000, SYN | ACK).ttl(63)),
            IN,
        ),
        redirect(
            "itself becomes the gateway",
            sent(&C1, &tcp(C1.addr, 50000, H, 8080, SYN)),
            delivered(&C1, &tcp(GW1, 50000, C1.addr, 80, SYN).ttl(63)),
            NEW_IN,
        ),
        redirect(
            "the answer to itself",
            sent(&C1, &tcp(C1.addr, 80, GW1, 50000, SYN | ACK)),
            delivered(&C1, &tcp(H, 8080, C1.addr, 50000, SYN | ACK).ttl(63)),
            IN,
        ),
        redirect(
            "from another network",
            sent(&C3, &udp(C3.addr, 50000, H, 5353, b"?")),
            delivered(&C1, &udp(C3.addr, 50000, C1.addr, 53, b"?").ttl(63)),
            NEW_IN,
        ),
        Case::pass(
            "a neighbour directly",
            sent(&C2, &tcp(C2.addr, 50001, C1.addr, 80, SYN)),
        ),
        Case::pass(
            "the host's service",
            sent(&C2, &tcp(C2.addr, 50001, GW1, 22, SYN)),
        ),
    ]);
}

#[test]
fn a_taken_port_is_replaced() {
    let mut r = Runner::new();
    redirect(
        "the first keeps it",
        sent(&C1, &udp(C1.addr, 5000, S, 53, b"")),
        left(&C1, &udp(H, 5000, S, 53, b"").ttl(63)),
        NEW_OUT,
    )
    .check(&mut r);
    let (hook, input) = sent(&C2, &udp(C2.addr, 5000, S, 53, b""));
    let ran = r.run(hook, &input);
    let port = u16::from_be_bytes([ran.bytes[34], ran.bytes[35]]);
    assert!(port >= 1024 && port != 5000, "{port}");
    assert_eq!(ran.action, REDIRECT);
    assert_eq!(r.counters()["port-changed"], 1);
    redirect(
        "the answer finds the second",
        arrived(&udp(S, 53, H, port, b"")),
        delivered(&C2, &udp(S, 53, C2.addr, 5000, b"").ttl(63)),
        IN,
    )
    .check(&mut r);
}

#[test]
fn an_unpublished_port_closes_on_the_next_packet() {
    let mut r = Runner::new();
    redirect(
        "open",
        arrived(&udp(S, 51000, H, 5353, b"1")),
        delivered(&C1, &udp(S, 51000, C1.addr, 53, b"1").ttl(63)),
        NEW_IN,
    )
    .check(&mut r);
    r.tables
        .unpublish(netpath_common::tuple::UDP, 5353, RULE_DNS);
    r.sync();
    Case {
        name: "closed",
        input: arrived(&udp(S, 51000, H, 5353, b"2")),
        action: NEXT,
        output: None,
        counters: &[("flow-removed", 1), ("passed", 1)],
    }
    .check(&mut r);
    assert!(r.flows().is_empty());
}
