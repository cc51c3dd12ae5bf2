//! Published ranges with real sockets: one entry, live changes, the specific address first.

use std::{io::ErrorKind, net::Ipv4Addr};

use netpath::{bpf::Datapath, lab::probe};
use netpath_common::DropReason;
use netpath_tests::{
    conversation::Conversation,
    netns::{stdout, within},
    probe::{SOON, at, tcp, tcp_fails, tcp_server, udp, udp_server, udp_silent},
    topology::{A, HOST, OUTSIDE, World},
};

const ALL: &str = "1-65535:1-65535/udp";

/// Entries of the map of published ranges.
fn entries(world: &World) -> usize {
    within(&world.host, || {
        let datapath = Datapath::open(world.instance()).unwrap();
        let datapath = datapath.expect("nothing is loaded");
        datapath.published().unwrap().len()
    })
}

fn work_of_up(world: &World, publish: &[&str]) -> (u64, u64) {
    let file = world.file("netpath.toml");
    let config =
        world.network("bridge", "netpath0", "172.17.0.0/16", "") + &world.endpoint("a", A, publish);
    std::fs::write(&file, format!("[limits]\nconntrack = 65536\n{config}")).unwrap();
    let text = world.run(&["--json", "up", "-y", "-c", file.to_str().unwrap()]);
    let work: serde_json::Value = serde_json::from_str(&text).unwrap();
    let work = &work["published_ports"];
    let number = |key: &str| work[key].as_u64().unwrap();
    (number("written"), number("system_calls"))
}

#[test]
fn every_port_there_is_costs_what_one_port_costs() {
    let one = World::new(&["a"]);
    let (written, calls_of_one) = work_of_up(&one, &["5353:53/udp"]);
    assert_eq!(written, 1);
    let world = World::new(&["a"]);
    let (written, calls) = work_of_up(&world, &[ALL]);
    assert_eq!((written, entries(&world)), (1, 1));
    assert!(
        calls <= calls_of_one,
        "{calls} calls instead of {calls_of_one}"
    );
    assert_eq!(
        world.run(&["port", "a"]).trim(),
        "1-65535/udp -> 0.0.0.0:1-65535"
    );
    let _low = udp_server(world.container("a"), "low", 7);
    let _high = udp_server(world.container("a"), "high", 65_535);
    assert!(udp(&world.outside, at(HOST, 7)).is_from("low", OUTSIDE));
    assert!(udp(&world.outside, at(HOST, 65_535)).is_from("high", OUTSIDE));
    // And what one port costs to withdraw.
    world.run(&["unpublish", "a", ALL]);
    assert_eq!(entries(&world), 0);
    let refused = within(&world.outside, || probe::udp(at(HOST, 7), None, SOON));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // The ports are masquerade's again.
    let _server = udp_server(&world.outside, "outside", 7000);
    let _ = udp(world.container("a"), at(OUTSIDE, 7000));
}

#[test]
fn a_range_is_cut_and_mended_while_it_is_used() {
    let world = World::with_ports(&["a", "b"], &["9000-9100:9000-9100"]);
    let _a = [9000, 9050, 9051, 9100].map(|port| tcp_server(world.container("a"), "a", port));
    let _b = tcp_server(world.container("b"), "b", 80);
    let ask = |host, port: u16| {
        let text = tcp(&world.outside, at(host, port)).text;
        text.split(' ').next().unwrap_or_default().to_owned()
    };
    assert_eq!(entries(&world), 1);
    let conversation = Conversation::open(
        (&world.outside, at(HOST, 9052)),
        (world.container("a"), 9052),
    );
    // Another container has the host's address alone, within the range of any address.
    world.run(&["publish", "b", &format!("{HOST}:9050:80")]);
    assert_eq!(entries(&world), 3);
    for (port, want) in [(9000, "a"), (9050, "b"), (9051, "a"), (9100, "a")] {
        assert_eq!(ask(HOST, port), want, "{port}");
    }
    world.run(&["unpublish", "b", &format!("{HOST}:9050:80")]);
    assert_eq!(entries(&world), 1);
    assert_eq!(ask(HOST, 9050), "a");
    assert!(conversation.goes_on());
    world.run(&["unpublish", "a", "9000-9100:9000-9100"]);
    assert_eq!(entries(&world), 0);
    tcp_fails(&world.outside, at(HOST, 9000), ErrorKind::ConnectionRefused);
}

#[test]
fn conflicts_are_told_in_docker_s_words() {
    let world = World::with_ports(&["a", "b"], &["8000-8100:8000-8100"]);
    let refused = |spec: &str, words: &str| {
        let out = world.netpath(&["publish", "b", spec]);
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(
            !out.status.success() && errors.contains(words),
            "{spec}: {errors}"
        );
    };
    refused(
        "8080:80",
        "Bind for 0.0.0.0:8080 failed: port is already allocated",
    );
    refused(
        "8100-8200:1-101",
        "Bind for 0.0.0.0:8100 failed: port is already allocated",
    );
    let _own = tcp_server(&world.host, "host", 9090);
    refused(
        "9090:80",
        "failed to bind host port 0.0.0.0:9090/tcp: address already in use",
    );
    refused("[::1]:9000:80", "the container has no IPv6 address");
    // The specific one beside any is none.
    world.run(&[
        "publish",
        "b",
        "127.0.0.1:8080:80",
        &format!("{HOST}:8080:81"),
    ]);
    let ports = world.run(&["port", "b"]);
    assert_eq!(
        ports.lines().collect::<Vec<_>>(),
        [
            "80/tcp -> 127.0.0.1:8080".to_owned(),
            format!("81/tcp -> {HOST}:8080"),
        ]
    );
}

#[test]
fn a_port_left_out_is_chosen_and_shown() {
    let world = World::with_ports(&["a"], &["80"]);
    let _server = tcp_server(world.container("a"), "a", 80);
    let line = world.run(&["port", "a"]);
    let port: u16 = line
        .trim()
        .strip_prefix("80/tcp -> 0.0.0.0:")
        .unwrap_or_else(|| panic!("{line}"))
        .parse()
        .unwrap();
    let range = stdout(
        &world.host,
        "cat",
        &["/proc/sys/net/ipv4/ip_local_port_range"],
    );
    let range: Vec<u16> = range
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    assert!((range[0]..=range[1]).contains(&port), "{port}");
    assert!(tcp(&world.outside, at(HOST, port)).is_from("a", OUTSIDE));
    let json = world.run(&["--json", "port", "a"]);
    assert_eq!(
        serde_json::from_str::<Vec<String>>(&json).unwrap(),
        [line.trim()]
    );
    // One of a range for one port of the container: the first that is free.
    let _taken = tcp_server(&world.host, "host", 7001);
    world.run(&["publish", "a", "7001-7003:80"]);
    assert!(tcp(&world.outside, at(HOST, 7002)).is_from("a", OUTSIDE));
}

#[test]
fn what_is_published_on_loopback_is_the_host_s_alone() {
    let world = World::with_ports(&["a", "b"], &["127.0.0.1:8080:80", "127.0.0.1:5353:53/udp"]);
    let _tcp = tcp_server(world.container("a"), "a", 80);
    let _udp = udp_server(world.container("a"), "a", 53);
    tcp_fails(&world.outside, at(HOST, 8080), ErrorKind::ConnectionRefused);
    // A route that leads 127.0.0.1 to the host, as an attacker on the same wire makes it.
    let loopback = Ipv4Addr::LOCALHOST;
    for sysctl in ["all", "eth0"] {
        let file = format!("/proc/sys/net/ipv4/conf/{sysctl}/route_localnet");
        within(&world.outside, || std::fs::write(&file, "1").unwrap());
        let file = file.replace("eth0", "uplink0");
        within(&world.host, || std::fs::write(&file, "1").unwrap());
    }
    let ip = |arguments: &[&str]| stdout(&world.outside, "ip", arguments);
    ip(&[
        "rule",
        "add",
        "pref",
        "0",
        "to",
        "127.0.0.1",
        "lookup",
        "77",
    ]);
    ip(&["rule", "add", "pref", "1", "lookup", "local"]);
    ip(&["rule", "del", "pref", "0", "lookup", "local"]);
    let via = HOST.to_string();
    ip(&[
        "route",
        "add",
        "127.0.0.1",
        "via",
        &via,
        "dev",
        "eth0",
        "src",
        "198.51.100.2",
        "table",
        "77",
    ]);
    let before = world.dropped(DropReason::Martian);
    udp_silent(&world.outside, at(loopback, 5353));
    assert!(
        world.dropped(DropReason::Martian) > before,
        "it did not arrive"
    );
    tcp_fails(&world.outside, at(loopback, 8080), ErrorKind::TimedOut);
    // Nor from a neighbour, whose own it would be.
    tcp_fails(
        world.container("b"),
        at(loopback, 8080),
        ErrorKind::ConnectionRefused,
    );
}
