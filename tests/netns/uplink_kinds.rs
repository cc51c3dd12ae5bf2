//! Devices that lead out and are no plain network card: VLANs, which work, and tunnels without an
//! Ethernet header, which are refused.

use std::net::Ipv4Addr;

use netpath_common::DropReason;
use netpath_tests::{
    netns::{command, stdout},
    probe::{at, tcp, tcp_server, transfer, udp, udp_server, udp_socket},
    skip,
    topology::{A, UPLINK, World, without_offloads},
    wait,
    ways::ip,
};

/// The host in the VLAN.
const HOST5: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The outside in the VLAN.
const OUTSIDE5: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// A host that reaches the outside by VLAN 5 of its network card alone; `None` where the kernel was built
/// without VLANs, and the skip is on record. `off`: features of the cards that are turned off.
fn by_vlan(off: &str) -> Option<World> {
    let world = World::new(&["a"]);
    let vlan = "link add link uplink0 name probe.6 type vlan id 6";
    let words: Vec<_> = vlan.split_whitespace().collect();
    let probe = command(&world.host, "ip", &words);
    if String::from_utf8_lossy(&probe.stderr).contains("Unknown device type") {
        skip::record("the kernel has no VLAN devices (CONFIG_VLAN_8021Q)");
        return None;
    }
    for (namespace, device, own) in [
        (&world.host, UPLINK, HOST5),
        (&world.outside, "eth0", OUTSIDE5),
    ] {
        for feature in off.split_whitespace() {
            stdout(namespace, "ethtool", &["-K", device, feature, "off"]);
        }
        ip(
            namespace,
            &format!("link add link {device} name {device}.5 type vlan id 5"),
        );
        ip(namespace, &format!("addr add {own}/24 dev {device}.5"));
        ip(namespace, &format!("link set {device}.5 up"));
    }
    ip(
        &world.host,
        &format!("route replace default via {OUTSIDE5}"),
    );
    let name = format!("{UPLINK}.5");
    let more = format!("uplinks = [{name:?}]");
    let mut config = world.network("bridge", "netpath0", "172.17.0.0/16", &more);
    config += &world.endpoint("a", A, &["8080:80", "5353:53/udp"]);
    world.up(&config);
    Some(world)
}

fn both_directions(world: &World) {
    let a = world.container("a");
    let _servers = (
        tcp_server(&world.outside, "outside", 7000),
        udp_server(&world.outside, "outside", 7000),
        tcp_server(a, "a", 80),
        udp_server(a, "a", 53),
    );
    for answer in [tcp(a, at(OUTSIDE5, 7000)), udp(a, at(OUTSIDE5, 7000))] {
        assert!(answer.is_from("outside", HOST5), "{}", answer.text);
    }
    for answer in [
        tcp(&world.outside, at(HOST5, 8080)),
        udp(&world.outside, at(HOST5, 5353)),
    ] {
        assert!(answer.is_from("a", OUTSIDE5), "{}", answer.text);
    }
    transfer(a, at(OUTSIDE5, 7001), &world.outside, 7001, 1 << 20);
}

#[test]
fn a_vlan_is_an_uplink() {
    if let Some(world) = by_vlan("") {
        both_directions(&world);
    }
}

#[test]
fn a_vlan_whose_card_leaves_the_tags_to_the_stack_is_an_uplink() {
    if let Some(world) = by_vlan("txvlan rxvlan") {
        both_directions(&world);
    }
}

#[test]
fn a_vlan_is_an_uplink_without_offloads() {
    without_offloads(|| {
        if let Some(world) = by_vlan("txvlan rxvlan") {
            both_directions(&world);
        }
    });
}

#[test]
fn a_tunnel_without_ethernet_is_refused_by_name() {
    let world = World::new(&["a"]);
    ip(&world.host, "tuntap add dev tun7 mode tun");
    ip(&world.host, "addr add 10.7.0.1/24 dev tun7");
    ip(&world.host, "link set tun7 up");
    let mut config = world.network(
        "bridge",
        "netpath0",
        "172.17.0.0/16",
        "uplinks = [\"tun7\"]",
    );
    config += &world.endpoint("a", A, &[]);
    let output = world.try_up(&config);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    for part in ["network `bridge`", "tun7", " tun", "Ethernet header"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    assert!(!world.pins().exists(), "nothing was loaded");
}

#[test]
fn a_default_route_into_a_tunnel_makes_it_no_uplink() {
    let world = World::with_ports(&["a"], &[]);
    ip(&world.host, "tuntap add dev tun7 mode tun");
    ip(&world.host, "addr add 10.7.0.1/24 dev tun7");
    ip(&world.host, "link set tun7 up");
    ip(&world.host, "route add 192.0.2.0/24 dev tun7");
    // Nothing of a container leaves by it, translated or not.
    let socket = udp_socket(world.container("a"), 4000, None);
    socket.send_to(b"?", ("192.0.2.9", 7000)).unwrap();
    wait::until("it is dropped", || world.dropped(DropReason::NoUplink) == 1);
    assert!(!world.run(&["status"]).contains("tun7"));
}
