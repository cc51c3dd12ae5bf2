//! A container with endpoints in several networks goes and comes back.

use std::net::Ipv4Addr;

use netpath_tests::{
    netns::{Namespace, stdout},
    probe::{at, tcp, tcp_server},
    topology::{HOST, OUTSIDE, World},
};

use crate::gone::{end, endpoint, status};

fn default_route(namespace: &Namespace) -> String {
    stdout(namespace, "ip", &["-4", "route", "show", "default"])
}

/// Both ports lead to the container, and it leaves by its second network.
#[track_caller]
fn works(world: &World) {
    let a = world.container("a");
    let route = default_route(a);
    assert!(route.contains("via 10.2.0.1 dev eth1"), "{route}");
    let _server = tcp_server(a, "a", 80);
    for port in [8080, 9090] {
        assert!(
            tcp(&world.outside, at(HOST, port)).is_from("a", OUTSIDE),
            "{port}"
        );
    }
    let _out = tcp_server(&world.outside, "outside", 7000);
    assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
}

fn goes_and_comes_back(world: &mut World, config: &str) {
    works(world);
    let before = ["a", "a-beta"].map(|name| endpoint(world, name));
    end(world, "a");
    for name in ["a", "a-beta"] {
        assert_eq!(status(world, name).0, "gone", "{name}");
    }
    world.up(config);
    world.add_container("a");
    let printed = world.up(config);
    for name in ["a", "a-beta"] {
        assert!(
            printed.contains(&format!("add endpoint {name} ")),
            "{printed}"
        );
    }
    for (name, before) in ["a", "a-beta"].iter().zip(before) {
        let after = endpoint(world, name);
        for key in ["address", "mac", "ports"] {
            assert_eq!(after[key], before[key], "{name} {key}");
        }
    }
    works(world);
    assert_eq!(world.up(config).trim(), "nothing to change");
}

const BETA_A: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 9);

#[test]
fn by_the_configuration() {
    let mut world = World::new(&["a"]);
    let netns = world.container("a").name();
    let config = world.network("alpha", "alpha0", "10.1.0.0/24", "")
        + &format!(
            "[[network.endpoint]]\nname = \"a\"\nnetns = \"{netns}\"\npublish = [\"8080:80\"]\n"
        )
        + &world.network("beta", "beta0", "10.2.0.0/24", "")
        + &format!(
            "[[network.endpoint]]\nname = \"a-beta\"\nnetns = \"{netns}\"\nip = \"{BETA_A}\"\n\
             gw_priority = 1\npublish = [\"9090:80\"]\n"
        );
    world.up(&config);
    goes_and_comes_back(&mut world, &config);
}

#[test]
fn by_commands() {
    let mut world = World::new(&["a"]);
    let netns = world.container("a").name().to_owned();
    world.up("");
    for line in [
        "network create --subnet 10.1.0.0/24 alpha",
        "network create --subnet 10.2.0.0/24 beta",
        &format!("endpoint add --network alpha --netns {netns} --name a -p 8080:80"),
        &format!(
            "endpoint add --network beta --netns {netns} --name a-beta --gw-priority 1 -p 9090:80"
        ),
    ] {
        world.words(line);
    }
    goes_and_comes_back(&mut world, "");
}

/// An endpoint that waits is no interface of the container that has its old namespace's name.
#[test]
fn one_that_waits_counts_for_nothing() {
    let mut world = World::new(&["a", "b"]);
    let netns = world.container("a").name().to_owned();
    world.up("");
    for line in [
        "network create --subnet 10.1.0.0/24 alpha",
        "network create --subnet 10.2.0.0/24 beta",
        &format!("endpoint add --network beta --netns {netns} --name a"),
    ] {
        world.words(line);
    }
    end(&mut world, "a");
    world.run(&["status"]);
    let other = world.container("b").name().to_owned();
    let add = format!("endpoint add --network alpha --netns {other} --name b");
    world.words(&add);
    assert_eq!(status(&world, "a").0, "gone");
    let route = default_route(world.container("b"));
    assert!(route.contains("via 10.1.0.1 dev eth0"), "{route}");
    // Nobody is in the way of removing its network.
    world.run(&["network", "rm", "beta"]);
    assert!(!world.run(&["endpoint", "ls"]).contains("gone"));
}
