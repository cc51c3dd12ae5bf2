//! Source allow lists and shared ports with real sockets.

use std::{collections::BTreeMap, io::ErrorKind};

use netpath::{
    bpf::{Datapath, PortChange},
    lab::{links, probe},
};
use netpath_common::{
    DropReason,
    publish::{Backends, Change},
};
use netpath_tests::{
    agent::Agent,
    conversation::Conversation,
    dual_stack::{HOST6, OUTSIDE6},
    netns::within,
    probe::{
        BRIEFLY, SOON, at, at6, tcp, tcp_fails, tcp_server, udp, udp_server, udp_server6,
        udp_socket, udp_socket6,
    },
    topology::{A, B, HOST, OUTSIDE, World},
    wait,
};

#[test]
fn only_what_is_listed_comes_in_from_wherever() {
    let world = World::with_ports(
        &["a", "b"],
        &["8080:80,allow=198.51.100.0/24", "5353:53/udp"],
    );
    let a = world.container("a");
    let (_tcp, _udp) = (tcp_server(a, "a", 80), udp_server(a, "a", 53));
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    let before = world.dropped(DropReason::NotAllowed);
    // A neighbour and the container itself are clients as well.
    for from in [world.container("b"), a] {
        tcp_fails(from, at(HOST, 8080), ErrorKind::TimedOut);
    }
    assert!(world.dropped(DropReason::NotAllowed) > before);
    // The host itself is always let in.
    assert!(tcp(&world.host, at(HOST, 8080)).text.starts_with("a "));
    // Without a list everybody is.
    assert!(
        udp(world.container("b"), at(HOST, 5353))
            .text
            .starts_with("a ")
    );
    let shown = world.run(&["endpoint", "ls"]);
    assert!(shown.contains("8080 allow=198.51.100.0/24"), "{shown}");
    assert!(world.run(&["status"]).contains("allow=198.51.100.0/24"));
}

#[test]
fn a_changed_list_holds_from_the_next_packet_on() {
    let world = World::with_ports(&["a", "b"], &["8080:80"]);
    let a = world.container("a");
    let open = |from| Conversation::open((from, at(HOST, 8080)), (a, 80));
    let (stays, goes) = (open(&world.outside), open(world.container("b")));
    let spec = "8080:80,allow=198.51.100.2";
    let shown = world.run(&["publish", "a", spec]);
    assert_eq!(shown.trim(), "80/tcp -> 0.0.0.0:8080 allow=198.51.100.2");
    assert!(stays.goes_on());
    let before = world.dropped(DropReason::NotAllowed);
    assert!(goes.is_cut());
    assert!(world.dropped(DropReason::NotAllowed) > before);
    // Back to everybody, and by the configuration.
    world.run(&["publish", "a", "8080:80"]);
    assert!(stays.goes_on());
    let config = |publish| {
        world.network("bridge", "netpath0", "172.17.0.0/16", "")
            + &world.endpoint("a", A, &[publish])
            + &world.endpoint("b", B, &[])
    };
    let stays = open(world.container("b"));
    let done = world.up(&config("8080:80,allow=172.17.0.0/16"));
    assert!(done.contains("change allowed sources of a"), "{done}");
    tcp_fails(&world.outside, at(HOST, 8080), ErrorKind::TimedOut);
    assert!(stays.goes_on());
    assert_eq!(
        world.up(&config("8080:80,allow=172.17.0.0/16")).trim(),
        "nothing to change"
    );
    world.run(&["unpublish", "a", "8080:80"]);
    tcp_fails(&world.outside, at(HOST, 8080), ErrorKind::ConnectionRefused);
}

/// Which container answers, by the client's ports.
fn spread(world: &World, ports: impl Iterator<Item = u16>) -> BTreeMap<u16, String> {
    let ask = |port| {
        let socket = udp_socket(&world.outside, port, Some(at(HOST, 5353)));
        socket.send(b"?").unwrap();
        let mut answer = [0; 100];
        let length = socket.recv(&mut answer).unwrap();
        let text = String::from_utf8_lossy(&answer[..length]).into_owned();
        let name = text.split(' ').next().unwrap_or_default();
        (port, name.to_owned())
    };
    ports.map(ask).collect()
}

#[test]
fn a_shared_port_is_spread_and_survives_its_endpoints() {
    let mut world = World::with_ports(&["a", "b"], &["5353:53/udp,balance"]);
    let _a = udp_server(world.container("a"), "a", 53);
    assert!(
        spread(&world, 30_000..30_040)
            .values()
            .all(|who| who == "a")
    );
    let refused = world.netpath(&["publish", "b", "5353:54/udp"]);
    assert!(!refused.status.success(), "only who says so shares a port");
    let b = udp_server(world.container("b"), "b", 54);
    world.run(&["publish", "b", "5353:54/udp,balance"]);
    assert!(
        spread(&world, 30_000..30_040)
            .values()
            .all(|who| who == "a"),
        "open flows stay"
    );
    let both = spread(&world, 31_000..31_040);
    let of_b = both.values().filter(|who| *who == "b").count();
    assert!((8..=32).contains(&of_b), "{both:?}");
    // The container dies with nobody to notice: its interface goes with its namespace.
    drop(b);
    drop(world.take_container("b"));
    wait::until("the interface of b is gone", || {
        within(&world.host, || {
            let veths = links::links().unwrap();
            veths.iter().filter(|l| l.name.starts_with("veth")).count() <= 1
        })
    });
    let alone = spread(&world, 32_000..32_040);
    assert!(alone.values().all(|who| who == "a"), "{alone:?}");
    let of_a = both.iter().filter(|(_, who)| *who == "a");
    let still = spread(&world, of_a.map(|(port, _)| *port));
    assert!(still.values().all(|who| who == "a"), "flows of a stay");
}

#[test]
fn the_agent_takes_a_dead_endpoint_out_of_a_shared_port() {
    let mut world = World::with_ports(&["a", "b"], &["5353:53/udp,balance"]);
    let _a = udp_server(world.container("a"), "a", 53);
    let b = udp_server(world.container("b"), "b", 53);
    world.run(&["publish", "b", "5353:53/udp,balance"]);
    let agent = Agent::start(&world);
    agent.wait_until_ready();
    drop(b);
    drop(world.take_container("b"));
    wait::until("the agent has removed b", || {
        world.run(&["port"]).lines().count() == 1
    });
    assert!(
        spread(&world, 33_000..33_040)
            .values()
            .all(|who| who == "a")
    );
    world.run(&["unpublish", "a", "5353:53/udp"]);
    let refused = within(&world.outside, || probe::udp(at(HOST, 5353), None, SOON));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(agent.terminate());
}

#[test]
fn up_puts_back_what_somebody_took_away() {
    let world = World::new(&["a", "b"]);
    let config = world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &world.endpoint(
            "a",
            A,
            &[
                "8000-8100:8000-8100,allow=198.51.100.0/24",
                "5353:53/udp,balance",
            ],
        )
        + &world.endpoint("b", B, &[]);
    world.up(&config);
    let (_tcp, _udp) = (
        tcp_server(world.container("a"), "a", 8080),
        udp_server(world.container("a"), "a", 53),
    );
    within(&world.host, || {
        let datapath = Datapath::open(world.instance()).unwrap().unwrap();
        let all = datapath.published().unwrap();
        let gone = PortChange {
            v4: Change {
                remove: all.iter().map(|(key, _)| *key).collect(),
                ..Change::default()
            },
            ..PortChange::default()
        };
        datapath.change_ports(&gone).unwrap();
        datapath.set_backends(1, &Backends::default()).unwrap();
        // A list that is another one, and one of nobody's.
        let other = "203.0.113.0/24".parse().unwrap();
        let rule = *datapath.allowed().unwrap().keys().next().unwrap();
        let lists = [(rule, [other].into()), (999, [other].into())].into();
        datapath.set_allowed(&lists).unwrap();
    });
    tcp_fails(&world.outside, at(HOST, 8080), ErrorKind::ConnectionRefused);
    let printed = world.up(&config);
    for what in [
        "repair endpoint `a`: port 8000 of 0.0.0.0 is not published any more",
        "their allow lists are others",
        "group 1 of np_backends is another",
    ] {
        assert!(printed.contains(what), "{what}: {printed}");
    }
    assert_eq!(world.up(&config).trim(), "nothing to change");
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    assert!(udp(&world.outside, at(HOST, 5353)).is_from("a", OUTSIDE));
    tcp_fails(world.container("b"), at(HOST, 8080), ErrorKind::TimedOut);
    let lists = within(&world.host, || {
        let datapath = Datapath::open(world.instance()).unwrap().unwrap();
        datapath.allowed().unwrap()
    });
    assert_eq!(lists.len(), 1);
}

#[test]
fn both_families_by_one_rule() {
    let world = World::new(&["a", "b"]);
    let ipv6 = "ipv6 = \"fd00:17::/64\"";
    let ports = [
        "9000-9009:80-89/udp,allow=198.51.100.2,allow=2001:db8:51::2",
        "[2001:db8:51::1]:5353:53/udp",
    ];
    world.up(&(world.network("bridge", "netpath0", "172.17.0.0/16", ipv6)
        + &world.endpoint("a", A, &ports)
        + &world.endpoint("b", B, &[])));
    let shown = world.run(&["port", "a"]);
    assert_eq!(
        shown.lines().collect::<Vec<_>>(),
        [
            "80-89/udp -> 0.0.0.0:9000-9009",
            "80-89/udp -> [::]:9000-9009",
            "53/udp -> [2001:db8:51::1]:5353",
        ]
    );
    let counts = within(&world.host, || {
        let datapath = Datapath::open(world.instance()).unwrap().unwrap();
        (
            datapath.published().unwrap().len(),
            datapath.published6().unwrap().len(),
        )
    });
    assert_eq!(counts, (1, 2));
    let lists = within(&world.host, || {
        let datapath = Datapath::open(world.instance()).unwrap().unwrap();
        datapath.allowed().unwrap().into_values().next().unwrap()
    });
    assert_eq!(lists.len(), 2);
    let _server = udp_server(world.container("a"), "a", 87);
    assert!(udp(&world.outside, at(HOST, 9007)).is_from("a", OUTSIDE));
    world.run(&["unpublish", "a", "9000-9009:80-89/udp"]);
    let refused = world.netpath(&["publish", "b", "[2001:db8:51::1]:5353:53/udp"]);
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        errors.contains("Bind for [2001:db8:51::1]:5353 failed: port is already allocated"),
        "{errors}"
    );
}

/// Where no address is named a port is at `[::]` as well, which one that names 0.0.0.0 is not.
#[test]
fn a_port_of_one_family_is_not_that_of_both_with_another_list() {
    let world = World::dual_stack_with_ports(&["a"], &["8080:80"]);
    let named = world.netpath(&["publish", "a", "0.0.0.0:8080:80,allow=198.51.100.2"]);
    let errors = String::from_utf8_lossy(&named.stderr);
    let words = "Bind for 0.0.0.0:8080 failed: port is already allocated";
    assert!(errors.contains(words), "{errors}");
    let named = world.netpath(&["unpublish", "a", "0.0.0.0:8080:80"]);
    assert!(!named.status.success());
    world.run(&["unpublish", "a", "8080:80"]);
    within(&world.host, || {
        let datapath = Datapath::open(world.instance()).unwrap().unwrap();
        assert_eq!(datapath.published().unwrap(), []);
        assert_eq!(datapath.published6().unwrap(), []);
    });
}

#[test]
fn ranges_and_lists_hold_for_ipv6() {
    let world = World::dual_stack(&["a", "b"]);
    let list = format!("9000-9009:80-89/udp,allow={OUTSIDE6}");
    world.up(&world.dual_stack_config(&["a", "b"], &[&list], ""));
    let _server = udp_server6(world.container("a"), "a", 87);
    let ask = |from, port| {
        let socket = udp_socket6(from, 0, Some(at6(HOST6, port)));
        socket.set_read_timeout(Some(BRIEFLY)).unwrap();
        socket.send(b"?").unwrap();
        let mut answer = [0; 100];
        socket
            .recv(&mut answer)
            .is_ok_and(|n| answer[..n].starts_with(b"a saw "))
    };
    assert!(ask(&world.outside, 9007));
    let before = world.dropped(DropReason::NotAllowed);
    assert!(!ask(world.container("b"), 9007));
    assert!(world.dropped(DropReason::NotAllowed) > before);
    world.run(&["publish", "a", "9000-9009:80-89/udp,allow=fd00:17::/64"]);
    assert!(ask(world.container("b"), 9007));
    assert!(!ask(&world.outside, 9007));
}
