//! Conntrack entries by the million.
//!
//! Owns the form of flows that tests and benchmarks put into a table themselves. They depend on no
//! endpoint, uplink or rule, so only time ends them.

use crate::{
    conntrack::{CtEntry, FLAG_RECORD, created_at},
    tuple::{Tuple, UDP},
};

/// When the packets of a flow were seen last, nanoseconds of the datapath's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// In the original direction.
    pub original: u64,
    /// In the reply direction.
    pub reply: u64,
}

/// The two entries of the unanswered UDP flow with this number (24 bits), record first.
#[must_use]
pub fn numbered_flow(number: u32, seen: Seen) -> [(Tuple, CtEntry); 2] {
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
    let entry = |to: Tuple, stamp| CtEntry {
        src: to.src,
        dst: to.dst,
        sport: to.sport,
        dport: to.dport,
        // One life of a slot, the same in both entries.
        state: number.wrapping_add(1) << 8,
        stamp,
        created: created_at(seen.original.min(seen.reply)),
        ..CtEntry::default()
    };
    let record = CtEntry {
        flags: FLAG_RECORD,
        ..entry(original.inverse(), seen.reply)
    };
    [
        (outside.inverse(), record),
        (original, entry(outside, seen.original)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entries_of_a_flow_lead_to_each_other() {
        let seen = Seen {
            original: 1,
            reply: 2,
        };
        let [(reply, record), (original, index)] = numbered_flow(70_000, seen);
        assert_eq!(record.other_key(&reply), original);
        assert_eq!(index.other_key(&original), reply);
        assert!(record.is_record() && !index.is_record());
        assert_ne!(numbered_flow(70_001, seen)[0].0, reply);
        assert_ne!(numbered_flow(70_000 - 65_536, seen)[0].0, reply);
    }
}
