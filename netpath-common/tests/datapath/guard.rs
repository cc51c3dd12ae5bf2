//! What a container may not send, and what an uplink may not carry.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, SYN},
    datapath::{Vetted, bridge_ingress},
    event::Hook,
};

use super::family::*;

#[test]
fn forged_sources() {
    let mut h = Host::new();
    let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN)).to_uplink();
    // C2 claims C1's address, on a flow that C1 has and on one that nobody has.
    for sport in [40000, 40001] {
        let packet = tcp(C1.ip(), sport, S, 80, ACK);
        assert_eq!(
            h.from(&C2, &packet).dropped(),
            Some(DropReason::SpoofedAddress)
        );
        // With C1's MAC address as well.
        let frame = packet.frame(C1.mac, BRIDGE1_MAC, C2.ifindex);
        assert_eq!(
            h.run(Hook::Veth, &frame).dropped(),
            Some(DropReason::SpoofedMac)
        );
        // C1 itself with another MAC address.
        let frame = packet.frame(C2.mac, BRIDGE1_MAC, C1.ifindex);
        assert_eq!(
            h.run(Hook::Veth, &frame).dropped(),
            Some(DropReason::SpoofedMac)
        );
    }
    for src in [H, S, GW1, C3.ip(), Addr::default(), LOOPBACK[0]] {
        let out = h.from(&C1, &udp(src, 5000, S, 53, b""));
        assert_eq!(out.dropped(), Some(DropReason::SpoofedAddress), "{src:?}");
    }
    assert_eq!(h.tables.entries().len(), 2);
}

#[test]
fn icmp_that_belongs_to_nothing() {
    let mut h = Host::new();
    let out = h.from(&C1, &query(C1.ip(), S, ECHO_REPLY, 7));
    assert_eq!(
        out.dropped(),
        Some(DropReason::IcmpUnmatched),
        "an answer without a question"
    );
    assert!(h.tables.entries().is_empty());
}

#[test]
fn loopback_and_multicast() {
    let mut h = Host::new();
    let out = h.from(&C1, &udp(C1.ip(), 5000, LOOPBACK[0], 53, b""));
    assert_eq!(out.dropped(), Some(DropReason::Martian));
    assert!(
        h.from(&C1, &udp(C1.ip(), 5000, MULTICAST, 53, b""))
            .passed()
    );
}

#[test]
fn frames_of_unknown_ports_stop_at_the_bridge() {
    assert_eq!(bridge_ingress(Vetted::No), Err(DropReason::UnknownPort));
    assert!(bridge_ingress(Vetted::Yes).is_ok());
}

#[test]
fn a_private_source_without_endpoint_does_not_leave() {
    let mut h = Host::new();
    for src in [NOBODYS[0], GW1] {
        let out = h.from_stack(&udp(src, 5000, S, 53, b""));
        assert_eq!(out.dropped(), Some(DropReason::UntranslatedSource));
    }
}
