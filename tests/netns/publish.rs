//! Published ports from the outside.

use netpath_tests::{
    probe::{Options, at, ping, tcp, tcp_fails, tcp_server, udp, udp_server, udp_socket},
    topology::{HOST, OUTSIDE, World},
    wait,
};

#[test]
pub(crate) fn the_container_sees_the_clients_address() {
    let world = World::with_ports(&["a"], &["8080:80", "5353:53/udp"]);
    let a = world.container("a");
    let _tcp = tcp_server(a, "a", 80);
    let _udp = udp_server(a, "a", 53);

    let answer = tcp(&world.outside, at(HOST, 8080));
    assert!(answer.is_from("a", OUTSIDE), "{}", answer.text);
    assert_eq!(answer.peer, at(HOST, 8080).into());
    assert_eq!(
        answer.seen().unwrap().port(),
        answer.local.port(),
        "the client's port is kept"
    );

    let answer = udp(&world.outside, at(HOST, 5353));
    assert!(answer.is_from("a", OUTSIDE), "{}", answer.text);
    assert_eq!(
        answer.seen().unwrap().port(),
        answer.local.port(),
        "the client's port is kept"
    );
}

#[test]
pub(crate) fn replies_come_from_the_address_that_was_asked() {
    let world = World::with_ports(&["a"], &["5353:53/udp"]);
    let _udp = udp_server(world.container("a"), "a", 53);
    let client = udp_socket(&world.outside, 0, None);
    client.send_to(b"?", at(HOST, 5353)).unwrap();
    let (_, from) = client.recv_from(&mut [0; 100]).unwrap();
    assert_eq!(from, at(HOST, 5353).into());
}

#[test]
fn a_range_leads_port_by_port() {
    let world = World::with_ports(&["a"], &["9000-9003:7000-7003"]);
    let servers: Vec<_> = (7000..=7003)
        .map(|port| tcp_server(world.container("a"), &format!("a{port}"), port))
        .collect();
    for (port, server) in (9000..=9003).zip(&servers) {
        let answer = tcp(&world.outside, at(HOST, port));
        assert!(
            answer
                .text
                .starts_with(&format!("a{} ", server.address().port())),
            "{answer:?}"
        );
    }
}

#[test]
fn what_is_not_published_is_refused_by_the_host() {
    let world = World::with_ports(&["a"], &["8080:80"]);
    let _tcp = tcp_server(world.container("a"), "a", 80);
    tcp_fails(
        &world.outside,
        at(HOST, 80),
        std::io::ErrorKind::ConnectionRefused,
    );
    tcp_fails(
        &world.outside,
        at(HOST, 8081),
        std::io::ErrorKind::ConnectionRefused,
    );
}

#[test]
fn a_port_nobody_listens_on_in_the_container_is_refused() {
    let world = World::with_ports(&["a"], &["8080:80"]);
    tcp_fails(
        &world.outside,
        at(HOST, 8080),
        std::io::ErrorKind::ConnectionRefused,
    );
    let flows = world.run(&["ct", "list", "-p", "tcp"]);
    assert!(
        flows.contains("src=172.17.0.2"),
        "the host refused, not the container: {flows}"
    );
}

#[test]
fn only_the_host_address_that_was_named() {
    let world = World::with_ports(&["a"], &["203.0.113.7:8080:80"]);
    let _tcp = tcp_server(world.container("a"), "a", 80);
    tcp_fails(
        &world.outside,
        at(HOST, 8080),
        std::io::ErrorKind::ConnectionRefused,
    );
}

#[test]
fn a_first_packet_waits_for_an_unknown_neighbour() {
    // Neither side has spoken: the container's MAC address is not in the host's tables.
    let world = World::with_ports(&["a"], &["5353:53/udp"]);
    let _udp = udp_server(world.container("a"), "a", 53);
    assert!(udp(&world.outside, at(HOST, 5353)).is_from("a", OUTSIDE));
}

#[test]
fn conntrack_lines_are_conntracks() {
    let world = World::with_ports(&["a"], &["8080:80"]);
    let _tcp = tcp_server(world.container("a"), "a", 80);
    let _out = udp_server(&world.outside, "outside", 7000);
    let client = tcp(&world.outside, at(HOST, 8080)).local.port();
    let own = udp(world.container("a"), at(OUTSIDE, 7000)).local.port();
    assert!(ping(world.container("a"), OUTSIDE, Options::default()).is_echo_of(OUTSIDE));

    let mut lines = String::new();
    wait::until("three flows are listed", || {
        lines = world.run(&["ct", "list"]);
        lines.lines().count() == 3
    });
    let line = |start: &str| {
        lines
            .lines()
            .find(|l| l.starts_with(start))
            .unwrap_or_default()
    };
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");

    let tcp_line = squeezed(line("tcp"));
    assert!(
        tcp_line.contains(&format!(
            "src={OUTSIDE} dst={HOST} sport={client} dport=8080 \
             src=172.17.0.2 dst={OUTSIDE} sport=80 dport={client} [ASSURED] mark=0 use=1"
        )),
        "{lines}"
    );
    assert!(tcp_line.starts_with("tcp 6 "), "{lines}");
    let udp_line = squeezed(line("udp"));
    assert!(
        udp_line.contains(&format!(
            "src=172.17.0.2 dst={OUTSIDE} sport={own} dport=7000 \
             src={OUTSIDE} dst={HOST} sport=7000 dport={own}"
        )),
        "{lines}"
    );
    let icmp_line = squeezed(line("icmp"));
    assert!(icmp_line.starts_with("icmp 1 "), "{lines}");
    assert!(icmp_line.contains(&format!("src=172.17.0.2 dst={OUTSIDE} type=8 code=0 id=")));
    assert!(icmp_line.contains(&format!("src={OUTSIDE} dst={HOST} type=0 code=0 id=")));
}
