//! Published ports are taken: nobody else on the host can bind them.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use netpath::lab::server::Server;
use netpath_tests::{
    agent::Agent,
    dual_stack::HOST6,
    local::{Binding, Client, Kind, bind, seen_by},
    netns::within,
    probe::{SOON, at, tcp, tcp_server, udp_server},
    topology::{A, GATEWAY, HOST, OUTSIDE, World},
};

use crate::host::needs_cgroup;

const ANY4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
const ADDRESSES: [IpAddr; 6] = [
    ANY4,
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V4(HOST),
    ANY6,
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V6(HOST6),
];

fn config(world: &World, more: &str, publish: &[&str]) -> String {
    world.network("bridge", "netpath0", "172.17.0.0/16", more) + &world.endpoint("a", A, publish)
}

fn options(only6: bool) -> [Binding; 4] {
    [(false, false), (true, false), (false, true), (true, true)].map(
        |(reuse_address, reuse_port)| Binding {
            only6,
            reuse_address,
            reuse_port,
        },
    )
}

#[track_caller]
fn refused(world: &World, kind: Kind, at: SocketAddr, options: Binding) {
    match bind(&world.host, kind, at, options) {
        Ok(_) => panic!("{kind:?} {at} was bound with {options:?}"),
        Err(e) => assert_eq!(e.kind(), io::ErrorKind::AddrInUse, "{kind:?} {at}: {e}"),
    }
}

/// All ports of a range are taken, and given back where it is withdrawn.
#[test]
fn a_range_is_taken_from_end_to_end() {
    if !needs_cgroup() {
        return;
    }
    let world = World::new(&["a"]);
    const RANGE: &str = "9000-9200:9000-9200";
    world.up(&config(&world, "", &[RANGE, "9100:80/udp,balance"]));
    let plain = options(false)[0];
    for port in [9000, 9063, 9064, 9100, 9200] {
        for addr in [ANY4, ADDRESSES[1], ADDRESSES[2]] {
            refused(&world, Kind::Tcp, SocketAddr::new(addr, port), plain);
        }
    }
    let shared = SocketAddr::new(ANY4, 9100);
    refused(&world, Kind::Udp, shared, plain);
    for port in [8999, 9201] {
        drop(bind(&world.host, Kind::Tcp, SocketAddr::new(ANY4, port), plain).unwrap());
    }
    world.run(&["unpublish", "a", RANGE]);
    drop(bind(&world.host, Kind::Tcp, SocketAddr::new(ANY4, 9100), plain).unwrap());
    refused(&world, Kind::Udp, shared, plain);
    world.run(&["unpublish", "a", "9100:80/udp,balance"]);
    drop(bind(&world.host, Kind::Udp, shared, plain).unwrap());
}

/// Every published address against every bound one, beside what the kernel says of two sockets.
#[test]
fn conflicts_are_the_kernels_own() {
    if !needs_cgroup() {
        return;
    }
    let world = World::dual_stack(&["a"]);
    // The reference: a host without netpath that has the same addresses.
    let other = &world.outside;
    for address in [format!("{HOST}/32"), format!("{HOST6}/128")] {
        let add = ["addr", "add", &address, "dev", "lo", "nodad"];
        let add = if address.contains(':') {
            &add[..]
        } else {
            &add[..5]
        };
        netpath_tests::netns::stdout(other, "ip", add);
    }
    netpath_tests::netns::stdout(other, "ip", &["link", "set", "lo", "up"]);
    let four = [ANY4, ADDRESSES[1], ADDRESSES[2]];
    let six = [ANY6, ADDRESSES[4], ADDRESSES[5]];
    let published = || (8080..).zip(four).chain((9080..).zip(six));
    let spec = |(port, addr)| {
        let host = SocketAddr::new(addr, port);
        ["tcp", "udp"].map(|proto| format!("{host}:80/{proto}"))
    };
    let publish: Vec<String> = published().flat_map(spec).collect();
    let publish: Vec<&str> = publish.iter().map(String::as_str).collect();
    world.up(&world.dual_stack_config(&["a"], &publish, ""));
    let mut conflicts = 0;
    for (port, taken) in published() {
        for kind in [Kind::Tcp, Kind::Udp] {
            // What netpath publishes at IPv6 addresses is no IPv4.
            let only6 = Binding {
                only6: true,
                ..Binding::default()
            };
            let _holder = bind(other, kind, SocketAddr::new(taken, port), only6).unwrap();
            for wanted in ADDRESSES {
                for only6 in [false, true] {
                    let to = SocketAddr::new(wanted, port);
                    let plain = options(only6)[0];
                    let kernel = bind(other, kind, to, plain).map(drop).map_err(|e| e.kind());
                    for options in options(only6) {
                        let ours = bind(&world.host, kind, to, options).map(drop);
                        let ours = ours.map_err(|e| e.kind());
                        assert_eq!(ours, kernel, "{kind:?}: {taken}:{port}, {to}, {options:?}");
                    }
                    conflicts += usize::from(kernel.is_err());
                }
            }
        }
    }
    // Per protocol: 0.0.0.0 meets four and [::] of both families, a specific one three, twice each; of
    // IPv6 three, and two.
    assert!(conflicts > 40, "{conflicts} of 144");
}

#[test]
fn ranges_are_taken_port_by_port_and_given_back() {
    if !needs_cgroup() {
        return;
    }
    let world = World::new(&["a"]);
    world.up(&config(&world, "", &["9000-9100:9000-9100/udp", "8080:80"]));
    let any = |port| SocketAddr::new(ANY4, port);
    for port in [9000, 9050, 9100] {
        refused(&world, Kind::Udp, any(port), Binding::default());
        bind(&world.host, Kind::Tcp, any(port), Binding::default()).unwrap();
    }
    for port in [8999, 9101] {
        bind(&world.host, Kind::Udp, any(port), Binding::default()).unwrap();
    }
    // Port 0 is the kernel's to choose.
    bind(&world.host, Kind::Tcp, any(0), Binding::default()).unwrap();
    // A container's ports are its own.
    bind(
        world.container("a"),
        Kind::Tcp,
        any(8080),
        Binding::default(),
    )
    .unwrap();
    bind(&world.outside, Kind::Tcp, any(8080), Binding::default()).unwrap();
    world.run(&["unpublish", "a", "9000-9100:9000-9100/udp"]);
    bind(&world.host, Kind::Udp, any(9050), Binding::default()).unwrap();
    refused(&world, Kind::Tcp, any(8080), Binding::default());
    let status = world.run(&["status"]);
    assert!(status.contains("bind-refused"), "{status}");
    world.run(&["down", "--all"]);
    bind(&world.host, Kind::Tcp, any(8080), Binding::default()).unwrap();
}

#[test]
fn ports_stay_taken_when_every_process_is_killed() {
    if !needs_cgroup() {
        return;
    }
    let world = World::new(&["a"]);
    world.up(&config(&world, "", &["8080:80"]));
    let _server = tcp_server(world.container("a"), "a", 80);
    let agent = Agent::start(&world);
    agent.wait_until_ready();
    agent.kill();
    refused(
        &world,
        Kind::Tcp,
        SocketAddr::new(ANY4, 8080),
        Binding::default(),
    );
    let answer = tcp(&world.host, at(Ipv4Addr::LOCALHOST, 8080));
    assert!(answer.is_from("a", GATEWAY), "{}", answer.text);
}

#[test]
fn a_listener_stands_against_publishing() {
    let world = World::new(&["a"]);
    let cases = [
        (Kind::Tcp, ANY4, false, true),
        (Kind::Tcp, IpAddr::V4(HOST), false, true),
        (Kind::Tcp, ANY6, false, true),
        (Kind::Tcp, ANY6, true, false),
        (Kind::Udp, ANY4, false, true),
    ];
    for (kind, addr, only6, stands) in cases {
        let binding = Binding {
            only6,
            ..Binding::default()
        };
        let _holder = bind(&world.host, kind, SocketAddr::new(addr, 8080), binding).unwrap();
        let proto = if kind == Kind::Tcp { "tcp" } else { "udp" };
        let output = world.try_up(&config(&world, "", &[&format!("8080:80/{proto}")]));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.success(),
            !stands,
            "{kind:?} {addr}: {errors}"
        );
        let words =
            format!("failed to bind host port 0.0.0.0:8080/{proto}: address already in use");
        assert_eq!(errors.contains(&words), stands, "{errors}");
        world.run(&["down", "--all"]);
    }
}

/// A container engine binds the ports of its containers itself, before or after netpath hears of them.
#[test]
fn an_engine_holds_its_ports_itself() {
    if !needs_cgroup() {
        return;
    }
    let world = World::new(&["a"]);
    let held = "port_holder = \"engine\"";
    let any = SocketAddr::new(ANY4, 8080);
    let holder = Server::tcp(&world.host, "engine", any).unwrap();
    world.up(&config(&world, held, &["8080:80", "8081:80"]));
    let _server = tcp_server(world.container("a"), "a", 80);
    let reached = || {
        for addr in [Ipv4Addr::LOCALHOST, HOST] {
            let answer = tcp(&world.host, at(addr, 8080));
            assert!(answer.is_from("a", GATEWAY), "{}", answer.text);
        }
        let answer = tcp(&world.outside, at(HOST, 8080));
        assert!(answer.is_from("a", OUTSIDE), "{}", answer.text);
    };
    reached();
    drop(holder);
    let _holder = Server::tcp(&world.host, "engine", any).unwrap();
    reached();
    bind(
        &world.host,
        Kind::Tcp,
        SocketAddr::new(HOST.into(), 8081),
        Binding::default(),
    )
    .unwrap();
    // Taken, and given back, where the configuration says otherwise: what is bound by then stays.
    let taken = config(&world, "", &["8080:80", "8081:80"]);
    world.up(&taken);
    refused(
        &world,
        Kind::Tcp,
        SocketAddr::new(ANY4, 8081),
        Binding::default(),
    );
    reached();
    world.up(&config(&world, held, &["8080:80", "8081:80"]));
    bind(
        &world.host,
        Kind::Tcp,
        SocketAddr::new(ANY4, 8081),
        Binding::default(),
    )
    .unwrap();
}

/// The ports that the host's own clients get are never published ones: the answers would go into the
/// container.
#[test]
fn the_kernel_chooses_no_published_port() {
    let world = World::new(&["a"]);
    let set = |key: &str, value: &str| {
        within(&world.host, || {
            fs::write(format!("/proc/sys/net/ipv4/{key}"), value).unwrap();
        });
    };
    let reserved = || {
        within(&world.host, || {
            let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap();
            text.trim().to_owned()
        })
    };
    set("ip_local_port_range", "40000 40007");
    set("ip_local_reserved_ports", "40003,50000-50001");
    world.up(&config(
        &world,
        "",
        &["40001-40002:80-81", "40001:53/udp", "8080:80"],
    ));
    // What was reserved stays, what is not chosen from anyway is not listed.
    assert_eq!(reserved(), "40001-40003,50000-50001");
    let _servers = [
        tcp_server(&world.outside, "outside", 9000),
        udp_server(&world.outside, "outside", 9000),
    ];
    let to = at(OUTSIDE, 9000);
    let mut chosen = BTreeSet::new();
    for _ in 0..40 {
        for kind in [Kind::Tcp, Kind::Udp] {
            let answer = Client::new(kind, SOON).ask(&world.host, to.into()).unwrap();
            assert_eq!(seen_by("outside", &answer), HOST, "{kind:?}");
            chosen.insert(answer.local.port());
        }
    }
    assert!(chosen.len() > 1, "{chosen:?}");
    assert!(
        chosen.is_disjoint(&BTreeSet::from([40001, 40002, 40003])),
        "{chosen:?}"
    );
    world.run(&["unpublish", "a", "40001-40002:80-81"]);
    assert_eq!(reserved(), "40001,40003,50000-50001");
    world.run(&["publish", "a", "40005:80"]);
    assert_eq!(reserved(), "40001,40003,40005,50000-50001");
    // Somebody else's change stays as well.
    set("ip_local_reserved_ports", "40001,40003,40005,50000-50002");
    world.run(&["down", "--all"]);
    assert_eq!(reserved(), "40003,50000-50002");
}
