//! Datagrams larger than the MTU.

use netpath_common::testing;
use netpath_tests::{
    netns::{Namespace, within},
    probe::{at, udp_socket},
    topology::{A, HOST, OUTSIDE, World},
};
use socket2::{Domain, Protocol, Socket, Type};

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

#[test]
pub(crate) fn large_datagrams_go_out_and_are_answered() {
    let world = World::with_ports(&["a"], &[]);
    let server = udp_socket(&world.outside, 7000, None);
    let client = udp_socket(world.container("a"), 0, Some(at(OUTSIDE, 7000)));
    exchange(&client, &server);
}

#[test]
pub(crate) fn large_datagrams_come_in_and_are_answered() {
    let world = World::with_ports(&["a"], &["5353:53/udp"]);
    let server = udp_socket(world.container("a"), 53, None);
    let client = udp_socket(&world.outside, 0, Some(at(HOST, 5353)));
    exchange(&client, &server);
}

#[test]
pub(crate) fn large_datagrams_go_through_the_hairpin() {
    let world = World::with_ports(&["a", "b"], &["5353:53/udp"]);
    let server = udp_socket(world.container("a"), 53, None);
    let client = udp_socket(world.container("b"), 0, Some(at(HOST, 5353)));
    exchange(&client, &server);
}

/// Both ways, several times, so that more than the first datagram of a flow is seen.
fn exchange(client: &std::net::UdpSocket, server: &std::net::UdpSocket) {
    let mut buffer = vec![0; 10_000];
    for length in [4000, 1473, 8000] {
        let sent = payload(length);
        client.send(&sent).unwrap();
        let (got, peer) = server.recv_from(&mut buffer).expect("the question arrives");
        assert_eq!(buffer[..got], sent[..]);
        server.send_to(&sent, peer).unwrap();
        let got = client.recv(&mut buffer).expect("the answer arrives");
        assert_eq!(buffer[..got], sent[..]);
    }
}

/// Sends a datagram as fragments in this order.
fn send_in_order(
    from: &Namespace,
    (src, sport): (std::net::Ipv4Addr, u16),
    (dst, dport): (std::net::Ipv4Addr, u16),
    id: u16,
    order: &[usize],
) -> Vec<u8> {
    let sent = payload(4000);
    let datagram = testing::udp(src.octets(), sport, dst.octets(), dport, &sent).id(id);
    let parts = datagram.fragments(1480);
    let socket = within(from, || {
        let raw = Protocol::from(libc::IPPROTO_RAW);
        Socket::new(Domain::IPV4, Type::RAW, Some(raw)).unwrap()
    });
    for part in order {
        let to = at(dst, 0).into();
        socket.send_to(&parts[*part].bytes(), &to).unwrap();
    }
    sent
}

const ORDERS: [&[usize]; 4] = [&[2, 1, 0], &[1, 0, 2], &[1, 2, 0], &[2, 0, 1]];

#[test]
pub(crate) fn fragments_go_out_in_any_order() {
    let world = World::with_ports(&["a"], &[]);
    let server = udp_socket(&world.outside, 7000, None);
    let mut buffer = vec![0; 10_000];
    for (id, order) in ORDERS.into_iter().enumerate() {
        let a = world.container("a");
        let sent = send_in_order(a, (A, 5000), (OUTSIDE, 7000), 100 + id as u16, order);
        let (got, peer) = server
            .recv_from(&mut buffer)
            .unwrap_or_else(|e| panic!("{order:?}: {e}, drops {:?}", world.drops()));
        assert_eq!(buffer[..got], sent[..], "{order:?}");
        assert_eq!(peer, at(HOST, 5000).into());
    }
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

#[test]
pub(crate) fn fragments_come_in_in_any_order() {
    let world = World::with_ports(&["a"], &["5353:53/udp"]);
    let server = udp_socket(world.container("a"), 53, None);
    // The host's own datagrams come in the same way.
    let own = udp_socket(&world.host, 7100, None);
    let mut buffer = vec![0; 10_000];
    for (id, order) in ORDERS.into_iter().enumerate() {
        for (socket, port, id) in [
            (&server, 5353, 200 + id as u16),
            (&own, 7100, 300 + id as u16),
        ] {
            let sent = send_in_order(&world.outside, (OUTSIDE, 5000), (HOST, port), id, order);
            let (got, peer) = socket
                .recv_from(&mut buffer)
                .unwrap_or_else(|e| panic!("{port} {order:?}: {e}, drops {:?}", world.drops()));
            assert_eq!(buffer[..got], sent[..], "{order:?}");
            assert_eq!(peer, at(OUTSIDE, 5000).into());
        }
    }
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

#[test]
pub(crate) fn the_host_and_a_container_have_one_port_to_one_server() {
    // The container first: its flow has the tuple that the answers to the host would carry.
    let world = World::with_ports(&["a"], &[]);
    let server = udp_socket(&world.outside, 7000, None);
    let inside = udp_socket(world.container("a"), 5000, Some(at(OUTSIDE, 7000)));
    let mut buffer = [0; 100];
    let ask = |socket: &std::net::UdpSocket, question: &[u8], kept: bool| {
        let mut buffer = [0; 100];
        socket.send(question).unwrap();
        let (got, peer) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[..got], *question);
        assert_eq!(peer.port() == 5000, kept, "{peer}");
        server.send_to(question, peer).unwrap();
    };
    ask(&inside, b"container", true);
    // A socket that was there before would have kept the container off the port.
    let own = udp_socket(&world.host, 5000, Some(at(OUTSIDE, 7000)));
    ask(&own, b"host", false);
    assert_eq!(own.recv(&mut buffer).unwrap(), 4, "{:?}", world.drops());
    assert_eq!(inside.recv(&mut buffer).unwrap(), 9);
}
