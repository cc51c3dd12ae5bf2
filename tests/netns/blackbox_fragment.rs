//! Raw fragments in order and in reverse, both directions, UDP and echo: each arrives, byte for
//! byte the translated one.

use netpath_common::testing::{Datagram, icmp, query, udp};
use netpath_tests::{
    station::{STRANGER, Station},
    topology::{A, HOST, World},
};

const CHUNK: usize = 1480;

/// The bytes of a datagram of three fragments.
fn content() -> Vec<u8> {
    (0..4000).map(|i| (i % 251) as u8).collect()
}

fn echo(src: [u8; 4], dst: [u8; 4], kind: u8) -> Datagram {
    icmp(src, dst, kind, 0, [0x12, 0x34, 0, 1], &content())
}

/// `sent` goes from one station in fragments, in order and in reverse, and the fragments of
/// `translated` arrive at the other.
fn passes(from: &Station, to: &Station, sent: &Datagram, translated: &Datagram) {
    for (id, reverse) in [(0x1111, false), (0x2222, true)] {
        let mut parts = sent.clone().id(id).fragments(CHUNK);
        assert_eq!(parts.len(), 3);
        if reverse {
            parts.reverse();
        }
        for part in &parts {
            from.send(part);
        }
        for part in translated.clone().id(id).ttl(63).fragments(CHUNK) {
            to.gets(&part);
        }
        assert_eq!(to.others(), [""; 0], "reverse: {reverse}");
    }
}

#[test]
fn udp_out_and_the_answer_in() {
    let world = World::with_ports(&["a"], &[]);
    let a = Station::container(&world, "a", A, "netpath0");
    let outside = Station::outside(&world);
    let (inside, host) = (A.octets(), HOST.octets());
    passes(
        &a,
        &outside,
        &udp(inside, 5000, STRANGER, 7000, &content()),
        &udp(host, 5000, STRANGER, 7000, &content()),
    );
    passes(
        &outside,
        &a,
        &udp(STRANGER, 7000, host, 5000, &content()),
        &udp(STRANGER, 7000, inside, 5000, &content()),
    );
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

#[test]
fn udp_in_by_a_published_port_and_the_answer_out() {
    let world = World::with_ports(&["a"], &["5353:53/udp"]);
    let a = Station::container(&world, "a", A, "netpath0");
    let outside = Station::outside(&world);
    let (inside, host) = (A.octets(), HOST.octets());
    passes(
        &outside,
        &a,
        &udp(STRANGER, 7000, host, 5353, &content()),
        &udp(STRANGER, 7000, inside, 53, &content()),
    );
    passes(
        &a,
        &outside,
        &udp(inside, 53, STRANGER, 7000, &content()),
        &udp(host, 5353, STRANGER, 7000, &content()),
    );
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

#[test]
fn echo_out_and_its_reply_in() {
    let world = World::with_ports(&["a"], &[]);
    let a = Station::container(&world, "a", A, "netpath0");
    let outside = Station::outside(&world);
    let (inside, host) = (A.octets(), HOST.octets());
    passes(
        &a,
        &outside,
        &echo(inside, STRANGER, 8),
        &echo(host, STRANGER, 8),
    );
    passes(
        &outside,
        &a,
        &echo(STRANGER, host, 0),
        &echo(STRANGER, inside, 0),
    );
    // One of another identifier belongs to nobody here.
    outside.send(&query(STRANGER, host, 0, 0x4321));
    outside.send(&query(STRANGER, host, 0, 0x1234));
    a.gets(&query(STRANGER, inside, 0, 0x1234).ttl(63));
    assert_eq!(a.others(), [""; 0]);
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}
