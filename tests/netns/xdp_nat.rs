//! Translation in the uplink's driver, natively on veth.

use netpath::bpf::Datapath;
use netpath_common::counters::Counter;
use netpath_tests::{
    netns::{stdout, within},
    probe::{at, checksum_errors, tcp, tcp_server, transfer, udp_server, udp_socket},
    skip,
    topology::{A, HOST, OUTSIDE, World},
};

fn config(world: &World, more: &str) -> String {
    world.network("bridge", "netpath0", "172.17.0.0/16", more)
        + &world.endpoint("a", A, &["8080:80", "5353:53/udp"])
}

const TRANSLATE: &str = "uplink_hook = \"xdp\"\nxdp_translate = true";

/// A world whose outside host computes its checksums itself, as those on a wire do.
fn world() -> World {
    let world = World::new(&["a"]);
    stdout(&world.outside, "ethtool", &["-K", "eth0", "tx", "off"]);
    world
}

fn translated(world: &World) -> u64 {
    let counters = within(&world.host, || {
        let datapath = Datapath::open(world.instance()).unwrap();
        datapath.expect("nothing is loaded").counters().unwrap()
    });
    let found = counters
        .iter()
        .find(|(c, _)| *c == Counter::TranslatedInXdp);
    found.map_or(0, |(_, count)| *count)
}

fn hook(world: &World) -> String {
    let status: serde_json::Value =
        serde_json::from_str(&world.run(&["status", "--json"])).unwrap();
    status["uplinks"][0]["hook"].as_str().unwrap().to_owned()
}

#[test]
fn established_flows_go_straight_into_the_container() {
    if skip::missing("ethtool") {
        return;
    }
    let world = world();
    world.up(&config(&world, TRANSLATE));
    assert_eq!(hook(&world), "tc, xdp with translation");
    let a = world.container("a");

    // Both ways by the published port, and by masquerade.
    transfer(&world.outside, at(HOST, 8080), a, 80, 5_000_000);
    let by_port = translated(&world);
    assert!(by_port > 1000, "{by_port} packets were translated in XDP");
    transfer(a, at(OUTSIDE, 7000), &world.outside, 7000, 5_000_000);
    let masqueraded = translated(&world);
    assert!(
        masqueraded > by_port + 1000,
        "{masqueraded} after {by_port}"
    );

    let server = udp_socket(a, 53, None);
    let client = udp_socket(&world.outside, 0, Some(at(HOST, 5353)));
    let mut buffer = [0; 2000];
    for length in [0, 1, 2, 3, 100, 1471, 1472, 7, 1000] {
        let sent: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
        client.send(&sent).unwrap();
        let (got, peer) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[..got], sent[..], "{length} bytes in");
        assert_eq!(peer.ip(), OUTSIDE, "the client's address is kept");
        server.send_to(&sent, peer).unwrap();
        let got = client.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..got], sent[..], "{length} bytes out");
    }
    let datagrams = translated(&world) - masqueraded;
    // The first makes the flow, and the second tells that it was answered.
    assert!((7..=8).contains(&datagrams), "{datagrams} of 9");
    for namespace in [&world.host, &world.outside, a] {
        assert_eq!(checksum_errors(namespace), 0, "{}", namespace.name());
    }
    assert_eq!(world.drops().len(), 0, "{:?}", world.drops());

    // Without the option the same packets go by tc.
    world.up(&config(&world, "uplink_hook = \"xdp\""));
    assert_eq!(hook(&world), "tc, xdp");
    let before = translated(&world);
    client.send(b"more").unwrap();
    assert_eq!(server.recv_from(&mut buffer).unwrap().0, 4);
    assert_eq!(translated(&world), before);
    world.run(&["down", "--all"]);
    assert!(!world.pins().exists());
}

#[test]
fn where_the_peer_leaves_checksums_to_its_device_it_is_refused() {
    if skip::missing("ethtool") {
        return;
    }
    let world = World::new(&["a"]);
    let refused = world.try_up(&config(&world, TRANSLATE));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{text}");
    for part in [
        "network `bridge`",
        "xdp_translate",
        "uplink0",
        "leaves checksums",
        "tx off",
    ] {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
    assert!(!world.pins().exists(), "nothing is left of it");

    // And where it is turned on for a network that works, that goes on working.
    world.up(&config(&world, "uplink_hook = \"xdp\""));
    assert!(!world.try_up(&config(&world, TRANSLATE)).status.success());
    assert_eq!(hook(&world), "tc, xdp");
    let a = world.container("a");
    let _servers = [
        tcp_server(a, "a", 80),
        udp_server(&world.outside, "outside", 7000),
    ];
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
}
