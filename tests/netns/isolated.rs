//! Isolated networks: containers reach each other and nothing else.

use std::{io::ErrorKind, net::Ipv6Addr};

use netpath::lab::{links, probe};
use netpath_common::DropReason;
use netpath_tests::{
    netns::{stdout, within},
    probe::{BRIEFLY, at, at6, pings, tcp, tcp_fails, tcp_server, tcp_server6, udp_server},
    topology::{A, B, GATEWAY, HOST, World},
    ways::ip,
};

fn config(world: &World, more: &str) -> String {
    let more = format!("internal = true\nipv6 = \"fd00:17::/64\"\n{more}");
    world.network("bridge", "netpath0", "172.17.0.0/16", &more)
        + &world.endpoint("a", A, &["8080:80"])
        + &world.endpoint("b", B, &[])
}

fn isolated() -> World {
    let world = World::new(&["a", "b"]);
    world.up(&config(&world, "isolated = true"));
    world
}

fn addresses(world: &World) -> String {
    stdout(
        &world.host,
        "ip",
        &["-o", "addr", "show", "dev", "netpath0"],
    )
}

#[test]
fn neighbours_talk_and_have_no_way_out() {
    let world = isolated();
    let (a, b) = (world.container("a"), world.container("b"));
    let _servers = [tcp_server(a, "a", 80), tcp_server6(a, "a", 80)];
    assert!(tcp(b, at(A, 80)).is_from("a", B));
    let [a6, b6]: [Ipv6Addr; 2] = ["fd00:17::2", "fd00:17::3"].map(|it| it.parse().unwrap());
    assert!(tcp(b, at6(a6, 80)).is_from("a", b6));
    for family in ["-4", "-6"] {
        let routes = stdout(a, "ip", &[family, "route"]);
        assert!(!routes.contains("default"), "{routes}");
    }
    assert_eq!(addresses(&world), "", "the bridge has no address");
    tcp_fails(a, at(HOST, 22), ErrorKind::NetworkUnreachable);
    assert!(!pings(a, GATEWAY, BRIEFLY));
    // The other way there is no route.
    let found = stdout(&world.host, "ip", &["route", "get", "172.17.0.2"]);
    assert!(!found.contains("netpath0"), "{found}");
}

#[test]
fn who_forges_a_way_to_the_host_does_not_get_there() {
    let world = isolated();
    let (a, host) = (world.container("a"), &world.host);
    let _services = [udp_server(host, "host", 53), tcp_server(host, "host", 22)];
    let links = within(host, || links::links().unwrap());
    let bridge = links.iter().find(|link| link.name == "netpath0").unwrap();
    let mac: Vec<_> = bridge
        .mac
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    ip(
        a,
        &format!("neigh add 172.17.9.9 lladdr {} dev eth0", mac.join(":")),
    );
    ip(a, "route add default via 172.17.9.9");
    let before = world.dropped(DropReason::NotRoutable);
    for to in [at(HOST, 53), at(GATEWAY, 53)] {
        let answer = within(a, || probe::udp(to, None, BRIEFLY));
        assert!(answer.is_err(), "{to}: {answer:?}");
    }
    tcp_fails(a, at(HOST, 22), ErrorKind::TimedOut);
    assert!(
        world.dropped(DropReason::NotRoutable) > before,
        "{:?}",
        world.drops()
    );
    // What goes to all does not go to the host: it would answer for its addresses.
    ip(a, "route add 198.51.100.0/24 dev eth0");
    let _ = within(a, || probe::udp(at(HOST, 53), None, BRIEFLY));
    let neighbours = stdout(a, "ip", &["neigh", "show", &HOST.to_string()]);
    assert!(!neighbours.contains("lladdr"), "{neighbours}");
}

#[test]
fn it_is_changed_in_place() {
    let world = isolated();
    let b = world.container("b");
    let _server = tcp_server(b, "b", 7000);
    tcp_fails(&world.host, at(B, 7000), ErrorKind::TimedOut);
    world.up(&config(&world, ""));
    assert!(addresses(&world).contains("172.17.0.1/16"));
    assert!(addresses(&world).contains("fd00:17::1/64"));
    assert!(tcp(&world.host, at(B, 7000)).text.starts_with("b saw"));
    world.up(&config(&world, "isolated = true"));
    assert_eq!(addresses(&world), "");
    let shown = world.run(&["network", "inspect", "bridge"]);
    assert!(
        shown.contains(r#""com.docker.network.bridge.gateway_mode_ipv4": "isolated""#),
        "{shown}"
    );
    assert!(world.run(&["status"]).contains("isolated"));
    let (again, changed) = (world.up(&config(&world, "isolated = true")), "netpath0");
    assert!(!again.contains(changed), "{again}");
    world.run(&["down", "--all"]);
}

#[test]
fn docker_s_words_for_it() {
    let world = World::new(&["a"]);
    let mode = "com.docker.network.bridge.gateway_mode_ipv4=isolated";
    let create = [
        "network",
        "create",
        "-o",
        mode,
        "--subnet",
        "172.30.0.0/16",
        "alone",
    ];
    let refused = world.netpath(&create);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && text.contains("internal"),
        "{text}"
    );
    let mut create = create.to_vec();
    create.insert(2, "--internal");
    world.run(&create);
    let shown = world.run(&["network", "inspect", "alone"]);
    assert!(shown.contains("isolated"), "{shown}");
    let own = stdout(&world.host, "ip", &["-4", "-o", "addr"]);
    assert!(!own.contains("172.30."), "{own}");
    world.run(&["network", "rm", "alone"]);
}
