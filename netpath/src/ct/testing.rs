//! Flows for unit tests.
//!
//! Owns two example flows of each family: a masqueraded TCP connection and an echo request.

use netpath_common::{
    Tuple, V4, V6,
    conntrack::{CtEntry, FLAG_RECORD, STATE_ASSURED, STATE_SEEN_REPLY, created_at, tcp::TcpState},
    tuple::{ICMP, ICMP_ECHO, ICMPV6, ICMPV6_ECHO, TCP},
};

use super::Flow;
use crate::bpf::Family;

/// The time at which the examples are looked at.
pub(super) const NOW: u64 = 1_000_000_000_000;

/// Container, uplink and outside.
const HOSTS: [V4; 3] = [[172, 17, 0, 2], [198, 51, 100, 1], [198, 51, 100, 2]];
/// fd00:17::2, 2001:db8:1::10, 2001:db8:1::1.
const HOSTS6: [V6; 3] = [
    [0xfd, 0, 0, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
    [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10],
    [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
];
const ESTABLISHED: u32 = STATE_SEEN_REPLY | STATE_ASSURED | TcpState::Established as u32;

/// 172.17.0.2:40000 to 198.51.100.2:80, seen 0.9 s ago.
pub(super) fn masqueraded() -> Flow {
    flow(HOSTS, TCP, 0, (40_000, 80), ESTABLISHED)
}

/// The same by ping.
pub(super) fn echo() -> Flow {
    flow(HOSTS, ICMP, ICMP_ECHO, (77, 77), STATE_SEEN_REPLY)
}

/// [fd00:17::2]:40000 to [2001:db8:1::1]:80, seen 0.9 s ago.
pub(super) fn masqueraded6() -> Flow<V6> {
    flow(HOSTS6, TCP, 0, (40_000, 80), ESTABLISHED)
}

/// The same by ping.
pub(super) fn echo6() -> Flow<V6> {
    flow(HOSTS6, ICMPV6, ICMPV6_ECHO, (77, 77), STATE_SEEN_REPLY)
}

/// The two entries of a flow, record first.
pub(super) fn entries(flow: &Flow) -> Vec<(Tuple, CtEntry)> {
    let mut all = vec![(flow.reply, flow.record)];
    all.extend(flow.index.map(|index| (flow.tuple, index)));
    all
}

fn flow<A: Family>(
    [container, uplink, outside]: [A; 3],
    proto: u8,
    icmp_type: u8,
    (sport, dport): (u16, u16),
    state: u32,
) -> Flow<A> {
    let tuple = Tuple {
        src: container,
        dst: outside,
        sport,
        dport,
        proto,
        icmp_type,
        zero: 0,
    };
    let translated = Tuple {
        src: uplink,
        ..tuple
    };
    let created = created_at(NOW - 60_000_000_000);
    let stamp = NOW - 900_000_000;
    let index = CtEntry {
        src: uplink,
        dst: outside,
        sport,
        dport,
        stamp,
        packets: 5,
        bytes: 500,
        created,
        ..CtEntry::default()
    };
    let record = CtEntry {
        src: outside,
        dst: container,
        sport: dport,
        dport: sport,
        flags: FLAG_RECORD,
        state,
        stamp: stamp - 1,
        packets: 4,
        bytes: 4000,
        created,
        ..CtEntry::default()
    };
    Flow {
        tuple,
        reply: translated.inverse(),
        record,
        index: Some(index),
    }
}
