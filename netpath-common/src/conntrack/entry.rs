//! The conntrack record: what one direction of a flow is translated to, and its state.
//!
//! Owns the 64-byte layout of the values of `np_ct4` and every access to fields that change while
//! other processors look. A flow is two entries: the *record*, keyed by the tuple that answers
//! arrive with, and the *index*, keyed by the tuple of the original direction. State lives once,
//! in the record; each entry has its own rewrite, stamp and counters.

use bytemuck::{Pod, Zeroable};

use super::tcp::TcpState;
use crate::{
    addr::{Addr, V4, V6},
    tuple::Tuple,
};

/// Set in [`CtEntry::flags`] of the record (reply direction).
pub const FLAG_RECORD: u8 = 1;
/// Set in [`CtEntry::flags`]: packets of this direction that cannot change the state skip the record.
pub const FLAG_STEADY: u8 = 2;

/// Set in [`CtEntry::flags`] of the record: the flow counts at its binding.
pub const FLAG_BOUND: u8 = 4;
/// Bits of [`CtEntry::flags`] of a bound flow's record that tell its binding from later ones of the same
/// inside: see [`life_of`].
pub const FLAG_LIFE_MASK: u8 = 0xf8;

/// The bits of [`FLAG_LIFE_MASK`] for a binding of this generation. One that is made anew has another
/// generation, unless nothing used the last one any more.
#[inline(always)]
#[must_use]
pub const fn life_of(generation: u32) -> u8 {
    (generation as u8) << FLAG_LIFE_MASK.trailing_zeros()
}

/// Bits of the state word that hold the [`TcpState`].
pub const STATE_TCP_MASK: u32 = 0x0f;
/// A packet of the reply direction has been seen.
pub const STATE_SEEN_REPLY: u32 = 0x10;
/// TCP: the handshake was completed (conntrack's ASSURED).
pub const STATE_ASSURED: u32 = 0x20;
/// TCP: picked up in the middle and not answered yet.
pub const STATE_PICKUP: u32 = 0x40;
/// Claimed for removal: whoever set it deletes both entries, everyone else sees a miss.
pub const STATE_CLAIMED: u32 = 0x80;
/// Random bits that tell one life of a hash slot from the next.
pub const STATE_SALT_MASK: u32 = 0xffff_ff00;

/// One direction of a flow: the value of `np_ct4`, 64 bytes, and of `np_ct6`.
///
/// The kernel puts 48 bytes before a key of 16, and elements end to end in page-aligned memory: an
/// element is two cache lines, and the value is the second one exactly. Of IPv6 the key has 40 bytes,
/// the value 104, and an element is three lines.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CtEntry<A: Addr = V4> {
    /// Source address after translation.
    pub src: A,
    /// Destination address after translation.
    pub dst: A,
    /// Source port (or ICMP identifier) after translation, host order.
    pub sport: u16,
    /// Destination port (or ICMP identifier) after translation, host order.
    pub dport: u16,
    /// Slot of the endpoint that packets of this direction come from, 0 for the outside.
    pub from: u16,
    /// Slot of the endpoint that packets of this direction go to, 0 for the outside.
    pub to: u16,
    /// Slot of the publishing rule that made the flow, 0 for none.
    pub rule: u16,
    /// Slot of the uplink that the flow uses, 0 for none.
    pub uplink: u8,
    /// `FLAG_*`.
    pub flags: u8,
    /// `STATE_*`. In the index only the salt is meaningful.
    pub state: u32,
    /// Sum of the generations of both endpoints, uplink and rule when the flow was made.
    pub generation: u32,
    /// When the flow was made: coarse monotonic clock in units of [`CREATED_UNIT_NS`]. Wraps after 52
    /// days, see [`age_ns`].
    pub created: u32,
    /// When the last packet of this direction was seen: coarse monotonic clock, nanoseconds.
    pub stamp: u64,
    /// Packets of this direction; of the index of a binding the number of its flows.
    pub packets: u64,
    /// Bytes of this direction, by frame length.
    pub bytes: u64,
    /// TCP: the highest acknowledgement number that this direction has sent, 0 for none yet.
    pub max_ack: u32,
    /// TCP: the sequence number that follows the last segment of this direction.
    pub end: u32,
    /// Always zero.
    pub pad: A::Pad,
}

// SAFETY: all zero is a valid value of every field.
unsafe impl<A: Addr> Zeroable for CtEntry<A> {}
// SAFETY: `repr(C)`, every field is `Pod`, and the sizes asserted below leave no room for padding.
unsafe impl<A: Addr> Pod for CtEntry<A> {}

const _: () = assert!(size_of::<CtEntry>() == 64);
const _: () = assert!(size_of::<CtEntry<V6>>() == 104);
const _: () = assert!(crate::maps::MAX_UPLINKS <= 256);

/// Unit of [`CtEntry::created`], nanoseconds: a power of two, finer than the coarse clock.
pub const CREATED_UNIT_NS: u64 = 1 << 20;

/// A time before [`CtEntry::created`] by up to this many units counts as the same time.
const EARLY_UNITS: u32 = 1000;

/// The time `now` (nanoseconds) as [`CtEntry::created`] holds it.
#[inline(always)]
#[must_use]
pub const fn created_at(now: u64) -> u32 {
    (now / CREATED_UNIT_NS) as u32
}

/// Nanoseconds from `created` to the time `at` (nanoseconds), in steps of [`CREATED_UNIT_NS`]; begins
/// again after 52 days.
#[inline(always)]
#[must_use]
pub const fn age_ns(created: u32, at: u64) -> u64 {
    let units = created_at(at).wrapping_sub(created);
    // A packet that another processor took in hand just before the flow was made.
    if units > u32::MAX - EARLY_UNITS {
        return 0;
    }
    units as u64 * CREATED_UNIT_NS
}

impl<A: Addr> CtEntry<A> {
    /// The tuple of a packet of this direction after translation. `seen` is the entry's key.
    #[inline(always)]
    #[must_use]
    pub fn translated(&self, seen: &Tuple<A>) -> Tuple<A> {
        Tuple {
            src: self.src,
            dst: self.dst,
            sport: self.sport,
            dport: self.dport,
            proto: seen.proto,
            icmp_type: seen.icmp_type,
            zero: 0,
        }
    }

    /// The key of the other direction's entry. `seen` is the entry's key.
    #[inline(always)]
    #[must_use]
    pub fn other_key(&self, seen: &Tuple<A>) -> Tuple<A> {
        self.translated(seen).inverse()
    }

    /// Whether this is the record (reply direction) of its flow.
    #[inline(always)]
    #[must_use]
    pub const fn is_record(&self) -> bool {
        self.flags & FLAG_RECORD != 0
    }

    /// TCP state of a record.
    #[inline(always)]
    #[must_use]
    pub const fn tcp_state(&self) -> TcpState {
        TcpState::from_bits(self.state & STATE_TCP_MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_counts_from_creation_also_over_the_wrap() {
        const DAY: u64 = 86_400_000_000_000;
        let near = |a: u64, b: u64| a.abs_diff(b) < 2 * CREATED_UNIT_NS;
        for made in [0, 5 * DAY, 52 * DAY, 500 * DAY] {
            let created = created_at(made);
            for age in [0, 2_000_000_000, 51 * DAY] {
                assert!(near(age_ns(created, made + age), age), "{made} {age}");
            }
            assert_eq!(age_ns(created, made.saturating_sub(4_000_000)), 0);
        }
    }
}
