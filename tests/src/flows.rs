//! Conntrack entries by the million.
//!
//! Owns the form of the flows that tests of scale put into the table themselves. They depend on no
//! endpoint, uplink or rule, so only time ends them.

use std::time::Duration;

use netpath::bpf::Datapath;
use netpath_common::{
    Tuple,
    conntrack::{CtEntry, FLAG_RECORD},
    tuple::UDP,
};

/// When the packets of a flow were seen last.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    /// Packets of the original direction.
    pub original: Duration,
    /// Packets of the reply direction.
    pub reply: Duration,
}

impl Age {
    /// Both directions at the same time.
    #[must_use]
    pub const fn of(age: Duration) -> Self {
        Self {
            original: age,
            reply: age,
        }
    }
}

/// The two entries of the unanswered UDP flow with this number, record first.
#[must_use]
pub fn flow(number: u32, age: Age) -> [(Tuple, CtEntry); 2] {
    // The source port has 16 bits of the number, the destination's address eight more.
    let original = Tuple {
        src: [172, 17, 0, 2],
        dst: [203, 0, 113, (number >> 16) as u8],
        sport: number as u16,
        dport: 53,
        proto: UDP,
        icmp_type: 0,
        zero: 0,
    };
    let outside = Tuple {
        src: [198, 51, 100, 1],
        ..original
    };
    let now = now_ns();
    let stamp = |age: Duration| now.saturating_sub(age.as_nanos() as u64);
    let created = stamp(age.original.max(age.reply));
    // One life of a slot, the same in both entries.
    let state = number.wrapping_add(1) << 8;
    let record = CtEntry {
        src: original.dst,
        dst: original.src,
        sport: original.dport,
        dport: original.sport,
        flags: FLAG_RECORD,
        state,
        stamp: stamp(age.reply),
        created,
        ..CtEntry::default()
    };
    let index = CtEntry {
        src: outside.src,
        dst: outside.dst,
        sport: outside.sport,
        dport: outside.dport,
        state,
        stamp: stamp(age.original),
        created,
        ..CtEntry::default()
    };
    [(outside.inverse(), record), (original, index)]
}

/// Writes the flows with these numbers.
///
/// # Panics
/// When the table does not take them.
pub fn insert(datapath: &Datapath, numbers: std::ops::Range<u32>, age: Age) {
    let (mut keys, mut entries) = (Vec::new(), Vec::new());
    for number in numbers {
        for (key, entry) in flow(number, age) {
            keys.push(key);
            entries.push(entry);
        }
        if keys.len() >= 8192 {
            datapath.write_flows(&keys, &entries).unwrap();
            keys.clear();
            entries.clear();
        }
    }
    datapath.write_flows(&keys, &entries).unwrap();
}

/// The datapath's clock, nanoseconds.
fn now_ns() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
    Duration::from(now).as_nanos() as u64
}
