//! A container in several networks: its interfaces, its way out, and what it publishes in each.

use std::net::Ipv4Addr;

use netpath::lab::links;
use netpath_common::DropReason;
use netpath_tests::{
    netns::{Namespace, command, stdout, within},
    probe::{SOON, at, pings, tcp, tcp_server, tcp_server6},
    topology::{HOST, OUTSIDE, World},
};
use serde_json::Value;

/// Of container `a` in the networks alpha and beta, of `b` in alpha, of `c` in beta.
const ALPHA_A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const ALPHA_B: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);
const BETA_A: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
const BETA_C: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 3);

/// An endpoint of a container of the world.
fn endpoint(world: &World, name: &str, container: &str, ip: Ipv4Addr, more: &str) -> String {
    let netns = world.container(container).name();
    format!(
        "\n[[network.endpoint]]\nname = \"{name}\"\nnetns = \"{netns}\"\nip = \"{ip}\"\n{more}\n"
    )
}

/// Both networks; `beta` is more of what container `a` has in the second.
fn config(world: &World, beta: &str) -> String {
    world.network("alpha", "alpha0", "10.1.0.0/24", "")
        + &endpoint(world, "a", "a", ALPHA_A, "publish = [\"8080:80\"]")
        + &endpoint(world, "b", "b", ALPHA_B, "")
        + &world.network("beta", "beta0", "10.2.0.0/24", "")
        + &endpoint(
            world,
            "a-beta",
            "a",
            BETA_A,
            &format!("publish = [\"9090:80\"]\n{beta}"),
        )
        + &endpoint(world, "c", "c", BETA_C, "")
}

fn names(namespace: &Namespace) -> Vec<String> {
    let links = within(namespace, || links::links().unwrap());
    links.into_iter().map(|link| link.name).collect()
}

/// The one default route of a family.
#[track_caller]
fn default_route(namespace: &Namespace, family: &str) -> String {
    let routes = stdout(namespace, "ip", &[family, "route", "show", "default"]);
    assert_eq!(routes.lines().count(), 1, "{routes}");
    routes
}

/// Leaves by the network whose container's address is `seen` on the way.
#[track_caller]
fn leaves_as(world: &World, seen: Ipv4Addr) {
    let _server = tcp_server(&world.outside, "outside", 7000);
    world.words("ct flush");
    let answer = tcp(world.container("a"), at(OUTSIDE, 7000));
    assert!(answer.is_from("outside", HOST), "{}", answer.text);
    let flows = world.words(&format!("ct list -p tcp -s {seen}"));
    assert!(flows.contains("dport=7000"), "{seen}: {flows}");
}

/// Both networks are reached by their own interfaces, the outside by one, and ports that are published
/// in either answer by the one that was asked.
#[test]
fn two_networks_of_one_container() {
    let world = World::new(&["a", "b", "c"]);
    world.up(&config(&world, ""));
    let [a, c] = ["a", "c"].map(|name| world.container(name));
    assert_eq!(names(a), ["lo", "eth0", "eth1"]);
    assert!(pings(a, ALPHA_B, SOON) && pings(a, BETA_C, SOON));
    // By the name of the network where nothing else decides.
    assert!(default_route(a, "-4").contains("via 10.1.0.1 dev eth0"));
    leaves_as(&world, ALPHA_A);

    let _server = tcp_server(a, "a", 80);
    for port in [8080, 9090] {
        let answer = tcp(&world.outside, at(HOST, port));
        assert!(answer.is_from("a", OUTSIDE), "{port}: {}", answer.text);
        // A neighbour in one of them asks by the other: the answer must not take the short way.
        let answer = tcp(c, at(HOST, port));
        assert!(answer.is_from("a", BETA_C), "{port}: {}", answer.text);
        let answer = tcp(&world.host, at(HOST, port));
        assert!(answer.text.starts_with("a saw"), "{port}: {}", answer.text);
    }
    // A second time changes nothing.
    assert_eq!(world.up(&config(&world, "")), "nothing to change\n");

    // Another priority moves the way out, and remakes nothing.
    let before = world.words("endpoint inspect a-beta");
    world.up(&config(&world, "gw_priority = 10"));
    assert!(default_route(a, "-4").contains("via 10.2.0.1 dev eth1"));
    leaves_as(&world, BETA_A);
    let after = world.words("endpoint inspect a-beta");
    assert_eq!(
        before.replace("\"GwPriority\": 0", "\"GwPriority\": 10"),
        after
    );
    for port in [8080, 9090] {
        assert!(
            tcp(&world.outside, at(HOST, port)).is_from("a", OUTSIDE),
            "{port}"
        );
    }

    // What is removed takes its way out along; then there is no choice, and no rule.
    world.words("endpoint rm a-beta");
    assert_eq!(names(a), ["lo", "eth0"]);
    assert!(default_route(a, "-4").contains("via 10.1.0.1 dev eth0"));
    leaves_as(&world, ALPHA_A);
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    let rules = stdout(a, "ip", &["rule"]);
    assert_eq!(rules.lines().count(), 3, "{rules}");
    let tables = stdout(a, "ip", &["route", "show", "table", "all"]);
    assert!(
        !tables.contains("default via 10.1.0.1 dev eth0 table"),
        "{tables}"
    );
}

/// The same by commands, with names of the user's choice, and what cannot be.
#[test]
fn another_network_by_a_command() {
    let world = World::new(&["a"]);
    let a = world.container("a");
    let netns = a.name();
    world.words("network create --subnet 10.1.0.0/24 alpha");
    world.words("network create --subnet 10.2.0.0/24 beta");
    world.words("network create --subnet 10.3.0.0/24 --internal inner");
    let add = |network: &str, name: &str, more: &str| {
        format!("endpoint add --network {network} --name {name} --netns {netns}{more}")
    };
    world.words(&add("inner", "a-inner", " --gw-priority 100"));
    assert_eq!(stdout(a, "ip", &["route", "show", "default"]), "");
    world.words(&add("beta", "a", ""));
    assert!(default_route(a, "-4").contains("via 10.2.0.1 dev eth1"));
    world.refused(
        &add("beta", "again", ""),
        &["network `beta` already, as endpoint `a`"],
    );
    world.refused(&add("alpha", "a", ""), &["endpoint `a` exists already"]);
    world.refused(
        &add("alpha", "x", " --ifname eth1"),
        &["has an interface eth1 already"],
    );
    let option = " --driver-opt com.docker.network.endpoint.ifname=net1 --gw-priority -1";
    world.words(&add("alpha", "a-alpha", option));
    assert_eq!(names(a), ["lo", "eth0", "eth1", "net1"]);
    assert!(default_route(a, "-4").contains("via 10.2.0.1 dev eth1"));
    let shown: Value = serde_json::from_str(&world.words("--json endpoint ls")).unwrap();
    let alpha = shown
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["name"] == "a-alpha");
    assert_eq!(alpha.unwrap()["container_interface"], "net1");
    assert_eq!(alpha.unwrap()["gw_priority"], -1);

    // One that is gone by itself is followed by the next.
    world.words("endpoint rm a");
    assert!(default_route(a, "-4").contains("via 10.1.0.1 dev net1"));
    // The lowest number that is free, again.
    world.words(&add("beta", "a", ""));
    assert_eq!(names(a), ["lo", "eth0", "net1", "eth1"]);
    world.words("down --all");
    assert_eq!(names(a), ["lo"]);
    let rules = stdout(a, "ip", &["rule"]);
    assert_eq!(rules.lines().count(), 3, "{rules}");
}

/// Docker's words: a container is known by any of its endpoints.
#[test]
fn connect_and_disconnect() {
    let world = World::new(&["a"]);
    let a = world.container("a");
    world.words("network create --subnet 10.1.0.0/24 alpha");
    world.words("network create --subnet 10.2.0.0/24 beta");
    world.words("network create -d macvlan -o parent=uplink0 --subnet 198.51.100.0/24 lan");
    let netns = a.name();
    world.words(&format!(
        "endpoint add --network alpha --name a --netns {netns}"
    ));
    let said = world.words("network connect --ip 10.2.0.9 --gw-priority 7 beta a");
    assert_eq!(said, "a-beta\n");
    assert!(default_route(a, "-4").contains("via 10.2.0.1 dev eth1"));
    assert_eq!(
        world.words("network connect --name third --ip 198.51.100.9 lan a-beta"),
        "third\n"
    );
    assert_eq!(names(a), ["lo", "eth0", "eth1", "eth2"]);
    let shown: Value = serde_json::from_str(&world.words("network inspect beta")).unwrap();
    let containers = shown[0]["Containers"].as_object().unwrap();
    assert_eq!(
        containers.values().next().unwrap()["IPv4Address"],
        "10.2.0.9/24"
    );
    world.refused(
        "network connect beta a",
        &["endpoint `a-beta` exists already in network `beta`"],
    );
    world.refused(
        "network connect beta nobody",
        &["endpoint `nobody` does not exist"],
    );
    world.refused(
        "network connect nothing a",
        &["network `nothing` does not exist"],
    );

    assert_eq!(world.words("network disconnect beta a"), "a-beta\n");
    assert!(default_route(a, "-4").contains("via 10.1.0.1 dev eth0"));
    world.refused(
        "network disconnect beta a",
        &["container a is not connected to network beta"],
    );
    world.words("network disconnect -f beta a");
    world.words("network disconnect alpha third");
    assert_eq!(names(a), ["lo", "eth2"]);
    assert!(default_route(a, "-4").contains("via 198.51.100.1 dev eth2"));
    world.words("network disconnect lan third");
    assert_eq!(names(a), ["lo"]);
}

/// Each interface sends its own address alone.
#[test]
fn an_address_leaves_by_its_own_interface_alone() {
    let world = World::new(&["a", "b", "c"]);
    world.up(&config(&world, ""));
    let a = world.container("a");
    // The gateway is known, so that nothing but the packet itself is forged.
    assert!(pings(a, Ipv4Addr::new(10, 2, 0, 1), SOON));
    let before = world.dropped(DropReason::SpoofedAddress);
    // What netpath's own rules would send by the right one.
    for _ in [ALPHA_A, BETA_A] {
        stdout(a, "ip", &["rule", "del", "priority", "28272"]);
    }
    stdout(
        a,
        "ip",
        &[
            "route",
            "add",
            "203.0.113.7",
            "via",
            "10.2.0.1",
            "dev",
            "eth1",
        ],
    );
    let words = ["-I", "10.1.0.2", "-c", "1", "-W", "1", "203.0.113.7"];
    let output = command(a, "ping", &words);
    assert!(!output.status.success());
    assert_eq!(world.dropped(DropReason::SpoofedAddress), before + 1);
}

/// IPv4 and IPv6 may leave by different networks.
#[test]
fn each_family_has_a_way_out_of_its_own() {
    let world = World::new(&["a"]);
    let a = world.container("a");
    let config = world.network("alpha", "alpha0", "10.1.0.0/24", "")
        + &endpoint(&world, "a", "a", ALPHA_A, "gw_priority = 1")
        + &world.network("beta", "beta0", "10.2.0.0/24", "ipv6 = \"fd00:2::/64\"")
        + &endpoint(&world, "a-beta", "a", BETA_A, "")
        + &world.network("gamma", "gamma0", "10.3.0.0/24", "ipv6 = \"fd00:3::/64\"")
        + &endpoint(
            &world,
            "a-gamma",
            "a",
            Ipv4Addr::new(10, 3, 0, 2),
            "publish = [\"8080:80\"]",
        );
    world.up(&config);
    assert!(default_route(a, "-4").contains("via 10.1.0.1 dev eth0"));
    assert!(default_route(a, "-6").contains("via fd00:2::1 dev eth1"));
    // Of the container's two addresses of IPv6 the one that is asked answers, by its own network.
    let _server = tcp_server6(a, "a", 80);
    let host6 = "2001:db8:9::1".parse().unwrap();
    within(&world.host, || {
        links::add_address("uplink0", std::net::IpAddr::V6(host6), 64).unwrap()
    });
    let outside6: std::net::Ipv6Addr = "2001:db8:9::2".parse().unwrap();
    within(&world.outside, || {
        links::add_address("eth0", std::net::IpAddr::V6(outside6), 64).unwrap();
    });
    world.up(&config);
    let answer = tcp(
        &world.outside,
        std::net::SocketAddr::new(host6.into(), 8080),
    );
    assert!(answer.is_from("a", outside6), "{}", answer.text);
    world.run(&["endpoint", "rm", "a-beta"]);
    assert!(default_route(a, "-6").contains("via fd00:3::1 dev eth2"));
    assert!(default_route(a, "-4").contains("via 10.1.0.1 dev eth0"));
}

/// A container on the outside network that publishes by a bridge network, and answers by either.
#[test]
fn a_bridge_network_beside_a_macvlan() {
    let world = World::new(&["a"]);
    let a = world.container("a");
    let lan_a = Ipv4Addr::new(198, 51, 100, 128);
    let config = world.network("alpha", "alpha0", "10.1.0.0/24", "")
        + &endpoint(&world, "a", "a", ALPHA_A, "publish = [\"8080:80\"]")
        + "\n[[network]]\nname = \"lan\"\ndriver = \"macvlan\"\nparent = \"uplink0\"\n\
           subnet = \"198.51.100.0/24\"\ngateway = \"198.51.100.2\"\n"
        + &endpoint(&world, "a-lan", "a", lan_a, "gw_priority = 1");
    world.up(&config);
    assert!(default_route(a, "-4").contains("via 198.51.100.2 dev eth1"));
    let _server = tcp_server(a, "a", 80);
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    assert!(tcp(&world.outside, at(lan_a, 80)).is_from("a", OUTSIDE));
    let _out = tcp_server(&world.outside, "outside", 7000);
    assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", lan_a));
    world.run(&["endpoint", "rm", "a-lan"]);
    assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
}
