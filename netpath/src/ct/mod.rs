//! Connection tracking as users see it: listing, counting, removing.
//!
//! Owns reading the conntrack table and pairing its entries. Deletes nothing itself: the datapath
//! alone decides what is expired and removes flows (see [`collect`]).

mod args;
pub mod collect;
mod filter;
mod format;
#[cfg(test)]
mod testing;

use std::collections::HashMap;

use netpath_common::{
    Tuple,
    conntrack::{
        CtEntry, STATE_ASSURED, STATE_CLAIMED, STATE_SEEN_REPLY,
        timeout::{is_udp_stream, lifetime_ns},
    },
    maps,
    records::Timeouts,
    tuple::{TCP, UDP},
};

pub use self::{
    args::{Args, run},
    collect::flush,
    filter::{Filter, NatFilter},
};
use crate::bpf::{Batches, Datapath, Error, coarse_now};

/// Entries that one system call reads.
const BATCH: usize = 4096;

/// A tracked connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Tuple of the original direction, the key of the index.
    pub tuple: Tuple,
    /// Tuple that answers arrive with, the key of the record.
    pub reply: Tuple,
    /// The record.
    pub record: CtEntry,
    /// The index, unless it is gone.
    pub index: Option<CtEntry>,
}

impl Flow {
    /// When the last packet of either direction was seen.
    #[must_use]
    pub fn last_seen(&self) -> u64 {
        self.record
            .stamp
            .max(self.index.map_or(0, |index| index.stamp))
    }

    /// How long the flow still lives without packets; 0 when it is expired.
    #[must_use]
    pub fn remaining_ns(&self, t: &Timeouts, now: u64) -> u64 {
        let CtEntry { state, created, .. } = self.record;
        let last = self.last_seen();
        let lifetime = lifetime_ns(t, self.tuple.proto, state, created, last);
        lifetime.saturating_sub(now.saturating_sub(last))
    }

    /// Whether an answer has been seen.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.record.state & STATE_SEEN_REPLY != 0
    }

    /// What conntrack calls ASSURED.
    #[must_use]
    pub fn is_assured(&self) -> bool {
        let CtEntry { state, created, .. } = self.record;
        match self.tuple.proto {
            TCP => state & STATE_ASSURED != 0,
            UDP => is_udp_stream(state, created, self.last_seen()),
            _ => false,
        }
    }

    /// The line that `conntrack -L` would print.
    #[must_use]
    pub fn line(&self, t: &Timeouts, now: u64) -> String {
        format::plain_line(self, t, now)
    }
}

/// Every flow that is neither expired nor being removed, ordered by tuple.
///
/// # Errors
/// If the table cannot be read.
pub fn flows(dp: &Datapath) -> Result<Vec<Flow>, Error> {
    let timeouts = dp.config()?.timeouts;
    let mut entries = Vec::new();
    let mut batches = Batches::<Tuple, CtEntry>::new(dp, maps::CT4, BATCH)?;
    while let Some((keys, values)) = batches.next()? {
        entries.extend(keys.iter().copied().zip(values.iter().copied()));
    }
    let now = coarse_now()?;
    let mut found = pair(entries);
    found.retain(|flow| {
        flow.record.state & STATE_CLAIMED == 0 && flow.remaining_ns(&timeouts, now) > 0
    });
    Ok(found)
}

/// Puts records and indexes together; an index whose record is gone belongs to no flow.
fn pair(entries: Vec<(Tuple, CtEntry)>) -> Vec<Flow> {
    let (records, indexes): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .partition(|(_, entry)| entry.is_record());
    let indexes: HashMap<_, _> = indexes.into_iter().collect();
    let mut flows: Vec<_> = records
        .into_iter()
        .map(|(reply, record)| {
            let tuple = record.other_key(&reply);
            Flow {
                tuple,
                reply,
                record,
                index: indexes.get(&tuple).copied(),
            }
        })
        .collect();
    flows.sort_by_key(|f| {
        let t = f.tuple;
        (t.proto, t.src, t.dst, t.sport, t.dport)
    });
    flows
}

#[cfg(test)]
mod tests {
    use super::{
        testing::{NOW, echo, entries, masqueraded},
        *,
    };

    #[test]
    fn entries_pair_up_whatever_their_order() {
        let (a, b) = (masqueraded(), echo());
        let mut all = [entries(&a), entries(&b)].concat();
        assert_eq!(pair(all.clone()), [b, a]);
        all.reverse();
        assert_eq!(pair(all.clone()), [b, a]);
        all.retain(|(_, entry)| entry.is_record());
        assert!(pair(all).iter().all(|flow| flow.index.is_none()));
        assert_eq!(
            pair(entries(&a)[1..].to_vec()).len() + pair(entries(&a)[..1].to_vec()).len(),
            1
        );
    }

    #[test]
    fn the_later_direction_keeps_a_flow_alive() {
        let mut flow = masqueraded();
        let t = Timeouts::KERNEL;
        assert!(flow.remaining_ns(&t, NOW) > 0);
        flow.record.stamp = 0;
        assert!(flow.remaining_ns(&t, NOW) > 431_000_000_000_000);
        assert_eq!(
            flow.remaining_ns(&t, flow.last_seen() + 432_000_000_000_000),
            0
        );
    }
}
