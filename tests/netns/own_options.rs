//! Networks with netpath's own options, made by a command beside what is up. What the options do is told
//! by `firewall` and `mapping`, for networks of the configuration.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use netpath_tests::{
    netns::{Namespace, stdout, within},
    probe::{SOON, at, tcp, tcp_fails, tcp_server},
    topology::{A, OUTSIDE, World},
};

/// A host with the network `bridge` and its endpoint `a`, up, and a container `b` that has none yet.
fn world() -> World {
    let world = World::new(&["a", "b"]);
    let config =
        world.network("bridge", "netpath0", "172.17.0.0/16", "") + &world.endpoint("a", A, &[]);
    world.up(&config);
    world
}

/// Makes a network of these options, and `b` a part of it.
fn make(world: &World, options: &str) {
    world.words(&format!("network create own {options}"));
    let netns = world.container("b").name().to_owned();
    let words = format!("endpoint add --network own --netns {netns} --name b");
    world.words(&words);
}

fn socket(namespace: &Namespace, port: u16) -> UdpSocket {
    let socket = within(namespace, || UdpSocket::bind(("0.0.0.0", port))).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

#[test]
fn visible_to_the_firewall() {
    if netpath_tests::skip::missing("nft") {
        return;
    }
    let world = world();
    let _server = tcp_server(&world.outside, "outside", 7000);
    make(&world, "-o netpath.firewall=visible");
    let (a, b) = (world.container("a"), world.container("b"));
    let to = at(OUTSIDE, 7000);
    for container in [a, b] {
        assert!(tcp(container, to).text.starts_with("outside saw"));
    }
    for command in [
        "add table inet guard",
        "add chain inet guard forward { type filter hook forward priority 0 ; }",
        "add rule inet guard forward counter drop",
    ] {
        let words: Vec<_> = command.split(' ').collect();
        stdout(&world.host, "nft", &words);
    }
    tcp_fails(b, to, ErrorKind::TimedOut);
    assert!(tcp(a, to).text.starts_with("outside saw"));
}

#[test]
fn endpoint_independent_mapping() {
    let world = world();
    make(&world, "-o netpath.mapping=endpoint-independent");
    let (witness, stranger) = (socket(&world.outside, 7000), socket(&world.outside, 9000));
    for (name, gets_in) in [("a", false), ("b", true)] {
        let inside = socket(world.container(name), 5000);
        inside.send_to(b"who am I", (OUTSIDE, 7000)).unwrap();
        let (_, seen): (_, SocketAddr) = witness
            .recv_from(&mut [0; 16])
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        // Somebody who was not asked.
        stranger.send_to(b"hello", seen).unwrap();
        let wait = if gets_in {
            SOON
        } else {
            Duration::from_millis(400)
        };
        inside.set_read_timeout(Some(wait)).unwrap();
        let got = inside.recv_from(&mut [0; 16]).map_err(|e| e.kind());
        let want = if gets_in {
            Ok((5, SocketAddr::new(OUTSIDE.into(), 9000)))
        } else {
            Err(ErrorKind::WouldBlock)
        };
        assert_eq!(got, want, "{name}");
    }
}
