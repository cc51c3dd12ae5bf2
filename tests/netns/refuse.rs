//! What an application in a container sees when its new flow is refused.

use std::{io::ErrorKind, net::TcpStream};

use netpath_common::DropReason;
use netpath_tests::{
    dual_stack::OUTSIDE6,
    netns::within,
    probe::{SOON, at, at6, checksum_errors, tcp_server, udp_socket, udp_socket6},
    topology::{A, B, OUTSIDE, World},
};

/// A network with `limits`, and the containers `a` and `b`.
fn world(limits: &str) -> World {
    let world = World::new(&["a", "b"]);
    let config = limits.to_owned()
        + &world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &world.endpoint("a", A, &[])
        + &world.endpoint("b", B, &[]);
    world.up(&config);
    world
}

#[test]
fn a_flow_beyond_the_quota_fails_soon_with_a_reason() {
    let world = world("endpoint_flows = 1\n");
    let _server = tcp_server(&world.outside, "outside", 7000);
    let a = world.container("a");
    let first = udp_socket(a, 0, Some(at(OUTSIDE, 7001)));
    first.send(b"the one flow").unwrap();

    // Both wait until the deadline where nothing tells them.
    let connect = || TcpStream::connect_timeout(&at(OUTSIDE, 7000).into(), SOON);
    let refused = within(a, connect).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::HostUnreachable, "{refused}");
    let second = udp_socket(a, 0, Some(at(OUTSIDE, 7002)));
    second.send(b"one too many").unwrap();
    let refused = second.recv(&mut [0; 16]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::HostUnreachable, "{refused}");

    assert_eq!(world.dropped(DropReason::EndpointQuota), 2);
    assert_eq!(checksum_errors(a), 0);
    // The other container has a quota of its own.
    within(world.container("b"), connect).unwrap();
}

#[test]
fn a_flow_that_finds_no_port_fails_soon_with_a_reason() {
    let world = world("[nat]\nports = \"40000-40000\"\n");
    let _server = tcp_server(&world.outside, "outside", 7000);
    let connect = || TcpStream::connect_timeout(&at(OUTSIDE, 7000).into(), SOON);
    let _one = within(world.container("a"), connect).unwrap();
    let refused = within(world.container("b"), connect).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::HostUnreachable, "{refused}");
    assert_eq!(world.dropped(DropReason::NoPort), 1);
    assert_eq!(checksum_errors(world.container("b")), 0);
}

/// A datagram at once. The error about a first SYN comes while the kernel still connects the socket, and is
/// kept as a soft one (`TcpExtLockDroppedIcmps`); that about the second, a second later, ends it.
#[test]
fn by_ipv6_as_well() {
    let world = World::dual_stack(&["a"]);
    world.up(&("endpoint_flows = 1\n".to_owned() + &world.dual_stack_config(&["a"], &[], "")));
    let a = world.container("a");
    let first = udp_socket6(a, 0, Some(at6(OUTSIDE6, 7001)));
    first.send(b"the one flow").unwrap();
    let second = udp_socket6(a, 0, Some(at6(OUTSIDE6, 7002)));
    second.send(b"one too many").unwrap();
    let refused = second.recv(&mut [0; 16]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    let to = at6(OUTSIDE6, 7000).into();
    let connect = || TcpStream::connect_timeout(&to, 5 * SOON);
    let refused = within(a, connect).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    let count = world.dropped(DropReason::EndpointQuota);
    assert!((2..=3).contains(&count), "{count}");
    assert_eq!(checksum_errors(a), 0);
}
