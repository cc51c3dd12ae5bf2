//! Two networks on one host.

use std::net::Ipv4Addr;

use netpath::lab::probe;
use netpath_common::DropReason;
use netpath_tests::{
    netns::within,
    probe::{BRIEFLY, at, pings, tcp, tcp_server, transfer, udp, udp_server},
    topology::{A, HOST, OUTSIDE, World},
};

const C: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 2);

fn world() -> World {
    let world = World::new(&["a", "c"]);
    let mut config = world.network("bridge", "netpath0", "172.17.0.0/16", "");
    config += &world.endpoint("a", A, &["8080:80", "5353:53/udp"]);
    config += &world.network("second", "netpath1", "172.18.0.0/16", "");
    config += &world.endpoint("c", C, &["9090:80"]);
    world.up(&config);
    world
}

#[test]
fn one_cannot_address_the_other() {
    let world = world();
    let _servers = (
        tcp_server(world.container("a"), "a", 80),
        world.container("c"),
    );
    let c = world.container("c");
    let before = world.dropped(DropReason::OtherNetwork);
    assert!(!pings(c, A, BRIEFLY));
    let out = within(c, || {
        probe::tcp(at(A, 80), None, BRIEFLY).map(|answer| answer.text)
    });
    assert!(out.is_err(), "{out:?}");
    assert!(
        world.dropped(DropReason::OtherNetwork) >= before + 2,
        "{:?}",
        world.drops()
    );
}

#[test]
fn a_published_port_works_across_and_keeps_the_source() {
    let world = world();
    let a = world.container("a");
    let _servers = (tcp_server(a, "a", 80), udp_server(a, "a", 53));
    let c = world.container("c");
    let answer = tcp(c, at(HOST, 8080));
    assert!(answer.is_from("a", C), "{}", answer.text);
    let answer = udp(c, at(HOST, 5353));
    assert!(answer.is_from("a", C), "{}", answer.text);
}

#[test]
fn bulk_data_goes_across() {
    let world = world();
    transfer(
        world.container("c"),
        at(HOST, 8080),
        world.container("a"),
        80,
        2_000_000,
    );
}

#[test]
fn both_reach_the_outside_and_are_reached() {
    let world = world();
    let _out = tcp_server(&world.outside, "outside", 7000);
    for (name, port) in [("a", 8080), ("c", 9090)] {
        let container = world.container(name);
        let _server = tcp_server(container, name, 80);
        assert!(tcp(container, at(OUTSIDE, 7000)).is_from("outside", HOST));
        assert!(tcp(&world.outside, at(HOST, port)).is_from(name, OUTSIDE));
    }
}
