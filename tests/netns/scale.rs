//! Ten thousand published ports: the work is that of what changes, not of what is there.
//!
//! Counts system calls and looks at what was touched. How long it takes is the benchmark's.

use std::{collections::BTreeSet, fs, net::Ipv4Addr, os::unix::fs::MetadataExt as _};

use netpath::bpf::Datapath;
use netpath_common::records::{Published, PublishedKey};
use netpath_tests::{
    netns::within,
    probe::{at, tcp, tcp_server},
    topology::{A, HOST, OUTSIDE, World},
};
use serde_json::Value;

const PORTS: u16 = 10_000;
/// Calls of bpf(2) for one change of published ports, however many.
const CALLS: u64 = 40;

fn up(world: &World, config: &str) -> Value {
    let file = world.file("netpath.toml");
    fs::write(&file, format!("[limits]\nconntrack = 65536\n{config}")).unwrap();
    let text = world.run(&["--json", "up", "-y", "-c", file.to_str().unwrap()]);
    serde_json::from_str(&text).unwrap()
}

fn published(world: &World) -> BTreeSet<(u16, [u8; 4], u16)> {
    let entries: Vec<(PublishedKey, Published)> = within(&world.host, || {
        let datapath = Datapath::open(world.instance()).unwrap();
        datapath.expect("nothing is loaded").published().unwrap()
    });
    let port = |(key, to): &(PublishedKey, Published)| (key.port, to.addr, to.port);
    entries.iter().map(port).collect()
}

/// What a change of anything would show in: programs and maps, their content, and the state.
fn trace(world: &World) -> Vec<String> {
    let state = fs::metadata(
        world
            .file("state")
            .join(world.instance())
            .join("state.json"),
    );
    let state = state.unwrap();
    let mut seen = vec![format!("{} {}", state.ino(), state.ctime_nsec())];
    let rules: Vec<u32> = within(&world.host, || {
        let datapath = Datapath::open(world.instance()).unwrap().unwrap();
        let slots: Vec<u16> = (1..=PORTS).collect();
        let rules = datapath.rules(&slots).unwrap();
        rules.iter().map(|r| r.generation).collect()
    });
    seen.push(format!("{rules:?}"));
    for dir in ["progs", "links", "."] {
        let mut names: Vec<_> = fs::read_dir(world.pins().join(dir))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                format!(
                    "{:?} {}",
                    entry.file_name(),
                    entry.metadata().unwrap().ino()
                )
            })
            .collect();
        names.sort();
        seen.extend(names);
    }
    seen
}

#[test]
fn ten_thousand_rules_are_written_together_and_again_not_at_all() {
    let world = World::new(&["a"]);
    let specs: Vec<String> = (0..PORTS).map(|n| format!("{}:80", 10_000 + n)).collect();
    let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
    let network = world.network("bridge", "netpath0", "172.17.0.0/16", "");
    let config = network.clone() + &world.endpoint("a", A, &specs);

    let work = &up(&world, &config)["published_ports"];
    assert_eq!(work["written"], PORTS);
    assert!(work["system_calls"].as_u64().unwrap() < CALLS, "{work}");
    let all = published(&world);
    let expected = (0..PORTS).map(|n| (10_000 + n, A.octets(), 80));
    assert_eq!(all, expected.collect());
    let _server = tcp_server(world.container("a"), "a", 80);
    for port in [10_000, 19_999] {
        assert!(tcp(&world.outside, at(HOST, port)).is_from("a", OUTSIDE));
    }

    let before = trace(&world);
    let again = up(&world, &config);
    assert_eq!(again["changes"], serde_json::json!([]));
    assert_eq!(again["published_ports"]["written"], 0);
    assert_eq!(again["published_ports"]["system_calls"], 0);
    assert_eq!(trace(&world), before);

    // Half of them go: one change, and the others are left alone.
    let half = network + &world.endpoint("a", A, &specs[..specs.len() / 2]);
    let work = &up(&world, &half)["published_ports"];
    assert_eq!(work["written"], PORTS / 2);
    assert!(work["system_calls"].as_u64().unwrap() < CALLS, "{work}");
    assert_eq!(published(&world).len(), usize::from(PORTS / 2));
    world.run(&["publish", "a", "9000:81"]);
    assert!(published(&world).contains(&(9000, A.octets(), 81)));
    world.run(&["down", "--all"]);
}

#[test]
fn rules_of_many_endpoints_are_written_together() {
    const ENDPOINTS: u8 = 20;
    let names: Vec<String> = (0..ENDPOINTS).map(|n| format!("e{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::new(&names);
    let mut config = world.network("bridge", "netpath0", "172.17.0.0/16", "");
    let mut expected = BTreeSet::new();
    for (n, name) in (0..ENDPOINTS).zip(&names) {
        let addr = Ipv4Addr::new(172, 17, 1, n + 1);
        let first = 10_000 + u16::from(n) * 500;
        let specs: Vec<String> = (first..first + 500).map(|p| format!("{p}:80")).collect();
        let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
        config += &world.endpoint(name, addr, &specs);
        expected.extend((first..first + 500).map(|p| (p, addr.octets(), 80)));
    }
    let work = &up(&world, &config)["published_ports"];
    assert_eq!(work["written"], PORTS);
    assert!(work["system_calls"].as_u64().unwrap() < CALLS, "{work}");
    assert_eq!(published(&world), expected);
}
