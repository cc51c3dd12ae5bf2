//! Which outside port a container has, and who reaches it by that: both kinds of mapping, as a STUN
//! client sees them (RFC 3489, 10.1, by the program `stun` of Debian) and as sockets do.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    process::{Child, Command, Stdio},
};

use netpath::lab::links;
use netpath_tests::{
    netns::{Namespace, command, within},
    probe::{SOON, at, tcp_server, udp_socket},
    skip,
    topology::{A, B, HOST, OUTSIDE, World},
    wait,
};
use socket2::{Domain, Socket, Type};

/// The outside's second address, which the STUN server needs.
const SECOND: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 3);

/// Ports that nobody could keep: the mapping shows.
const RANDOM: &str = "[nat]\npreserve_ports = false\n";

/// A host with the containers `a` and `b`.
fn world(nat: &str, mapping: &str, publish: &[&str]) -> World {
    let world = World::new(&["a", "b"]);
    within(&world.outside, || {
        links::add_address("eth0", SECOND, 24).unwrap();
    });
    let more = format!("mapping = \"{mapping}\"");
    let mut config = nat.to_owned();
    config += &world.network("bridge", "netpath0", "172.17.0.0/16", &more);
    config += &world.endpoint("a", A, publish);
    config += &world.endpoint("b", B, &[]);
    world.up(&config);
    world
}

/// `stund` of Debian, until it is dropped.
struct StunServer(Child);

impl StunServer {
    fn start(namespace: &Namespace) -> Self {
        let (first, second) = (OUTSIDE.to_string(), SECOND.to_string());
        let child = within(namespace, || {
            Command::new("/usr/sbin/stund")
                .args(["-h", &first, "-a", &second])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        });
        let child = child.unwrap_or_else(|e| {
            panic!("cannot run stund ({e}); install it with `cargo xtask setup`")
        });
        wait::until("stund has its sockets", || {
            within(namespace, || UdpSocket::bind((SECOND, 3479)).is_err())
        });
        Self(child)
    }
}

impl Drop for StunServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the client says of the way from `a`: the line that begins with "Primary:".
fn stun(world: &World) -> String {
    let _server = StunServer::start(&world.outside);
    let output = command(world.container("a"), "stun", &[&OUTSIDE.to_string()]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("Primary:"));
    line.unwrap_or_else(|| panic!("no verdict: {text}"))
        .to_owned()
}

#[test]
fn a_stun_client_finds_the_mapping_of_the_kernel() {
    if skip::missing("stun") || skip::missing("stund") {
        return;
    }
    let primary = stun(&world("", "kernel", &[]));
    // A free port is kept for each destination, so it looks like one mapping; only who is asked answers.
    assert!(
        primary.contains("Independent Mapping, Port Dependent Filter, preserves ports"),
        "{primary}"
    );
    let primary = stun(&world(RANDOM, "kernel", &[]));
    assert!(primary.contains("Dependent Mapping"), "{primary}");
    assert!(!primary.contains("Independent Mapping"), "{primary}");
}

#[test]
fn a_stun_client_finds_an_endpoint_independent_mapping() {
    if skip::missing("stun") || skip::missing("stund") {
        return;
    }
    for (nat, ports) in [("", "preserves ports"), (RANDOM, "random port")] {
        let primary = stun(&world(nat, "endpoint-independent", &[]));
        let want = format!("Independent Mapping, Independent Filter, {ports}");
        assert!(primary.contains(&want), "{primary}");
        assert!(!primary.contains("no hairpin"), "{primary}");
    }
}

/// The outside address of a socket of a container, as the outside sees it.
fn outside_of(socket: &UdpSocket, witness: &UdpSocket) -> SocketAddr {
    let to = at(OUTSIDE, witness.local_addr().unwrap().port());
    socket.send_to(b"who am I", to).unwrap();
    witness.recv_from(&mut [0; 16]).unwrap().1
}

#[test]
fn two_containers_find_each_other_through_their_outside_ports() {
    let world = world(RANDOM, "endpoint-independent", &[]);
    let witness = udp_socket(&world.outside, 7000, None);
    let [a, b] = ["a", "b"].map(|name| udp_socket(world.container(name), 5000, None));
    let [of_a, of_b] = [&a, &b].map(|socket| outside_of(socket, &witness));
    assert_eq!((of_a.ip(), of_b.ip()), (HOST.into(), HOST.into()));
    let mut text = [0; 16];
    // Each sees the other's outside address (RFC 4787, REQ-9 a).
    a.send_to(b"ping", of_b).unwrap();
    assert_eq!(b.recv_from(&mut text).unwrap(), (4, of_a));
    b.send_to(b"pong!", of_a).unwrap();
    assert_eq!(a.recv_from(&mut text).unwrap(), (5, of_b));
}

#[test]
fn whoever_knows_the_port_gets_in_and_is_answered_from_it() {
    let world = world(RANDOM, "endpoint-independent", &[]);
    let witness = udp_socket(&world.outside, 7000, None);
    let a = udp_socket(world.container("a"), 5000, None);
    let of_a = outside_of(&a, &witness);
    let stranger = within(&world.outside, || UdpSocket::bind((SECOND, 9000)).unwrap());
    stranger.set_read_timeout(Some(SOON)).unwrap();
    stranger.send_to(b"hello", of_a).unwrap();
    let mut text = [0; 16];
    let from = SocketAddr::from((SECOND, 9000));
    assert_eq!(a.recv_from(&mut text).unwrap(), (5, from));
    a.send_to(b"hi", from).unwrap();
    assert_eq!(stranger.recv_from(&mut text).unwrap(), (2, of_a));
    // The list shows flows; a binding is none.
    let flows = world.run(&["ct", "list"]);
    assert_eq!(
        flows.lines().filter(|l| l.contains("udp")).count(),
        2,
        "{flows}"
    );
    assert!(!flows.contains("unknown"), "{flows}");
}

#[test]
fn a_connection_from_a_listening_port_opens_it_to_everybody() {
    let world = world(RANDOM, "endpoint-independent", &[]);
    let _server = tcp_server(&world.outside, "outside", 7000);
    let a = world.container("a");
    // As a program does that wants to be found: one port for listening and asking.
    let (mut asking, listener) = within(a, || {
        let make = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.set_reuse_port(true).unwrap();
            socket
                .bind(&SocketAddr::from(([0, 0, 0, 0], 5000)).into())
                .unwrap();
            socket
        };
        let (asking, listening) = (make(), make());
        listening.listen(4).unwrap();
        let server = SocketAddr::from((OUTSIDE, 7000));
        asking.connect_timeout(&server.into(), SOON).unwrap();
        (TcpStream::from(asking), TcpListener::from(listening))
    });
    asking.write_all(b"?").unwrap();
    let mut text = String::new();
    asking.read_to_string(&mut text).unwrap();
    let seen: SocketAddrV4 = text
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("{text}"));
    assert_eq!(*seen.ip(), HOST);
    let peer = within(&world.outside, || {
        TcpStream::connect_timeout(&seen.into(), SOON).unwrap()
    });
    let (_, from) = listener.accept().unwrap();
    assert_eq!(from, peer.local_addr().unwrap());
}

#[test]
fn published_ports_are_no_bindings() {
    let world = world("", "endpoint-independent", &["5000:53/udp"]);
    let witness = udp_socket(&world.outside, 7000, None);
    let b = udp_socket(world.container("b"), 5000, None);
    assert_ne!(outside_of(&b, &witness).port(), 5000);
}
