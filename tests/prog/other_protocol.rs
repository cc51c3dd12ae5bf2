//! SCTP, DCCP, UDP-Lite and protocols without ports: bytes and exact counters.

use netpath_common::{
    testing::*,
    tuple::{ESP, GRE, SCTP},
};
use netpath_tests::runner::{REDIRECT, Runner};

use crate::{Case, arrived, check, delivered, from_stack, left, sent};

const NEW_OUT: &[(&str, u64)] = &[("flow-new", 1), ("to-uplink", 1)];
const NEW_IN: &[(&str, u64)] = &[("flow-new", 1), ("to-endpoint", 1)];
const IN: &[(&str, u64)] = &[("to-endpoint", 1)];

// Chunks of SCTP and packets of DCCP.
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;

fn out(name: &'static str, before: &Datagram, after: &Datagram) -> Case {
    Case {
        name,
        input: sent(&C1, before),
        action: REDIRECT,
        output: left(&C1, &after.clone().ttl(63)),
        counters: NEW_OUT,
    }
}

fn back(name: &'static str, before: &Datagram, after: &Datagram) -> Case {
    Case {
        name,
        input: arrived(before),
        action: REDIRECT,
        output: delivered(&C1, &after.clone().ttl(63)),
        counters: IN,
    }
}

#[test]
fn there_and_back() {
    let raw = |src, dst, proto| Datagram::new(src, dst, proto, vec![9; 40]);
    check(&[
        out(
            "sctp out",
            &sctp(C1.addr, 4000, S, 5000, INIT),
            &sctp(H, 4000, S, 5000, INIT),
        ),
        back(
            "sctp in",
            &sctp(S, 5000, H, 4000, INIT_ACK),
            &sctp(S, 5000, C1.addr, 4000, INIT_ACK),
        ),
        out(
            "dccp out",
            &dccp(C1.addr, 4000, S, 5000, REQUEST, 1),
            &dccp(H, 4000, S, 5000, REQUEST, 1),
        ),
        back(
            "dccp in, with IP options",
            &dccp(S, 5000, H, 4000, RESPONSE, 0).options(2),
            &dccp(S, 5000, C1.addr, 4000, RESPONSE, 0).options(2),
        ),
        out(
            "udplite out",
            &udplite(C1.addr, 4000, S, 5000, 8, b"question"),
            &udplite(H, 4000, S, 5000, 8, b"question"),
        ),
        back(
            "udplite in",
            &udplite(S, 5000, H, 4000, 0, b"answer"),
            &udplite(S, 5000, C1.addr, 4000, 0, b"answer"),
        ),
        out("gre out", &raw(C1.addr, S, GRE), &raw(H, S, GRE)),
        back("gre in", &raw(S, H, GRE), &raw(S, C1.addr, GRE)),
        out("esp out", &raw(C1.addr, S, ESP), &raw(H, S, ESP)),
        back("esp in", &raw(S, H, ESP), &raw(S, C1.addr, ESP)),
        Case::pass("nobody's", arrived(&raw(S2, H, ESP))),
        Case::drop(
            "link-local",
            sent(&C1, &udp(C1.addr, 1, [169, 254, 169, 254], 80, b"")),
            &[("link-scope", 1)],
        ),
        Case::drop(
            "multicast that the host routes",
            from_stack(&udp(C1.addr, 1, [239, 1, 2, 3], 80, b"")),
            &[("link-scope", 1)],
        ),
    ]);
}

#[test]
fn the_second_container_is_refused() {
    let mut r = Runner::new();
    for packet in [
        |src| sctp(src, 4000, S, 5000, INIT),
        |src| Datagram::new(src, S, GRE, vec![9; 40]),
    ] {
        let _ = r.run(
            sent(&C1, &packet(C1.addr)).0,
            &sent(&C1, &packet(C1.addr)).1,
        );
        let before = r.counters();
        let (hook, frame) = sent(&C2, &packet(C2.addr));
        let ran = r.run(hook, &frame);
        assert_eq!(ran.action, REDIRECT, "it is told");
        assert_eq!(
            crate::change(&before, &r.counters()),
            [("no-port", 1), ("refusal-told", 1)].into()
        );
    }
}

#[test]
fn a_published_port_of_sctp() {
    let mut r = Runner::new();
    r.tables.publish(SCTP, 5000, &C1, 5000, 3);
    r.sync();
    Case {
        name: "sctp in",
        input: arrived(&sctp(S, 7000, H, 5000, INIT)),
        action: REDIRECT,
        output: delivered(&C1, &sctp(S, 7000, C1.addr, 5000, INIT).ttl(63)),
        counters: NEW_IN,
    }
    .check(&mut r);
}
