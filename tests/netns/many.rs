//! Many endpoints on one network: a hundred, with `--long` a thousand. None is lost, and nothing is left.
//!
//! Asserts results. How long it took is printed, for the two that the project promises.

use std::{
    env,
    time::{Duration, Instant},
};

use netpath_tests::{
    netns::{Namespace, stdout, unique_prefix},
    probe::{SOON, pings},
    topology::{OUTSIDE, World},
};
use serde_json::Value;

use crate::lifecycle::{Snapshot, assert_same};

/// How many, and as how long is promised for a thousand on two processors.
fn many() -> usize {
    if env::var_os("NETPATH_LONG").is_some() {
        1000
    } else {
        100
    }
}

const PROMISED: Duration = Duration::from_secs(60);

fn containers() -> Vec<Namespace> {
    let prefix = unique_prefix();
    (0..many())
        .map(|n| Namespace::create(&format!("{prefix}-{n}")).unwrap())
        .collect()
}

fn config(world: &World, containers: &[Namespace]) -> String {
    let mut text = "[limits]\nconntrack = 65536\n".to_owned();
    text += &world.network(
        "bridge",
        "netpath0",
        "172.17.0.0/16",
        "ipv6 = \"fd00:17::/64\"",
    );
    for (n, namespace) in containers.iter().enumerate() {
        let (name, port) = (namespace.name(), 10_000 + n);
        text += &format!(
            "[[network.endpoint]]\nname = \"e{n}\"\nnetns = \"{name}\"\npublish = [\"{port}:80\"]\n"
        );
    }
    text
}

fn status(world: &World) -> Value {
    serde_json::from_str(&world.run(&["--json", "status"])).unwrap()
}

/// Every one is there, as it is to be, and the first and the last reach the outside.
fn are_all_there(world: &World, containers: &[Namespace]) {
    let status = status(world);
    assert_eq!(status["drift"], serde_json::json!([]));
    let endpoints = status["endpoints"].as_array().unwrap();
    assert_eq!(endpoints.len(), containers.len());
    let mut addresses: Vec<_> = endpoints.iter().map(|e| e["addr"].to_string()).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), containers.len());
    let links: Value = serde_json::from_str(&stdout(&world.host, "ip", &["-j", "link"])).unwrap();
    let ports = links
        .as_array()
        .unwrap()
        .iter()
        .filter(|l| l["master"] == "netpath0");
    assert_eq!(ports.count(), containers.len());
    for namespace in [containers.first().unwrap(), containers.last().unwrap()] {
        assert!(pings(namespace, OUTSIDE, SOON), "{}", namespace.name());
    }
}

fn took(what: &str, since: Instant) {
    let (took, n) = (since.elapsed(), many());
    let each = took / u32::try_from(n).unwrap();
    println!(
        "{n} endpoints {what}: {took:.2?}, {each:.2?} each (promised: a thousand in {PROMISED:?})"
    );
}

#[test]
fn in_one_file() {
    let world = World::new(&[]);
    let containers = containers();
    let before = [Snapshot::of_host(&world), Snapshot::of(&containers[0])];
    let file = world.file("many.toml");
    std::fs::write(&file, config(&world, &containers)).unwrap();
    let up = ["up", "-c", file.to_str().unwrap()];
    let began = Instant::now();
    world.run(&up);
    took("by one `up`", began);
    are_all_there(&world, &containers);
    let began = Instant::now();
    assert_eq!(world.run(&up).trim(), "nothing to change");
    took("looked at by a second `up`", began);
    let began = Instant::now();
    world.run(&["down", "--all"]);
    took("removed by `down`", began);
    assert_same(
        &[Snapshot::of_host(&world), Snapshot::of(&containers[0])],
        &before,
    );
    assert!(!world.pins().exists() && !world.file("state").exists());
}

#[test]
fn one_command_each() {
    let world = World::new(&[]);
    let containers = containers();
    let before = [Snapshot::of_host(&world), Snapshot::of(&containers[0])];
    let file = world.file("none.toml");
    std::fs::write(&file, config(&world, &[])).unwrap();
    world.run(&["up", "-c", file.to_str().unwrap()]);
    let began = Instant::now();
    for (n, namespace) in containers.iter().enumerate() {
        world.run(&[
            "endpoint",
            "add",
            "--network",
            "bridge",
            "--netns",
            namespace.name(),
            "--name",
            &format!("e{n}"),
            "-p",
            &format!("{}:80", 10_000 + n),
        ]);
    }
    took("by a command each", began);
    are_all_there(&world, &containers);
    world.run(&["down", "--all"]);
    assert_same(
        &[Snapshot::of_host(&world), Snapshot::of(&containers[0])],
        &before,
    );
    assert!(!world.pins().exists() && !world.file("state").exists());
}
