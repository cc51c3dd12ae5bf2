//! ICMP errors reach the socket that they are about.

use std::{io::ErrorKind, net::UdpSocket, os::fd::AsRawFd};

use netpath::lab::links;
use netpath_tests::{
    netns::within,
    probe::{Options, at, ping, transfer, udp_socket},
    topology::{A, GATEWAY, HOST, OUTSIDE, UPLINK, World},
    wait,
};

#[test]
pub(crate) fn a_closed_port_outside_refuses_a_containers_socket() {
    let world = World::with_ports(&["a"], &[]);
    let client = udp_socket(world.container("a"), 0, Some(at(OUTSIDE, 7999)));
    client.send(b"?").unwrap();
    let error = client.recv(&mut [0; 10]).unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::ConnectionRefused,
        "{:?}",
        world.drops()
    );
}

#[test]
pub(crate) fn a_closed_port_in_a_container_refuses_the_outside_client() {
    let world = World::with_ports(&["a"], &["5353:53/udp"]);
    let client = udp_socket(&world.outside, 0, Some(at(HOST, 5353)));
    client.send(b"?").unwrap();
    let error = client.recv(&mut [0; 10]).unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::ConnectionRefused,
        "{:?}",
        world.drops()
    );
    // It was the container's own refusal, not the host's.
    let flows = world.run(&["ct", "list", "-p", "udp"]);
    assert!(flows.contains("src=172.17.0.2"), "{flows}");
}

#[test]
fn a_closed_port_in_a_container_refuses_its_neighbour() {
    let world = World::with_ports(&["a", "b"], &["5353:53/udp"]);
    let client = udp_socket(world.container("b"), 0, Some(at(HOST, 5353)));
    client.send(b"?").unwrap();
    let error = client.recv(&mut [0; 10]).unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::ConnectionRefused,
        "{:?}",
        world.drops()
    );
}

#[test]
pub(crate) fn a_ttl_of_one_ends_at_the_gateway() {
    let world = World::with_ports(&["a"], &[]);
    let reply = ping(
        world.container("a"),
        OUTSIDE,
        Options {
            ttl: Some(1),
            ..Options::default()
        },
    );
    assert_eq!(
        (reply.icmp_type, reply.code, reply.from),
        (11, 0, GATEWAY),
        "{reply:?}"
    );
    let reply = ping(
        world.container("a"),
        OUTSIDE,
        Options {
            ttl: Some(2),
            ..Options::default()
        },
    );
    assert!(reply.is_echo_of(OUTSIDE), "{reply:?}");
}

/// An uplink that is narrower than the containers' network.
fn narrow_world() -> World {
    let world = World::new(&["a"]);
    within(&world.host, || links::set_mtu(UPLINK, 1300).unwrap());
    within(&world.outside, || links::set_mtu("eth0", 1300).unwrap());
    let config = world.network("bridge", "netpath0", "172.17.0.0/16", "mtu = 1500")
        + &world.endpoint("a", A, &["8080:80"]);
    world.up(&config);
    world
}

#[test]
fn a_smaller_uplink_mtu_is_learnt_by_udp() {
    let world = narrow_world();
    let client = udp_socket(world.container("a"), 0, Some(at(OUTSIDE, 7000)));
    set_option(&client, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO);
    client.send(&[0; 1400]).unwrap();
    // The error comes back asynchronously: a later send knows.
    wait::until("the container knows the path's MTU", || {
        mtu(&client) == 1300
    });
    let error = client.send(&[0; 1400]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    let server = udp_socket(&world.outside, 7000, None);
    // The ICMP error itself is still pending on the socket.
    let _ = client.take_error().unwrap();
    client.send(&[0; 1272]).unwrap();
    assert_eq!(server.recv(&mut [0; 2000]).unwrap(), 1272);
}

#[test]
pub(crate) fn a_smaller_uplink_mtu_is_learnt_by_tcp() {
    let world = narrow_world();
    let a = world.container("a");
    transfer(a, at(OUTSIDE, 7000), &world.outside, 7000, 1_000_000);
    transfer(&world.outside, at(HOST, 8080), a, 80, 1_000_000);
}

fn mtu(socket: &UdpSocket) -> i32 {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: value and length are valid for the integer that IP_MTU writes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0);
    value
}

fn set_option(socket: &UdpSocket, name: libc::c_int, value: libc::c_int) {
    // SAFETY: value is a valid integer of the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0);
}
