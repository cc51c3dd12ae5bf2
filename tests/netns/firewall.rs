//! The host's own firewall: what it sees and stops of a visible network, and nothing of others.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use netpath_tests::{
    netns::{Namespace, stdout, within},
    probe::{at, at6, tcp, tcp_fails, tcp_server, tcp_server6, udp, udp_server},
    skip,
    stream::Stream,
    topology::{A, GATEWAY, HOST, OUTSIDE, World, recommended_rules},
    wait,
    ways::ip,
};

const NETWORK: &str = "ipv6 = \"fd00:17::/64\"";
const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
const A6: &str = "fd00:17::2";

/// A host with both families, and a container that publishes 8080 (TCP) and 5353 (UDP).
struct Site {
    world: World,
    #[expect(dead_code, reason = "they serve until they are dropped")]
    servers: Vec<netpath::lab::server::Server>,
}

fn config(world: &World, firewall: &str) -> String {
    let more = format!("{NETWORK}\nfirewall = \"{firewall}\"");
    world.network("bridge", "netpath0", "172.17.0.0/16", &more)
        + &world.endpoint("a", A, &["8080:80", "5353:53/udp"])
}

impl Site {
    fn new(firewall: &str) -> Self {
        let world = World::new(&["a"]);
        for (namespace, link, addr) in [
            (&world.host, "uplink0", HOST6),
            (&world.outside, "eth0", OUTSIDE6),
        ] {
            ip(
                namespace,
                &format!("-6 addr add {addr}/64 dev {link} nodad"),
            );
        }
        ip(&world.host, &format!("-6 route add default via {OUTSIDE6}"));
        world.up(&config(&world, firewall));
        let (a, outside) = (world.container("a"), &world.outside);
        let servers = vec![
            tcp_server(a, "a", 80),
            tcp_server6(a, "a", 80),
            udp_server(a, "a", 53),
            tcp_server(outside, "outside", 7000),
            tcp_server6(outside, "outside", 7000),
            udp_server(outside, "outside", 7000),
        ];
        Self { world, servers }
    }

    /// Everything passes, both ways, in both families.
    #[track_caller]
    fn all_pass(&self) {
        let (a, outside) = (self.world.container("a"), &self.world.outside);
        assert!(tcp(outside, at(HOST, 8080)).is_from("a", OUTSIDE));
        assert!(tcp(outside, at6(HOST6, 8080)).is_from("a", OUTSIDE6));
        assert!(udp(outside, at(HOST, 5353)).is_from("a", OUTSIDE));
        assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
        assert!(tcp(a, at6(OUTSIDE6, 7000)).is_from("outside", HOST6));
        assert!(udp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
    }

    fn status(&self) -> String {
        self.world.run(&["status"])
    }
}

fn nft(host: &Namespace, command: &str) -> String {
    stdout(host, "nft", &command.split(' ').collect::<Vec<_>>())
}

/// The rules of a firewall that drops everything that is forwarded.
fn drop_all(host: &Namespace) {
    nft(host, "add table inet guard");
    nft(
        host,
        "add chain inet guard forward { type filter hook forward priority 0 ; }",
    );
    nft(host, "add rule inet guard forward counter drop");
}

#[test]
fn a_visible_network_passes_the_forward_chain_with_its_own_addresses() {
    if skip::missing("nft") {
        return;
    }
    let site = Site::new("visible");
    let host = &site.world.host;
    nft(host, "add table inet look");
    nft(
        host,
        "add chain inet look forward { type filter hook forward priority 0 ; }",
    );
    let seen = [
        // Each way of each family, and nothing of the host's outside address.
        format!("ip saddr {A} ip daddr {OUTSIDE} tcp dport 7000"),
        format!("ip saddr {OUTSIDE} ip daddr {A} tcp sport 7000"),
        format!("ip saddr {OUTSIDE} ip daddr {A} tcp dport 80"),
        format!("ip saddr {A} ip daddr {OUTSIDE} tcp sport 80"),
        format!("ip saddr {OUTSIDE} ip daddr {A} udp dport 53"),
        format!("ip6 saddr {A6} ip6 daddr {OUTSIDE6} tcp dport 7000"),
        format!("ip6 saddr {OUTSIDE6} ip6 daddr {A6} tcp dport 80"),
        format!("ip6 saddr {A6} ip6 daddr {OUTSIDE6} tcp sport 80"),
    ];
    for rule in &seen {
        nft(
            host,
            &format!("add rule inet look forward {rule} counter accept"),
        );
    }
    for rule in [
        format!("ip saddr {HOST}"),
        format!("ip daddr {HOST}"),
        format!("ip6 saddr {HOST6}"),
        format!("ip6 daddr {HOST6}"),
    ] {
        nft(
            host,
            &format!("add rule inet look forward {rule} counter drop"),
        );
    }
    site.all_pass();
    let rules = nft(host, "list chain inet look forward");
    for line in rules.lines().filter(|line| line.contains("accept")) {
        assert!(
            line.contains("policy") || !line.contains("packets 0 "),
            "{rules}"
        );
    }
    for line in rules.lines().filter(|line| line.contains("drop")) {
        assert!(line.contains("packets 0 "), "{rules}");
    }
}

#[test]
fn a_forward_rule_stops_a_visible_network_and_no_other() {
    if skip::missing("nft") {
        return;
    }
    let site = Site::new("visible");
    let (world, a) = (&site.world, site.world.container("a"));
    drop_all(&world.host);
    for to in [at(HOST, 8080).into(), SocketAddr::from(at6(HOST6, 8080))] {
        tcp_fails(&world.outside, to, ErrorKind::TimedOut);
    }
    tcp_fails(a, at(OUTSIDE, 7000), ErrorKind::TimedOut);
    assert!(
        !world.run(&["ct", "list"]).contains("dport=7000"),
        "no flow of what was dropped"
    );
    // The host's own access is its own.
    assert!(tcp(&world.host, at(HOST, 8080)).text.starts_with("a saw"));
    nft(&world.host, "flush ruleset");
    site.all_pass();
    drop_all(&world.host);
    world.up(&config(world, "bypass"));
    site.all_pass();
    let status = site.status();
    assert!(status.contains("inet guard forward"), "{status}");
    nft(&world.host, "flush ruleset");
    site.all_pass();
    let status = site.status();
    assert!(!status.contains("guard"), "{status}");
}

/// The same with rules of iptables, of either kind.
fn iptables(program: &str) {
    if skip::missing(program) {
        return;
    }
    let site = Site::new("visible");
    let (world, a) = (&site.world, site.world.container("a"));
    site.all_pass();
    let rule = [
        "-A",
        "FORWARD",
        "-d",
        "172.17.0.2",
        "-p",
        "tcp",
        "--dport",
        "80",
        "-j",
        "DROP",
    ];
    stdout(&world.host, program, &rule);
    tcp_fails(&world.outside, at(HOST, 8080), ErrorKind::TimedOut);
    assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
    assert!(udp(&world.outside, at(HOST, 5353)).is_from("a", OUTSIDE));
    world.up(&config(world, "bypass"));
    site.all_pass();
    let status = site.status();
    assert!(status.contains("FORWARD"), "{status}");
    stdout(&world.host, program, &["-P", "FORWARD", "DROP"]);
    let status = site.status();
    assert!(status.contains("drops by default"), "{status}");
    site.all_pass();
}

#[test]
fn iptables_legacy_stops_a_visible_network_and_no_other() {
    iptables("iptables-legacy");
}

#[test]
fn iptables_nft_stops_a_visible_network_and_no_other() {
    iptables("iptables-nft");
}

#[test]
fn the_recommended_rules_are_all_that_a_closed_firewall_needs() {
    if skip::missing("nft") {
        return;
    }
    for firewall in ["visible", "bypass"] {
        let site = Site::new(firewall);
        let world = &site.world;
        let rules = world.file("rules.nft");
        std::fs::write(&rules, recommended_rules()).unwrap();
        assert!(recommended_rules().contains("policy drop"));
        nft(&world.host, &format!("-f {}", rules.display()));
        site.all_pass();
        let status = site.status();
        assert!(!status.contains("drops by default"), "{status}");
        nft(&world.host, "flush ruleset");
        site.all_pass();
    }
}

#[test]
fn with_and_without_the_bridge_s_own_netfilter() {
    const CALL: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    if skip::missing("nft") {
        return;
    }
    let there = within(&World::new(&[]).host, || {
        std::path::Path::new(CALL).exists()
    });
    if !there {
        skip::record("the kernel has no br_netfilter");
        return;
    }
    for firewall in ["visible", "bypass"] {
        let site = Site::new(firewall);
        let world = &site.world;
        let rules = world.file("rules.nft");
        std::fs::write(&rules, recommended_rules()).unwrap();
        nft(&world.host, &format!("-f {}", rules.display()));
        for on in ["1", "0"] {
            for name in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
                let path = format!("/proc/sys/net/bridge/{name}");
                within(&world.host, || std::fs::write(&path, on)).unwrap();
            }
            site.all_pass();
        }
    }
}

#[test]
fn the_stack_counts_the_hop_and_netpath_does_not() {
    if skip::missing("nft") {
        return;
    }
    let site = Site::new("visible");
    let world = &site.world;
    let (a, outside) = (world.container("a"), &world.outside);
    for namespace in [a, outside] {
        nft(namespace, "add table inet look");
        nft(
            namespace,
            "add chain inet look input { type filter hook input priority 0 ; }",
        );
        for rule in [
            "ip ttl 63",
            "ip6 hoplimit 63",
            "ip ttl != 63",
            "ip6 hoplimit < 63 tcp dport != 0",
        ] {
            nft(
                namespace,
                &format!("add rule inet look input {rule} counter"),
            );
        }
    }
    site.all_pass();
    for namespace in [a, outside] {
        let rules = nft(namespace, "list chain inet look input");
        let count = |rule: &str| -> u64 {
            let line = rules
                .lines()
                .find(|line| line.trim().starts_with(rule))
                .expect(&rules);
            let (_, rest) = line.split_once("packets ").expect(&rules);
            rest.split(' ').next().unwrap().parse().unwrap()
        };
        assert!(
            count("ip ttl 63 ") > 0 && count("ip6 hoplimit 63 ") > 0,
            "{rules}"
        );
        assert_eq!(
            (count("ip ttl != 63 "), count("ip6 hoplimit < 63 ")),
            (0, 0),
            "{rules}"
        );
    }
}

#[test]
fn a_connection_goes_on_when_the_mode_changes() {
    let site = Site::new("bypass");
    let world = &site.world;
    let a = world.container("a");
    world.run(&["publish", "a", "9090:9090"]);
    let inward = Stream::open(&world.outside, at(HOST, 9090), a, 9090);
    let outward = Stream::open(a, at(OUTSIDE, 7001), &world.outside, 7001);
    for firewall in ["visible", "bypass", "visible"] {
        world.up(&config(world, firewall));
        for stream in [&inward, &outward] {
            let before = stream.received();
            wait::until("it goes on", || stream.received() > before + 200_000);
        }
    }
    inward.finish();
    outward.finish();
}

#[test]
fn a_container_reaches_the_host_and_is_told_of_errors() {
    let site = Site::new("visible");
    let world = &site.world;
    let a = world.container("a");
    let _service = tcp_server(&world.host, "host", 22);
    assert!(tcp(a, at(GATEWAY, 22)).is_from("host", A));
    tcp_fails(a, at(OUTSIDE, 7999), ErrorKind::ConnectionRefused);
    ip(&world.host, "route del default");
    tcp_fails(
        a,
        at(Ipv4Addr::new(203, 0, 113, 9), 80),
        ErrorKind::NetworkUnreachable,
    );
}
