//! A bridge that is there before netpath: it is used, and left as it was found.

use netpath_tests::{
    netns::{Namespace, stdout},
    probe::{at, tcp, tcp_server},
    topology::{A, HOST, OUTSIDE, World},
    ways::ip,
};

/// A bridge with an address of its own and the port of somebody else's.
fn found(up: bool) -> World {
    let world = World::new(&["a"]);
    let host = &world.host;
    ip(host, "link add netpath0 type bridge");
    ip(host, "link set netpath0 mtu 1400");
    ip(host, "addr add 10.9.0.1/24 dev netpath0");
    ip(host, "link add theirs type veth peer name beyond");
    ip(host, "link set theirs master netpath0");
    if up {
        ip(host, "link set netpath0 up");
    }
    world
}

/// What there is of the bridge: its index, state and addresses.
fn bridge(host: &Namespace) -> (String, String) {
    let show = |what: &str| stdout(host, "ip", &["-o", what, "show", "dev", "netpath0"]);
    let link = show("link");
    let (head, _) = link.split_once("mtu 1400").unwrap_or((&link, ""));
    // Running, or not: by its ports.
    let head = head.replace(",LOWER_UP", "").replace("NO-CARRIER,", "");
    (head, show("addr"))
}

fn config(world: &World) -> String {
    world.network("bridge", "netpath0", "172.17.0.0/16", "") + &world.endpoint("a", A, &["8080:80"])
}

#[test]
fn it_is_used_and_left_as_it_was_found() {
    for (up, gateway) in [
        (true, ""),
        (false, ""),
        (true, "172.17.0.1/16"),
        (true, "172.17.0.1/24"),
    ] {
        let world = found(up);
        if !gateway.is_empty() {
            ip(&world.host, &format!("addr add {gateway} dev netpath0"));
        }
        let before = bridge(&world.host);
        let output = world.try_up(&config(&world));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert!(errors.contains("ports of others (theirs)"), "{errors}");
        let during = bridge(&world.host).1;
        for addr in ["10.9.0.1/24", "172.17.0.1/16"] {
            assert!(during.contains(addr), "{during}");
        }
        let a = world.container("a");
        let _servers = [
            tcp_server(a, "a", 80),
            tcp_server(&world.outside, "outside", 7000),
        ];
        assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
        assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
        assert!(world.run(&["status"]).contains("adopted-bridge"));
        world.up(&config(&world));
        world.run(&["down", "--all"]);
        assert_eq!(bridge(&world.host), before);
        let port = stdout(&world.host, "ip", &["link", "show", "dev", "theirs"]);
        assert!(port.contains("master netpath0"), "{port}");
    }
}

#[test]
fn a_change_that_fails_leaves_it_alone() {
    let world = found(true);
    let before = bridge(&world.host);
    let missing = config(&world).replace("-a\"", "-nobody\"");
    let output = world.try_up(&missing);
    assert!(!output.status.success());
    assert_eq!(bridge(&world.host), before);
    // And where it fails only after the bridge has been adopted: the name of the container's end is
    // taken there.
    ip(
        world.container("a"),
        "link add eth0 type veth peer name eth9",
    );
    let output = world.try_up(&config(&world));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{errors}");
    assert_eq!(bridge(&world.host), before, "{errors}");
}
