//! Containers of both families: to each other, to the gateway, out, and in by published ports.

use std::{
    io,
    net::{Ipv6Addr, UdpSocket},
    time::Duration,
};

use aya::maps::{HashMap, Map, MapData};
use netpath::lab::links;
use netpath_common::DropReason;
use netpath_tests::{
    agent::Agent,
    dual_stack::{A6, B6, GATEWAY6, HOST6, OUTSIDE6},
    netns::within,
    probe::{
        BRIEFLY, Options, SOON, at, at6, ping6, pings6, tcp, tcp_fails, tcp_server, tcp_server6,
        transfer, udp, udp_server6,
    },
    topology::{A, HOST, OUTSIDE, UPLINK, World, succeeded},
    wait,
};

const PUBLISHED: &[&str] = &["8080:80", "8081:81", "5353:53/udp", "198.51.100.1:9090:90"];

/// A pass comes five seconds after the one before at the earliest.
const COLLECTED: Duration = Duration::from_secs(15);

fn world() -> World {
    World::dual_stack_with_ports(&["a", "b"], PUBLISHED)
}

#[test]
fn containers_reach_each_other_and_the_gateway() {
    let world = world();
    let (a, b) = (world.container("a"), world.container("b"));
    // Neighbour discovery, in both directions, and duplicate address detection go before.
    for (from, to) in [(a, GATEWAY6), (a, B6), (b, A6), (&world.host, A6)] {
        assert!(pings6(from, to, SOON), "{} to {to}", from.name());
    }
    let _servers = (tcp_server6(b, "b", 80), udp_server6(b, "b", 53));
    assert!(tcp(a, at6(B6, 80)).is_from("b", A6));
    assert!(udp(a, at6(B6, 53)).is_from("b", A6));
    transfer(a, at6(B6, 81), b, 81, 2_000_000);
}

#[test]
fn containers_reach_the_outside_by_the_uplinks_address() {
    let world = world();
    let a = world.container("a");
    let _servers = (
        tcp_server6(&world.outside, "outside", 7000),
        udp_server6(&world.outside, "outside", 7000),
        tcp_server(&world.outside, "outside", 7000),
    );
    let reply = ping6(a, OUTSIDE6, Options::default());
    assert!(reply.is_echo_of(OUTSIDE6) && reply.ttl == 63, "{reply:?}");
    assert!(tcp(a, at6(OUTSIDE6, 7000)).is_from("outside", HOST6));
    assert!(udp(a, at6(OUTSIDE6, 7000)).is_from("outside", HOST6));
    assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
    transfer(a, at6(OUTSIDE6, 7001), &world.outside, 7001, 2_000_000);
}

#[test]
fn published_ports_answer_by_both_families() {
    let world = world();
    let (a, b) = (world.container("a"), world.container("b"));
    let _servers = (
        tcp_server6(a, "a", 80),
        udp_server6(a, "a", 53),
        tcp_server(a, "a", 80),
    );
    assert!(tcp(&world.outside, at6(HOST6, 8080)).is_from("a", OUTSIDE6));
    assert!(udp(&world.outside, at6(HOST6, 5353)).is_from("a", OUTSIDE6));
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    // By a neighbour, and by the container itself, which sees its gateway ask.
    assert!(tcp(b, at6(HOST6, 8080)).is_from("a", B6));
    assert!(tcp(a, at6(HOST6, 8080)).is_from("a", GATEWAY6));
    transfer(&world.outside, at6(HOST6, 8081), a, 81, 2_000_000);
}

#[test]
fn a_port_at_an_ipv4_address_is_not_published_by_ipv6() {
    let world = world();
    let a = world.container("a");
    let _servers = (tcp_server6(a, "a", 90), tcp_server(a, "a", 90));
    assert!(tcp(&world.outside, at(HOST, 9090)).is_from("a", OUTSIDE));
    tcp_fails(
        &world.outside,
        at6(HOST6, 9090),
        io::ErrorKind::ConnectionRefused,
    );
    let printed = world.run(&["port", "a"]);
    assert_eq!(
        printed.lines().collect::<Vec<_>>(),
        [
            "80/tcp -> 0.0.0.0:8080",
            "80/tcp -> [::]:8080",
            "81/tcp -> 0.0.0.0:8081",
            "81/tcp -> [::]:8081",
            "53/udp -> 0.0.0.0:5353",
            "53/udp -> [::]:5353",
            "90/tcp -> 198.51.100.1:9090",
        ]
    );
    // What is withdrawn is by both.
    let _web = tcp_server6(a, "a", 80);
    assert!(tcp(&world.outside, at6(HOST6, 8080)).is_from("a", OUTSIDE6));
    world.run(&["unpublish", "a", "8080:80"]);
    tcp_fails(
        &world.outside,
        at6(HOST6, 8080),
        io::ErrorKind::ConnectionRefused,
    );
}

#[test]
fn a_smaller_uplink_mtu_is_learnt() {
    let world = World::dual_stack(&["a"]);
    within(&world.host, || links::set_mtu(UPLINK, 1300).unwrap());
    world.up(&world.dual_stack_config(&["a"], &[], "mtu = 1500"));
    let a = world.container("a");
    let bind = |port: u16| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
    let server = within(&world.outside, || bind(7000));
    server.set_read_timeout(Some(BRIEFLY)).unwrap();
    let client = within(a, || bind(0));
    let question = [7; 1400];
    let mut lost = 0;
    // No router fragments it: it arrives once the container does, who has been told by the host.
    wait::until("the container knows the path's MTU", || {
        client.send_to(&question, at6(OUTSIDE6, 7000)).unwrap();
        let mut buffer = [0; 2000];
        let got = server.recv_from(&mut buffer);
        lost += u32::from(got.is_err());
        got.is_ok_and(|(len, peer)| buffer[..len] == question && peer.ip() == HOST6)
    });
    assert!(lost > 0, "the first one cannot arrive");
    transfer(a, at6(OUTSIDE6, 7001), &world.outside, 7001, 1_000_000);
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

#[test]
fn the_outside_does_not_reach_containers_by_their_addresses() {
    let world = world();
    let a = world.container("a");
    let _server = tcp_server6(a, "a", 80);
    within(&world.outside, || {
        links::add_route("fd00:17::".parse::<Ipv6Addr>().unwrap(), 64, HOST6).unwrap();
    });
    let before = world.dropped(DropReason::DirectAccess);
    assert!(!pings6(&world.outside, A6, BRIEFLY));
    tcp_fails(&world.outside, at6(A6, 80), io::ErrorKind::TimedOut);
    assert!(
        world.dropped(DropReason::DirectAccess) >= before + 2,
        "{:?}",
        world.drops()
    );
}

#[test]
fn a_fixed_outside_address() {
    let world = World::dual_stack(&["a"]);
    let own: Ipv6Addr = "2001:db8:1::77".parse().unwrap();
    within(&world.host, || links::add_address(UPLINK, own, 64).unwrap());
    world.up(&world.dual_stack_config(&["a"], &[], &format!("snat6 = \"{own}\"")));
    let _server = tcp_server6(&world.outside, "outside", 7000);
    assert!(tcp(world.container("a"), at6(OUTSIDE6, 7000)).is_from("outside", own));
}

#[test]
fn routed_networks_keep_their_addresses() {
    let world = World::dual_stack(&["a"]);
    world.up(&world.dual_stack_config(&["a"], &["8080:80"], "mode = \"routed\""));
    within(&world.outside, || {
        links::add_route("fd00:17::".parse::<Ipv6Addr>().unwrap(), 64, HOST6).unwrap();
        links::add_route(std::net::Ipv4Addr::new(172, 17, 0, 0), 16, HOST).unwrap();
    });
    let a = world.container("a");
    let _servers = (
        tcp_server6(&world.outside, "outside", 7000),
        tcp_server(&world.outside, "outside", 7000),
        tcp_server6(a, "a", 80),
        tcp_server(a, "a", 80),
        tcp_server6(a, "a", 81),
    );
    assert!(tcp(a, at6(OUTSIDE6, 7000)).is_from("outside", A6));
    assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", A));
    assert!(tcp(&world.outside, at6(A6, 80)).is_from("a", OUTSIDE6));
    assert!(tcp(&world.outside, at(A, 80)).is_from("a", OUTSIDE));
    assert!(pings6(&world.outside, A6, SOON));
    // Neither what is not published, nor a port of the host.
    tcp_fails(&world.outside, at6(A6, 81), io::ErrorKind::TimedOut);
    tcp_fails(
        &world.outside,
        at6(HOST6, 8080),
        io::ErrorKind::ConnectionRefused,
    );
    tcp_fails(
        &world.outside,
        at(HOST, 8080),
        io::ErrorKind::ConnectionRefused,
    );
    assert_eq!(
        world.run(&["port", "a"]).lines().collect::<Vec<_>>(),
        ["80/tcp -> 172.17.0.2:80", "80/tcp -> [fd00:17::2]:80"]
    );
}

#[test]
fn in_a_routed_network_an_address_of_the_host_names_a_family() {
    let world = World::dual_stack(&["a"]);
    let ports = ["0.0.0.0:8080:80", "[::]:8081:81", "127.0.0.1:8082:82"];
    let ports = [&ports[..], &["[::1]:9082:82"]].concat();
    let config = world.dual_stack_config(&["a"], &ports, "mode = \"routed\"");
    world.up(&config);
    assert!(world.up(&config).contains("nothing to change"));
    within(&world.outside, || {
        links::add_route("fd00:17::".parse::<Ipv6Addr>().unwrap(), 64, HOST6).unwrap();
        links::add_route(std::net::Ipv4Addr::new(172, 17, 0, 0), 16, HOST).unwrap();
    });
    let a = world.container("a");
    let _servers = [80, 81, 82].map(|port| (tcp_server(a, "a", port), tcp_server6(a, "a", port)));
    let outside = &world.outside;
    assert!(tcp(outside, at(A, 80)).is_from("a", OUTSIDE));
    tcp_fails(outside, at6(A6, 80), io::ErrorKind::TimedOut);
    tcp_fails(outside, at(A, 81), io::ErrorKind::TimedOut);
    assert!(tcp(outside, at6(A6, 81)).is_from("a", OUTSIDE6));
    // One of each family are two.
    assert!(tcp(outside, at(A, 82)).is_from("a", OUTSIDE));
    assert!(tcp(outside, at6(A6, 82)).is_from("a", OUTSIDE6));
    // One of both is neither's for once more.
    for (spec, at) in [
        ("80", "Bind for 172.17.0.2:80 failed"),
        ("[::]:9081:81", "Bind for [fd00:17::2]:81 failed"),
    ] {
        world.refused(&format!("publish a {spec}"), &[at, "already allocated"]);
    }
}

#[test]
fn in_a_routed_network_an_allow_list_is_changed_and_a_port_withdrawn() {
    let world = World::new(&["a"]);
    let network = world.network("bridge", "netpath0", "172.17.0.0/16", "mode = \"routed\"");
    world.up(&(network + &world.endpoint("a", A, &[])));
    within(&world.outside, || {
        links::add_route(std::net::Ipv4Addr::new(172, 17, 0, 0), 16, HOST).unwrap();
    });
    let _server = tcp_server(world.container("a"), "a", 80);
    world.words("publish a 8080:80,allow=192.0.2.0/24");
    tcp_fails(&world.outside, at(A, 80), io::ErrorKind::TimedOut);
    // Of the host's port nothing depends.
    world.words("publish a 80:80,allow=198.51.100.0/24");
    assert!(tcp(&world.outside, at(A, 80)).is_from("a", OUTSIDE));
    world.words("unpublish a 80:80");
    assert_eq!(world.words("port a"), "");
    tcp_fails(&world.outside, at(A, 80), io::ErrorKind::TimedOut);
}

#[test]
fn ct_shows_counts_and_removes_flows_of_both_families() {
    let world = world();
    let a = world.container("a");
    let _servers = (
        tcp_server6(&world.outside, "outside", 7000),
        tcp_server(&world.outside, "outside", 7000),
    );
    assert!(pings6(a, OUTSIDE6, SOON));
    let _ = (tcp(a, at6(OUTSIDE6, 7000)), tcp(a, at(OUTSIDE, 7000)));
    let list = |words: &str| {
        let words: Vec<&str> = ["ct", "list"]
            .into_iter()
            .chain(words.split_whitespace())
            .collect();
        world.run(&words)
    };
    let all = list("");
    assert_eq!(all.lines().count(), 3, "{all}");
    let echo = list("-f ipv6 -p icmpv6");
    let line = format!("icmpv6   58 29 src={A6} dst={OUTSIDE6} type=128 code=0 id=");
    assert!(echo.starts_with(&line), "{echo}");
    assert!(
        echo.contains(&format!("src={OUTSIDE6} dst={HOST6} type=129 code=0 id=")),
        "{echo}"
    );
    assert_eq!(list("-f ipv4").lines().count(), 1);
    let extended = list(&format!("-o extended -p tcp -d {OUTSIDE6}"));
    assert!(
        extended.starts_with("ipv6     10 tcp      6 "),
        "{extended}"
    );
    assert_eq!(world.run(&["ct", "count", "-f", "ipv6"]).trim(), "2");
    let status: serde_json::Value =
        serde_json::from_str(&world.run(&["--json", "status"])).unwrap();
    assert_eq!(
        (
            &status["conntrack"]["flows"],
            &status["conntrack"]["flows6"]
        ),
        (&1.into(), &2.into())
    );
    assert_eq!(status["uplinks"][0]["addr6"], "2001:db8:1::10");

    // One by its tuple, or by the one of its answers; and none where a port is another.
    let line = list("-f ipv6 -p tcp");
    let port = line
        .split("sport=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let get = |words: &str| {
        let words: Vec<&str> = ["ct", "get", "-p", "tcp"]
            .into_iter()
            .chain(words.split(' '))
            .collect();
        world.netpath(&words)
    };
    let tuple = format!("-s {A6} -d {OUTSIDE6} --dport 7000 --sport {port}");
    let answers = format!("-s {OUTSIDE6} -d {HOST6} --sport 7000 --dport {port}");
    for words in [&tuple, &answers] {
        let found = succeeded("ct get", get(words));
        assert!(
            found.contains(&format!("src={A6} dst={OUTSIDE6} sport={port}")),
            "{found}"
        );
        assert_eq!(found.lines().count(), 1, "{found}");
    }
    let none = get(&format!(
        "-s {A6} -d {OUTSIDE6} --dport 7001 --sport {port}"
    ));
    assert_eq!(none.status.code(), Some(1));
    let half = get(&format!("-s {A6} -d {OUTSIDE}"));
    assert!(String::from_utf8_lossy(&half.stderr).contains("both addresses of one family"));

    let deleted = world.run(&["ct", "delete", "-f", "ipv6", "-p", "tcp"]);
    assert!(
        deleted.contains(&format!("src={A6} dst={OUTSIDE6} sport={port}")),
        "{deleted}"
    );
    assert_eq!(deleted.lines().count(), 1);
    assert_eq!(list("").lines().count(), 2);
    world.run(&["ct", "flush"]);
    assert_eq!(list("").lines().count(), 0);
}

#[test]
fn the_agent_collects_expired_flows_of_ipv6() {
    let world = World::dual_stack(&["a"]);
    let config =
        "[timeouts]\nicmp = \"1s\"\n".to_owned() + &world.dual_stack_config(&["a"], &[], "");
    world.up(&config);
    // What the table holds, expired or not.
    let entries = || {
        let table = MapData::from_pin(world.pins().join("np_ct6")).unwrap();
        let table: HashMap<_, [u8; 40], [u8; 104]> = Map::HashMap(table).try_into().unwrap();
        table.keys().count()
    };
    assert!(pings6(world.container("a"), OUTSIDE6, SOON));
    assert_eq!(entries(), 2);
    let agent = Agent::start(&world);
    agent.wait_until_ready();
    wait::until_within(COLLECTED, "the flow is gone", || entries() == 0);
}

#[test]
fn the_agent_follows_the_hosts_ipv6_addresses() {
    let world = world();
    let a = world.container("a");
    let _servers = (
        tcp_server6(a, "a", 80),
        tcp_server6(&world.outside, "outside", 7000),
    );
    let agent = Agent::start(&world);
    agent.wait_until_ready();
    let other: Ipv6Addr = "2001:db8:1::20".parse().unwrap();
    within(&world.host, || {
        links::add_address(UPLINK, other, 64).unwrap()
    });
    wait::until("the new address answers", || {
        within(&world.outside, || {
            netpath::lab::probe::tcp(at6(other, 8080), None, BRIEFLY)
        })
        .is_ok_and(|answer| answer.is_from("a", OUTSIDE6))
    });
    netpath_tests::ways::ip(&world.host, &format!("addr del {HOST6}/64 dev {UPLINK}"));
    wait::until("flows leave by the address that is left", || {
        within(a, || {
            netpath::lab::probe::tcp(at6(OUTSIDE6, 7000), None, BRIEFLY)
        })
        .is_ok_and(|answer| answer.is_from("outside", other))
    });
}
