//! Every promise about who reaches a published port, asked with real sockets.
//!
//! Owns the world that they are asked in. The promises, and docs/reachability.md, are
//! [`netpath_tests::reachability`]'s.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Instant,
};

use netpath::lab::{links, server::Server};
use netpath_tests::{
    dual_stack::{A6, B6, GATEWAY6, HOST6, OUTSIDE6},
    local::{self, Kind},
    netns::{Namespace, within},
    reachability::{
        Asked, Client, Container, End, Family, Published, Question, Seen, Way,
        run::{Run, SILENCE, SOON, lift_icmp_limits},
    },
    topology::{A, B, GATEWAY, HOST, OUTSIDE, World, succeeded},
};

use crate::host::needs_cgroup;

const C: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 2);
const C6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, 2);

/// The port of the host. The container's, [`inside`], is as far from 80.
fn port(published: Published, for_other_network: bool) -> u16 {
    let place = Published::ALL.iter().position(|p| *p == published).unwrap();
    8000 + place as u16 + if for_other_network { 50 } else { 0 }
}

fn inside(port: u16) -> u16 {
    port - 7920
}

/// The ports of both lists: one has the clients of one network and the outside, the other that of the
/// other network.
fn port_of(question: &Question) -> u16 {
    let other = question.client == Client::OtherNetwork;
    if question.published == Published::ForOthers {
        return port(Published::ForClient, !other);
    }
    port(
        question.published,
        question.published == Published::ForClient && other,
    )
}

/// What is published of the container, without protocols.
fn specs(container: Container) -> Vec<String> {
    let families = if container == Container::Both { 2 } else { 1 };
    let mut specs = Vec::new();
    for published in Published::ALL {
        let mut add = |at: &str, list: &[&str], other| {
            let port = port(published, other);
            let list: String = list
                .iter()
                .map(|prefix| format!(",allow={prefix}"))
                .collect();
            specs.push((format!("{at}{port}:{}", inside(port)), list));
        };
        match published {
            Published::AnyAddress | Published::Idle => add("", &[], false),
            Published::AnyIpv4 => add("0.0.0.0:", &[], false),
            Published::AnyIpv6 if families == 2 => add("[::]:", &[], false),
            Published::HostAddress => {
                let at = [format!("{HOST}:"), format!("[{HOST6}]:")];
                at.iter().take(families).for_each(|at| add(at, &[], false));
            }
            Published::Loopback => {
                let at = ["127.0.0.1:", "[::1]:"];
                at.iter().take(families).for_each(|at| add(at, &[], false));
            }
            Published::ForClient => {
                let near = [
                    "198.51.100.2",
                    "172.17.0.0/16",
                    "2001:db8:1::1",
                    "fd00:17::/64",
                ];
                add("", &near, false);
                add("", &["172.18.0.2/32", "fd00:18::2"], true);
            }
            Published::ForIpv4 => add("", &["0.0.0.0/0"], false),
            Published::AnyIpv6 | Published::ForOthers | Published::Not => {}
        }
    }
    let both = |(ports, list): &(String, String)| {
        ["tcp", "udp"].map(|proto| format!("{ports}/{proto}{list}"))
    };
    specs.iter().flat_map(both).collect()
}

/// Containers `a`, whose ports they are, and its neighbour `b`; `c` of another network.
fn world(container: Container, way: Way) -> World {
    let world = World::dual_stack(&["a", "b", "c"]);
    let specs = specs(container);
    let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
    let mut config = match container {
        Container::Both => world.dual_stack_config(&["a", "b"], &specs, ""),
        Container::Ipv4 => {
            world.network("bridge", "netpath0", "172.17.0.0/16", "")
                + &world.endpoint("a", A, &specs)
                + &world.endpoint("b", B, &[])
        }
    };
    config += &world.network(
        "other",
        "netpath1",
        "172.18.0.0/16",
        "ipv6 = \"fd00:18::/64\"",
    );
    config += &world.endpoint6("c", C, C6, &[]);
    match way {
        Way::Sockets => drop(world.up(&config)),
        Way::Packets => {
            let file = world.file("netpath.toml");
            fs::write(&file, config).unwrap();
            let mut command = world.netpath_command();
            command.env("NETPATH_NO_CGROUP", "1").arg("up").arg("-c");
            succeeded("netpath up", command.arg(file).output().unwrap());
        }
    }
    within(&world.outside, || {
        links::add_route(Ipv4Addr::new(172, 17, 0, 0), 16, HOST).unwrap();
        links::add_route(Ipv6Addr::new(0xfd00, 0x17, 0, 0, 0, 0, 0, 0), 64, HOST6).unwrap();
    });
    for namespace in [&world.host, world.container("a")] {
        lift_icmp_limits(namespace);
    }
    world
}

/// A service behind each port of the container but one, named after the port.
fn services(world: &World) -> Vec<Server> {
    let a = world.container("a");
    let listening = Published::ALL.into_iter().filter(|p| *p != Published::Idle);
    let ports = listening.map(|published| port(published, false));
    let ports = ports.chain([port(Published::ForClient, true)]).map(inside);
    let addresses = [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Ipv6Addr::UNSPECIFIED.into(),
    ];
    let at = ports.flat_map(|port| addresses.map(|address| SocketAddr::new(address, port)));
    let serve = |at: SocketAddr| {
        let name = format!("service {}", at.port());
        [
            Server::tcp(a, &name, at).unwrap(),
            Server::udp(a, &name, at).unwrap(),
        ]
    };
    at.flat_map(serve).collect()
}

fn address(family: Family, v4: Ipv4Addr, v6: Ipv6Addr) -> IpAddr {
    match family {
        Family::Ipv4 => v4.into(),
        Family::Ipv6 => v6.into(),
    }
}

fn asked_address(question: &Question) -> IpAddr {
    let (v4, v6) = match question.asked {
        Asked::Host => (HOST, HOST6),
        Asked::Loopback => (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
        Asked::Gateway => (GATEWAY, GATEWAY6),
        Asked::Container => (A, A6),
    };
    address(question.family, v4, v6)
}

/// The address that the client's socket shows as its own.
fn own_address(question: &Question) -> IpAddr {
    let (v4, v6) = match question.client {
        Client::Host if question.asked == Asked::Container => (GATEWAY, GATEWAY6),
        // As between any two sockets of a host.
        Client::Host => return asked_address(question),
        Client::Outside => (OUTSIDE, OUTSIDE6),
        Client::Itself => (A, A6),
        Client::Neighbour => (B, B6),
        Client::OtherNetwork => (C, C6),
    };
    address(question.family, v4, v6)
}

fn namespace(world: &World, client: Client) -> &Namespace {
    match client {
        Client::Outside => &world.outside,
        Client::Host => &world.host,
        Client::Itself => world.container("a"),
        Client::Neighbour => world.container("b"),
        Client::OtherNetwork => world.container("c"),
    }
}

/// Asks, and says what is other than promised.
fn ask(world: &World, question: &Question, source_port: u16) -> Result<(), String> {
    let promise = question.promise();
    let port = port_of(question);
    let to = match question.asked {
        Asked::Container => SocketAddr::new(asked_address(question), inside(port)),
        Asked::Host | Asked::Loopback | Asked::Gateway => {
            SocketAddr::new(asked_address(question), port)
        }
    };
    let silent = matches!(promise, End::Dropped(_));
    let client = local::Client {
        hears_errors: true,
        // Two of one port would be one flow to the bridge, which tracks nothing.
        port: if question.client == Client::Host {
            0
        } else {
            source_port
        },
        ..local::Client::new(question.kind, if silent { SILENCE } else { SOON })
    };
    let answer = client.ask(namespace(world, question.client), to);
    let is = |kinds: &[io::ErrorKind]| answer.as_ref().is_err_and(|e| kinds.contains(&e.kind()));
    let kept = match promise {
        End::Reached(seen) => {
            let Ok(answer) = &answer else {
                return Err(format!("{to}: {answer:?}"));
            };
            let seen = match seen {
                Seen::Client => own_address(question),
                Seen::Gateway(family) => address(family, GATEWAY, GATEWAY6),
                Seen::Asked => asked_address(question),
            };
            let local = match question.kind {
                Kind::Tcp | Kind::Udp => answer.local.ip() == own_address(question),
                Kind::UdpUnconnected => answer.local.ip().is_unspecified(),
            };
            answer.is_from(&format!("service {}", inside(port)), seen) && answer.peer == to && local
        }
        End::Refused => is(&[io::ErrorKind::ConnectionRefused]),
        // Of TCP it is the connection that fails: one that is open and silent is another matter.
        End::Dropped(_) if question.kind == Kind::Tcp => is(&[io::ErrorKind::TimedOut]),
        End::Dropped(_) => is(&[io::ErrorKind::WouldBlock]),
        End::NoAddress => is(&[
            io::ErrorKind::NetworkUnreachable,
            io::ErrorKind::AddrNotAvailable,
        ]),
    };
    if kept {
        Ok(())
    } else {
        Err(format!("{to}: {answer:?}"))
    }
}

fn every_question(container: Container, way: Way) {
    if way == Way::Sockets && !needs_cgroup() {
        return;
    }
    let world = world(container, way);
    let _services = services(&world);
    let questions: Vec<Question> = Question::all(container, way).collect();
    let run = Run::default();
    run.all(&questions, |place, question| {
        let begun = Instant::now();
        let promise = question.promise();
        let kept = ask(&world, question, 20_000 + place as u16);
        if let End::Dropped(reason) = promise {
            run.dropped(reason, question.kind, begun);
        }
        kept.map_err(|found| format!("{promise:?}, but {found}"))
    });
    run.assert_drops(&world, &[]);
    println!("{} questions", questions.len());
}

#[test]
fn of_a_container_of_both_families() {
    every_question(Container::Both, Way::Sockets);
}

#[test]
fn of_a_container_of_ipv4_alone() {
    every_question(Container::Ipv4, Way::Sockets);
}

#[test]
fn of_a_container_of_both_families_without_cgroup_v2() {
    every_question(Container::Both, Way::Packets);
}

#[test]
fn of_a_container_of_ipv4_alone_without_cgroup_v2() {
    every_question(Container::Ipv4, Way::Packets);
}
