//! Publishing, unpublishing and removing take effect at once.

use std::io::ErrorKind;

use netpath::lab::probe;
use netpath_tests::{
    netns::within,
    probe::{BRIEFLY, SOON, at, tcp, tcp_fails, tcp_server, udp_server, udp_socket},
    topology::{A, B, HOST, OUTSIDE, World},
};

#[test]
fn publish_and_unpublish_show_in_port() {
    let world = World::with_ports(&["a"], &["8080:80"]);
    let _server = tcp_server(world.container("a"), "a", 81);
    assert!(world.run(&["port", "a"]).contains("80/tcp -> 0.0.0.0:8080"));
    world.run(&["publish", "a", "8081:81"]);
    assert!(world.run(&["port", "a"]).contains("81/tcp -> 0.0.0.0:8081"));
    assert!(tcp(&world.outside, at(HOST, 8081)).is_from("a", OUTSIDE));
    world.run(&["unpublish", "a", "8081:81"]);
    assert!(!world.run(&["port", "a"]).contains("8081"));
    tcp_fails(&world.outside, at(HOST, 8081), ErrorKind::ConnectionRefused);
}

#[test]
fn unpublishing_ends_a_live_udp_flow_with_the_next_packet() {
    let world = World::with_ports(&["a"], &["5353:53/udp"]);
    let _server = udp_server(world.container("a"), "a", 53);
    let client = udp_socket(&world.outside, 0, Some(at(HOST, 5353)));
    assert!(
        probe::udp_again(&client, SOON)
            .unwrap()
            .is_from("a", OUTSIDE)
    );
    world.run(&["unpublish", "a", "5353:53/udp"]);
    // The host's own stack says that nobody is there.
    let error = probe::udp_again(&client, BRIEFLY).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn publishing_elsewhere_moves_a_live_udp_flow_with_the_next_packet() {
    let world = World::with_ports(&["a", "b"], &["5353:53/udp"]);
    let _servers = (
        udp_server(world.container("a"), "a", 53),
        udp_server(world.container("b"), "b", 53),
    );
    let client = udp_socket(&world.outside, 0, Some(at(HOST, 5353)));
    assert!(
        probe::udp_again(&client, SOON)
            .unwrap()
            .is_from("a", OUTSIDE)
    );
    world.run(&["unpublish", "a", "5353:53/udp"]);
    world.run(&["publish", "b", "5353:53/udp"]);
    let answer = probe::udp_again(&client, SOON).unwrap();
    assert!(answer.is_from("b", OUTSIDE), "{}", answer.text);
}

#[test]
fn up_with_another_configuration_moves_a_port() {
    let world = World::new(&["a", "b"]);
    let _servers = (
        tcp_server(world.container("a"), "a", 80),
        tcp_server(world.container("b"), "b", 80),
    );
    for (a_ports, b_ports, expected) in [
        (&["8080:80"][..], &[][..], "a"),
        (&[][..], &["8080:80"][..], "b"),
    ] {
        let mut config = world.network("bridge", "netpath0", "172.17.0.0/16", "");
        config += &world.endpoint("a", A, a_ports);
        config += &world.endpoint("b", B, b_ports);
        world.up(&config);
        assert!(tcp(&world.outside, at(HOST, 8080)).is_from(expected, OUTSIDE));
    }
}

#[test]
fn a_removed_endpoint_is_gone() {
    let world = World::with_ports(&["a", "b"], &["8080:80"]);
    let _server = tcp_server(world.container("a"), "a", 80);
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    world.run(&["endpoint", "rm", "a"]);
    tcp_fails(&world.outside, at(HOST, 8080), ErrorKind::ConnectionRefused);
    let links = within(world.container("a"), || {
        netpath::lab::links::links().unwrap()
    });
    assert!(links.iter().all(|link| link.name == "lo"), "{links:?}");
    assert!(!world.run(&["endpoint", "ls"]).contains(&A.to_string()));
    assert!(netpath_tests::probe::pings(
        world.container("b"),
        OUTSIDE,
        SOON
    ));
}

#[test]
fn an_added_endpoint_works() {
    let world = World::with_ports(&["a"], &[]);
    let mut world = world;
    let namespace = world.add_container("late");
    let output = world.run(&[
        "endpoint",
        "add",
        "--network",
        "bridge",
        "--netns",
        &namespace,
        "--name",
        "late",
        "--ip",
        "172.17.0.9",
        "-p",
        "8085:80",
    ]);
    let late = world.container("late");
    let _server = tcp_server(late, "late", 80);
    assert!(
        tcp(&world.outside, at(HOST, 8085)).is_from("late", OUTSIDE),
        "{output}"
    );
    assert!(world.run(&["endpoint", "ls"]).contains("172.17.0.9"));
}

#[test]
fn flushing_conntrack_lets_live_udp_go_on() {
    let world = World::with_ports(&["a"], &["5353:53/udp"]);
    let _server = udp_server(world.container("a"), "a", 53);
    let client = udp_socket(&world.outside, 0, Some(at(HOST, 5353)));
    assert!(
        probe::udp_again(&client, SOON)
            .unwrap()
            .is_from("a", OUTSIDE)
    );
    world.run(&["ct", "flush"]);
    assert!(world.run(&["ct", "list"]).is_empty());
    assert!(
        probe::udp_again(&client, SOON)
            .unwrap()
            .is_from("a", OUTSIDE)
    );
}
