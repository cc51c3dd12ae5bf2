//! Raw packets of a container that iptables' MASQUERADE lets out with their private source, one
//! test each: what conntrack calls invalid is not translated there.

use netpath_common::{
    DropReason,
    testing::{Datagram, error, tcp, udp},
};
use netpath_tests::{
    station::{STRANGER, Station},
    topology::{A, HOST, World},
    wait,
};

const RST: u8 = 0x04;
const SYN_ACK: u8 = 0x12;

struct Probe {
    world: World,
    a: Station,
    outside: Station,
}

impl Probe {
    fn new() -> Self {
        let world = World::with_ports(&["a"], &[]);
        Self {
            a: Station::container(&world, "a", A, "netpath0"),
            outside: Station::outside(&world),
            world,
        }
    }

    /// A good packet right behind is seen outside, with the host's address; nothing else is.
    fn control(&self) {
        self.a
            .send(&udp(A.octets(), 5000, STRANGER, 53, b"control"));
        let translated = udp(HOST.octets(), 5000, STRANGER, 53, b"control").ttl(63);
        self.outside.gets(&translated);
        assert_eq!(self.outside.others(), [""; 0]);
    }
}

/// The packet is dropped for `reason`, the only one.
fn is_dropped(packet: &Datagram, reason: DropReason) {
    let probe = Probe::new();
    probe.a.send(packet);
    wait::until(reason.as_str(), || probe.world.dropped(reason) == 1);
    probe.control();
    assert_eq!(
        probe.world.drops().into_iter().collect::<Vec<_>>(),
        [(reason.as_str(), 1)]
    );
    // It has left no flow behind either: the control's is the only one.
    assert_eq!(probe.world.run(&["ct", "list"]).lines().count(), 1);
}

#[test]
fn a_stray_reset_does_not_leak() {
    is_dropped(
        &tcp(A.octets(), 40_000, STRANGER, 80, RST),
        DropReason::TcpNotSyn,
    );
}

#[test]
fn a_stray_syn_ack_does_not_leak() {
    is_dropped(
        &tcp(A.octets(), 40_000, STRANGER, 80, SYN_ACK),
        DropReason::TcpNotSyn,
    );
}

/// It is translated like any other, and stays as wrong as it was: checking is the receiver's.
#[test]
fn udp_with_a_bad_checksum_does_not_leak() {
    let probe = Probe::new();
    let spoil = |mut packet: Datagram| {
        // One's complement: a bit flipped here is the same error before and after.
        packet.l4[8] ^= 0x40;
        packet
    };
    probe
        .a
        .send(&spoil(udp(A.octets(), 40_000, STRANGER, 53, b"question")));
    let translated = udp(HOST.octets(), 40_000, STRANGER, 53, b"question").ttl(63);
    probe.outside.gets(&spoil(translated));
    probe.control();
    assert!(probe.world.drops().is_empty(), "{:?}", probe.world.drops());
}

#[test]
fn udp_that_says_to_be_longer_does_not_leak() {
    let mut packet = udp(A.octets(), 40_000, STRANGER, 53, b"question");
    packet.l4[4..6].copy_from_slice(&100u16.to_be_bytes());
    is_dropped(&packet, DropReason::BadL4Header);
}

#[test]
fn udp_without_its_whole_header_does_not_leak() {
    let mut packet = udp(A.octets(), 40_000, STRANGER, 53, b"question");
    packet.l4.truncate(7);
    is_dropped(&packet, DropReason::Truncated);
}

#[test]
fn tcp_without_a_flag_does_not_leak() {
    is_dropped(
        &tcp(A.octets(), 40_000, STRANGER, 80, 0),
        DropReason::BadL4Header,
    );
}

#[test]
fn an_unmatched_icmp_error_does_not_leak() {
    let about = udp(STRANGER, 53, A.octets(), 40_000, b"answer");
    is_dropped(
        &error(A.octets(), STRANGER, 3, 3, &about, 8),
        DropReason::IcmpErrorUnmatched,
    );
}
