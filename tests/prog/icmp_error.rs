//! ICMP errors both ways, byte for byte, also under the kernel's checksum check.

use netpath_common::{conntrack::tcp::SYN, testing::*};
use netpath_tests::runner::{NEXT, REDIRECT, Runner};

use crate::{Case, arrived, delivered, from_stack, left, sent};

const IN: &[(&str, u64)] = &[("icmp-error-translated", 1), ("to-endpoint", 1)];
const OUT: &[(&str, u64)] = &[("icmp-error-translated", 1), ("to-uplink", 1)];

#[test]
fn to_the_container() {
    let mut r = Runner::new();
    let pairs = [
        (
            tcp_data(C1.addr, 40000, S, 80, SYN, b"data"),
            tcp_data(H, 40000, S, 80, SYN, b"data"),
        ),
        (
            udp(C1.addr, 5000, S, 53, b"data"),
            udp(H, 5000, S, 53, b"data"),
        ),
        (
            udp_without_checksum(C1.addr, 5001, S, 53, b"data"),
            udp_without_checksum(H, 5001, S, 53, b"data"),
        ),
        (query(C1.addr, S, 8, 7), query(H, S, 8, 7)),
    ];
    for (inside, outside) in pairs {
        let (hook, frame) = sent(&C1, &inside);
        assert_eq!(r.run(hook, &frame).action, REDIRECT);
        for quoted in [8, 18, 1000] {
            for options in [0, 3] {
                let about = outside.clone().ttl(60);
                // Where the quoted packet ends before its checksum, that cannot be compared.
                Case {
                    name: "fragmentation needed",
                    input: arrived(&error(R, H, 3, 4, &about, quoted).options(options)),
                    action: REDIRECT,
                    output: delivered(
                        &C1,
                        &error(R, C1.addr, 3, 4, &inside.clone().ttl(60), quoted)
                            .options(options)
                            .ttl(63),
                    ),
                    counters: IN,
                }
                .check(&mut r);
            }
        }
        let elsewhere = error(R, [192, 0, 2, 200], 3, 4, &outside, 8);
        Case::pass("to another address", arrived(&elsewhere)).check(&mut r);
    }
}

#[test]
fn from_the_container_and_from_the_host() {
    let mut r = Runner::new();
    let (hook, frame) = arrived(&udp(S, 51000, H, 5353, b"question"));
    assert_eq!(r.run(hook, &frame).action, REDIRECT);
    let seen_inside = udp(S, 51000, C1.addr, 53, b"question").ttl(63);
    let seen_outside = udp(S, 51000, H, 5353, b"question").ttl(63);
    Case {
        name: "port unreachable from the container",
        input: sent(&C1, &error(C1.addr, S, 3, 3, &seen_inside, 100)),
        action: REDIRECT,
        output: left(&C1, &error(H, S, 3, 3, &seen_outside, 100).ttl(63)),
        counters: OUT,
    }
    .check(&mut r);
    Case {
        name: "the stack on behalf of the container",
        input: from_stack(&error(H, S, 11, 0, &seen_inside, 100)),
        action: NEXT,
        output: Some(
            error(H, S, 11, 0, &seen_outside, 100).frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF),
        ),
        counters: &[("icmp-error-translated", 1), ("translated-to-stack", 1)],
    }
    .check(&mut r);
    Case::drop(
        "about nobody's flow",
        sent(&C2, &error(C2.addr, S, 3, 3, &seen_inside, 100)),
        &[("icmp-error-unmatched", 1)],
    )
    .check(&mut r);
}
