//! Fragments follow their first one.

use netpath_common::{conntrack::tcp::SYN, testing::*};
use netpath_tests::runner::{REDIRECT, Runner};

use crate::{Case, arrived, delivered, left, sent};

#[test]
fn in_order_and_without_a_first_one() {
    let mut r = Runner::new();
    let inside = udp(C1.addr, 5000, S, 53, &[3; 2000]).fragments(1000);
    let outside = udp(H, 5000, S, 53, &[3; 2000]).ttl(63).fragments(1000);
    let early = udp(C1.addr, 5000, S, 53, &[3; 2000]).id(99).fragments(1000);
    let held = &[("fragment-held", 1)];
    Case::drop("a tail before its first", sent(&C1, &early[1]), held).check(&mut r);
    let counters: [&'static [(&'static str, u64)]; 3] = [
        &[("flow-new", 1), ("to-uplink", 1)],
        &[("fragment-translated", 1), ("to-uplink", 1)],
        &[("fragment-translated", 1), ("to-uplink", 1)],
    ];
    for (i, counters) in counters.into_iter().enumerate() {
        Case {
            name: "out",
            input: sent(&C1, &inside[i]),
            action: REDIRECT,
            output: left(&C1, &outside[i]),
            counters,
        }
        .check(&mut r);
    }
    let outside = udp(S, 53, H, 5000, &[4; 1500]).fragments(1000);
    let inside = udp(S, 53, C1.addr, 5000, &[4; 1500])
        .ttl(63)
        .fragments(1000);
    let counters: [&'static [(&'static str, u64)]; 2] = [
        &[("to-endpoint", 1)],
        &[("fragment-translated", 1), ("to-endpoint", 1)],
    ];
    for (i, counters) in counters.into_iter().enumerate() {
        Case {
            name: "in",
            input: arrived(&outside[i]),
            action: REDIRECT,
            output: delivered(&C1, &inside[i]),
            counters,
        }
        .check(&mut r);
    }
}

#[test]
fn tiny() {
    let mut r = Runner::new();
    for part in tcp(C1.addr, 40000, S, 80, SYN).fragments(8).iter().take(2) {
        Case::drop("tiny", sent(&C1, part), &[("fragment-tiny", 1)]).check(&mut r);
    }
}
