//! Datagrams larger than the MTU.

use netpath_tests::{
    probe::{at, checksum_errors, udp_socket},
    topology::{HOST, OUTSIDE, World},
};

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

#[test]
fn large_datagrams_go_out_and_are_answered() {
    let world = World::with_ports(&["a"], &[]);
    let server = udp_socket(&world.outside, 7000, None);
    let client = udp_socket(world.container("a"), 0, Some(at(OUTSIDE, 7000)));
    exchange(&client, &server);
    assert_eq!(checksum_errors(&world.outside), 0);
    assert_eq!(checksum_errors(world.container("a")), 0);
}

#[test]
fn large_datagrams_come_in_and_are_answered() {
    let world = World::with_ports(&["a"], &["5353:53/udp"]);
    let server = udp_socket(world.container("a"), 53, None);
    let client = udp_socket(&world.outside, 0, Some(at(HOST, 5353)));
    exchange(&client, &server);
    assert_eq!(checksum_errors(&world.outside), 0);
    assert_eq!(checksum_errors(world.container("a")), 0);
}

#[test]
fn large_datagrams_go_through_the_hairpin() {
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
