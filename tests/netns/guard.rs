//! What must not get through, and is counted.

use std::{io::ErrorKind, net::Ipv4Addr};

use netpath::lab::links;
use netpath_common::DropReason;
use netpath_tests::{
    netns::{Namespace, within},
    probe::{
        BRIEFLY, SOON, at,
        frame::{self, Udp},
        pings, tcp, tcp_fails, tcp_server, udp_server, udp_silent,
    },
    topology::{A, B, GATEWAY, HOST, OUTSIDE, World},
    wait,
};

fn mac(namespace: &Namespace, name: &str) -> [u8; 6] {
    let links = within(namespace, || links::links().unwrap());
    links
        .iter()
        .find(|link| link.name == name)
        .unwrap()
        .mac
        .clone()
        .try_into()
        .unwrap()
}

#[test]
fn the_outside_cannot_address_a_container() {
    let world = World::with_ports(&["a"], &["8080:80"]);
    let a = world.container("a");
    let _servers = (tcp_server(a, "a", 80), udp_server(a, "a", 80));
    within(&world.outside, || {
        links::add_route(Ipv4Addr::new(172, 17, 0, 0), 16, HOST).unwrap()
    });
    tcp_fails(&world.outside, at(A, 80), ErrorKind::TimedOut);
    assert!(world.dropped(DropReason::DirectAccess) >= 1);
    let before = world.dropped(DropReason::DirectAccess);
    udp_silent(&world.outside, at(A, 80));
    assert!(!pings(&world.outside, A, BRIEFLY));
    assert_eq!(world.dropped(DropReason::DirectAccess), before + 2);
}

#[test]
fn the_outside_may_still_ask_the_gateway_address_for_what_the_host_has() {
    let world = World::with_ports(&["a"], &["8080:80"]);
    let _server = tcp_server(world.container("a"), "a", 80);
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    assert!(pings(&world.outside, HOST, SOON));
}

#[test]
fn forged_frames_are_dropped_and_counted() {
    let world = World::with_ports(&["a", "b"], &[]);
    let (a, b) = (world.container("a"), world.container("b"));
    let (a_mac, b_mac, gateway) = (mac(a, "eth0"), mac(b, "eth0"), mac(&world.host, "netpath0"));
    let udp = |from_mac, to_mac, from, to| {
        Udp {
            from_mac,
            to_mac,
            from: (from, 4000),
            to: (to, 7000),
        }
        .frame(b"forged")
    };
    let elsewhere = Ipv4Addr::new(203, 0, 113, 9);
    let cases = [
        (
            "a's MAC and address",
            udp(a_mac, gateway, A, OUTSIDE),
            DropReason::SpoofedMac,
        ),
        (
            "a's MAC",
            udp(a_mac, gateway, B, OUTSIDE),
            DropReason::SpoofedMac,
        ),
        (
            "a's address",
            udp(b_mac, gateway, A, OUTSIDE),
            DropReason::SpoofedAddress,
        ),
        (
            "a stranger's address",
            udp(b_mac, gateway, elsewhere, OUTSIDE),
            DropReason::SpoofedAddress,
        ),
        (
            "the gateway's address",
            udp(b_mac, a_mac, GATEWAY, A),
            DropReason::SpoofedAddress,
        ),
        (
            "ARP: a is here",
            frame::arp_claim(b_mac, b_mac, A),
            DropReason::SpoofedArp,
        ),
        (
            "ARP: the gateway is here",
            frame::arp_claim(b_mac, b_mac, GATEWAY),
            DropReason::SpoofedArp,
        ),
        (
            "ARP: b is at a",
            frame::arp_claim(b_mac, a_mac, B),
            DropReason::SpoofedArp,
        ),
        (
            "ARP from a's MAC",
            frame::arp_claim(a_mac, b_mac, B),
            DropReason::SpoofedMac,
        ),
    ];
    for (what, bytes, reason) in cases {
        let before = world.dropped(reason);
        within(b, || frame::send("eth0", &bytes).unwrap());
        wait::until(&format!("{what} is dropped as {}", reason.as_str()), || {
            world.dropped(reason) == before + 1
        });
    }
    assert!(pings(b, A, SOON), "an honest packet passes");
    let known = within(a, || links::neighbours().unwrap());
    for neighbour in known {
        let wanted = if neighbour.address == B {
            b_mac
        } else {
            gateway
        };
        assert_eq!(
            neighbour.mac, wanted,
            "{} was taken over",
            neighbour.address
        );
    }
}

#[test]
fn without_icc_containers_do_not_reach_each_other() {
    let world = World::new(&["a", "b"]);
    let mut config = world.network("bridge", "netpath0", "172.17.0.0/16", "icc = false");
    config += &world.endpoint("a", A, &["8080:80"]);
    config += &world.endpoint("b", B, &[]);
    world.up(&config);
    let _servers = (
        tcp_server(world.container("a"), "a", 80),
        tcp_server(&world.outside, "outside", 7000),
    );
    let b = world.container("b");
    assert!(!pings(b, A, BRIEFLY));
    let refused = within(b, || {
        netpath::lab::probe::tcp(at(A, 80), None, BRIEFLY).map(|answer| answer.text)
    });
    assert!(refused.is_err(), "{refused:?}");
    assert!(pings(b, GATEWAY, SOON), "the gateway is not a container");
    assert!(tcp(b, at(OUTSIDE, 7000)).is_from("outside", HOST));
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    // What is published is open to a neighbour, but neither finds the other by ARP.
    assert!(tcp(b, at(HOST, 8080)).is_from("a", GATEWAY));
}

#[test]
fn an_internal_network_stays_inside() {
    let world = World::new(&["a", "b"]);
    let mut config = world.network("bridge", "netpath0", "172.17.0.0/16", "internal = true");
    config += &world.endpoint("a", A, &[]);
    config += &world.endpoint("b", B, &[]);
    world.up(&config);
    let _server = tcp_server(&world.outside, "outside", 7000);
    let a = world.container("a");
    assert!(
        pings(a, B, SOON),
        "containers of one internal network reach each other"
    );
    assert!(!pings(a, OUTSIDE, BRIEFLY));
    let out = within(a, || {
        netpath::lab::probe::tcp(at(OUTSIDE, 7000), None, BRIEFLY).map(|answer| answer.text)
    });
    assert!(out.is_err(), "{out:?}");
    // Also by a route that the container makes itself.
    within(a, || {
        let _ = links::add_route(Ipv4Addr::UNSPECIFIED, 0, GATEWAY);
    });
    assert!(!pings(a, OUTSIDE, BRIEFLY));
}
