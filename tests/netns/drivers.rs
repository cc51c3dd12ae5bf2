//! Networks without netpath's bridge: `macvlan`, `ipvlan`, `host` and `none`.

use std::net::Ipv4Addr;

use netpath::lab::links;
use netpath_tests::{
    netns::{Namespace, command, within},
    probe::{BRIEFLY, SOON, at, pings, pings6, tcp, tcp_server},
    topology::{A, HOST, OUTSIDE, UPLINK, World},
};
use serde_json::Value;

use crate::lifecycle::{Snapshot, assert_same};

/// The first two addresses that containers on the outside network get.
const LAN_A: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 128);
const LAN_B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 129);

/// Lines of a macvlan network on the uplink.
const MACVLAN: &str = "driver = \"macvlan\"\nparent = \"uplink0\"\nsubnet = \"198.51.100.0/24\"\n\
                       gateway = \"198.51.100.2\"\nip_range = \"198.51.100.128/25\"\n";

fn network(name: &str, lines: &str) -> String {
    format!("\n[[network]]\nname = \"{name}\"\n{lines}\n")
}

/// A `[[network.endpoint]]` for a container of the world.
fn endpoint(world: &World, name: &str, container: &str, more: &str) -> String {
    let netns = world.container(container).name();
    format!("\n[[network.endpoint]]\nname = \"{name}\"\nnetns = \"{netns}\"\n{more}\n")
}

fn names(namespace: &Namespace) -> Vec<String> {
    let links = within(namespace, || links::links().unwrap());
    links.into_iter().map(|link| link.name).collect()
}

fn snapshots(world: &World, containers: &[&str]) -> Vec<Snapshot> {
    let containers = containers.iter().map(|c| Snapshot::of(world.container(c)));
    [Snapshot::of_host(world)]
        .into_iter()
        .chain(containers)
        .collect()
}

/// Containers of a macvlan network are hosts of the outside network: they reach it and are reached at
/// their own addresses, beside netpath's own containers.
#[test]
fn macvlan_containers_are_on_the_outside_network() {
    let world = World::new(&["a", "b", "c"]);
    let before = snapshots(&world, &["a", "b"]);
    let config = world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &world.endpoint("c", A, &["8080:80"])
        + &network("lan", MACVLAN)
        + &endpoint(&world, "a", "a", "mac = \"02:00:00:00:00:aa\"")
        + &endpoint(&world, "b", "b", "");
    world.up(&config);
    let [a, b, c] = ["a", "b", "c"].map(|name| world.container(name));

    let _out = tcp_server(&world.outside, "outside", 7000);
    assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", LAN_A));
    assert!(tcp(b, at(OUTSIDE, 7000)).is_from("outside", LAN_B));
    let _a = tcp_server(a, "a", 80);
    assert!(tcp(&world.outside, at(LAN_A, 80)).is_from("a", OUTSIDE));
    assert!(pings(b, LAN_A, SOON), "between containers");
    // netpath's own have lost nothing by it.
    let _c = tcp_server(c, "c", 80);
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("c", OUTSIDE));
    assert!(tcp(c, at(OUTSIDE, 7000)).is_from("outside", HOST));

    let links = within(a, || links::links().unwrap());
    let eth0 = links.iter().find(|l| l.name == "eth0").unwrap();
    assert_eq!(links::mac_text(&eth0.mac), "02:00:00:00:00:aa");
    assert_eq!(names(a), ["lo", "eth0"]);

    let list = world.words("network ls --format {{.Name}}:{{.Driver}}");
    assert_eq!(list, "bridge:bridge\nlan:macvlan\n");
    let shown: Value = serde_json::from_str(&world.words("network inspect lan")).unwrap();
    assert_eq!(shown[0]["Driver"], "macvlan");
    assert_eq!(shown[0]["Options"]["parent"], UPLINK);
    assert_eq!(shown[0]["Options"]["macvlan_mode"], "bridge");
    assert_eq!(shown[0]["IPAM"]["Config"][0]["Gateway"], "198.51.100.2");
    assert_eq!(shown[0]["Containers"].as_object().unwrap().len(), 2);
    let status: Value = serde_json::from_str(&world.words("--json status")).unwrap();
    assert_eq!(status["networks"][1]["driver"], "macvlan");
    let inspect: Value = serde_json::from_str(&world.words("endpoint inspect a")).unwrap();
    assert_eq!(
        inspect[0]["Networks"]["lan"]["IPAddress"],
        LAN_A.to_string()
    );

    // A second time nothing changes; what is gone from the file goes.
    assert_eq!(
        world.up(&config).lines().count(),
        1,
        "{}",
        world.up(&config)
    );
    world.up(&config.replace(&endpoint(&world, "b", "b", ""), ""));
    assert_eq!(names(b), ["lo"]);
    // Its address is another's at once, and the outside goes by the new MAC address.
    world.words("endpoint rm a");
    let netns = b.name();
    world.words(&format!(
        "endpoint add --network lan --name d --netns {netns} --ip {LAN_A}"
    ));
    let _d = tcp_server(b, "d", 80);
    assert!(tcp(&world.outside, at(LAN_A, 80)).is_from("d", OUTSIDE));

    world.words("down --all");
    let after = snapshots(&world, &["a", "b"]);
    assert_same(&after[..1], &before[..1]);
    assert_eq!(names(a), ["lo"]);
    assert_eq!(names(b), ["lo"]);
}

/// The same by Docker's words, with both families, and what the modes mean.
#[test]
fn macvlan_by_commands() {
    let world = World::new(&["a", "b"]);
    let [a, b] = ["a", "b"].map(|name| world.container(name));
    let create = "network create -d macvlan -o parent=uplink0 --subnet 198.51.100.0/24 --gateway \
                  198.51.100.2 --ip-range 198.51.100.128/25 --subnet 2001:db8:1::/64";
    world.words(&format!("{create} -o macvlan_mode=private lan"));
    world.refused(
        &format!("{create} other"),
        &["parent uplink0", "network `lan`'s already"],
    );
    let add = |name: &str, netns: &Namespace, more: &str| {
        format!(
            "endpoint add --network lan --name {name} --netns {}{more}",
            netns.name()
        )
    };
    let said = world.words(&add("a", a, ""));
    assert!(
        said.starts_with(&format!("a {LAN_A} 2001:db8:1::2 ")),
        "{said}"
    );
    world.words(&add("b", b, " --ip 198.51.100.200"));
    assert!(pings(a, OUTSIDE, SOON) && pings(b, OUTSIDE, SOON));
    let b4 = Ipv4Addr::new(198, 51, 100, 200);
    assert!(
        !pings(a, b4, BRIEFLY),
        "private containers reach each other"
    );
    assert!(!pings6(a, "2001:db8:1::3".parse().unwrap(), BRIEFLY));

    world.refused(
        &add("a", a, ""),
        &["endpoint `a` exists already in network `lan`"],
    );
    world.refused(
        "publish a 8080:80",
        &["endpoint `a`", "all its ports are reached"],
    );
    world.refused("network rm lan", &["has active endpoints", "a, b"]);
    world.refused(
        "network create -d macvlan -o parent=nothing0 m",
        &["parent nothing0 does not exist", "uplink0"],
    );
    world.refused(
        "network create -d macvlan -o parent=lo m",
        &["parent lo", "no Ethernet header"],
    );
    world.words("network rm --with-endpoints lan");
    assert_eq!(names(a), ["lo"]);
    assert_eq!(world.words("network ls -q"), "");

    // Now they do reach each other, by both families.
    world.words(&format!("{create} lan"));
    world.words(&add("a", a, ""));
    world.words(&add("b", b, ""));
    assert!(pings(a, LAN_B, SOON));
    assert!(pings6(a, "2001:db8:1::3".parse().unwrap(), SOON));
    world.words("network rm --with-endpoints lan");
}

/// What the kernel lacks is said, with the module that has it, and nothing is left of the attempt; what
/// it has works.
#[test]
fn kinds_that_the_kernel_may_lack() {
    let world = World::new(&["a"]);
    let a = world.container("a");
    let before = snapshots(&world, &["a"]);
    let (host, outside) = (&world.host, &world.outside);
    let ip = |namespace: &Namespace, words: &str| {
        let words: Vec<_> = words.split(' ').collect();
        command(namespace, "ip", &words).status.success()
    };
    let lan = "subnet = \"198.51.100.0/24\"\nip_range = \"198.51.100.128/25\"\ngateway = \"198.51.100.2\"";
    let other = "subnet = \"192.0.2.0/24\"";
    for (kind, module, lines, prepare, answers) in [
        (
            "link uplink0 name probe type ipvlan",
            "ipvlan",
            format!("driver = \"ipvlan\"\nparent = \"uplink0\"\n{lan}"),
            "",
            Some(OUTSIDE),
        ),
        (
            "link uplink0 name probe type ipvlan",
            "ipvlan",
            format!("driver = \"ipvlan\"\nparent = \"uplink0\"\nipvlan_mode = \"l3\"\n{other}"),
            "route add 192.0.2.0/24 via 198.51.100.1",
            Some(OUTSIDE),
        ),
        (
            "link uplink0 name probe type vlan id 10",
            "8021q",
            format!("driver = \"macvlan\"\nparent = \"uplink0.10\"\n{other}"),
            "link add link eth0 name eth0.10 type vlan id 10|addr add 192.0.2.1/24 dev eth0.10|\
             link set eth0.10 up",
            Some(Ipv4Addr::new(192, 0, 2, 1)),
        ),
        (
            "probe type dummy",
            "dummy",
            format!("driver = \"macvlan\"\n{other}"),
            "",
            None,
        ),
    ] {
        let has = ip(host, &format!("link add {kind}"));
        if has {
            assert!(ip(host, "link del probe"), "{kind}");
            for words in prepare.split('|').filter(|words| !words.is_empty()) {
                assert!(ip(outside, words), "{words}");
            }
        }
        let output = world.try_up(&(network("lan", &lines) + &endpoint(&world, "a", "a", "")));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), has, "{lines}: {errors}");
        if has {
            assert_eq!(names(a), ["lo", "eth0"]);
            assert!(answers.is_none_or(|to| pings(a, to, SOON)), "{lines}");
            world.run(&["down", "--all"]);
            ip(outside, "link del eth0.10");
            ip(outside, "route del 192.0.2.0/24");
        } else {
            let remedy = format!("modprobe {module}");
            assert!(errors.contains(&remedy), "{lines}: {errors}");
        }
        assert_same(&snapshots(&world, &["a"])[..1], &before[..1]);
        assert_eq!(names(a), ["lo"]);
    }
}

/// A container in the host's namespace, and one that has nothing but itself.
#[test]
fn host_and_none() {
    let world = World::new(&["a"]);
    let a = world.container("a");
    let before = snapshots(&world, &[]);
    world.words("network create -d host host");
    world.words("network create -d null none");
    world.refused(
        "network create -d host second",
        &[
            "only one instance of \"host\" network is allowed",
            "`host` is one already",
        ],
    );
    world.refused(
        "network create -d host --subnet 10.1.0.0/24 x",
        &["subnet", "host"],
    );
    let list = world.words("network ls --format {{.Name}}:{{.Driver}}");
    assert_eq!(list, "host:host\nnone:null\n");

    let add = |network: &str, netns: &Namespace, more: &str| {
        let netns = netns.name();
        format!("endpoint add --network {network} --name {network}-c --netns {netns}{more}")
    };
    let host = &world.host;
    world.refused(
        &add("host", host, " -p 8080:80"),
        &["publish", "ports of the host already"],
    );
    world.refused(
        &add("host", a, ""),
        &["is not the host's network namespace"],
    );
    world.refused(
        &add("host", host, " --ip 10.1.0.2"),
        &["ip = 10.1.0.2", "no interface"],
    );
    world.words(&add("host", host, ""));
    world.refused(
        &add("none", host, ""),
        &["the namespace that netpath manages itself"],
    );
    world.refused(&add("none", a, " -p 80"), &["publish", "no interface"]);
    world.words(&add("none", a, ""));
    assert_eq!(names(a), ["lo"]);
    assert!(pings(a, Ipv4Addr::LOCALHOST, SOON));

    let shown: Value = serde_json::from_str(&world.words("network inspect host none")).unwrap();
    for (at, name, driver) in [(0, "host-c", "host"), (1, "none-c", "null")] {
        assert_eq!(shown[at]["Driver"], driver);
        assert_eq!(shown[at]["IPAM"]["Config"], Value::Null);
        let containers = shown[at]["Containers"].as_object().unwrap();
        assert_eq!(containers.values().next().unwrap()["Name"], name);
    }
    let list: Value = serde_json::from_str(&world.words("--json endpoint ls")).unwrap();
    assert_eq!(list[0]["driver"], "host");
    world.refused("publish host-c 8080:80", &["ports of the host already"]);
    world.refused("network rm host", &["has active endpoints"]);
    world.words("endpoint rm host-c none-c");
    world.words("network rm host none");
    assert_same(&snapshots(&world, &[]), &before);
}
