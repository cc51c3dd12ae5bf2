//! What the agent follows while it runs.

use std::{fs, net::Ipv4Addr};

use netpath::lab::{links, probe};
use netpath_common::DropReason;
use netpath_tests::{
    agent::Agent,
    netns::within,
    probe::{SOON, at, pings, tcp, tcp_server, udp_silent},
    topology::{A, HOST, OUTSIDE, UPLINK, World},
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

/// RFC 6888, REQ-12 and 14: where containers go is nobody's business, and no line of a log.
#[test]
fn it_logs_no_destination() {
    let world = World::with_ports(&["a"], &["8080:80"]);
    let far = Ipv4Addr::new(203, 0, 113, 9);
    within(&world.outside, || {
        links::add_address("eth0", far, 32).unwrap()
    });
    let a = world.container("a");
    // Flows before it starts and while it runs, and a drop.
    assert!(pings(a, far, SOON));
    let log = world.file("agent.log");
    let agent = Agent::start_with_log(&world, &log);
    agent.wait_until_ready();
    let refused = within(a, || probe::udp(at(far, 7000), None, SOON));
    assert!(refused.is_err(), "nobody listens there");
    within(&world.outside, || {
        links::add_route(Ipv4Addr::new(172, 17, 0, 0), 16, HOST).unwrap()
    });
    udp_silent(&world.outside, at(A, 7001));
    assert!(world.dropped(DropReason::DirectAccess) >= 1);
    let text = || fs::read_to_string(&log).unwrap();
    wait::until("a pass over the flows is logged", || {
        text().contains("collected 0 flows of")
    });
    assert!(agent.terminate());
    let text = text();
    for secret in ["203.0.113.9", "7000", "7001"] {
        assert!(!text.contains(secret), "{secret}:\n{text}");
    }
}
