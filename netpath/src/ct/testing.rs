//! Flows for unit tests.
//!
//! Owns two example flows: a masqueraded TCP connection and an echo request.

use netpath_common::{
    Tuple,
    conntrack::{CtEntry, FLAG_RECORD, STATE_ASSURED, STATE_SEEN_REPLY, created_at, tcp::TcpState},
    tuple::{ICMP, ICMP_ECHO, TCP},
};

use super::Flow;

/// The time at which the examples are looked at.
pub(super) const NOW: u64 = 1_000_000_000_000;

const CONTAINER: [u8; 4] = [172, 17, 0, 2];
const UPLINK: [u8; 4] = [198, 51, 100, 1];
const OUTSIDE: [u8; 4] = [198, 51, 100, 2];

/// 172.17.0.2:40000 to 198.51.100.2:80, seen 0.9 s ago.
pub(super) fn masqueraded() -> Flow {
    let state = STATE_SEEN_REPLY | STATE_ASSURED | TcpState::Established as u32;
    flow(TCP, 0, 40_000, 80, state)
}

/// The same by ping.
pub(super) fn echo() -> Flow {
    flow(ICMP, ICMP_ECHO, 77, 77, STATE_SEEN_REPLY)
}

/// The two entries of a flow, record first.
pub(super) fn entries(flow: &Flow) -> Vec<(Tuple, CtEntry)> {
    let mut all = vec![(flow.reply, flow.record)];
    all.extend(flow.index.map(|index| (flow.tuple, index)));
    all
}

fn flow(proto: u8, icmp_type: u8, sport: u16, dport: u16, state: u32) -> Flow {
    let tuple = Tuple {
        src: CONTAINER,
        dst: OUTSIDE,
        sport,
        dport,
        proto,
        icmp_type,
        zero: 0,
    };
    let outside = Tuple {
        src: UPLINK,
        ..tuple
    };
    let created = created_at(NOW - 60_000_000_000);
    let stamp = NOW - 900_000_000;
    let index = CtEntry {
        src: UPLINK,
        dst: OUTSIDE,
        sport,
        dport,
        stamp,
        packets: 5,
        bytes: 500,
        created,
        ..CtEntry::default()
    };
    let record = CtEntry {
        src: OUTSIDE,
        dst: CONTAINER,
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
        reply: outside.inverse(),
        record,
        index: Some(index),
    }
}
