//! The host's own IPv6 sockets and published ports: what they are bound to and can be sent to.
//!
//! Which addresses are reached at all is asked by `reachability`.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use netpath::lab::{probe::BRIEFLY, server::Server};
use netpath_tests::{
    dual_stack::{B6, GATEWAY6, HOST6, SUBNET6},
    local::{Binding, Client, Kind, bind, seen_by},
    probe::{SOON, tcp_server, tcp_server6, transfer_over, udp_server, udp_server6},
    topology::{A, GATEWAY, HOST, World},
};

use crate::host::needs_cgroup;

const LOCAL6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Containers `a`, of a network of IPv4, and `b`, of one of both families, with ports of theirs published
/// at any address (8080, 9080) and at loopback of the family that they are asked by (8082, 9082).
fn world() -> (World, Vec<Server>) {
    let world = World::dual_stack(&["a", "b"]);
    let ports = |specs: [&str; 2]| {
        specs
            .map(|spec| ["tcp", "udp"].map(|proto| format!("{spec}/{proto}")))
            .concat()
    };
    let (of_a, of_b) = (
        ports(["8080:80", "127.0.0.1:8082:80"]),
        ports(["9080:80", "[::1]:9082:80"]),
    );
    let of_a: Vec<&str> = of_a.iter().map(String::as_str).collect();
    let of_b: Vec<&str> = of_b.iter().map(String::as_str).collect();
    let ipv6 = format!("ipv6 = \"{SUBNET6}\"");
    let config = world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &world.endpoint("a", A, &of_a)
        + &world.network("both", "netpath1", "172.18.0.0/16", &ipv6)
        + &world.endpoint6("b", Ipv4Addr::new(172, 18, 0, 3), B6, &of_b);
    world.up(&config);
    let servers = ["a", "b"].map(|name| {
        let container = world.container(name);
        [
            tcp_server(container, name, 80),
            udp_server(container, name, 80),
            tcp_server6(container, name, 80),
            udp_server6(container, name, 80),
        ]
    });
    let servers = servers.into_iter().flatten().collect();
    (world, servers)
}

/// A container of IPv4 on a host of both families.
fn only_ipv4(publish: &[&str]) -> World {
    let world = World::dual_stack(&["a"]);
    let network = world.network("bridge", "netpath0", "172.17.0.0/16", "");
    world.up(&(network + &world.endpoint("a", A, publish)));
    world
}

/// How a question ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The service sees this address.
    Reached(IpAddr),
    Refused,
    Silence,
}

fn ended(client: Client, world: &World, name: &str, to: SocketAddr) -> End {
    let answer = match client.ask(&world.host, to) {
        Ok(answer) => answer,
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => return End::Refused,
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return End::Silence,
        Err(e) => panic!("{client:?} to {to}: {e}"),
    };
    assert_eq!(answer.peer, to, "{client:?}: the peer that the client sees");
    if client.kind != Kind::UdpUnconnected {
        let local = client.bound.unwrap_or(to.ip());
        assert_eq!(answer.local.ip(), local, "{client:?}: getsockname");
        assert_ne!(answer.local.port(), 0);
    }
    End::Reached(seen_by(name, &answer))
}

#[test]
fn an_ipv4_address_on_an_ipv6_socket() {
    if !needs_cgroup() {
        return;
    }
    let (world, _servers) = world();
    for asked in [Ipv4Addr::LOCALHOST, HOST] {
        for kind in Kind::ALL {
            let to = SocketAddr::new(asked.to_ipv6_mapped().into(), 8080);
            let client = Client::new(kind, SOON);
            let got = ended(client, &world, "a", to);
            assert_eq!(got, End::Reached(GATEWAY.into()), "{kind:?} to {to}");
        }
    }
}

#[test]
fn the_unspecified_address_is_loopback() {
    if !needs_cgroup() {
        return;
    }
    let (world, _servers) = world();
    for kind in Kind::ALL {
        let client = Client::new(kind, SOON);
        for (asked, name, port) in [
            (IpAddr::V4(Ipv4Addr::UNSPECIFIED), "a", 8082),
            (IpAddr::V6(Ipv6Addr::UNSPECIFIED), "b", 9082),
        ] {
            let to = SocketAddr::new(asked, port);
            let answer = client.ask(&world.host, to).unwrap();
            let seen = seen_by(name, &answer);
            assert!(seen == GATEWAY || seen == GATEWAY6, "{kind:?}: {seen}");
        }
    }
}

/// What sockets that cannot send to IPv4 say is carried by packets; IPv6 they reach as any other.
#[test]
fn sockets_of_ipv6_alone() {
    if !needs_cgroup() {
        return;
    }
    let (world, _servers) = world();
    for kind in Kind::ALL {
        let plain = Client::new(kind, SOON);
        let only6 = Client {
            only6: true,
            ..plain
        };
        let bound = Client {
            bound: Some(LOCAL6),
            ..plain
        };
        for client in [only6, bound] {
            for asked in [LOCAL6, HOST6.into()] {
                let got = ended(client, &world, "a", SocketAddr::new(asked, 8080));
                assert_eq!(got, End::Reached(GATEWAY.into()), "{client:?} to {asked}");
            }
            let got = ended(client, &world, "a", SocketAddr::new(LOCAL6, 8083));
            let nobody = if kind == Kind::UdpUnconnected {
                End::Silence
            } else {
                End::Refused
            };
            assert_eq!(got, nobody, "{client:?}");
        }
        let got = ended(only6, &world, "b", SocketAddr::new(LOCAL6, 9080));
        assert_eq!(got, End::Reached(GATEWAY6.into()), "{kind:?}");
    }
}

/// A client that has chosen an address of the host keeps it, and getsockname shows it.
#[test]
fn a_bound_client_keeps_its_address() {
    if !needs_cgroup() {
        return;
    }
    let (world, _servers) = world();
    for kind in [Kind::Tcp, Kind::Udp] {
        let client = Client {
            bound: Some(HOST.into()),
            ..Client::new(kind, SOON)
        };
        let answer = client
            .ask(&world.host, SocketAddr::new(HOST.into(), 8080))
            .unwrap();
        assert_eq!(seen_by("a", &answer), HOST, "{kind:?}");
        assert_eq!(answer.local.ip(), HOST, "{kind:?}");
    }
}

/// The ports of IPv6 that an IPv4 container has not taken belong to whoever binds them.
#[test]
fn a_listener_of_ipv6_alone_comes_before_an_ipv4_container() {
    if !needs_cgroup() {
        return;
    }
    let (world, _servers) = world();
    let to = SocketAddr::new(LOCAL6, 8080);
    let only6 = Binding {
        only6: true,
        ..Binding::default()
    };
    let listener = bind(&world.host, Kind::Tcp, to, only6).unwrap();
    // Reached: this listener accepts and says nothing, where the container would answer.
    let e = Client::new(Kind::Tcp, BRIEFLY)
        .ask(&world.host, to)
        .unwrap_err();
    assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
    drop(listener);
    let answer = Client::new(Kind::Tcp, SOON).ask(&world.host, to).unwrap();
    assert_eq!(seen_by("a", &answer), GATEWAY);
}

/// Segments of any size, both ways, with every byte and checksum right.
#[test]
fn a_large_transfer_from_ipv6_is_whole() {
    if !needs_cgroup() {
        return;
    }
    let world = only_ipv4(&["8080:81"]);
    let client = Client {
        only6: true,
        ..Client::new(Kind::Tcp, SOON)
    };
    for asked in [LOCAL6, HOST6.into()] {
        let to = SocketAddr::new(asked, 8080);
        let connect = || client.connect(&world.host, to).unwrap();
        transfer_over(connect, false, world.container("a"), 81, 4 << 20);
    }
}

/// What has no form in the other family: errors, so a closed port of UDP is silence.
#[test]
fn a_container_that_refuses_ipv6_by_packets() {
    if !needs_cgroup() {
        return;
    }
    let world = only_ipv4(&["8080:81", "8080:81/udp"]);
    let to = SocketAddr::new(LOCAL6, 8080);
    let only6 = |kind, within| Client {
        only6: true,
        ..Client::new(kind, within)
    };
    let e = only6(Kind::Tcp, SOON).ask(&world.host, to).unwrap_err();
    assert_eq!(e.kind(), io::ErrorKind::ConnectionRefused);
    let e = only6(Kind::Udp, BRIEFLY).ask(&world.host, to).unwrap_err();
    assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
    let dropped = world.drops().get("unsupported-protocol").copied();
    assert_eq!(dropped, Some(1), "{:?}", world.drops());
}
