//! Every port there is, published as one range: nobody else on the host can bind one, and whoever holds
//! ports on purpose still can.
//!
//! Owns what is about ranges and both families at once. Conflicts by address and socket option are
//! `host_bind`'s.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
};

use netpath::bpf::Datapath;
use netpath_tests::{
    agent::Agent,
    dual_stack::{A6, B6, GATEWAY6, HOST6, OUTSIDE6},
    local::{Binding, Client, Kind, bind},
    netns::{Namespace, within},
    probe::{SOON, Server},
    topology::{A, B, GATEWAY, HOST, OUTSIDE, World},
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::host::needs_cgroup;

const KINDS: [Kind; 2] = [Kind::Tcp, Kind::Udp];
const ANY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];
const HOSTS: [IpAddr; 2] = [IpAddr::V4(HOST), IpAddr::V6(HOST6)];
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

fn socket(kind: Kind, addr: IpAddr) -> Socket {
    let (kind, protocol) = match kind {
        Kind::Tcp => (Type::STREAM, Protocol::TCP),
        Kind::Udp | Kind::UdpUnconnected => (Type::DGRAM, Protocol::UDP),
    };
    let domain = Domain::for_address(SocketAddr::new(addr, 0));
    Socket::new(domain, kind, Some(protocol)).unwrap()
}

/// Binds every port there is at an address, and demands that each is in use.
fn demand_taken(world: &World, kind: Kind, addr: IpAddr, only6: bool) {
    within(&world.host, || {
        // A bind that fails leaves its socket as it was.
        let socket = socket(kind, addr);
        if addr.is_ipv6() {
            socket.set_only_v6(only6).unwrap();
        }
        socket.set_reuse_address(true).unwrap();
        socket.set_reuse_port(true).unwrap();
        for port in 1..=u16::MAX {
            let bound = socket.bind(&SocketAddr::new(addr, port).into());
            let error = bound.map_err(|e| e.kind());
            let want = Err(io::ErrorKind::AddrInUse);
            assert_eq!(error, want, "{kind:?} {addr} {port}, IPV6_V6ONLY {only6}");
        }
    });
}

fn demand_all_taken(world: &World, kind: Kind) {
    for addr in [ANY, HOSTS, LOOPBACK].concat() {
        demand_taken(world, kind, addr, true);
    }
    demand_taken(world, kind, ANY[1], false);
}

fn serve(namespace: &Namespace, port: u16) -> Vec<Server> {
    let serve = |addr| {
        let at = SocketAddr::new(addr, port);
        let name = format!("a{port}");
        [
            Server::tcp(namespace, &name, at).unwrap(),
            Server::udp(namespace, &name, at).unwrap(),
        ]
    };
    ANY.into_iter().flat_map(serve).collect()
}

/// Asks by both families and protocols, and demands that the container answers and sees this client.
#[track_caller]
fn demand_reached(
    from: &Namespace,
    to: [IpAddr; 2],
    (port, inside): (u16, u16),
    seen: [IpAddr; 2],
) {
    for (to, seen) in to.into_iter().zip(seen) {
        for kind in Kind::ALL {
            let to = SocketAddr::new(to, port);
            let answer = Client::new(kind, SOON).ask(from, to);
            let answer = answer.unwrap_or_else(|e| panic!("{kind:?} {to}: {e}"));
            let name = format!("a{inside}");
            assert!(answer.is_from(&name, seen), "{kind:?} {to}: {answer:?}");
        }
    }
}

fn entries(world: &World) -> [usize; 2] {
    within(&world.host, || {
        let datapath = Datapath::open(world.instance()).unwrap().unwrap();
        let six = datapath.published6().unwrap().len();
        [datapath.published().unwrap().len(), six]
    })
}

const EVERY_TCP: &str = "1-65535:1-65535";
const EVERY_UDP: &str = "1-65535:1-65535/udp";

#[test]
fn every_port_of_both_families_is_taken_also_when_every_process_is_killed() {
    if !needs_cgroup() {
        return;
    }
    let world = World::dual_stack_with_ports(&["a", "b"], &[EVERY_TCP, EVERY_UDP]);
    assert_eq!(entries(&world), [2, 2], "one entry a range and family");
    let ports = [1, 33_333, 65_535];
    let _services = ports.map(|port| serve(world.container("a"), port));
    let all_taken = |kind| demand_all_taken(&world, kind);
    let agent = Agent::start(&world);
    agent.wait_until_ready();
    KINDS.into_iter().for_each(all_taken);
    agent.kill();
    KINDS.into_iter().for_each(all_taken);
    for port in ports {
        let outside = [OUTSIDE.into(), OUTSIDE6.into()];
        demand_reached(&world.outside, HOSTS, (port, port), outside);
        let neighbour = [B.into(), B6.into()];
        demand_reached(world.container("b"), HOSTS, (port, port), neighbour);
    }
    // Withdrawn, each is given back, and what stays is still taken.
    world.run(&["unpublish", "a", EVERY_TCP]);
    for addr in [ANY, HOSTS, LOOPBACK].concat() {
        for port in ports {
            let at = SocketAddr::new(addr, port);
            let only6 = Binding {
                only6: true,
                ..Binding::default()
            };
            bind(&world.host, Kind::Tcp, at, only6).unwrap_or_else(|e| panic!("{at}: {e}"));
        }
    }
    demand_all_taken(&world, Kind::Udp);
}

/// Sockets that hold ports as dockerd's do without its proxy: bound, of one family, listening where
/// that is possible, and with a filter that drops whatever comes.
fn hold(world: &World, ports: RangeInclusive<u16>) -> Vec<Socket> {
    const DROP: [SockFilter; 1] = [SockFilter::new(libc::BPF_RET as u16, 0, 0, 0)];
    let sockets = ANY
        .into_iter()
        .flat_map(|addr| KINDS.map(|kind| (addr, kind)));
    within(&world.host, || {
        let hold = |(addr, kind)| {
            ports.clone().map(move |port| {
                let socket = socket(kind, addr);
                if addr.is_ipv6() {
                    socket.set_only_v6(true).unwrap();
                }
                if kind == Kind::Tcp {
                    socket.set_reuse_address(true).unwrap();
                }
                let at = SocketAddr::new(addr, port);
                let bound = socket.bind(&at.into());
                bound.unwrap_or_else(|e| panic!("{kind:?} {at}: {e}"));
                socket.attach_filter(&DROP).unwrap();
                if kind == Kind::Tcp {
                    socket.listen(8).unwrap();
                }
                socket
            })
        };
        sockets.flat_map(hold).collect()
    })
}

#[test]
fn an_engine_holds_a_range_of_both_families() {
    if !needs_cgroup() {
        return;
    }
    let world = World::dual_stack(&["a", "b"]);
    let range = || 20_000..=20_099;
    let specs = ["20000-20099:80-179", "20000-20099:80-179/udp"];
    let held = world.dual_stack_config(&["a", "b"], &specs, "port_holder = \"engine\"");
    let _services = serve(world.container("a"), 130);
    let reached = || {
        let ports = (20_050, 130);
        let outside = [OUTSIDE.into(), OUTSIDE6.into()];
        demand_reached(&world.outside, HOSTS, ports, outside);
        let gateway = [GATEWAY.into(), GATEWAY6.into()];
        demand_reached(&world.host, HOSTS, ports, gateway);
        demand_reached(&world.host, LOOPBACK, ports, gateway);
        demand_reached(world.container("b"), HOSTS, ports, [B.into(), B6.into()]);
        demand_reached(world.container("a"), HOSTS, ports, gateway);
        let own = [A.into(), A6.into()];
        demand_reached(world.container("a"), own, (130, 130), own);
    };
    // Before netpath hears of the ports, and after the engine has begun anew.
    let holder = hold(&world, range());
    world.up(&held);
    reached();
    drop(holder);
    reached();
    let holder = hold(&world, range());
    reached();
    // Where netpath is to take them itself, the engine's sockets stand against it no more than before,
    // and it stands against the next.
    let taken = world.dual_stack_config(&["a", "b"], &specs, "");
    world.up(&taken);
    reached();
    drop(holder);
    for addr in ANY {
        for kind in KINDS {
            let at = SocketAddr::new(addr, 20_099);
            let e = bind(&world.host, kind, at, Binding::default()).unwrap_err();
            assert_eq!(e.kind(), io::ErrorKind::AddrInUse, "{kind:?} {at}");
        }
    }
}
