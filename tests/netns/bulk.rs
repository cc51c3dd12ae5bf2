//! Large transfers, with and without the offloads of the virtual interfaces.

use netpath_tests::{
    netns::stdout,
    probe::{at, transfer, udp_socket},
    skip,
    topology::{HOST, OUTSIDE, World},
};

const LENGTH: usize = 20_000_000;

fn check(world: &World) {
    let a = world.container("a");
    transfer(a, at(OUTSIDE, 7000), &world.outside, 7000, LENGTH);
    transfer(&world.outside, at(HOST, 8080), a, 80, LENGTH);

    let server = udp_socket(a, 53, None);
    let client = udp_socket(&world.outside, 0, Some(at(HOST, 5353)));
    let mut buffer = [0; 2000];
    for length in [0, 1, 2, 3, 100, 1471, 1472] {
        let sent: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
        client.send(&sent).unwrap();
        let (got, peer) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[..got], sent[..], "{length} bytes in");
        server.send_to(&sent, peer).unwrap();
        let got = client.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..got], sent[..], "{length} bytes out");
    }
}

#[test]
fn with_offloads() {
    let world = World::with_ports(&["a"], &["8080:80", "5353:53/udp"]);
    check(&world);
}

#[test]
fn without_offloads() {
    if skip::missing("ethtool") {
        return;
    }
    let world = World::with_ports(&["a"], &["8080:80", "5353:53/udp"]);
    world.offloads_off();
    check(&world);
}

#[test]
fn without_offloads_in_the_container_only() {
    if skip::missing("ethtool") {
        return;
    }
    let world = World::with_ports(&["a"], &["8080:80", "5353:53/udp"]);
    let a = world.container("a");
    stdout(
        a,
        "ethtool",
        &["-K", "eth0", "tx", "off", "tso", "off", "gso", "off"],
    );
    check(&world);
}
