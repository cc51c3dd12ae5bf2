//! Destinations to which containers keep their addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use netpath_common::DropReason;
use netpath_tests::{
    netns::stdout,
    probe::{Options, at, at6, ping, tcp, tcp_server, tcp_server6, udp, udp_server, udp_silent},
    stream::Stream,
    topology::{A, HOST, OUTSIDE, World},
    wait,
    ways::ip,
};

const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9);
const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x17, 0, 0, 0, 0, 0, 2);

fn config(world: &World, more: &str) -> String {
    let more = format!("ipv6 = \"fd00:17::/64\"\n{more}");
    world.network("bridge", "netpath0", "172.17.0.0/16", &more)
        + &world.endpoint("a", A, &["5353:53/udp"])
}

const LIST: &str = "no_masquerade = [\"198.51.100.0/24\", \"2001:db8:1::/64\"]";

/// A host and the outside, which has two addresses of each family and routes to the containers.
fn site(more: &str) -> (World, impl Sized + use<>) {
    let world = World::new(&["a"]);
    let (host, outside) = (&world.host, &world.outside);
    ip(host, &format!("-6 addr add {HOST6}/64 dev uplink0 nodad"));
    ip(
        outside,
        &format!("-6 addr add {OUTSIDE6}/64 dev eth0 nodad"),
    );
    ip(outside, &format!("-6 addr add {FAR6}/128 dev eth0 nodad"));
    ip(outside, &format!("addr add {FAR}/32 dev eth0"));
    ip(host, &format!("-6 route add default via {OUTSIDE6}"));
    ip(outside, &format!("route add 172.17.0.0/16 via {HOST}"));
    ip(outside, &format!("-6 route add fd00:17::/64 via {HOST6}"));
    // Who keeps its address is no address of the host: the host asks for its neighbours by its
    // link-local one (ndisc_solicit), which is not before duplicate address detection is over.
    wait::until("the uplink has its link-local address", || {
        let words = ["-6", "addr", "show", "dev", "uplink0", "tentative"];
        !stdout(host, "ip", &words).contains("inet6")
    });
    world.up(&config(&world, more));
    let servers = (
        [
            tcp_server(outside, "outside", 7000),
            udp_server(outside, "outside", 7000),
        ],
        tcp_server6(outside, "outside", 7000),
        udp_server(world.container("a"), "a", 53),
    );
    (world, servers)
}

#[test]
fn what_is_listed_sees_the_container_itself() {
    for firewall in ["bypass", "visible"] {
        let (world, _servers) = site(&format!("{LIST}\nfirewall = \"{firewall}\""));
        let a = world.container("a");
        assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", A));
        assert!(udp(a, at(OUTSIDE, 7000)).is_from("outside", A));
        assert!(tcp(a, at6(OUTSIDE6, 7000)).is_from("outside", A6));
        let reply = ping(
            a,
            OUTSIDE,
            Options {
                payload: 4000,
                ..Options::default()
            },
        );
        assert_eq!((reply.icmp_type, reply.from), (0, OUTSIDE), "{reply:?}");
        // The rest is masqueraded.
        assert!(tcp(a, at(FAR, 7000)).is_from("outside", HOST));
        assert!(tcp(a, at6(FAR6, 7000)).is_from("outside", HOST6));
        // And published ports are translated.
        assert!(udp(&world.outside, at(HOST, 5353)).is_from("a", OUTSIDE));
        // In come answers alone.
        udp_silent(&world.outside, at(A, 53));
        assert_eq!(
            world.dropped(DropReason::DirectAccess),
            1,
            "{:?}",
            world.drops()
        );
    }
}

#[test]
fn connections_go_on_and_a_change_ends_them() {
    let (world, _servers) = site(LIST);
    let a = world.container("a");
    let stream = Stream::open(a, at(OUTSIDE, 7001), &world.outside, 7001);
    let flow = |world: &World| {
        let listed = world.run(&["ct", "list", "-p", "tcp", "--dport", "7001"]);
        listed.lines().next().unwrap_or_default().to_owned()
    };
    assert!(
        flow(&world).contains("src=198.51.100.2 dst=172.17.0.2"),
        "{}",
        flow(&world)
    );
    // More than a lease's time.
    wait::until("much has been sent", || stream.received() > 40_000_000);
    assert!(flow(&world).contains("[ASSURED]"));
    assert_eq!(world.dropped(DropReason::DirectAccess), 0);
    stream.finish();
    assert!(udp(a, at(OUTSIDE, 7000)).is_from("outside", A));
    world.up(&config(&world, ""));
    assert!(udp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
    let listed = world.run(&["ct", "list", "-p", "udp", "--dport", "7000"]);
    assert!(!listed.contains("dst=172.17.0.2"), "{listed}");
    world.up(&config(&world, LIST));
    assert!(udp(a, at(OUTSIDE, 7000)).is_from("outside", A));
    let shown = world.run(&["network", "inspect", "bridge"]);
    assert!(shown.contains("198.51.100.0/24,2001:db8:1::/64"), "{shown}");
}
