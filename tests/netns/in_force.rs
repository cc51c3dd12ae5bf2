//! `netpath rules`: what the maps say, with exact counters, and as the real iptables would print it.

use netpath::bpf::{Datapath, PortChange};
use netpath_common::{
    publish::Change,
    records::{Published, PublishedKey},
    tuple::TCP,
};
use netpath_tests::{
    dual_stack::OUTSIDE6,
    netns::{Namespace, command, stdout, within},
    probe::{at, tcp, tcp_server, udp, udp_server},
    skip,
    topology::{A, B, HOST, OUTSIDE, World},
};
use serde_json::Value;

/// The rules that `--json` prints.
#[track_caller]
fn rules(world: &World) -> Vec<Value> {
    serde_json::from_str(&world.run(&["--json", "rules"])).unwrap()
}

/// The published rule of a port of the host.
#[track_caller]
fn rule(world: &World, ports: &str) -> Value {
    let all = rules(world);
    let found = all.iter().find(|r| r["ports"] == ports);
    found.unwrap_or_else(|| panic!("{ports}: {all:#?}")).clone()
}

fn packets(world: &World, ports: &str) -> u64 {
    rule(world, ports)["packets"].as_u64().unwrap()
}

#[test]
fn packets_and_bytes_are_counted_for_each_published_port() {
    let world = World::with_ports(&["a", "b"], &["5353:53/udp", "8080:80", "9000-9009:80-89"]);
    let a = world.container("a");
    let _servers = (udp_server(a, "a", 53), tcp_server(a, "a", 80));
    for ports in ["5353", "8080", "9000-9009"] {
        assert_eq!(packets(&world, ports), 0);
    }
    for asks in [&world.outside, world.container("b")] {
        assert!(udp(asks, at(HOST, 5353)).text.starts_with("a "));
    }
    let counted = rule(&world, "5353");
    assert_eq!(counted["packets"], 4, "two questions, two answers");
    assert!(counted["bytes"].as_u64().unwrap() > 4 * 42);
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    assert!(packets(&world, "8080") >= 6);
    assert_eq!(packets(&world, "9000-9009"), 0);
    // Sockets of the host are sent straight to the container: no packet is translated.
    let before = packets(&world, "8080");
    assert!(tcp(&world.host, at(HOST, 8080)).text.starts_with("a "));
    assert_eq!(packets(&world, "8080"), before);
    // Whoever has the slot next begins at zero.
    world.run(&["unpublish", "a", "5353:53/udp"]);
    world.run(&["publish", "a", "5353:53/udp"]);
    assert_eq!(packets(&world, "5353"), 0);
    assert_eq!(packets(&world, "8080"), before, "others go on");
    let shown = world.run(&["rules"]);
    let row = |word: &str| shown.lines().find(|l| l.contains(word)).unwrap().to_owned();
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let port = words(&row("0.0.0.0:8080"));
    assert_eq!(
        port[..6],
        [
            "publish",
            "bridge",
            "tcp",
            "0.0.0.0:8080",
            "a",
            "172.17.0.2:80"
        ]
    );
    assert_eq!(port[6..8], ["-".to_owned(), before.to_string()]);
    let network = words(&row("masquerade"));
    assert_eq!(
        network[3..6],
        ["172.17.0.0/16", "198.51.100.1", "(uplink0)"]
    );
}

/// The rule of the network for what leaves, of a family.
#[track_caller]
fn leaving(world: &World, v6: bool) -> (u64, u64) {
    let all = rules(world);
    let source = |r: &Value| r["source"].as_str().is_some_and(|s| s.contains(':') == v6);
    let found = all.iter().find(|r| r["kind"] == "masquerade" && source(r));
    let found = found.unwrap_or_else(|| panic!("{all:#?}"));
    let number = |key: &str| found[key].as_u64().unwrap();
    (number("packets"), number("bytes"))
}

/// An echo of 56 bytes with its headers, as `ping` sends it.
const ECHO: [u64; 2] = [14 + 20 + 8 + 56, 14 + 40 + 8 + 56];

#[test]
fn packets_and_bytes_are_counted_for_what_leaves_each_network() {
    if skip::missing("ping") {
        return;
    }
    let world = World::dual_stack(&["a", "b"]);
    let more = "ipv6 = \"fd00:17::/64\"";
    let config = world.network("bridge", "netpath0", "172.17.0.0/16", more)
        + &world.endpoint("a", A, &["5353:53/udp"])
        + &world.endpoint("b", B, &[]);
    world.up(&config);
    let _server = udp_server(world.container("a"), "a", 53);
    let pings = |name: &str, to: &str, count: &str| {
        stdout(
            world.container(name),
            "ping",
            &["-c", count, "-i", "0.05", to],
        );
    };
    assert_eq!([leaving(&world, false), leaving(&world, true)], [(0, 0); 2]);
    pings("a", &OUTSIDE.to_string(), "3");
    pings("b", &OUTSIDE.to_string(), "1");
    assert_eq!(leaving(&world, false), (8, 8 * ECHO[0]), "both directions");
    assert_eq!(leaving(&world, true), (0, 0));
    pings("b", &OUTSIDE6.to_string(), "2");
    assert_eq!(leaving(&world, true), (4, 4 * ECHO[1]));
    // Neighbours, the host and published ports are not of it.
    pings("a", &B.to_string(), "1");
    pings("a", "172.17.0.1", "1");
    for asks in [&world.outside, world.container("b"), &world.host] {
        assert!(udp(asks, at(HOST, 5353)).text.starts_with("a "));
    }
    assert_eq!(packets(&world, "5353"), 4);
    assert_eq!(leaving(&world, false), (8, 8 * ECHO[0]));
    // It is the sum of those containers that are there.
    world.run(&["endpoint", "rm", "a"]);
    assert_eq!(leaving(&world, false), (2, 2 * ECHO[0]));
    let shown = world.run(&["rules"]);
    let row = shown.lines().find(|l| l.contains("172.17.0.0/16")).unwrap();
    let end: Vec<_> = row.split_whitespace().rev().take(2).collect();
    assert_eq!(end, ["196", "2"], "{shown}");
}

#[test]
fn the_maps_are_shown_and_not_what_netpath_remembers() {
    let world = World::with_ports(&["a", "b"], &["8080:80"]);
    let key = |port| PublishedKey {
        addr: [0; 4],
        port,
        proto: TCP,
        zero: 0,
    };
    within(&world.host, || {
        let datapath = Datapath::open(world.instance()).unwrap().unwrap();
        let (_, to) = datapath.published().unwrap()[0];
        let moved = Published {
            port: 81,
            last: 8181,
            ..to
        };
        let change = PortChange {
            v4: Change {
                write: vec![(key(8181), moved)],
                remove: vec![key(8080)],
            },
            starts: datapath.starts().unwrap(),
            reserved: datapath.reserved().unwrap(),
            ..PortChange::default()
        };
        datapath.change_ports(&change).unwrap();
        let mut network = datapath.networks().unwrap()[1];
        network.snat = [198, 51, 100, 77];
        datapath.set_network(1, &network).unwrap();
    });
    let shown = world.run(&["rules"]);
    assert!(
        !shown.contains("8080") && shown.contains("0.0.0.0:8181"),
        "{shown}"
    );
    assert!(shown.contains("a 172.17.0.2:81"), "{shown}");
    assert!(shown.contains("198.51.100.77"), "{shown}");
    assert!(
        world.run(&["port", "a"]).contains("8080"),
        "the state is as it was"
    );
    let lines = world.run(&["rules", "--format", "iptables"]);
    assert!(lines.contains("SNAT --to-source 198.51.100.77"), "{lines}");
    // Names are lent by the state; without it there are numbers.
    std::fs::remove_file(
        world
            .file("state")
            .join(world.instance())
            .join("state.json"),
    )
    .unwrap();
    assert!(world.run(&["rules"]).contains("endpoint-1 172.17.0.2:81"));
}

#[test]
fn where_nothing_is_up_there_is_nothing_to_show() {
    let world = World::new(&[]);
    let refused = world.netpath(&["rules"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("netpath up"), "{said}");
    let wrong = world.netpath(&["rules", "--format", "xml"]);
    assert_eq!(wrong.status.code(), Some(2));
}

/// A host with every kind of rule, of both families.
fn everything() -> World {
    let world = World::dual_stack(&["a", "b"]);
    let more = "ipv6 = \"fd00:17::/64\"\nsnat6 = \"2001:db8:1::99\"";
    let mut config = world.network("bridge", "netpath0", "172.17.0.0/16", more);
    let ports = [
        "8080:80",
        "127.0.0.1:8443:443",
        "[::1]:8443:443",
        "0.0.0.0:5353:53/udp",
        "9000-9002:80-82",
        "30000-30999:30000-30999/udp,allow=198.51.100.0/24,allow=2001:db8::/32",
        "443:443,balance",
        "7000:7000/sctp",
    ];
    config += &world.endpoint("a", A, &ports);
    config += &world.endpoint("b", B, &["443:443,balance", "198.51.100.1:8080:81"]);
    world.up(&config);
    world
}

/// Gives lines to the real tool in a namespace, and takes back what it prints.
fn accepted(tool: &str, namespace: &Namespace, lines: &[&str]) -> Vec<String> {
    for line in lines {
        let words: Vec<_> = ["-t", "nat"].into_iter().chain(line.split(' ')).collect();
        let done = command(namespace, tool, &words);
        let errors = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{tool} {line}: {errors}");
    }
    let printed = stdout(namespace, tool, &["-t", "nat", "-S"]);
    printed.lines().map(str::to_owned).collect()
}

#[test]
fn iptables_itself_takes_the_lines_and_prints_the_same() {
    let mut world = everything();
    let text = world.run(&["rules", "--format", "iptables"]);
    let (four, six) = text.split_once("# ip6tables -t nat -S\n").unwrap();
    for (number, (tool, half)) in [
        ("iptables", four),
        ("ip6tables", six),
        ("iptables-legacy", four),
        ("ip6tables-legacy", six),
    ]
    .into_iter()
    .enumerate()
    {
        if skip::missing(tool) {
            continue;
        }
        let name = format!("tables{number}");
        world.add_container(&name);
        let lines: Vec<_> = half.lines().filter(|l| !l.starts_with('#')).collect();
        assert!(
            lines.iter().filter(|l| l.contains("DNAT")).count() >= 7,
            "{half}"
        );
        assert_eq!(
            accepted(tool, world.container(&name), &lines),
            lines,
            "{tool}"
        );
    }
}
