//! Conntrack entries by the million.
//!
//! Owns putting them into a loaded table. Their form is [`netpath_common::testing`]'s.

use std::time::Duration;

use netpath::bpf::Datapath;
use netpath_common::{
    Tuple,
    conntrack::CtEntry,
    testing::{Seen, numbered_flow},
};

/// When the packets of a flow were seen last: seconds from now, less than 0 for the past. A flow
/// that is seen in an hour lives as long as any test.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    /// Packets of the original direction.
    pub original: i64,
    /// Packets of the reply direction.
    pub reply: i64,
}

impl Age {
    /// Both directions at the same time.
    #[must_use]
    pub const fn of(seconds: i64) -> Self {
        Self {
            original: seconds,
            reply: seconds,
        }
    }
}

/// The two entries of the unanswered UDP flow with this number, record first.
#[must_use]
pub fn flow(number: u32, age: Age) -> [(Tuple, CtEntry); 2] {
    let now = now_ns();
    let stamp = |seconds: i64| now.saturating_add_signed(seconds * 1_000_000_000);
    let seen = Seen {
        original: stamp(age.original),
        reply: stamp(age.reply),
    };
    numbered_flow(number, seen)
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
