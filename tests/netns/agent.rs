//! What the agent follows while it runs.

use std::net::Ipv4Addr;

use netpath::lab::{links, probe};
use netpath_tests::{
    agent::Agent,
    netns::within,
    probe::{SOON, at, tcp, tcp_server},
    topology::{HOST, OUTSIDE, UPLINK, World},
    wait,
};

#[test]
fn a_second_address_of_the_uplink_is_the_hosts_too() {
    let world = World::with_ports(&["a"], &["8080:80"]);
    let _server = tcp_server(world.container("a"), "a", 80);
    let _agent = Agent::start(&world);
    let second = Ipv4Addr::new(198, 51, 100, 7);
    within(&world.host, || {
        links::add_address(UPLINK, second, 24).unwrap()
    });
    wait::until("the published port is reached by the new address", || {
        within(&world.outside, || probe::tcp(at(second, 8080), None, SOON))
            .is_ok_and(|answer| answer.is_from("a", OUTSIDE))
    });
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
}

#[test]
fn it_ends_when_asked_and_leaves_the_datapath() {
    let world = World::with_ports(&["a"], &["8080:80"]);
    let _server = tcp_server(world.container("a"), "a", 80);
    let agent = Agent::start(&world);
    // Before it has begun, the signal would end it otherwise.
    agent.wait_until_ready();
    assert!(agent.terminate());
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
}
