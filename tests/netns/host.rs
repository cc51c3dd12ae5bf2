//! The host's own sockets and published ports.

use std::net::Ipv4Addr;

use netpath::lab::probe;
use netpath_tests::{
    netns::{Namespace, within},
    probe::{SOON, Server, at, tcp, tcp_fails, tcp_server, udp, udp_server},
    skip,
    topology::{HOST, World},
};

/// Whether the cgroup programs can be attached; a skip where they cannot.
pub(crate) fn needs_cgroup() -> bool {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    if !mounts
        .lines()
        .any(|line| line.split(' ').nth(2) == Some("cgroup2"))
    {
        skip::record("cgroup v2 is not mounted");
        return false;
    }
    true
}

fn world() -> Option<World> {
    needs_cgroup().then(|| World::with_ports(&["a"], &["8080:80", "5353:53/udp"]))
}

fn servers(a: &Namespace) -> [Server; 2] {
    [tcp_server(a, "a", 80), udp_server(a, "a", 53)]
}

#[test]
fn by_address_and_by_loopback_over_tcp() {
    let Some(world) = world() else { return };
    let _servers = servers(world.container("a"));
    for address in [HOST, Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 1, 2, 3)] {
        let answer = tcp(&world.host, at(address, 8080));
        assert!(answer.text.starts_with("a saw "), "{}", answer.text);
        assert_eq!(answer.peer, at(address, 8080).into(), "getpeername");
    }
}

#[test]
fn by_address_and_by_loopback_over_connected_udp() {
    let Some(world) = world() else { return };
    let _servers = servers(world.container("a"));
    for address in [HOST, Ipv4Addr::LOCALHOST] {
        let answer = udp(&world.host, at(address, 5353));
        assert!(answer.text.starts_with("a saw "), "{}", answer.text);
        assert_eq!(answer.peer, at(address, 5353).into(), "getpeername");
    }
}

#[test]
fn by_address_and_by_loopback_over_unconnected_udp() {
    let Some(world) = world() else { return };
    let _servers = servers(world.container("a"));
    for address in [HOST, Ipv4Addr::LOCALHOST] {
        let to = at(address, 5353);
        let answer = within(&world.host, || probe::udp_unconnected(to, SOON)).unwrap();
        assert!(answer.text.starts_with("a saw "), "{}", answer.text);
        assert_eq!(answer.peer, to.into(), "the source that recvfrom shows");
    }
}

#[test]
fn what_is_not_published_is_left_alone() {
    let Some(world) = world() else { return };
    let _own = tcp_server(&world.host, "host", 8081);
    assert!(tcp(&world.host, at(Ipv4Addr::LOCALHOST, 8081)).is_from("host", Ipv4Addr::LOCALHOST));
    tcp_fails(
        &world.host,
        at(Ipv4Addr::LOCALHOST, 8082),
        std::io::ErrorKind::ConnectionRefused,
    );
}

#[test]
fn a_containers_own_loopback_is_its_own() {
    let Some(world) = world() else { return };
    let a = world.container("a");
    let _servers = servers(a);
    let loopback = at(Ipv4Addr::LOCALHOST, 8080);
    tcp_fails(a, loopback, std::io::ErrorKind::ConnectionRefused);
    let _own = Server::tcp(a, "own", loopback).unwrap();
    assert!(tcp(a, loopback).is_from("own", Ipv4Addr::LOCALHOST));
}

#[test]
fn the_outsides_loopback_is_its_own() {
    let Some(world) = world() else { return };
    let _servers = servers(world.container("a"));
    tcp_fails(
        &world.outside,
        at(Ipv4Addr::LOCALHOST, 8080),
        std::io::ErrorKind::ConnectionRefused,
    );
}
