//! The way out: who writes the MAC addresses, and for how long an answer of the kernel is used.

use netpath_common::{conntrack::tcp::SYN, testing::*};
use netpath_tests::{
    runner::{REDIRECT, Runner},
    wait::until,
};

use crate::{arrived, sent};

fn dst_mac(r: &mut Runner) -> [u8; 6] {
    let (hook, frame) = sent(&C1, &udp(C1.addr, 5000, S, 53, b"x"));
    let ran = r.run(hook, &frame);
    assert_eq!(ran.action, REDIRECT);
    assert_eq!(ran.bytes[26..30], H, "translated");
    std::array::from_fn(|i| ran.bytes[i])
}

#[test]
fn a_lease_is_used_and_ends() {
    let mut r = Runner::new();
    assert_eq!(dst_mac(&mut r), BRIDGE1_MAC, "nothing known: the kernel's");
    assert_eq!(dst_mac(&mut r), BRIDGE1_MAC, "no neighbour: the kernel's");
    r.ip("neigh replace 192.0.2.254 lladdr 02:00:00:00:00:fe dev uplink nud permanent");
    until("the neighbour is used", || dst_mac(&mut r) == ROUTER_MAC);
    let (hook, frame) = sent(&C1, &udp(C1.addr, 5000, S, 53, b"x"));
    let ran = r.run(hook, &frame);
    assert_eq!(ran.bytes[6..12], UPLINK_MAC, "the uplink's own");
    r.ip("neigh replace 192.0.2.254 lladdr 02:00:00:00:00:aa dev uplink nud permanent");
    until("the lease ends", || {
        dst_mac(&mut r) == [2, 0, 0, 0, 0, 0xaa]
    });
}

#[test]
fn an_address_that_user_space_has_not_written_yet() {
    let mut r = Runner::new();
    assert_eq!(dst_mac(&mut r), BRIDGE1_MAC);
    r.ip("addr del 192.0.2.1/24 dev uplink");
    r.ip("addr add 192.0.2.77/24 dev uplink");
    r.ip("route replace default via 192.0.2.254");
    let (hook, frame) = sent(&C1, &udp(C1.addr, 5000, S, 53, b"x"));
    until("the new address is used", || {
        r.run(hook, &frame).bytes[26..30] == [192, 0, 2, 77]
    });
    let published = tcp(S, 1, [192, 0, 2, 77], 8080, SYN);
    let (hook, frame) = arrived(&published);
    let ran = r.run(hook, &frame);
    assert_eq!(ran.action, REDIRECT, "published at the new address");
    assert_eq!(ran.bytes[30..34], C1.addr);
}
