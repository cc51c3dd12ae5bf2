//! Which outside port a container has, and who reaches it by that: both kinds of mapping, as a STUN
//! client sees them (RFC 3489, 10.1, by the program `stun` of Debian) and as sockets do.

use std::{
    collections::BTreeSet,
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Child, Command, Stdio},
};

use netpath::lab::links;
use netpath_tests::{
    dual_stack::{HOST6, OUTSIDE6},
    netns::{Namespace, command, within},
    probe::{
        BRIEFLY, SOON, tcp_server, tcp_server6, udp, udp_server, udp_server6, udp_socket,
        udp_socket6,
    },
    skip,
    topology::{HOST, OUTSIDE, UPLINK, World},
    wait,
};
use socket2::{Domain, Socket, Type};

/// The outside's second address, which the STUN server needs.
const SECOND: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 3);
/// The same of IPv6, which that server does not know.
const SECOND6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 3);

/// Further addresses of the host on the uplink.
const ALSO: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);
/// The same of IPv6.
const ALSO6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x77);

/// What a test needs of a family.
struct Family {
    is_v6: bool,
    host: IpAddr,
    outside: IpAddr,
    second: IpAddr,
    any: IpAddr,
}

const FAMILIES: [Family; 2] = [
    Family {
        is_v6: false,
        host: IpAddr::V4(HOST),
        outside: IpAddr::V4(OUTSIDE),
        second: IpAddr::V4(SECOND),
        any: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    },
    Family {
        is_v6: true,
        host: IpAddr::V6(HOST6),
        outside: IpAddr::V6(OUTSIDE6),
        second: IpAddr::V6(SECOND6),
        any: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    },
];

impl Family {
    /// A UDP socket on every address.
    fn udp(&self, namespace: &Namespace, port: u16) -> UdpSocket {
        if self.is_v6 {
            udp_socket6(namespace, port, None)
        } else {
            udp_socket(namespace, port, None)
        }
    }

    /// One on the outside's second address.
    fn stranger(&self, world: &World, port: u16) -> UdpSocket {
        let socket = within(&world.outside, || {
            UdpSocket::bind((self.second, port)).unwrap()
        });
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket
    }
}

/// Ports that nobody could keep: the mapping shows.
const RANDOM: &str = "[nat]\npreserve_ports = false\n";

/// A host with the containers `a` and `b`.
fn world(nat: &str, mapping: &str, publish: &[&str]) -> World {
    let world = World::dual_stack(&["a", "b"]);
    within(&world.outside, || {
        links::add_address("eth0", SECOND, 24).unwrap();
        links::add_address("eth0", SECOND6, 64).unwrap();
    });
    up(&world, nat, &format!("mapping = \"{mapping}\""), publish);
    world
}

fn up(world: &World, nat: &str, more: &str, publish: &[&str]) {
    let config = world.dual_stack_config(&["a", "b"], publish, more);
    world.up(&(nat.to_owned() + &config));
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

/// The outside address of a socket of a container, as a witness outside sees it at `addr`.
fn seen_at(socket: &UdpSocket, witness: &UdpSocket, addr: IpAddr) -> SocketAddr {
    let to = SocketAddr::new(addr, witness.local_addr().unwrap().port());
    socket.send_to(b"who am I", to).unwrap();
    witness.recv_from(&mut [0; 16]).unwrap().1
}

#[test]
fn a_socket_has_one_outside_port_whomever_it_asks() {
    for (mapping, ports) in [("endpoint-independent", 1), ("kernel", 4)] {
        let world = world(RANDOM, mapping, &[]);
        for family in FAMILIES {
            let witnesses = [7000, 7001].map(|port| family.udp(&world.outside, port));
            let a = family.udp(world.container("a"), 5000);
            let mut seen = BTreeSet::new();
            for witness in &witnesses {
                for addr in [family.outside, family.second] {
                    seen.insert(seen_at(&a, witness, addr));
                }
            }
            assert_eq!(seen.len(), ports, "{mapping}: {seen:?}");
            assert!(seen.iter().all(|s| s.ip() == family.host), "{seen:?}");
            // Who was not asked gets in by the one, and by none of the others.
            let stranger = family.stranger(&world, 9000);
            for addr in &seen {
                stranger.send_to(b"hello", addr).unwrap();
            }
            a.set_read_timeout(Some(BRIEFLY)).unwrap();
            let got = a.recv_from(&mut [0; 16]).map_err(|e| e.kind());
            let want = if ports == 1 {
                Ok((5, stranger.local_addr().unwrap()))
            } else {
                Err(io::ErrorKind::WouldBlock)
            };
            assert_eq!(got, want, "{mapping}");
        }
    }
}

#[test]
fn two_containers_find_each_other_through_their_outside_ports() {
    let world = world(RANDOM, "endpoint-independent", &[]);
    for family in FAMILIES {
        let witness = family.udp(&world.outside, 7000);
        let [a, b] = ["a", "b"].map(|name| family.udp(world.container(name), 5000));
        let [of_a, of_b] = [&a, &b].map(|socket| seen_at(socket, &witness, family.outside));
        assert_eq!((of_a.ip(), of_b.ip()), (family.host, family.host));
        let mut text = [0; 16];
        // Each sees the other's outside address (RFC 4787, REQ-9 a).
        a.send_to(b"ping", of_b).unwrap();
        assert_eq!(b.recv_from(&mut text).unwrap(), (4, of_a));
        b.send_to(b"pong!", of_a).unwrap();
        assert_eq!(a.recv_from(&mut text).unwrap(), (5, of_b));
    }
}

#[test]
fn whoever_knows_the_port_gets_in_and_is_answered_from_it() {
    let world = world(RANDOM, "endpoint-independent", &[]);
    for family in FAMILIES {
        let witness = family.udp(&world.outside, 7000);
        let a = family.udp(world.container("a"), 5000);
        let of_a = seen_at(&a, &witness, family.outside);
        let stranger = family.stranger(&world, 9000);
        stranger.send_to(b"hello", of_a).unwrap();
        let mut text = [0; 4000];
        let from = SocketAddr::new(family.second, 9000);
        assert_eq!(a.recv_from(&mut text).unwrap(), (5, from));
        a.send_to(b"hi", from).unwrap();
        assert_eq!(stranger.recv_from(&mut text).unwrap(), (2, of_a));
        // Also in parts.
        stranger.send_to(&[7; 4000], of_a).unwrap();
        assert_eq!(a.recv_from(&mut text).unwrap(), (4000, from));
        a.send_to(&[8; 4000], from).unwrap();
        assert_eq!(stranger.recv_from(&mut text).unwrap(), (4000, of_a));
        // The list shows flows; a binding is none.
        let name = if family.is_v6 { "ipv6" } else { "ipv4" };
        let flows = world.run(&["ct", "list", "-f", name]);
        let of_udp = flows.lines().filter(|l| l.contains("udp"));
        assert_eq!(of_udp.count(), 2, "{flows}");
        assert!(!flows.contains("unknown"), "{flows}");
        // What is flushed is closed, until the container asks again.
        let _ = world.run(&["ct", "flush", "-f", name]);
        stranger.send_to(b"again", of_a).unwrap();
        a.set_read_timeout(Some(BRIEFLY)).unwrap();
        let got = a.recv_from(&mut text).map_err(|e| e.kind());
        assert_eq!(got, Err(io::ErrorKind::WouldBlock));
        a.set_read_timeout(Some(SOON)).unwrap();
        let of_a = seen_at(&a, &witness, family.outside);
        stranger.send_to(b"again", of_a).unwrap();
        assert_eq!(a.recv_from(&mut text).unwrap(), (5, from));
    }
}

#[test]
fn a_connection_from_a_listening_port_opens_it_to_everybody() {
    let world = world(RANDOM, "endpoint-independent", &[]);
    let _servers = (
        tcp_server(&world.outside, "outside", 7000),
        tcp_server6(&world.outside, "outside", 7000),
    );
    let a = world.container("a");
    for family in FAMILIES {
        // As a program does that wants to be found: one port for listening and asking.
        let (mut asking, listener) = within(a, || {
            let domain = Domain::for_address(SocketAddr::new(family.any, 0));
            let make = || {
                let socket = Socket::new(domain, Type::STREAM, None).unwrap();
                socket.set_reuse_address(true).unwrap();
                socket.set_reuse_port(true).unwrap();
                socket
                    .bind(&SocketAddr::new(family.any, 5000).into())
                    .unwrap();
                socket
            };
            let (asking, listening) = (make(), make());
            listening.listen(4).unwrap();
            let server = SocketAddr::new(family.outside, 7000);
            asking.connect_timeout(&server.into(), SOON).unwrap();
            (TcpStream::from(asking), TcpListener::from(listening))
        });
        asking.write_all(b"?").unwrap();
        let mut text = String::new();
        asking.read_to_string(&mut text).unwrap();
        let seen: SocketAddr = text
            .split_whitespace()
            .find_map(|word| word.parse().ok())
            .unwrap_or_else(|| panic!("{text}"));
        assert_eq!(seen.ip(), family.host);
        let peer = within(&world.outside, || {
            TcpStream::connect_timeout(&seen, SOON).unwrap()
        });
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from, peer.local_addr().unwrap());
    }
}

#[test]
fn published_ports_are_no_bindings() {
    let world = world("", "endpoint-independent", &["5000:53/udp"]);
    for family in FAMILIES {
        let witness = family.udp(&world.outside, 7000);
        let b = family.udp(world.container("b"), 5000);
        assert_ne!(seen_at(&b, &witness, family.outside).port(), 5000);
    }
}

#[test]
fn a_change_in_place_ends_what_was_begun_before_but_for_published_ports() {
    const PUBLISHED: &[&str] = &["5353:53/udp"];
    let world = world(RANDOM, "endpoint-independent", PUBLISHED);
    within(&world.host, || {
        links::add_address(UPLINK, ALSO, 24).unwrap();
        links::add_address(UPLINK, ALSO6, 64).unwrap();
    });
    let a = world.container("a");
    let _servers = (udp_server(a, "a", 53), udp_server6(a, "a", 53));
    let published: [SocketAddr; 2] = [(HOST, 5353).into(), (HOST6, 5353).into()];
    for to in published {
        let _ = udp(&world.outside, to);
    }
    let ends = FAMILIES.map(|family| {
        // A socket of IPv6 takes its port in both families.
        let more = u16::from(family.is_v6);
        let witness = family.udp(&world.outside, 7000 + more);
        (family.udp(a, 5000 + more), witness, family)
    });
    let seen = || ends.each_ref().map(|(a, w, f)| seen_at(a, w, f.outside));
    let begun = seen();
    // Who is found by anybody no longer is, and every answer comes from the new port.
    up(&world, RANDOM, "mapping = \"kernel\"", PUBLISHED);
    let left = world.run(&["ct", "list"]);
    assert!(!left.contains("sport=500"), "{left}");
    assert_eq!(left.matches("dport=5353").count(), 2, "{left}");
    for ((a, _, family), of_a) in ends.iter().zip(begun) {
        let stranger = family.stranger(&world, 9000);
        stranger.send_to(b"hello", of_a).unwrap();
        a.set_read_timeout(Some(BRIEFLY)).unwrap();
        let got = a.recv_from(&mut [0; 16]).map_err(|e| e.kind());
        assert_eq!(got, Err(io::ErrorKind::WouldBlock));
    }
    let _ = seen();
    // The same sockets, by another address.
    let snat = format!("snat = \"{ALSO}\"\nsnat6 = \"{ALSO6}\"");
    up(&world, RANDOM, &snat, PUBLISHED);
    assert_eq!(seen().map(|s| s.ip()), [IpAddr::V4(ALSO), ALSO6.into()]);
    // Nothing leaves any more.
    up(&world, RANDOM, "masquerade = false", PUBLISHED);
    for (a, witness, family) in &ends {
        let port = witness.local_addr().unwrap().port();
        let refused = a.send_to(b"who am I", (family.outside, port));
        witness.set_read_timeout(Some(BRIEFLY)).unwrap();
        let got = witness.recv_from(&mut [0; 16]).map_err(|e| e.kind());
        assert_eq!(got, Err(io::ErrorKind::WouldBlock), "{refused:?}");
    }
    let left = world.run(&["ct", "list"]);
    assert_eq!(left.matches("dport=5353").count(), 2, "{left}");
}
