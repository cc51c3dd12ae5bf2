//! The host's own sockets and published ports without cgroup v2: by the loopback device.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    thread,
};

use netpath::lab::probe::BRIEFLY;
use netpath_tests::{
    dual_stack::{GATEWAY6, HOST6},
    local::{Binding, Client, Kind, bind, seen_by},
    netns::within,
    probe::{SOON, Server, at, tcp, tcp_server, transfer, udp_server, udp_socket},
    topology::{A, GATEWAY, HOST, World, succeeded},
};

use crate::host::needs_cgroup;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn world(publish: &[&str]) -> World {
    let world = World::new(&["a"]);
    let config = config(&world, publish);
    begin(world, &config)
}

fn config(world: &World, publish: &[&str]) -> String {
    world.network("bridge", "netpath0", "172.17.0.0/16", "") + &world.endpoint("a", A, publish)
}

fn begin(world: World, config: &str) -> World {
    std::fs::write(world.file("netpath.toml"), config).unwrap();
    assert!(up(&world, false).contains("cgroup"), "the warning");
    world
}

/// Runs `up`; what it warned of is the result.
fn up(world: &World, cgroup: bool) -> String {
    let mut command = world.netpath_command();
    if !cgroup {
        command.env("NETPATH_NO_CGROUP", "1");
    }
    let file = world.file("netpath.toml");
    let output = command.arg("up").arg("-c").arg(file).output().unwrap();
    let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
    succeeded("netpath up", output);
    warnings
}

#[test]
fn every_address_and_kind_of_client() {
    let world = world(&[
        "8080:80",
        "8080:80/udp",
        "198.51.100.1:8081:80",
        "198.51.100.1:8081:80/udp",
        "127.0.0.1:8082:80",
        "127.0.0.1:8082:80/udp",
    ]);
    let a = world.container("a");
    let _servers = [tcp_server(a, "a", 80), udp_server(a, "a", 80)];
    for (port, at) in [
        (8080, None),
        (8081, Some(IpAddr::from(HOST))),
        (8082, Some(LOCAL)),
    ] {
        for asked in [LOCAL, HOST.into()] {
            let published = at.is_none_or(|at| at == asked);
            for kind in Kind::ALL {
                let to = SocketAddr::new(asked, port);
                let patience = if published { SOON } else { BRIEFLY };
                match Client::new(kind, patience).ask(&world.host, to) {
                    Ok(answer) => {
                        assert!(published, "{kind:?} {to}");
                        // An address of the host is kept, loopback cannot be.
                        let source = if asked == LOCAL { GATEWAY } else { HOST };
                        assert_eq!(seen_by("a", &answer), source, "{kind:?} {to}");
                        assert_eq!(answer.peer, to, "{kind:?}");
                    }
                    Err(e) if kind == Kind::UdpUnconnected => {
                        assert!(!published, "{kind:?} {to}: {e}");
                        assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
                    }
                    Err(e) => {
                        assert!(!published, "{kind:?} {to}: {e}");
                        assert_eq!(e.kind(), io::ErrorKind::ConnectionRefused);
                    }
                }
            }
        }
    }
    assert_eq!(world.drops().into_iter().collect::<Vec<_>>(), []);
}

#[test]
fn what_the_container_refuses_is_refused() {
    let world = world(&["8080:80", "8080:80/udp"]);
    for asked in [LOCAL, HOST.into()] {
        for kind in [Kind::Tcp, Kind::Udp] {
            let to = SocketAddr::new(asked, 8080);
            let e = Client::new(kind, SOON).ask(&world.host, to).unwrap_err();
            assert_eq!(e.kind(), io::ErrorKind::ConnectionRefused, "{kind:?} {to}");
        }
    }
}

#[test]
fn what_is_not_published_stays_on_the_host() {
    let world = world(&["8080:80"]);
    let _own = tcp_server(&world.host, "host", 8081);
    for (asked, seen) in [(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST), (HOST, HOST)] {
        assert!(tcp(&world.host, at(asked, 8081)).is_from("host", seen));
    }
    let a = world.container("a");
    let _of_container = Server::tcp(a, "own", at(Ipv4Addr::LOCALHOST, 8080)).unwrap();
    assert!(tcp(a, at(Ipv4Addr::LOCALHOST, 8080)).is_from("own", Ipv4Addr::LOCALHOST));
}

#[test]
fn a_large_transfer_is_whole() {
    let world = world(&["8080:80"]);
    for asked in [Ipv4Addr::LOCALHOST, HOST] {
        transfer(
            &world.host,
            at(asked, 8080),
            world.container("a"),
            80,
            4 << 20,
        );
    }
    let text = world.run(&["ct", "list"]);
    assert!(text.contains("dport=8080"), "{text}");
}

/// The container's answer comes in fragments, which its own stack makes.
#[test]
fn a_large_datagram_comes_back_and_none_goes() {
    let world = world(&["8080:80/udp"]);
    let a = world.container("a");
    let server = udp_socket(a, 80, None);
    let answers = thread::spawn(move || {
        let mut buffer = [0; 2048];
        let (_, client) = server.recv_from(&mut buffer).unwrap();
        server.send_to(&[7; 4000], client).unwrap();
    });
    let client = udp_socket(&world.host, 0, Some(at(Ipv4Addr::LOCALHOST, 8080)));
    client.send(&[1; 1472]).unwrap();
    let mut buffer = [0; 8192];
    let length = client.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..length], [7; 4000]);
    answers.join().unwrap();
    client.send(&[1; 1473]).unwrap();
    let dropped = world.drops().get("too-large").copied();
    assert_eq!(dropped, Some(1), "{:?}", world.drops());
}

#[test]
fn the_way_comes_and_goes() {
    if !needs_cgroup() {
        return;
    }
    let world = world(&["8080:80"]);
    let _server = tcp_server(world.container("a"), "a", 80);
    let to = at(Ipv4Addr::LOCALHOST, 8080);
    let local_of = || within(&world.host, || netpath::lab::probe::tcp(to, None, SOON)).unwrap();
    assert!(local_of().is_from("a", GATEWAY));
    let status = world.run(&["status"]);
    assert!(
        status.contains("lo-in") && status.contains("no cgroup"),
        "{status}"
    );
    // Nobody stands against it here.
    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 8080);
    drop(bind(&world.host, Kind::Tcp, any, Binding::default()).unwrap());

    assert_eq!(up(&world, true), "");
    let status = world.run(&["status"]);
    assert!(
        status.contains("lo-in") && !status.contains("no cgroup"),
        "{status}"
    );
    assert!(local_of().is_from("a", GATEWAY));
    assert!(bind(&world.host, Kind::Tcp, any, Binding::default()).is_err());

    world.run(&["down", "--all"]);
    let _own = tcp_server(&world.host, "host", 8080);
    assert!(local_of().is_from("host", Ipv4Addr::LOCALHOST));
    drop(_own);
    // And without sockets again.
    up(&world, false);
    assert!(local_of().is_from("a", GATEWAY));
    world.run(&["down", "--all"]);
    let _own = tcp_server(&world.host, "host", 8080);
    assert!(local_of().is_from("host", Ipv4Addr::LOCALHOST));
}

/// By packets alone, whatever the socket.
#[test]
fn ipv6_to_a_container_without() {
    let world = World::dual_stack(&["a"]);
    let config = config(&world, &["8080:80", "8080:80/udp"]);
    let world = begin(world, &config);
    let a = world.container("a");
    let _servers = [tcp_server(a, "a", 80), udp_server(a, "a", 80)];
    for asked in [IpAddr::V6(Ipv6Addr::LOCALHOST), HOST6.into()] {
        for kind in Kind::ALL {
            let to = SocketAddr::new(asked, 8080);
            let answer = Client::new(kind, SOON).ask(&world.host, to).unwrap();
            assert_eq!(seen_by("a", &answer), GATEWAY, "{kind:?} {to}");
            assert_eq!(answer.peer, to, "{kind:?}");
        }
    }
}

#[test]
fn ipv6_to_a_container_that_has_it() {
    let world = World::dual_stack(&["a"]);
    let config = world.dual_stack_config(&["a"], &["8080:80", "8080:80/udp"], "");
    let world = begin(world, &config);
    let (a, any) = (
        world.container("a"),
        SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 80),
    );
    let _servers = [
        Server::tcp(a, "a", any).unwrap(),
        Server::udp(a, "a", any).unwrap(),
    ];
    let local = Ipv6Addr::LOCALHOST;
    // An address of the host is kept, loopback cannot be.
    for (asked, seen) in [(local, GATEWAY6), (HOST6, HOST6)] {
        for kind in Kind::ALL {
            let to = SocketAddr::new(asked.into(), 8080);
            let answer = Client::new(kind, SOON).ask(&world.host, to).unwrap();
            assert_eq!(seen_by("a", &answer), seen, "{kind:?} {to}");
            assert_eq!(answer.peer, to, "{kind:?}");
        }
    }
    assert_eq!(world.drops().into_iter().collect::<Vec<_>>(), []);
}
