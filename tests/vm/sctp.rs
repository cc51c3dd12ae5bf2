//! SCTP by real sockets: associations out by masquerade and in by a published port, of both families.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use netpath_common::DropReason;
use netpath_tests::{
    dual_stack::{A6, B6, GATEWAY6, HOST6, OUTSIDE6},
    netns::{Namespace, stdout},
    probe::{BRIEFLY, SOON},
    topology::{A, B, GATEWAY, HOST, OUTSIDE, UPLINK, World},
    wait,
};

use crate::association::{self, Association};

/// The addresses of one family.
struct Family {
    host: IpAddr,
    outside: IpAddr,
    a: IpAddr,
    b: IpAddr,
    gateway: IpAddr,
}

const FAMILIES: [Family; 2] = [
    Family {
        host: IpAddr::V4(HOST),
        outside: IpAddr::V4(OUTSIDE),
        a: IpAddr::V4(A),
        b: IpAddr::V4(B),
        gateway: IpAddr::V4(GATEWAY),
    },
    Family {
        host: IpAddr::V6(HOST6),
        outside: IpAddr::V6(OUTSIDE6),
        a: IpAddr::V6(A6),
        b: IpAddr::V6(B6),
        gateway: IpAddr::V6(GATEWAY6),
    },
];

/// Who computes the CRC32c of what a stack sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Crc {
    /// Nobody: veth devices hand it on as promised, and the other stack believes it.
    Promised,
    /// The uplinks, after the translation: they do not take a promise.
    AtTheUplink,
    /// The sender's stack. No device knows SCTP, and every stack verifies what comes in.
    Sender,
}

const PUBLISHED: &[&str] = &["5000:5000/sctp"];

/// A world whose devices treat checksums like that; none where the kernel has no SCTP.
fn world(crc: Crc) -> Option<World> {
    if association::missing() {
        return None;
    }
    association::assert_checksums_count();
    let world = World::dual_stack_with_ports(&["a", "b"], PUBLISHED);
    match crc {
        Crc::Promised => {}
        Crc::AtTheUplink => {
            for (namespace, name) in [(&world.host, UPLINK), (&world.outside, "eth0")] {
                without_sctp(namespace, name);
            }
        }
        Crc::Sender => {
            world.offloads_off();
            for (namespace, name) in [
                (&world.host, UPLINK),
                (&world.outside, "eth0"),
                (world.container("a"), "eth0"),
                (world.container("b"), "eth0"),
            ] {
                without_sctp(namespace, name);
            }
        }
    }
    Some(world)
}

/// Lets a device compute no CRC32c and take no super-packets of SCTP.
fn without_sctp(namespace: &Namespace, name: &str) {
    let off = "tx off tso off gso off tx-sctp-segmentation off";
    let arguments: Vec<_> = ["-K", name].into_iter().chain(off.split(' ')).collect();
    stdout(namespace, "ethtool", &arguments);
    let features = stdout(namespace, "ethtool", &["-k", name]);
    for feature in ["tx-checksum-sctp: off", "tx-sctp-segmentation: off"] {
        let line = |line: &str| line.trim().starts_with(feature);
        assert!(features.lines().any(line), "{feature}, {name}: {features}");
    }
}

/// Every way, of both families, in a world of this kind.
fn every_way(crc: Crc) {
    let Some(world) = world(crc) else { return };
    for family in &FAMILIES {
        out_by_masquerade(&world, family);
        in_by_a_published_port(&world, family);
        from_inside_by_the_hosts_address(&world, family);
    }
    for namespace in [&world.outside, world.container("a"), world.container("b")] {
        let errors = association::checksum_errors(namespace);
        assert_eq!(errors, 0, "{}", namespace.name());
    }
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

#[test]
fn with_checksums_that_nobody_computes() {
    every_way(Crc::Promised);
}

#[test]
fn with_checksums_by_the_uplinks() {
    every_way(Crc::AtTheUplink);
}

#[test]
fn with_checksums_by_the_sender() {
    every_way(Crc::Sender);
}

/// The state of the only flow that `ct list` shows with these words.
#[track_caller]
fn state(world: &World, words: &[String]) -> String {
    let text = world.run(&["ct", "list", "-p", "sctp"]);
    let has_all = |line: &&str| words.iter().all(|word| line.split(' ').any(|w| w == word));
    let lines: Vec<_> = text.lines().filter(has_all).collect();
    assert_eq!(lines.len(), 1, "{words:?}: {text}");
    lines[0].split_whitespace().nth(3).unwrap().to_owned()
}

const fn port(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

fn out_by_masquerade(world: &World, family: &Family) {
    let (to, from) = (port(family.outside, 6000), port(family.a, 4000));
    let listener = association::listen(&world.outside, to);
    let association = Association::open(world.container("a"), from, to, &listener);
    // The host's address, and the container's own port, which the CRC covers.
    assert_eq!(association.seen, port(family.host, 4000));
    association.talk();
    let words = [format!("src={}", family.a), "sport=4000".to_owned()];
    assert_eq!(state(world, &words), "ESTABLISHED");
    // A neighbour reaches the same server by a port of its own, beside it.
    let other = port(family.b, 4001);
    let beside = Association::open(world.container("b"), other, to, &listener);
    assert_eq!(beside.seen, port(family.host, 4001));
    beside.talk();
    association.talk();
    association.shut_down();
    beside.shut_down();
    assert_eq!(state(world, &words), "CLOSED");
}

fn in_by_a_published_port(world: &World, family: &Family) {
    let listener = association::listen(world.container("a"), port(family.a, 5000));
    let (from, to) = (port(family.outside, 7000), port(family.host, 5000));
    let association = Association::open(&world.outside, from, to, &listener);
    assert_eq!(association.seen, from, "the client's own address");
    let peer = association.client.peer_addr().unwrap().as_socket();
    assert_eq!(peer, Some(to));
    association.talk();
    let words = [format!("src={}", family.outside), "sport=7000".to_owned()];
    assert_eq!(state(world, &words), "ESTABLISHED");
    association.shut_down();
    assert_eq!(state(world, &words), "CLOSED");
}

fn from_inside_by_the_hosts_address(world: &World, family: &Family) {
    let listener = association::listen(world.container("a"), port(family.a, 5000));
    let to = port(family.host, 5000);
    let b = port(family.b, 7001);
    let association = Association::open(world.container("b"), b, to, &listener);
    assert_eq!(association.seen, b);
    association.talk();
    association.shut_down();
    let own = port(family.a, 7002);
    let association = Association::open(world.container("a"), own, to, &listener);
    assert_eq!(association.seen, port(family.gateway, 7002));
    association.talk();
    association.shut_down();
}

/// A port that a neighbour has towards the same server stays the neighbour's.
#[test]
fn a_port_in_use_is_refused() {
    let Some(world) = world(Crc::Promised) else {
        return;
    };
    for family in &FAMILIES {
        let to = port(family.outside, 6000);
        let listener = association::listen(&world.outside, to);
        let from = port(family.a, 4000);
        let first = Association::open(world.container("a"), from, to, &listener);
        let before = world.dropped(DropReason::NoPort);
        let second = port(family.b, 4000);
        let patience = Duration::from_millis(500);
        let b = world.container("b");
        assert!(association::connect(b, second, to, patience).is_err());
        assert!(world.dropped(DropReason::NoPort) > before);
        first.talk();
        first.shut_down();
    }
}

/// Neither the hooks at sockets nor those at `lo` are for SCTP: what the host asks itself is answered by
/// the host itself.
#[test]
fn the_host_has_its_own_ports() {
    let Some(world) = world(Crc::Promised) else {
        return;
    };
    for family in &FAMILIES {
        let _container = association::listen(world.container("a"), port(family.a, 5000));
        let (from, to) = (port(family.host, 8000), port(family.host, 5000));
        let refused = association::connect(&world.host, from, to, SOON);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let listener = association::listen(&world.host, to);
        let association = Association::open(&world.host, from, to, &listener);
        association.talk();
        association.shut_down();
        // Outside the published port comes first.
        let client = port(family.outside, 7003);
        assert!(association::connect(&world.outside, client, to, SOON).is_ok());
        listener.set_read_timeout(Some(BRIEFLY)).unwrap();
        let nobody = listener.accept().map(|(_, seen)| seen.as_socket());
        assert_eq!(nobody.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

/// Without this the tests above would prove nothing: a stack drops what has a wrong CRC32c, by either
/// way, whatever netpath has made of its addresses.
#[test]
fn a_wrong_checksum_is_found() {
    let Some(world) = world(Crc::Sender) else {
        return;
    };
    let (a, outside) = (world.container("a"), &world.outside);
    for (n, family) in (1..).zip(&FAMILIES) {
        association::send_broken(outside, 7000, port(family.host, 5000));
        wait::until("the container has counted it", || {
            association::checksum_errors(a) == n
        });
        association::send_broken(a, 4000, port(family.outside, 6000));
        wait::until("the outside has counted it", || {
            association::checksum_errors(outside) == n
        });
    }
}
