//! Another engine's network on the same host, and its rules.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
};

use netpath_common::DropReason;
use netpath_tests::{
    dual_stack::{A6, HOST6, OUTSIDE6},
    netns::stdout,
    probe::{SOON, at, at6, pings, pings6, tcp, tcp_server, tcp_server6},
    skip,
    topology::{A, HOST, OUTSIDE, UPLINK},
    ways::{connect, ip},
};

use crate::other_interface::{CLIENT, CLIENT6, HOST2, NEVER, Site};

/// Another engine's network: what is published is served there, and nothing else goes from one to the other.
#[test]
fn another_engine_s_bridge_is_a_way_in() {
    const OTHER: &str = "other0";
    let mut site = Site::new();
    // As Docker does when it starts.
    site.make_router();
    site.world.add_container("theirs");
    let theirs = site.world.take_container("theirs");
    let host = &site.world.host;
    connect((host, "veth0"), (&theirs, "eth0"));
    for line in [
        "link add other0 type bridge",
        "link set veth0 master other0",
        "link set other0 up",
        "addr add 10.88.0.1/16 dev other0",
        "addr add fd00:88::1/64 dev other0 nodad",
    ] {
        ip(host, line);
    }
    for line in [
        "addr add 10.88.0.2/16 dev eth0",
        "addr add fd00:88::2/64 dev eth0 nodad",
        "route add default via 10.88.0.1",
        "-6 route add default via fd00:88::1",
    ] {
        ip(&theirs, line);
    }
    let (v4, v6) = (
        Ipv4Addr::new(10, 88, 0, 2),
        Ipv6Addr::new(0xfd00, 0x88, 0, 0, 0, 0, 0, 2),
    );
    site.world.up(&site.config(""));
    site.works();
    let a = site.world.container("a");
    let _servers = [tcp_server(a, "a", 80), tcp_server6(a, "a6", 80)];
    for to in [HOST, HOST2, Ipv4Addr::new(10, 88, 0, 1)] {
        assert!(tcp(&theirs, at(to, 8080)).is_from("a", v4), "{to}");
    }
    assert!(tcp(&theirs, at6(HOST6, 8080)).is_from("a6", v6));
    let no_uplink = || site.world.dropped(DropReason::NoUplink);
    let direct = || site.world.dropped(DropReason::DirectAccess);
    let before = (no_uplink(), direct());
    assert!(!pings(a, v4, NEVER) && !pings6(a, v6, NEVER));
    assert!(!pings(&theirs, A, NEVER) && !pings6(&theirs, A6, NEVER));
    assert!(no_uplink() >= before.0 + 2 && direct() >= before.1 + 2);
    let status = site.world.run(&["status"]);
    let line = status.lines().find(|l| l.trim_start().starts_with(OTHER));
    assert!(line.unwrap().contains("way in only"), "{status}");
    // So it stays when it is no longer asked for, and is kept for what is going on there.
    site.world
        .up(&site.config(&format!("uplinks = [\"{UPLINK}\"]")));
    assert!(!pings(a, v4, NEVER) && !pings6(a, v6, NEVER));
    assert!(tcp(&theirs, at(HOST, 8080)).is_from("a", v4));
    // With a port of another kind it leads on, and who names it means it.
    site.world
        .up(&site.config(&format!("uplinks = [\"{UPLINK}\", \"{OTHER}\"]")));
    assert!(pings(a, v4, SOON) && pings6(a, v6, SOON));
}

/// What the host's firewall makes the host's own was never forwarded, and goes on.
#[test]
fn a_host_that_takes_for_itself_what_passes_still_does() {
    if skip::missing("nft") {
        return;
    }
    let site = Site::up("");
    let rules = site.world.file("redirect.nft");
    fs::write(
        &rules,
        "table inet proxy {\n chain pre {\n type nat hook prerouting priority dstnat;\n \
         iifname \"lan0\" tcp dport 81 redirect to :3128\n }\n}\n",
    )
    .unwrap();
    stdout(&site.world.host, "nft", &["-f", rules.to_str().unwrap()]);
    let _servers = [
        tcp_server(&site.world.host, "proxy", 3128),
        tcp_server6(&site.world.host, "proxy6", 3128),
    ];
    assert!(tcp(&site.lan, at(OUTSIDE, 81)).is_from("proxy", CLIENT));
    let answer = tcp(&site.lan, at6(OUTSIDE6, 81));
    assert!(answer.is_from("proxy6", CLIENT6), "{answer:?}");
}
