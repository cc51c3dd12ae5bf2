//! Raw packets against the choice of outside ports: a listener of the host that a container would
//! shadow (CVE-2021-3773), and a range with fewer ports than flows.

use std::{collections::BTreeSet, net::UdpSocket};

use netpath_common::{
    DropReason,
    testing::{icmp, tcp, udp, verify},
};
use netpath_tests::{
    probe::{at, udp_socket},
    station::{STRANGER, Station},
    topology::{A, GATEWAY, HOST, World},
    wait,
};

const SYN: u8 = 0x02;
const LISTENER: u16 = 1405;
const ATTACKER: u16 = 41_404;

fn stations(world: &World) -> (Station, Station) {
    (
        Station::container(world, "a", A, "netpath0"),
        Station::outside(world),
    )
}

#[track_caller]
fn receives(socket: &UdpSocket, content: &[u8]) {
    socket
        .set_read_timeout(Some(std::time::Duration::from_secs(10)))
        .unwrap();
    let mut buffer = [0; 100];
    let got = socket.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..got], *content);
}

#[test]
fn a_container_cannot_shadow_a_listener_of_the_host() {
    let world = World::with_ports(&["a"], &[]);
    let listener = udp_socket(&world.host, LISTENER, None);
    let (a, outside) = stations(&world);
    let host = HOST.octets();

    a.send(&udp(A.octets(), LISTENER, STRANGER, ATTACKER, b"shadow"));
    let port =
        outside.gets_from_some_port(|port| udp(host, port, STRANGER, ATTACKER, b"shadow").ttl(63));
    assert_ne!(port, LISTENER);
    outside.send(&udp(STRANGER, ATTACKER, host, LISTENER, b"for the host"));
    receives(&listener, b"for the host");
    // The container has its own answers, and none of the host's packets.
    outside.send(&udp(STRANGER, ATTACKER, host, port, b"for the container"));
    a.gets(
        &udp(
            STRANGER,
            ATTACKER,
            A.octets(),
            LISTENER,
            b"for the container",
        )
        .ttl(63),
    );
    assert_eq!(a.others(), [""; 0]);
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

#[test]
fn a_container_cannot_shadow_a_tcp_listener_of_the_host() {
    let world = World::with_ports(&["a"], &[]);
    let _listener = netpath_tests::probe::tcp_server(&world.host, "host", LISTENER);
    let (a, outside) = stations(&world);
    let host = HOST.octets();

    a.send(&tcp(A.octets(), LISTENER, STRANGER, ATTACKER, SYN));
    let port = outside.gets_from_some_port(|port| tcp(host, port, STRANGER, ATTACKER, SYN).ttl(63));
    assert_ne!(port, LISTENER);
    outside.send(&tcp(STRANGER, ATTACKER, host, LISTENER, SYN));
    // The host's own SYN-ACK: it acknowledges the SYN, whose number is 1000.
    outside.find("the listener's SYN-ACK", |frame| {
        frame.bytes[26..34] == [host, STRANGER].concat()
            && frame.bytes[34..36] == LISTENER.to_be_bytes()
            && frame.bytes[42..46] == 1001u32.to_be_bytes()
            && frame.bytes[47] == 0x12
    });
    assert_eq!(a.others(), [""; 0]);
}

/// The container first: what the host begins afterwards has its own answers all the same.
#[test]
fn the_host_begins_after_a_container_has_its_port() {
    let world = World::with_ports(&["a"], &[]);
    let (a, outside) = stations(&world);
    let host = HOST.octets();

    a.send(&udp(A.octets(), LISTENER, STRANGER, ATTACKER, b"first"));
    outside.gets(&udp(host, LISTENER, STRANGER, ATTACKER, b"first").ttl(63));
    let own = udp_socket(&world.host, LISTENER, Some(at(STRANGER.into(), ATTACKER)));
    own.send(b"second").unwrap();
    // The host's packet has its own identification and DF: only ports and content are the test's.
    let from_host = outside.find("the host's packet", |frame| {
        frame.bytes[26..34] == [host, STRANGER].concat() && frame.bytes.ends_with(b"second")
    });
    assert_eq!(verify(&from_host), Ok(()));
    let port = u16::from_be_bytes([from_host.bytes[34], from_host.bytes[35]]);
    assert_ne!(port, LISTENER);
    outside.send(&udp(STRANGER, ATTACKER, host, port, b"for the host"));
    receives(&own, b"for the host");
    outside.send(&udp(
        STRANGER,
        ATTACKER,
        host,
        LISTENER,
        b"for the container",
    ));
    a.gets(
        &udp(
            STRANGER,
            ATTACKER,
            A.octets(),
            LISTENER,
            b"for the container",
        )
        .ttl(63),
    );
    // Another port of the same stranger is nobody's but the host's.
    drop(own);
    let listener = udp_socket(&world.host, LISTENER, None);
    outside.send(&udp(
        STRANGER,
        ATTACKER + 1,
        host,
        LISTENER,
        b"for the listener",
    ));
    receives(&listener, b"for the listener");
    assert_eq!(a.others(), [""; 0]);
}

/// The one that is refused learns it at once, from the gateway (RFC 5508, REQ-8).
#[test]
fn a_flow_without_a_port_is_told() {
    let world = World::new(&["a"]);
    let config = "[nat]\nports = \"40000-40000\"\n".to_owned()
        + &world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &world.endpoint("a", A, &[]);
    world.up(&config);
    let (a, outside) = stations(&world);
    a.send(&udp(A.octets(), 1000, STRANGER, 53, b"the one flow"));
    outside.gets(&udp(HOST.octets(), 40_000, STRANGER, 53, b"the one flow").ttl(63));
    for (count, refused) in [
        udp(A.octets(), 1001, STRANGER, 53, b"one too many"),
        udp(A.octets(), 1001, STRANGER, 53, b"one too many").options(3),
    ]
    .into_iter()
    .enumerate()
    {
        a.send(&refused);
        let quoted = &refused.bytes()[..28 + refused.options.len()];
        let told = icmp(GATEWAY.octets(), A.octets(), 3, 13, [0; 4], quoted);
        let frame = a.find("communication prohibited", |frame| {
            frame.bytes[34..] == told.l4 && frame.bytes[26..34] == told.bytes()[12..20]
        });
        assert_eq!(verify(&frame), Ok(()));
        assert_eq!(world.dropped(DropReason::NoPort), count as u64 + 1);
    }
    assert_eq!(a.others(), [""; 0]);
    assert_eq!(outside.others(), [""; 0]);
}

#[test]
fn sixty_five_flows_on_sixty_four_ports_lose_one() {
    const RANGE: std::ops::RangeInclusive<u16> = 40_000..=40_063;
    let world = World::new(&["a"]);
    let config = "[nat]\nports = \"40000-40063\"\n".to_owned()
        + &world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &world.endpoint("a", A, &[]);
    world.up(&config);
    let (a, outside) = stations(&world);
    let host = HOST.octets();

    let mut ports = BTreeSet::new();
    for (i, own) in (1000..1064).enumerate() {
        let content = [i as u8; 9];
        a.send(&udp(A.octets(), own, STRANGER, 53, &content));
        let port =
            outside.gets_from_some_port(|port| udp(host, port, STRANGER, 53, &content).ttl(63));
        assert!(RANGE.contains(&port), "{port}");
        assert!(ports.insert(port), "{port} was given twice");
    }
    assert_eq!(ports, RANGE.collect());
    assert!(world.drops().is_empty(), "{:?}", world.drops());
    a.send(&udp(A.octets(), 1064, STRANGER, 53, b"one too many"));
    wait::until("the last one is dropped", || {
        world.dropped(DropReason::NoPort) == 1
    });
    // To another server the ports are free.
    a.send(&udp(A.octets(), 1064, STRANGER, 54, b"elsewhere"));
    let port =
        outside.gets_from_some_port(|port| udp(host, port, STRANGER, 54, b"elsewhere").ttl(63));
    assert!(RANGE.contains(&port), "{port}");
    assert_eq!(outside.others(), [""; 0]);
    assert_eq!(
        world.drops().into_iter().collect::<Vec<_>>(),
        [("no-port", 1)]
    );
}
