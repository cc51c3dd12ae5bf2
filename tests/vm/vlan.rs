//! VLAN devices: as an uplink, beside the plain uplink below, and on an uplink as somebody else's.
//!
//! ```text
//! a, b ── host ── uplink0    198.51.100.1  2001:db8:1::10 ──┬── 198.51.100.2  2001:db8:1::1 ── outside
//!                 uplink0.7  192.0.2.1     2001:db8:7::10 ──┘   192.0.2.2     2001:db8:7::1
//! ```

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use netpath_tests::{
    dual_stack::{A6, HOST6, OUTSIDE6, set6},
    netns::command,
    probe::{
        Options, SOON, Server, at6, ping, ping6, pings, pings6, tcp, tcp_fails, transfer, udp,
        udp_socket, udp_socket6,
    },
    skip,
    topology::{A, HOST, OUTSIDE, UPLINK, World, succeeded},
    ways::{ip, set},
};

const VLAN: &str = "uplink0.7";
const VLAN_HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const VLAN_OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const VLAN_HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 0x10);
const VLAN_OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 1);

const PUBLISHED: &[&str] = &["8080:80", "8081:81", "5353:53/udp"];

/// The host and the outside with addresses in VLAN 7 as well; none where the kernel has no VLANs.
fn world() -> Option<World> {
    let world = World::dual_stack(&["a", "b"]);
    for (namespace, below, address, address6) in [
        (&world.host, UPLINK, VLAN_HOST, VLAN_HOST6),
        (&world.outside, "eth0", VLAN_OUTSIDE, VLAN_OUTSIDE6),
    ] {
        let name = format!("{below}.7");
        let add = format!("link add link {below} name {name} type vlan id 7");
        let output = command(namespace, "ip", &add.split(' ').collect::<Vec<_>>());
        if String::from_utf8_lossy(&output.stderr).contains("Unknown device type") {
            skip::record("the kernel has no VLAN devices (8021q)");
            return None;
        }
        succeeded(&add, output);
        set6(namespace, &name, "accept_dad", "0");
        ip(namespace, &format!("link set {name} up"));
        ip(namespace, &format!("addr add {address}/24 dev {name}"));
        ip(namespace, &format!("addr add {address6}/64 dev {name}"));
    }
    Some(world)
}

/// What leaves takes the VLAN; what is not tagged is nothing to the outside.
fn only_by_vlan(world: &World) {
    ip(
        &world.host,
        &format!("route replace default via {VLAN_OUTSIDE}"),
    );
    ip(
        &world.host,
        &format!("-6 route replace default via {VLAN_OUTSIDE6}"),
    );
    // An untagged packet from an address of the VLAN has come by the wrong device.
    set(&world.outside, "conf/eth0/rp_filter", "1");
    ip(&world.outside, "addr flush dev eth0");
    set6(&world.outside, "eth0", "disable_ipv6", "1");
}

fn every(ipv6: bool) -> IpAddr {
    if ipv6 {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}

/// Servers of both families and protocols.
fn servers(
    namespace: &netpath_tests::netns::Namespace,
    name: &str,
    ports: [u16; 2],
) -> Vec<Server> {
    let both = [false, true].map(|ipv6| {
        let [tcp, udp] = ports.map(|port| SocketAddr::new(every(ipv6), port));
        [
            Server::tcp(namespace, name, tcp).unwrap(),
            Server::udp(namespace, name, udp).unwrap(),
        ]
    });
    both.into_iter().flatten().collect()
}

/// From container `a` to `outside`, which sees `seen`.
fn out(world: &World, outside: IpAddr, seen: IpAddr) {
    let a = world.container("a");
    let _servers = servers(&world.outside, "outside", [7000, 7000]);
    let to = SocketAddr::new(outside, 7000);
    for answer in [tcp(a, to), udp(a, to)] {
        assert!(answer.is_from("outside", seen), "{to}: {}", answer.text);
    }
    let ttl = match outside {
        IpAddr::V4(to) => ping(a, to, Options::default()).ttl,
        IpAddr::V6(to) => ping6(a, to, Options::default()).ttl,
    };
    assert_eq!(ttl, 63);
    transfer(
        a,
        SocketAddr::new(outside, 7001),
        &world.outside,
        7001,
        500_000,
    );
}

/// From `client`, an address of the outside, to the published ports of `a` at `host`.
fn inward(world: &World, host: IpAddr, client: IpAddr) {
    let (a, outside) = (world.container("a"), &world.outside);
    let _servers = servers(a, "a", [80, 53]);
    for answer in [
        tcp(outside, SocketAddr::new(host, 8080)),
        udp(outside, SocketAddr::new(host, 5353)),
    ] {
        assert!(answer.is_from("a", client), "{host}: {}", answer.text);
    }
    transfer(outside, SocketAddr::new(host, 8081), a, 81, 500_000);
}

/// A datagram of three fragments to the outside and back.
fn fragments(world: &World, outside: IpAddr) {
    let (a, to) = (world.container("a"), SocketAddr::new(outside, 7002));
    let (server, client) = match to {
        SocketAddr::V4(to) => (
            udp_socket(&world.outside, 7002, None),
            udp_socket(a, 4000, Some(to)),
        ),
        SocketAddr::V6(to) => (
            udp_socket6(&world.outside, 7002, None),
            udp_socket6(a, 4000, Some(to)),
        ),
    };
    client.send(&[7; 4000]).unwrap();
    let mut buffer = [0; 8192];
    let (length, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(buffer[..length], [7; 4000]);
    server.send_to(&[8; 4000], from).unwrap();
    let length = client.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..length], [8; 4000]);
}

const BY_VLAN: [(IpAddr, IpAddr); 2] = [
    (IpAddr::V4(VLAN_HOST), IpAddr::V4(VLAN_OUTSIDE)),
    (IpAddr::V6(VLAN_HOST6), IpAddr::V6(VLAN_OUTSIDE6)),
];
const PLAIN: [(IpAddr, IpAddr); 2] = [
    (IpAddr::V4(HOST), IpAddr::V4(OUTSIDE)),
    (IpAddr::V6(HOST6), IpAddr::V6(OUTSIDE6)),
];

fn by_vlan(world: &World) {
    for (host, outside) in BY_VLAN {
        out(world, outside, host);
        inward(world, host, outside);
        fragments(world, outside);
    }
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

#[test]
fn an_uplink_that_is_a_vlan_device() {
    let Some(world) = world() else { return };
    only_by_vlan(&world);
    world.up(&world.dual_stack_config(&["a", "b"], PUBLISHED, ""));
    let status = world.run(&["status"]);
    assert!(status.contains(VLAN), "{status}");
    by_vlan(&world);
    // The same segment by segment, each checksum computed by who sends it.
    world.offloads_off();
    by_vlan(&world);
}

/// Named, without a default route, and the plain one below is none.
#[test]
fn a_vlan_uplink_by_name() {
    let Some(world) = world() else { return };
    let config = world.dual_stack_config(&["a", "b"], PUBLISHED, "uplinks = [\"uplink0.7\"]");
    world.up(&config);
    by_vlan(&world);
    // What is not published at an uplink is not published.
    for host in [IpAddr::from(HOST), HOST6.into()] {
        let to = SocketAddr::new(host, 8080);
        tcp_fails(&world.outside, to, io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_vlan_uplink_and_the_plain_one_below() {
    let Some(world) = world() else { return };
    let uplinks = "uplinks = [\"uplink0\", \"uplink0.7\"]";
    world.up(&world.dual_stack_config(&["a", "b"], PUBLISHED, uplinks));
    for (host, outside) in PLAIN.into_iter().chain(BY_VLAN) {
        out(&world, outside, host);
        inward(&world, host, outside);
    }
    // The same conversation by either is two: each flow has the outside address of its own way.
    let flows = world.run(&["ct", "list"]);
    for (_, outside) in PLAIN.into_iter().chain(BY_VLAN) {
        assert!(
            flows.contains(&format!("dst={outside} ")),
            "{outside}: {flows}"
        );
    }
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

/// netpath is on the plain uplink alone: what has a tag is the host's own business.
#[test]
fn tags_on_a_plain_uplink_pass_untouched() {
    let Some(world) = world() else { return };
    world.up(&world.dual_stack_config(&["a", "b"], PUBLISHED, ""));
    let _container = servers(world.container("a"), "a", [80, 53]);
    let _host = servers(&world.host, "host", [9000, 9000]);
    let _outside = servers(&world.outside, "outside", [9000, 9000]);
    for (host, outside) in BY_VLAN {
        for (from, to, client, name) in [
            (&world.outside, host, outside, "host"),
            (&world.host, outside, host, "outside"),
        ] {
            let to = SocketAddr::new(to, 9000);
            for answer in [tcp(from, to), udp(from, to)] {
                assert!(answer.is_from(name, client), "{to}: {}", answer.text);
            }
        }
        let pinged = match host {
            IpAddr::V4(host) => pings(&world.outside, host, SOON),
            IpAddr::V6(host) => pings6(&world.outside, host, SOON),
        };
        assert!(pinged, "{host}");
        let to = SocketAddr::new(host, 9001);
        transfer(&world.outside, to, &world.host, 9001, 500_000);
        // Nor is a container behind it.
        let to = SocketAddr::new(host, 8080);
        tcp_fails(&world.outside, to, io::ErrorKind::ConnectionRefused);
    }
    assert_eq!(world.run(&["ct", "list"]), "");
    for (host, outside) in PLAIN {
        out(&world, outside, host);
    }
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

/// A container is not reached by its own address, whatever the tag.
#[test]
fn direct_access_by_a_vlan_uplink_is_dropped() {
    let Some(world) = world() else { return };
    only_by_vlan(&world);
    world.up(&world.dual_stack_config(&["a", "b"], PUBLISHED, ""));
    let _servers = servers(world.container("a"), "a", [80, 53]);
    ip(&world.outside, &format!("route add {A} via {VLAN_HOST}"));
    ip(
        &world.outside,
        &format!("-6 route add {A6} via {VLAN_HOST6}"),
    );
    tcp_fails(
        &world.outside,
        SocketAddr::new(A.into(), 80),
        io::ErrorKind::TimedOut,
    );
    tcp_fails(&world.outside, at6(A6, 80), io::ErrorKind::TimedOut);
    assert!(
        world.drops().contains_key("direct-access"),
        "{:?}",
        world.drops()
    );
}

/// No VLAN device has XDP of its own.
#[test]
fn xdp_is_refused_at_a_vlan_uplink() {
    let Some(world) = world() else { return };
    only_by_vlan(&world);
    let config = world.dual_stack_config(&["a", "b"], PUBLISHED, "uplink_hook = \"xdp\"");
    let output = world.try_up(&config);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(VLAN) && errors.contains("XDP"), "{errors}");
}
