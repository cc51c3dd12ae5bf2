//! Fragments that follow their first one.
//!
//! Owns the record of what was done with a first fragment, and the check that no part of a datagram
//! is sent twice. What comes before its first fragment is [`super::hold`]'s.

use super::{Tables, generation, work::Work};
use crate::{
    packet::{Family, Rewrite},
    records::{FRAG_PARTS, FragKey, FragRecord},
};

/// [`FragRecord::out`] of a datagram whose first fragment has gone up the stack as it was.
pub(super) const VIA_STACK: u32 = u32::MAX;

impl<A: Family> Work<A> {
    /// The key of the packet's fragment record.
    #[inline(always)]
    pub(super) fn frag_key(&self) -> FragKey<A> {
        FragKey {
            src: self.ip.tuple.src,
            dst: self.ip.tuple.dst,
            id: self.ip.id,
            proto: self.ip.datagram_proto(),
            zero: [0; 3],
        }
    }

    /// Remembers what is done with the first fragment of a datagram.
    #[inline(never)]
    pub(super) fn remember<T: Tables<A = A>>(&self, t: &T, out: u32) {
        let mut record = FragRecord {
            stamp: self.now,
            src: self.to.src,
            dst: self.to.dst,
            to: self.to_endpoint,
            uplink: self.uplink,
            from: self.from_endpoint,
            rule: self.rule,
            generation: generation(
                t,
                self.from_endpoint,
                self.to_endpoint,
                self.uplink,
                self.rule,
            ),
            out,
            gateway: self.gateway,
            zero: [0; 4],
            seen: [[0; 2]; FRAG_PARTS],
        };
        let (from, to) = self.ip.part();
        record.seen[0] = [from, to];
        t.frag_insert(&self.frag_key(), &record);
    }

    /// Plans the translation of a fragment after the first as that of its first one; false where
    /// that is not known.
    ///
    /// `from_endpoint`: who sent it, 0 for the outside; a record of another origin does not count.
    #[inline(never)]
    pub(super) fn follow_first_fragment<T: Tables<A = A>>(
        &mut self,
        t: &T,
        from_endpoint: u16,
    ) -> bool {
        let Some(record) = t.frag(&self.frag_key()) else {
            return false;
        };
        let Some(config) = t.config() else {
            return false;
        };
        let lifetime = u64::from(config.timeouts.frag) * 1_000_000;
        if record.from != from_endpoint
            || self.now.saturating_sub(record.stamp) >= lifetime
            || generation(t, record.from, record.to, record.uplink, record.rule)
                != record.generation
        {
            return false;
        }
        self.to = Rewrite {
            src: record.src,
            dst: record.dst,
            sport: self.ip.tuple.sport,
            dport: self.ip.tuple.dport,
            hop: false,
        };
        self.from_endpoint = record.from;
        self.to_endpoint = record.to;
        self.uplink = record.uplink;
        self.rule = record.rule;
        self.out = record.out;
        self.gateway = record.gateway;
        self.via_stack = record.out == VIA_STACK;
        self.is_tail = true;
        true
    }
}

/// The search for a fragment's place among those seen. In memory, as [`crate::nat::Search`] is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    from: u16,
    to: u16,
    overlaps: u32,
    /// The piece that ends where this one begins; [`NONE`].
    before: u32,
    /// A free place; [`NONE`].
    free: u32,
}

const NONE: u32 = u32::MAX;

/// What a turn of the search is given.
struct Turn<'s, A> {
    record: &'s mut FragRecord<A>,
    part: &'s mut Part,
}

/// Notes which part of its datagram is sent on: 0, or 1 where it overlaps one that has been.
/// Subprograms of the kernel return one word.
#[inline(always)]
pub fn note_part<T: Tables>(t: &T, w: &mut Work<T::A>) -> u32 {
    let (from, to) = w.ip.part();
    let Some(record) = t.frag(&w.frag_key()) else {
        return 0;
    };
    w.part = Part {
        from,
        to,
        overlaps: 0,
        before: NONE,
        free: NONE,
    };
    let part = &mut w.part;
    let mut turn = Turn { record, part };
    t.repeat(FRAG_PARTS as u32, &mut turn, compare::<T::A>);
    let Turn { record, part } = turn;
    if part.overlaps != 0 {
        return 1;
    }
    if let Some(piece) = record.seen.get_mut(part.before as usize) {
        piece[1] = to;
    } else if let Some(piece) = record.seen.get_mut(part.free as usize) {
        *piece = [from, to];
    }
    0
}

/// Compares the fragment with one piece; 1 ends the search.
extern "C" fn compare<A>(i: u32, turn: *mut Turn<'_, A>) -> i64 {
    // SAFETY: `repeat` hands on the pointer that `note_part` gave it, and nobody else uses it.
    let Turn { record, part } = unsafe { &mut *turn };
    let Some([a, b]) = record.seen.get(i as usize).copied() else {
        return 1;
    };
    if a == b {
        part.free = i;
    } else if part.from < b && a < part.to {
        part.overlaps = 1;
        return 1;
    } else if b == part.from {
        part.before = i;
    }
    0
}
