//! Protocols besides TCP, UDP and ICMP, by raw sockets: what a container sends leaves with the host's
//! address, and what its peer answers comes back.

use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddrV4},
};

use netpath_common::DropReason;
use netpath_tests::{
    netns::{Namespace, within},
    probe::{SOON, pings},
    topology::{A, HOST, OUTSIDE, World},
    wait,
};
use socket2::{Domain, Protocol, Socket, Type};

const GRE: i32 = 47;
const ESP: i32 = 50;
const SCTP: i32 = 132;

/// A raw socket of a protocol: it gets whole IP packets, and sends what follows the IP header.
struct Raw(Socket);

impl Raw {
    fn new(namespace: &Namespace, protocol: i32) -> Self {
        within(namespace, || {
            let protocol = Protocol::from(protocol);
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(protocol)).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            Self(socket)
        })
    }

    fn send(&self, to: Ipv4Addr, bytes: &[u8]) {
        let to = SocketAddrV4::new(to, 0);
        assert_eq!(self.0.send_to(bytes, &to.into()).unwrap(), bytes.len());
    }

    /// The next packet: its source, and what follows its IP header.
    fn receive(&mut self) -> (Ipv4Addr, Vec<u8>) {
        let mut buffer = [0; 4096];
        let len = self.0.read(&mut buffer).unwrap();
        let header = usize::from(buffer[0] & 15) * 4;
        let source = Ipv4Addr::new(buffer[12], buffer[13], buffer[14], buffer[15]);
        (source, buffer[header..len].to_vec())
    }
}

/// A packet of SCTP with an INIT chunk, the CRC of which is left to nobody: raw sockets do not look.
fn init(sport: u16, dport: u16) -> Vec<u8> {
    let mut b = Vec::new();
    b.extend(sport.to_be_bytes());
    b.extend(dport.to_be_bytes());
    b.extend([0, 0, 0, 0, 1, 2, 3, 4, 1, 0, 0, 20]);
    b.extend([9; 16]);
    b
}

#[test]
fn there_and_back_for_one_container() {
    let world = World::with_ports(&["a", "b"], &[]);
    for (protocol, packet) in [
        (GRE, b"\0\0\x08\0not a packet".to_vec()),
        (ESP, vec![7; 64]),
        (SCTP, init(5000, 6000)),
    ] {
        let mut a = Raw::new(world.container("a"), protocol);
        let mut outside = Raw::new(&world.outside, protocol);
        a.send(OUTSIDE, &packet);
        assert_eq!(outside.receive(), (HOST, packet.clone()));
        let answer = if protocol == SCTP {
            init(6000, 5000)
        } else {
            packet.clone()
        };
        outside.send(HOST, &answer);
        assert_eq!(a.receive(), (OUTSIDE, answer));
        // The second container would have to have the same tuple.
        let before = world.dropped(DropReason::NoPort);
        let b = Raw::new(world.container("b"), protocol);
        b.send(OUTSIDE, &packet);
        wait::until("the second one is refused", || {
            world.dropped(DropReason::NoPort) == before + 1
        });
    }
    let flows = world.run(&["ct", "list"]);
    for line in [
        format!("gre      47 179 src={A} dst={OUTSIDE} srckey=0x0 dstkey=0x0 "),
        format!("unknown  50 599 src={A} dst={OUTSIDE} src={OUTSIDE} dst={HOST} "),
        format!("sctp     132 2 COOKIE_WAIT src={A} dst={OUTSIDE} sport=5000 dport=6000 "),
    ] {
        let without_seconds = |l: &str| {
            let words = l.split_whitespace().enumerate();
            let kept: Vec<_> = words.filter(|(n, _)| *n != 2).map(|(_, w)| w).collect();
            kept.join(" ")
        };
        let want = without_seconds(&line);
        let found = flows.lines().any(|l| without_seconds(l).starts_with(&want));
        assert!(found, "{line}: {flows}");
    }
}

#[test]
fn fragments_of_them_arrive() {
    let world = World::with_ports(&["a"], &[]);
    let mut a = Raw::new(world.container("a"), ESP);
    let mut outside = Raw::new(&world.outside, ESP);
    let large: Vec<u8> = (0..3500).map(|n| n as u8).collect();
    a.send(OUTSIDE, &large);
    assert_eq!(outside.receive(), (HOST, large.clone()));
    outside.send(HOST, &large);
    assert_eq!(a.receive(), (OUTSIDE, large));
}

#[test]
fn what_breaks_with_its_addresses_is_dropped() {
    const AH: i32 = 51;
    let world = World::with_ports(&["a"], &[]);
    Raw::new(world.container("a"), AH).send(OUTSIDE, &[0; 24]);
    wait::until("it is dropped", || {
        world.dropped(DropReason::UnsupportedProtocol) == 1
    });
    assert!(pings(world.container("a"), OUTSIDE, SOON));
}

#[test]
fn the_hosts_own_tunnel_is_its_own() {
    let world = World::with_ports(&["a"], &[]);
    let packet = b"\0\0\x08\0not a packet".to_vec();
    let mut host = Raw::new(&world.host, GRE);
    let a = Raw::new(world.container("a"), GRE);
    let mut outside = Raw::new(&world.outside, GRE);
    a.send(OUTSIDE, &packet);
    assert_eq!(outside.receive(), (HOST, packet.clone()));
    host.send(OUTSIDE, b"\0\0\x08\0the host");
    assert_eq!(outside.receive(), (HOST, b"\0\0\x08\0the host".to_vec()));
    outside.send(HOST, &packet);
    assert_eq!(host.receive(), (OUTSIDE, packet.clone()));
    let before = world.dropped(DropReason::NoPort);
    a.send(OUTSIDE, &packet);
    wait::until("the container is refused", || {
        world.dropped(DropReason::NoPort) == before + 1
    });
}
