//! Packets of a tunnel that are too long for an Ethernet header: the host has them, and nobody else.

use netpath_common::{
    Action, DropReason,
    conntrack::tcp::SYN,
    datapath::{Work, long_ingress},
    tuple::TCP,
};

use super::family::*;

const RULE: u16 = 5;

fn decide(h: &Host, packet: &Datagram) -> Result<Action, DropReason> {
    let frame = packet.frame([0; 6], [0; 6], UPLINK_IF);
    long_ingress(&frame, &h.tables, &mut Work::default())
}

#[test]
fn the_hosts_own_and_what_it_routes_pass() {
    let h = Host::new();
    let long = [7; 20_000];
    for to in [H, S2] {
        assert_eq!(decide(&h, &udp(S, 53, to, 5000, &long)), Ok(Action::Pass));
    }
}

#[test]
fn containers_are_not_reached_by_their_addresses() {
    let h = Host::new();
    for to in [&C1, &C2] {
        let packet = query(S, to.ip(), ECHO, 7);
        assert_eq!(decide(&h, &packet), Err(DropReason::DirectAccess));
    }
}

#[test]
fn what_belongs_to_a_containers_flow_is_not_the_hosts() {
    let mut h = Host::new();
    h.tables
        .publish_range(H, (8080, 8080), TCP, (&C1, 80), RULE);
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"?")).to_uplink();
    let _ = h
        .from_outside(&tcp(S, 51000, H, 8080, SYN))
        .to_container(&C1);
    for packet in [udp(S, 53, H, 5000, b"!"), tcp(S, 51000, H, 8080, SYN)] {
        assert_eq!(decide(&h, &packet), Err(DropReason::RewriteFailed));
    }
    // Of another sender it is nobody's yet.
    assert_eq!(decide(&h, &udp(S2, 53, H, 5000, b"!")), Ok(Action::Pass));
}
