//! Connection tracking as users see it: listing, counting, removing.
//!
//! Owns what a flow is to them. Deletes nothing itself: the datapath alone decides what is expired
//! and removes flows (see [`collect`]). The table may hold millions of flows, so nothing here reads
//! it into memory as a whole. There is a table of each family of addresses.

mod args;
pub mod collect;
mod filter;
mod flush;
mod format;
mod get;
mod program;
mod read;
#[cfg(test)]
mod testing;

use netpath_common::{
    Tuple, V4,
    conntrack::{
        CtEntry, STATE_ASSURED, STATE_SEEN_REPLY,
        timeout::{is_udp_stream, lifetime_ns},
    },
    records::Timeouts,
    tuple::{TCP, UDP},
};

use crate::bpf::Family;

pub use self::{
    args::{Args, run},
    filter::{Filter, NatFilter},
    flush::{delete, flush},
    get::{AnyFlow, get},
    read::{count, count_of},
};
pub(crate) use self::{flush::end_outward, read::reply_ports};

/// A tracked connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow<A: Family = V4> {
    /// Tuple of the original direction, the key of the index.
    pub tuple: Tuple<A>,
    /// Tuple that answers arrive with, the key of the record.
    pub reply: Tuple<A>,
    /// The record.
    pub record: CtEntry<A>,
    /// The index, unless it is gone.
    pub index: Option<CtEntry<A>>,
}

impl<A: Family> Flow<A> {
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

#[cfg(test)]
mod tests {
    use super::{
        testing::{NOW, masqueraded},
        *,
    };

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
