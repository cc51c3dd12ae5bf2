//! Every way of the host's own sockets to published ports, of both families.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use netpath::lab::{probe::BRIEFLY, server::Server};
use netpath_common::tuple::{TCP, UDP};
use netpath_tests::{
    dual::{self, GATEWAY6, HOST6},
    local::{Binding, Client, Kind, bind, seen_by},
    probe::{SOON, tcp_server, tcp_server6, transfer_over, udp_server, udp_server6},
    topology::{A, B, GATEWAY, HOST, World},
};

use crate::host::needs_cgroup;

const LOCAL4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOCAL6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Where a port is published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Any,
    Specific,
    Loopback,
}

const PUBLISHED: [(At, u16); 3] = [(At::Any, 8080), (At::Specific, 8081), (At::Loopback, 8082)];
/// What is added to the ports of the container that has IPv6.
const DUAL: u16 = 1000;

/// Containers `a`, of IPv4, and `b`, of both families, with their ports published in three ways.
fn world() -> (World, Vec<Server>) {
    let world = World::new(&["a", "b"]);
    let ports = |more: u16| {
        let ports = PUBLISHED.map(|(at, port)| {
            let at = match at {
                At::Any => String::new(),
                At::Specific => format!("{HOST}:"),
                At::Loopback => "127.0.0.1:".to_owned(),
            };
            ["tcp", "udp"].map(|proto| format!("{at}{}:80/{proto}", port + more))
        });
        ports.concat()
    };
    let endpoint = |name, address, more| {
        let ports = ports(more);
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        world.endpoint(name, address, &ports)
    };
    let config = world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &endpoint("a", A, 0)
        + &endpoint("b", B, DUAL);
    world.up(&config);
    dual::give_host(&world);
    dual::give_container(&world, "b");
    let six = PUBLISHED.map(|(at, port)| {
        let at = match at {
            At::Any => Ipv6Addr::UNSPECIFIED,
            At::Specific => HOST6,
            At::Loopback => Ipv6Addr::LOCALHOST,
        };
        (at, port + DUAL, 80)
    });
    for proto in [TCP, UDP] {
        dual::publish(&world, "b", proto, &six);
    }
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

/// How a question ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The service sees this address.
    Reached(IpAddr),
    Refused,
    Silence,
}

/// What the documentation promises.
fn promised(asked: IpAddr, kind: Kind, dual: bool, at: At) -> End {
    // A datagram without a connection is told of nothing.
    let nobody = match kind {
        Kind::Tcp | Kind::Udp => End::Refused,
        Kind::UdpUnconnected => End::Silence,
    };
    let matches = match at {
        At::Any => true,
        At::Specific => !asked.is_loopback(),
        At::Loopback => asked.is_loopback(),
    };
    match (asked, dual) {
        (IpAddr::V4(_), _) if matches => End::Reached(GATEWAY.into()),
        (IpAddr::V6(_), true) if matches => End::Reached(GATEWAY6.into()),
        // Any address of the host is an IPv6 one as well.
        (IpAddr::V6(_), false) if at == At::Any => End::Reached(GATEWAY.into()),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => nobody,
    }
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
fn every_address_protocol_container_and_publication() {
    if !needs_cgroup() {
        return;
    }
    let (world, _servers) = world();
    for (at, port) in PUBLISHED {
        for (name, more) in [("a", 0), ("b", DUAL)] {
            for asked in [LOCAL4, HOST.into(), LOCAL6, HOST6.into()] {
                for kind in Kind::ALL {
                    let want = promised(asked, kind, name == "b", at);
                    let patience = if want == End::Silence { BRIEFLY } else { SOON };
                    let to = SocketAddr::new(asked, port + more);
                    let got = ended(Client::new(kind, patience), &world, name, to);
                    assert_eq!(got, want, "{kind:?} to {to}, {name}, published at {at:?}");
                }
            }
        }
    }
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
            (IpAddr::V6(Ipv6Addr::UNSPECIFIED), "b", 8082 + DUAL),
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
        let got = ended(only6, &world, "b", SocketAddr::new(LOCAL6, 8080 + DUAL));
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
    let world = World::with_ports(&["a"], &["8080:81"]);
    dual::give_host(&world);
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
    let world = World::with_ports(&["a"], &["8080:81", "8080:81/udp"]);
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
