//! Containers reach the outside by the host's address.

use netpath::lab::probe;
use netpath_tests::{
    netns::within,
    probe::{Options, SOON, at, ping, pings, tcp, tcp_server, udp, udp_server},
    topology::{A, HOST, OUTSIDE, World},
};

#[test]
pub(crate) fn the_outside_sees_the_hosts_address_and_the_same_port() {
    let world = World::with_ports(&["a"], &[]);
    let _tcp = tcp_server(&world.outside, "outside", 7000);
    let _udp = udp_server(&world.outside, "outside", 7000);
    let a = world.container("a");

    for port in [1024, 40_000] {
        let answer = within(a, || {
            probe::tcp(at(OUTSIDE, 7000), Some(at(A, port)), SOON).unwrap()
        });
        assert_eq!(answer.seen(), Some(at(HOST, port)), "TCP");
        let answer = within(a, || {
            probe::udp(at(OUTSIDE, 7000), Some(at(A, port)), SOON).unwrap()
        });
        assert_eq!(answer.seen(), Some(at(HOST, port)), "UDP");
    }
}

#[test]
fn ping_gets_its_echo_with_one_hop_less() {
    let world = World::with_ports(&["a"], &[]);
    let reply = ping(world.container("a"), OUTSIDE, Options::default());
    assert!(reply.is_echo_of(OUTSIDE), "{reply:?}");
    assert_eq!(reply.ttl, 63);
    assert_eq!(reply.length, 56);
}

#[test]
pub(crate) fn large_pings_arrive_in_fragments() {
    let world = World::with_ports(&["a"], &[]);
    let reply = ping(
        world.container("a"),
        OUTSIDE,
        Options {
            payload: 4000,
            ..Options::default()
        },
    );
    assert!(reply.is_echo_of(OUTSIDE), "{reply:?}");
    assert_eq!(reply.length, 4000);
}

#[test]
pub(crate) fn two_containers_with_one_source_port_get_two() {
    let world = World::with_ports(&["a", "b"], &[]);
    let _tcp = tcp_server(&world.outside, "outside", 7000);
    let _udp = udp_server(&world.outside, "outside", 7000);

    for protocol in ["tcp", "udp"] {
        let ask = |name: &str| {
            within(world.container(name), || {
                let own = at(std::net::Ipv4Addr::UNSPECIFIED, 40_001);
                if protocol == "tcp" {
                    probe::tcp(at(OUTSIDE, 7000), Some(own), SOON).unwrap()
                } else {
                    probe::udp(at(OUTSIDE, 7000), Some(own), SOON).unwrap()
                }
            })
        };
        let (first, second) = (ask("a").seen().unwrap(), ask("b").seen().unwrap());
        assert_eq!((*first.ip(), *second.ip()), (HOST, HOST));
        assert_eq!(first.port(), 40_001, "{protocol}: the first keeps its port");
        assert_ne!(
            second.port(),
            40_001,
            "{protocol}: two flows share an outside tuple"
        );
        assert!(
            second.port() >= 1024,
            "{protocol}: {second} is a privileged port"
        );
    }
}

#[test]
fn many_flows_at_once_all_get_answers() {
    let world = World::with_ports(&["a", "b"], &[]);
    let _udp = udp_server(&world.outside, "outside", 7000);
    let sockets: Vec<_> = ["a", "b"]
        .into_iter()
        .flat_map(|name| {
            within(world.container(name), || {
                (0..100)
                    .map(|i| {
                        let socket = std::net::UdpSocket::bind(("0.0.0.0", 30_000 + i)).unwrap();
                        socket.connect(at(OUTSIDE, 7000)).unwrap();
                        socket
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut seen: Vec<_> = sockets
        .iter()
        .map(|socket| probe::udp_again(socket, SOON).unwrap().seen().unwrap())
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(
        seen.len(),
        sockets.len(),
        "two flows share an outside tuple"
    );
}

#[test]
fn the_gateway_and_the_hosts_own_services_answer() {
    let world = World::with_ports(&["a"], &[]);
    let _server = tcp_server(&world.host, "host", 2222);
    let a = world.container("a");
    for address in [netpath_tests::topology::GATEWAY, HOST] {
        assert!(pings(a, address, SOON), "{address} does not answer ping");
        assert!(tcp(a, at(address, 2222)).is_from("host", A));
    }
}

#[test]
fn the_hosts_own_traffic_is_left_alone() {
    let world = World::with_ports(&["a"], &["8080:80"]);
    let _outside = tcp_server(&world.outside, "outside", 7000);
    let _host = udp_server(&world.host, "host", 2222);
    assert!(tcp(&world.host, at(OUTSIDE, 7000)).is_from("outside", HOST));
    assert!(udp(&world.outside, at(HOST, 2222)).is_from("host", OUTSIDE));
    assert!(pings(&world.host, OUTSIDE, SOON));
    assert!(pings(&world.outside, HOST, SOON));
    assert_eq!(
        world.run(&["ct", "list"]).lines().count(),
        0,
        "the host's own flows are tracked"
    );
}
