//! What netpath makes of a host and its containers for IPv6, and what it leaves of it: addresses,
//! routes, settings of either. Forwarding and uplinks are `ipv6_forwarding`'s, traffic is `ipv6`'s.

use std::fs;

use netpath_tests::{
    dual_stack::{A6, B6, GATEWAY6, OUTSIDE6, addresses6, forwards6, routes6, set6, setting6},
    netns::{Namespace, stdout, within},
    probe::{BRIEFLY, SOON, pings, pings6},
    topology::{A, B, OUTSIDE, UPLINK, World},
    ways::ip,
};

use crate::{
    bad_input::{refused, refused_config},
    lifecycle::{Snapshot, assert_same},
};

fn everything(world: &World, containers: &[&str]) -> Vec<Snapshot> {
    let containers = containers.iter().map(|name| world.container(name));
    let of_containers = containers.map(Snapshot::of);
    std::iter::once(Snapshot::of_host(world))
        .chain(of_containers)
        .collect()
}

/// The host side of the only container's veth.
fn veth(world: &World) -> String {
    let json = world.run(&["--json", "endpoint", "ls"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    json[0]["interface"].as_str().unwrap().to_owned()
}

#[test]
fn addresses_routes_and_settings() {
    let world = World::dual_stack(&["a"]);
    // Whatever the container's namespace was set to.
    set6(world.container("a"), "default", "addr_gen_mode", "3");
    set6(world.container("a"), "default", "disable_ipv6", "1");
    let before = everything(&world, &["a"]);
    world.up(&world.dual_stack_config(&["a"], &[], ""));
    let (host, a) = (&world.host, world.container("a"));

    // Usable at once, and nobody was asked.
    assert_eq!(
        addresses6(a, Some("eth0")),
        [format!("eth0 {A6}/64 scope global nodad")]
    );
    assert_eq!(
        routes6(a),
        [
            "fd00:17::/64 dev eth0 proto kernel metric 256 pref medium".to_owned(),
            format!("default via {GATEWAY6} dev eth0 proto static metric 1024 pref medium"),
        ]
    );
    assert_eq!(
        addresses6(host, Some("netpath0")),
        [format!("netpath0 {GATEWAY6}/64 scope global nodad")]
    );
    // The bridge's link-local address is there, and settled.
    let all = stdout(host, "ip", &["-6", "-o", "addr", "show", "dev", "netpath0"]);
    let link_local: Vec<_> = all.lines().filter(|line| line.contains("fe80::")).collect();
    assert_eq!(link_local.len(), 1, "{all}");
    assert!(!link_local[0].contains("tentative"), "{all}");
    assert_eq!(addresses6(host, Some(&veth(&world))), Vec::<String>::new());

    for (namespace, ifname, setting, value) in [
        (a, "eth0", "disable_ipv6", "0"),
        (a, "eth0", "accept_ra", "0"),
        (a, "eth0", "autoconf", "0"),
        (a, "eth0", "addr_gen_mode", "0"),
        (host, "netpath0", "disable_ipv6", "0"),
        (host, "netpath0", "accept_ra", "0"),
        (host, "netpath0", "autoconf", "0"),
        (host, &veth(&world), "disable_ipv6", "1"),
        (host, "netpath0", "forwarding", "1"),
        (host, UPLINK, "forwarding", "1"),
    ] {
        let found = setting6(namespace, ifname, setting);
        assert_eq!(
            found,
            value,
            "{setting} of {ifname} in {}",
            namespace.name()
        );
    }

    let up = everything(&world, &["a"]);
    let again = world.up(&world.dual_stack_config(&["a"], &[], ""));
    assert!(!again.contains("forwarding"), "{again}");
    assert_same(&everything(&world, &["a"]), &up);
    world.run(&["down", "--all"]);
    assert_same(&everything(&world, &["a"]), &before);
}

#[test]
fn addresses_are_chosen_as_dockers() {
    let world = World::dual_stack(&["a", "b", "c"]);
    world.up(&world.dual_stack_config(&["a"], &[], ""));
    let add = |name: &str, more: &[&str]| {
        let netns = world.container(name).name();
        let words = [
            "endpoint",
            "add",
            "--network",
            "bridge",
            "--netns",
            netns,
            "--name",
            name,
        ];
        world.netpath(&[&words, more].concat())
    };
    let chosen = add("b", &[]);
    let chosen = String::from_utf8(chosen.stdout).unwrap();
    assert!(chosen.starts_with(&format!("b {B} {B6} ")), "{chosen}");
    for (addr, words) in [
        (
            "fd00:17::2",
            &["endpoint `c`", "fd00:17::2", "belongs to endpoint `a`"][..],
        ),
        ("fd00:17::1", &["endpoint `c`", "fd00:17::1", "gateway"]),
        (
            "fd00:18::7",
            &[
                "endpoint `c`",
                "fd00:18::7",
                "outside the subnet fd00:17::/64",
            ],
        ),
    ] {
        refused(&add("c", &["--ip6", addr]), words);
    }
    let fixed = add("c", &["--ip6", "fd00:17::77"]);
    assert!(fixed.status.success());
    assert_eq!(
        addresses6(world.container("c"), Some("eth0")),
        ["eth0 fd00:17::77/64 scope global nodad"]
    );

    let printed = world.run(&["network", "inspect", "bridge"]);
    let json: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let network = &json[0];
    assert_eq!(network["EnableIPv6"], true);
    assert_eq!(network["IPAM"]["Config"][1]["Subnet"], "fd00:17::/64");
    assert_eq!(network["IPAM"]["Config"][1]["Gateway"], "fd00:17::1");
    let containers = network["Containers"].as_object().unwrap().values();
    let mut addresses: Vec<_> = containers
        .map(|c| c["IPv6Address"].as_str().unwrap())
        .collect();
    addresses.sort_unstable();
    assert_eq!(
        addresses,
        ["fd00:17::2/64", "fd00:17::3/64", "fd00:17::77/64"]
    );
}

#[test]
fn networks_by_command_stay_until_a_command_removes_them() {
    let world = World::dual_stack(&["a", "c"]);
    let before = everything(&world, &["a", "c"]);
    let create = |words: &str| {
        let words: Vec<&str> = "network create"
            .split(' ')
            .chain(words.split(' '))
            .collect();
        world.netpath(&words)
    };
    // The first one brings the instance up.
    let words = "--subnet 10.1.0.0/24 --subnet fd00:18::/64 --gateway fd00:18::9 \
                 -o com.docker.network.bridge.name=other0 other";
    let made = create(words);
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    assert_eq!(made.stdout.len(), 65, "an identifier");
    assert_eq!(
        addresses6(&world.host, Some("other0")),
        ["other0 fd00:18::9/64 scope global nodad"]
    );
    assert!(forwards6(&world.host, "other0"));
    refused(
        &create("other"),
        &["network `other` exists already", "other0", "choose"],
    );
    let words = "--subnet fd00:18:0:0:1::/80 more";
    refused(
        &create(words),
        &[
            "network `more`",
            "fd00:18:0:0:1::/80",
            "fd00:18::/64 by other0",
        ],
    );
    // A subnet of its own choice.
    assert!(create("--ipv6 --subnet 10.2.0.0/24 ula").status.success());
    let json = world.run(&["network", "inspect", "ula"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let chosen = json[0]["IPAM"]["Config"][1]["Subnet"].as_str().unwrap();
    assert!(
        chosen.starts_with("fd") && chosen.ends_with("::/64"),
        "{chosen}"
    );

    let netns = world.container("c").name();
    let add = "endpoint add --network other --name c --ip6 fd00:18::53 --netns";
    world.run(&add.split(' ').chain([netns]).collect::<Vec<_>>());
    // A configuration that does not have them leaves them alone, and what it has comes beside.
    let file = world.file("more.toml");
    fs::write(&file, world.dual_stack_config(&["a"], &[], "")).unwrap();
    world.run(&["up", "-c", file.to_str().unwrap()]);
    assert!(pings(world.container("c"), OUTSIDE, SOON));
    assert!(pings(world.container("a"), OUTSIDE, SOON));
    let both = ["network", "rm", "--with-endpoints", "other", "ula"];
    assert_eq!(world.run(&both), "other\nula\n");
    assert!(pings(world.container("a"), OUTSIDE, SOON));
    assert_eq!(
        addresses6(world.container("c"), None),
        ["lo ::1/128 scope host"]
    );
    world.run(&["network", "rm", "--with-endpoints", "bridge"]);
    assert_same(&everything(&world, &["a", "c"]), &before);
}

#[test]
fn a_network_of_ipv4_alone_has_no_ipv6() {
    let world = World::dual_stack(&["a", "b"]);
    let config = world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &world.endpoint("a", A, &[])
        + &world.endpoint("b", B, &[]);
    world.up(&config);
    let (host, a, b) = (&world.host, world.container("a"), world.container("b"));
    assert_eq!(setting6(a, "eth0", "disable_ipv6"), "1");
    assert_eq!(setting6(host, "netpath0", "disable_ipv6"), "1");
    assert!(!forwards6(host, "netpath0") && !forwards6(host, UPLINK));
    let of = |namespace: &Namespace, ifname: &str| {
        stdout(
            namespace,
            "ip",
            &["-6", "-o", "addr", "show", "dev", ifname],
        )
    };
    assert_eq!((of(a, "eth0"), of(host, "netpath0")), Default::default());
    // Containers that turn it on all the same, with addresses of their own, reach nobody: neither
    // each other nor the host, also by a link-local address of the bridge.
    set6(host, "netpath0", "disable_ipv6", "0");
    ip(host, &format!("addr add {GATEWAY6}/64 dev netpath0 nodad"));
    for (container, addr) in [(a, A6), (b, B6)] {
        set6(container, "eth0", "disable_ipv6", "0");
        ip(container, &format!("addr add {addr}/64 dev eth0 nodad"));
        ip(container, &format!("-6 route add default via {GATEWAY6}"));
    }
    for to in [B6, GATEWAY6, OUTSIDE6] {
        assert!(!pings6(a, to, BRIEFLY), "{to}");
    }
    assert!(pings(a, B, SOON) && pings(a, OUTSIDE, SOON));
    let refused = world.netpath(&[
        "endpoint",
        "add",
        "--network",
        "bridge",
        "--netns",
        a.name(),
        "--name",
        "x",
        "--ip6",
        "fd00:17::9",
    ]);
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{errors}");
}

#[test]
fn an_adopted_bridge_is_left_as_it_was_found() {
    for up in [false, true] {
        let world = World::dual_stack(&["a"]);
        ip(&world.host, "link add netpath0 type bridge");
        ip(&world.host, "addr add fd00:99::1/64 dev netpath0 nodad");
        if up {
            ip(&world.host, "link set netpath0 up");
        }
        let before = everything(&world, &["a"]);
        world.up(&world.dual_stack_config(&["a"], &[], ""));
        let addresses = addresses6(&world.host, Some("netpath0"));
        assert_eq!(addresses.len(), 2, "{addresses:?}");
        world.run(&["down", "--all"]);
        assert_same(&everything(&world, &["a"]), &before);
        // A network of IPv4 alone turns IPv6 off meanwhile.
        world.up(&world.network("bridge", "netpath0", "172.17.0.0/16", ""));
        assert_eq!(
            addresses6(&world.host, Some("netpath0")),
            Vec::<String>::new()
        );
        world.run(&["down", "--all"]);
        assert_same(&everything(&world, &["a"]), &before);
    }
}

#[test]
fn subnets_that_are_refused() {
    let world = World::dual_stack(&["a"]);
    let network = |ipv6: &str, more: &str| {
        let more = format!("ipv6 = \"{ipv6}\"\n{more}");
        world.network("bridge", "netpath0", "172.17.0.0/16", &more)
    };
    for (config, words) in [
        (
            network("fe80::/64", ""),
            &["bridge", "fe80::/64", "link-local"][..],
        ),
        (
            network("2001:db8:1::/80", ""),
            &[
                "bridge",
                "2001:db8:1::/80",
                "2001:db8:1::/64 by uplink0",
                "choose",
            ],
        ),
        (
            network("fd00:17::/64", "mtu = 1000"),
            &["bridge", "mtu", "1280"],
        ),
        (
            network("fd00:17::/64", "mode = \"magic\""),
            &["mode", "nat, routed"],
        ),
    ] {
        refused_config(&world, &config, words);
    }
    ip(&world.host, "link set uplink0 mtu 1200");
    refused_config(
        &world,
        &network("fd00:17::/64", ""),
        &["bridge", "1280", "1200"],
    );
}

#[test]
fn ipv6_can_be_added_and_taken_away() {
    let world = World::dual_stack(&["a"]);
    let without =
        world.network("bridge", "netpath0", "172.17.0.0/16", "") + &world.endpoint("a", A, &[]);
    world.up(&without);
    let alone = Snapshot::of(world.container("a"));
    world.up(&world.dual_stack_config(&["a"], &[], ""));
    assert_eq!(addresses6(world.container("a"), Some("eth0")).len(), 1);
    world.up(&without);
    let file = |path: &str| within(&world.host, || fs::read_to_string(path).unwrap());
    assert_eq!(
        file("/proc/sys/net/ipv6/conf/netpath0/disable_ipv6").trim(),
        "1"
    );
    assert_eq!(
        addresses6(world.container("a"), Some("eth0")),
        Vec::<String>::new()
    );
    assert_eq!(Snapshot::of(world.container("a")).ipv6(), alone.ipv6());
    assert!(pings(world.container("a"), OUTSIDE, SOON));
}
