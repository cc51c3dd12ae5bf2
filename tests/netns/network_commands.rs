//! `netpath network` with Docker's flags, on a real host.

use std::{net::Ipv4Addr, process::Output};

use netpath::lab::links;
use netpath_tests::{
    netns::within,
    probe::{SOON, at, pings, tcp, tcp_server},
    topology::{A, HOST, OUTSIDE, World, succeeded},
};
use serde_json::{Value, json};

use crate::lifecycle::{Snapshot, assert_same};

/// Runs `netpath network` with these words.
fn try_network(world: &World, words: &str) -> Output {
    world.netpath(
        &["network"]
            .into_iter()
            .chain(words.split(' '))
            .collect::<Vec<_>>(),
    )
}

#[track_caller]
fn network(world: &World, words: &str) -> String {
    succeeded(words, try_network(world, words))
}

#[track_caller]
fn refused(world: &World, words: &str, code: i32, why: &[&str]) {
    let output = try_network(world, words);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words}: {errors}");
    for part in why {
        assert!(errors.contains(part), "{words}: no `{part}` in: {errors}");
    }
}

#[track_caller]
fn inspect(world: &World, name: &str) -> Value {
    let text = network(world, &format!("inspect {name}"));
    let json: Value = serde_json::from_str(&text).unwrap();
    json[0].clone()
}

fn add(world: &World, network: &str, name: &str, more: &[&str]) -> Output {
    let netns = world.container(name).name();
    let words = [
        "endpoint",
        "add",
        "--network",
        network,
        "--name",
        name,
        "--netns",
    ];
    let words: Vec<_> = words
        .into_iter()
        .chain([netns])
        .chain(more.iter().copied())
        .collect();
    world.netpath(&words)
}

fn has_link(world: &World, name: &str) -> bool {
    let links = within(&world.host, || links::links().unwrap());
    links.iter().any(|link| link.name == name)
}

/// A network's life, as a user of Docker would live it.
#[test]
fn create_ls_inspect_rm() {
    let world = World::new(&["a", "b"]);
    let before = [
        Snapshot::of_host(&world),
        Snapshot::of(world.container("a")),
    ];
    let id = network(
        &world,
        "create --driver bridge --subnet 10.1.0.0/24 --ip-range 10.1.0.128/25 --aux-address \
         router=10.1.0.128 --label team=net --label plain --attachable --scope local \
         --ipv4=true -o com.docker.network.bridge.name=web0 -o \
         com.docker.network.bridge.enable_icc=false web",
    );
    let id = id.trim();
    assert_eq!(id.len(), 64);
    network(&world, "create other");
    assert!(has_link(&world, "web0"));

    let shown = inspect(&world, "web");
    assert_eq!(shown["Id"], id);
    assert_eq!(
        shown["IPAM"]["Config"],
        json!([{
            "Subnet": "10.1.0.0/24", "IPRange": "10.1.0.128/25", "Gateway": "10.1.0.1",
            "AuxiliaryAddresses": { "router": "10.1.0.128" },
        }])
    );
    assert_eq!(shown["Labels"], json!({ "team": "net", "plain": "" }));
    assert_eq!(
        shown["Options"]["com.docker.network.bridge.enable_icc"],
        "false"
    );
    assert_eq!(shown["Options"]["com.docker.network.bridge.name"], "web0");
    // By the beginning of its identifier, and with a format.
    let format = [
        "network",
        "inspect",
        "-f",
        "{{.Name}} {{(index .IPAM.Config 0).Subnet}}",
        &id[..5],
    ];
    assert_eq!(world.run(&format), "web 10.1.0.0/24\n");
    // What there is is shown, and what there is not is an error.
    let both = try_network(&world, "inspect web nothing");
    assert_eq!(both.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&both.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert!(String::from_utf8_lossy(&both.stderr).contains("`nothing` does not exist"));

    let table = network(&world, "ls");
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(
        table.starts_with("NETWORK ID     NAME      DRIVER    SCOPE\n"),
        "{table}"
    );
    assert!(
        table.contains(&format!("{}   web       bridge    local\n", &id[..12])),
        "{table}"
    );
    assert_eq!(
        network(&world, "ls -q -f label=team"),
        format!("{}\n", &id[..12])
    );
    assert_eq!(
        network(&world, "ls --no-trunc -q -f name=^web$"),
        format!("{id}\n")
    );
    let format = [
        "network",
        "ls",
        "--filter",
        "dangling=true",
        "--format",
        "{{.Name}}",
    ];
    assert_eq!(world.run(&format), "other\nweb\n");

    // By itself an endpoint gets an address of the range, by name any of the subnet.
    succeeded("add", add(&world, &id[..6], "a", &[]));
    let aux = add(&world, "web", "b", &["--ip", "10.1.0.128"]);
    let errors = String::from_utf8_lossy(&aux.stderr);
    assert!(
        errors.contains("10.1.0.128 is the auxiliary address"),
        "{errors}"
    );
    succeeded("add", add(&world, "web", "b", &["--ip", "10.1.0.5"]));
    let containers = inspect(&world, "web")["Containers"].clone();
    let mut addresses: Vec<_> = containers
        .as_object()
        .unwrap()
        .values()
        .map(|c| c["IPv4Address"].as_str().unwrap().to_owned())
        .collect();
    addresses.sort();
    assert_eq!(addresses, ["10.1.0.129/24", "10.1.0.5/24"]);
    assert!(pings(world.container("a"), OUTSIDE, SOON));
    assert!(pings(world.container("b"), OUTSIDE, SOON));
    assert_eq!(
        inspect(&world, "web")["Status"]["IPAM"]["Subnets"]["10.1.0.0/24"],
        json!({ "IPsInUse": 6, "DynamicIPsAvailable": 125 })
    );

    // In use it stays, and nothing else is removed either.
    refused(
        &world,
        "rm other web",
        1,
        &[
            "error while removing network: network web id",
            id,
            "has active endpoints",
            "a, b",
        ],
    );
    assert!(has_link(&world, "web0"));
    assert!(pings(world.container("a"), OUTSIDE, SOON));
    assert_eq!(network(&world, "ls -q").lines().count(), 2);
    refused(
        &world,
        "rm nothing",
        1,
        &["`nothing` does not exist", "web, other"],
    );
    assert_eq!(network(&world, "rm -f nothing other"), "other\n");
    for name in ["a", "b"] {
        world.run(&["endpoint", "rm", name]);
    }
    assert_eq!(
        network(&world, &format!("rm {}", &id[..8])),
        format!("{}\n", &id[..8])
    );
    assert!(!has_link(&world, "web0"));
    let after = [
        Snapshot::of_host(&world),
        Snapshot::of(world.container("a")),
    ];
    assert_same(&after, &before);
    assert_eq!(network(&world, "rm --force web"), "");
    assert_eq!(network(&world, "ls -q"), "");
}

#[test]
fn rm_takes_endpoints_along_where_it_is_told_and_dead_ones_anyway() {
    let mut world = World::new(&["a", "b", "c"]);
    for name in ["one", "two", "three"] {
        network(&world, &format!("create {name}"));
    }
    for (name, container) in [("one", "a"), ("two", "b"), ("three", "c")] {
        succeeded("add", add(&world, name, container, &[]));
    }
    assert_eq!(network(&world, "rm --with-endpoints one"), "one\n");
    assert!(within(world.container("a"), || links::links()
        .unwrap()
        .len()
        == 1));
    assert!(pings(world.container("b"), OUTSIDE, SOON));
    refused(&world, "rm two", 1, &["has active endpoints (they are: b;"]);
    // The container ends, and with it its interface.
    drop(world.take_container("b"));
    netpath_tests::wait::until("the network can be removed", || {
        try_network(&world, "rm two").status.success()
    });
    assert!(pings(world.container("c"), OUTSIDE, SOON));
}

#[test]
fn prune_removes_what_nobody_uses() {
    let world = World::new(&["a", "b"]);
    let config = world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &world.network("kept", "kept0", "172.19.0.0/16", "");
    world.up(&config);
    for name in ["used", "free", "--label keep=yes labelled"] {
        network(&world, &format!("create {name}"));
    }
    succeeded("add", add(&world, "used", "a", &[]));
    refused(
        &world,
        "prune",
        1,
        &["would remove free, labelled", "--force"],
    );
    assert_eq!(
        network(&world, "prune -f --filter label!=keep"),
        "Deleted Networks:\nfree\n"
    );
    assert_eq!(
        network(&world, "--json prune -f").replace([' ', '\n'], ""),
        "{\"removed\":[\"labelled\"]}"
    );
    assert_eq!(network(&world, "prune"), "");
    let names = world.run(&["network", "ls", "--format", "{{.Name}}"]);
    assert_eq!(names, "bridge\nkept\nused\n");
}

#[test]
fn refusals_leave_nothing() {
    let world = World::new(&[]);
    let before = [Snapshot::of_host(&world)];
    for (words, code, why) in [
        (
            "create --ipv4=false n",
            1,
            &["--ipv4", "every network of netpath has IPv4"][..],
        ),
        ("create --scope swarm n", 1, &["--scope", "local"]),
        ("create --ingress n", 1, &["--ingress", "swarms"]),
        ("create --config-only n", 1, &["--config-only"]),
        (
            "create --ip-range 10.1.0.0/24 n",
            1,
            &["ip_range", "set subnet"],
        ),
        (
            "create -o com.docker.network.bridge.inhibit_ipv4=true n",
            1,
            &["inhibit_ipv4"],
        ),
        ("create -d overlay n", 1, &["driver", "overlay"]),
        ("create --colour red n", 2, &["--colour"]),
        (
            "ls --filter colour=red",
            1,
            &["colour=red", "the keys are dangling"],
        ),
        ("ls --format {{.Nme}", 1, &["--format"]),
        ("inspect nothing", 1, &["`nothing` does not exist"]),
        ("rm nothing", 1, &["is not up"]),
    ] {
        refused(&world, words, code, why);
    }
    assert_same(&[Snapshot::of_host(&world)], &before);
}

/// Where nothing else is said, a network's devices are as large as the uplink's, which Docker's are not.
#[test]
fn the_mtu_is_the_uplinks() {
    let world = World::new(&["a"]);
    within(&world.host, || {
        links::set_mtu(netpath_tests::topology::UPLINK, 1400).unwrap()
    });
    network(&world, "create -o com.docker.network.bridge.name=web0 web");
    network(&world, "create -o com.docker.network.driver.mtu=1380 small");
    succeeded("add", add(&world, "web", "a", &[]));
    let mtu =
        |name: &str| inspect(&world, name)["Options"]["com.docker.network.driver.mtu"].clone();
    assert_eq!((mtu("web"), mtu("small")), (json!("1400"), json!("1380")));
    let of = |namespace, name: &str| {
        let links = within(namespace, || links::links().unwrap());
        links.iter().find(|link| link.name == name).unwrap().mtu
    };
    assert_eq!(of(&world.host, "web0"), 1400);
    assert_eq!(of(world.container("a"), "eth0"), 1400);
}

/// The default network of a configuration is shown as Docker shows its own.
#[test]
fn the_default_network_is_docker_s() {
    let world = World::new(&["a"]);
    let config = world.network(
        "bridge",
        "netpath0",
        "172.17.0.0/16",
        "ip_range = \"172.17.8.0/24\"\naux_addresses = { dns = \"172.17.8.0\" }\n\
         labels = { team = \"net\" }",
    );
    let netns = world.container("a").name();
    let endpoint = format!("\n[[network.endpoint]]\nname = \"a\"\nnetns = \"{netns}\"\n");
    world.up(&format!("{config}{endpoint}"));
    let shown = inspect(&world, "bridge");
    assert_eq!(
        shown["Options"]["com.docker.network.bridge.default_bridge"],
        "true"
    );
    let containers = shown["Containers"].as_object().unwrap();
    let container = containers.values().next().unwrap();
    assert_eq!(
        (&container["Name"], &container["IPv4Address"]),
        (&json!("a"), &json!("172.17.8.1/16"))
    );
    // Changed in place: nobody notices.
    let _server = tcp_server(world.container("a"), "a", 80);
    let more = config
        .replace("172.17.8.0/24", "172.17.9.0/24")
        .replace("net\"", "web\"");
    let more = more.replace(
        "dns = \"172.17.8.0\"",
        "dns = \"172.17.8.0\", other = \"172.17.9.0\"",
    );
    world.up(&(more.clone() + &endpoint + "publish = [\"8080:80\"]\n"));
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    let shown = inspect(&world, "bridge");
    assert_eq!(shown["Labels"], json!({ "team": "web" }));
    assert_eq!(shown["IPAM"]["Config"][0]["IPRange"], "172.17.9.0/24");
    assert_eq!(
        containers.keys().next(),
        shown["Containers"].as_object().unwrap().keys().next()
    );
    // An address that an endpoint has cannot become somebody else's.
    let taken = more.replace("172.17.8.0\"", "172.17.8.1\"");
    let output = world.try_up(&(taken + &endpoint));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("dns = 172.17.8.1 belongs to endpoint `a`"),
        "{errors}"
    );
    assert_eq!(A.octets()[..2], [172, 17]);
    assert!(pings(
        world.container("a"),
        Ipv4Addr::new(172, 17, 0, 1),
        SOON
    ));
}
