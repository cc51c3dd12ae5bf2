//! What concerns neither the host nor a container, on a host that forwards for containers alone; and what
//! the host forwards into a network from an interface at which nobody looks.

use netpath_common::{
    DropReason, Verdict,
    conntrack::tcp::{ACK, SYN},
    event::Hook,
    records::{IFACE_CLOSED4, IFACE_CLOSED6, IFACE_UPLINK_IN, LOOPBACK_IFINDEX},
};

use super::family::*;

/// An interface that netpath knows nothing of.
const ELSEWHERE: u32 = 77;

/// What [`S`] sends to somebody beyond the host.
fn transit() -> Datagram {
    udp(S, 5000, STRANGERS[0], 53, b"?")
}

/// The standard host, which forwards what comes in by the uplink for its containers alone.
fn closed() -> Host {
    let mut h = Host::new();
    h.tables.ifaces.get_mut(&UPLINK_IF).unwrap().flags = IFACE_CLOSED4 | IFACE_CLOSED6;
    h
}

fn leaving(packet: &Datagram) -> Frame {
    Frame {
        came_by: UPLINK_IF,
        ..packet.frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF)
    }
}

/// What the host sends to a container by its bridge, having received it by `came_by`.
fn into_network(packet: &Datagram, came_by: u32) -> Frame {
    Frame {
        came_by,
        ..packet.frame(BRIDGE1_MAC, C1.mac, BRIDGE1_IF)
    }
}

#[test]
fn what_is_for_somebody_beyond_the_host_goes_no_further() {
    let mut h = closed();
    // The host's firewall may still make it the host's own.
    assert!(h.from_outside(&transit()).passed());
    let out = h.run(Hook::UplinkEgress, &leaving(&transit()));
    assert_eq!(out.dropped(), Some(DropReason::NotARouter));
    // By a bridge as well, to whatever else is there.
    assert!(h.from_outside(&transit()).passed());
    let out = h.run(Hook::BridgeEgress, &into_network(&transit(), UPLINK_IF));
    assert_eq!(out.dropped(), Some(DropReason::NotARouter));
    assert!(h.tables.entries().is_empty());
}

#[test]
fn a_router_forwards_what_it_did_before() {
    let mut h = Host::new();
    assert!(h.from_outside(&transit()).passed());
    assert!(
        h.run(Hook::UplinkEgress, &leaving(&transit())).passed(),
        "the host is a router by itself"
    );
    // Of the other family alone.
    let mut h = closed();
    let other = if AF == 1 {
        IFACE_CLOSED6
    } else {
        IFACE_CLOSED4
    };
    h.tables.ifaces.get_mut(&UPLINK_IF).unwrap().flags = other;
    assert!(h.from_outside(&transit()).passed());
    assert!(h.run(Hook::UplinkEgress, &leaving(&transit())).passed());
}

#[test]
fn a_way_out_without_a_program_is_closed_on_the_way_in() {
    let mut h = closed();
    h.tables
        .routes
        .push((STRANGERS[0], BITS, out_of(ELSEWHERE)));
    let out = h.from_outside(&transit());
    assert_eq!(out.dropped(), Some(DropReason::NotARouter));
    // What there is no route for is the host's to answer.
    h.tables.routes.clear();
    assert!(h.from_outside(&transit()).passed());
}

#[test]
fn the_hosts_own_and_the_containers_are_not_concerned() {
    let mut h = closed();
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
    let web = h.from_outside(&tcp(S, 51000, H, 8080, SYN));
    assert_eq!(web.to_container(&C1), said("tcp S:51000 > C1:80"));
    assert!(h.from_outside(&udp(S, 5000, H, 9, b"")).passed());
    assert!(h.from_stack(&udp(H, 9, S, 5000, b"")).passed());
    // Whoever wants multicast forwarded says so to the kernel.
    let all = udp(S, 5000, MULTICAST, 53, b"");
    assert!(h.from_outside(&all).passed());
    assert!(h.run(Hook::UplinkEgress, &leaving(&all)).passed());
}

#[test]
fn a_mark_is_for_one_packet() {
    let mut h = closed();
    assert!(h.from_outside(&transit()).passed());
    assert!(h.from_outside(&udp(S, 5000, H, 9, b"")).passed());
    assert!(h.run(Hook::UplinkEgress, &leaving(&transit())).passed());
}

#[test]
fn into_a_network_comes_what_somebody_has_looked_at() {
    let mut h = Host::new();
    let packet = tcp(S, 51000, C1.ip(), 80, SYN);
    // The host's own; by an uplink, another bridge, an endpoint; what the host has sent to itself.
    for by in [0, UPLINK_IF, BRIDGE2_IF, C3.ifindex, LOOPBACK_IFINDEX] {
        let out = h.run(Hook::BridgeEgress, &into_network(&packet, by));
        assert_eq!(out.result, Ok(Verdict::Pass), "{by}");
    }
    let out = h.run(Hook::BridgeEgress, &into_network(&packet, ELSEWHERE));
    assert_eq!(out.dropped(), Some(DropReason::DirectAccess));
    // Others' ports of an adopted bridge.
    let other = tcp(S, 51000, NOBODYS[0], 80, SYN);
    let out = h.run(Hook::BridgeEgress, &into_network(&other, ELSEWHERE));
    assert!(out.passed());
}

/// By another engine's bridge: what it asks for is answered, and no container begins anything there.
#[test]
fn by_a_way_in_nobody_leaves() {
    let mut h = Host::new();
    h.tables.ifaces.get_mut(&UPLINK_IF).unwrap().kind = IFACE_UPLINK_IN;
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN));
    assert_eq!(out.dropped(), Some(DropReason::NoUplink));
    let web = h.from_outside(&tcp(S, 51000, H, 8080, SYN));
    assert_eq!(web.to_container(&C1), said("tcp S:51000 > C1:80"));
    let answer = h.from(&C1, &tcp(C1.ip(), 80, S, 51000, SYN | ACK));
    assert_eq!(answer.to_uplink(), said("tcp H:8080 > S:51000"));
}
