//! Where published ranges begin: the nearest start at or below a port, in constant time.
//!
//! Owns the bitmap of one protocol. What begins at a start is the map of published ports' matter.
//!
//! A range is one entry of that map, keyed by its first port. A search through ranges would cost more
//! the more there are, and an entry a port what the range is wide; a bit a start costs two reads.

use bytemuck::{Pod, Zeroable};

use crate::tuple;

/// Words of the bitmap of one protocol.
pub const START_WORDS: usize = 1024;
/// Words of the level above.
const GROUPS: usize = START_WORDS / 64;

/// The first ports of all published ranges of one protocol, whatever their address and family.
///
/// Two levels above the bits say where a word or a group of words is not zero, so a search looks at
/// one word of each at most. User space adds the bits before the levels and takes them away after, so
/// that a search meanwhile finds every other start.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Starts {
    /// Bit `p & 63` of word `p >> 6`: a range begins at port `p`.
    bits: [u64; START_WORDS],
    /// Bit `w & 63` of word `w >> 6`: word `w` of `bits` is not zero.
    words: [u64; GROUPS],
    /// Bit `g`: word `g` of `words` is not zero.
    groups: u64,
}

impl Default for Starts {
    fn default() -> Self {
        Self::zeroed()
    }
}

/// [`Starts::at_or_below`] where there is none.
pub const NO_START: u32 = u32::MAX;

/// The number of the highest bit that is set; of 0 something below 64.
#[inline(always)]
const fn highest(word: u64) -> u32 {
    63 & 63u32.wrapping_sub(word.leading_zeros())
}

/// The bits below bit `n`, which is below 64.
#[inline(always)]
const fn below(n: u32) -> u64 {
    (1u64 << (n & 63)) - 1
}

/// An index below `n`, a power of two, which it is already: the compiler knows that and would leave it
/// out, and the kernel's verifier does not.
#[inline(always)]
fn bounded(index: u32, n: usize) -> u32 {
    core::hint::black_box(index) & (n as u32 - 1)
}

#[inline(always)]
fn word(of: &[u64], n: u32) -> u64 {
    of.get(n as usize).copied().unwrap_or(0)
}

impl Starts {
    /// The highest start that is not above `port`, or [`NO_START`].
    #[inline(always)]
    #[must_use]
    pub fn at_or_below(&self, port: u16) -> u32 {
        let port = u32::from(port);
        let w = port >> 6;
        let upto = below(port & 63) | 1u64 << (port & 63);
        let own = word(&self.bits, w) & upto;
        if own != 0 {
            return w << 6 | highest(own);
        }
        let g = w >> 6;
        let near = word(&self.words, g) & below(w & 63);
        let w = if near != 0 {
            g << 6 | highest(near)
        } else {
            let groups = self.groups & below(g);
            if groups == 0 {
                return NO_START;
            }
            let g = bounded(highest(groups), GROUPS);
            g << 6 | highest(word(&self.words, g))
        };
        let w = bounded(w, START_WORDS);
        w << 6 | highest(word(&self.bits, w))
    }

    /// Whether a range begins at `port`.
    #[must_use]
    pub fn has(&self, port: u16) -> bool {
        word(&self.bits, u32::from(port) >> 6) >> (port & 63) & 1 != 0
    }

    /// Adds a start, levels and all.
    pub fn insert(&mut self, port: u16) {
        let w = usize::from(port >> 6);
        if let Some(bits) = self.bits.get_mut(w) {
            *bits |= 1 << (port & 63);
        }
        if let Some(words) = self.words.get_mut(w >> 6) {
            *words |= 1 << (w & 63);
        }
        self.groups |= 1 << (w >> 6);
    }

    /// With the bits of these starts and the levels of those: what the map holds between two writes,
    /// see [`Starts`].
    #[must_use]
    pub fn with_levels_of(&self, levels: &Self) -> Self {
        Self {
            bits: self.bits,
            ..*levels
        }
    }

    /// Whether this has every start that `other` has.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        self.bits.iter().zip(&other.bits).all(|(a, b)| b & !a == 0)
    }

    /// With the starts of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = *self;
        let words = all.bits.iter_mut().chain(&mut all.words);
        for (a, b) in words.zip(other.bits.iter().chain(&other.words)) {
            *a |= b;
        }
        all.groups |= other.groups;
        all
    }
}

impl FromIterator<u16> for Starts {
    fn from_iter<I: IntoIterator<Item = u16>>(ports: I) -> Self {
        let mut starts = Self::default();
        ports.into_iter().for_each(|p| starts.insert(p));
        starts
    }
}

/// Where the starts of a protocol live in the map; `None` for protocols without ports.
#[inline(always)]
#[must_use]
pub const fn starts_index(proto: u8) -> Option<u32> {
    match proto {
        tuple::TCP => Some(0),
        tuple::UDP => Some(1),
        tuple::SCTP => Some(2),
        _ => None,
    }
}

/// Protocols that have starts.
pub const START_PROTOCOLS: usize = 3;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn naive(starts: &BTreeSet<u16>, port: u16) -> u32 {
        let last = starts.range(..=port).next_back();
        last.map_or(NO_START, |p| u32::from(*p))
    }

    fn compare(set: &BTreeSet<u16>) {
        let starts: Starts = set.iter().copied().collect();
        for port in 0..=u16::MAX {
            assert_eq!(starts.at_or_below(port), naive(set, port), "port {port}");
            assert_eq!(starts.has(port), set.contains(&port));
        }
    }

    #[test]
    fn every_port_of_telling_sets() {
        compare(&BTreeSet::new());
        compare(&(0..=u16::MAX).collect());
        for port in [0, 1, 63, 64, 4095, 4096, 4097, 8191, 65_535] {
            compare(&BTreeSet::from([port]));
            compare(&BTreeSet::from([port, 65_535]));
            compare(&BTreeSet::from([0, port]));
        }
        compare(&(0..=u16::MAX).step_by(64).collect());
        compare(&(63..=u16::MAX).step_by(4096).collect());
    }

    proptest! {
        #[test]
        fn the_nearest_start_is_a_naive_search_s(
            set in prop_oneof![
                prop::collection::btree_set(any::<u16>(), 0..6),
                prop::collection::btree_set(any::<u16>(), 0..300),
                prop::collection::btree_set(4000..4300u16, 0..30),
            ],
            ports in prop::collection::vec(any::<u16>(), 64),
        ) {
            let starts: Starts = set.iter().copied().collect();
            let near = set.iter().flat_map(|s| [s.wrapping_sub(1), *s, s.wrapping_add(1)]);
            for port in ports.into_iter().chain(near) {
                prop_assert_eq!(starts.at_or_below(port), naive(&set, port));
            }
        }

        /// Between two writes every port finds the start that it had, or the one that it will have.
        #[test]
        fn a_search_in_the_middle_of_a_change_finds_a_start_that_stays(
            stay in prop::collection::btree_set(any::<u16>(), 0..40),
            change in prop::collection::btree_set(any::<u16>(), 0..40),
        ) {
            let few: Starts = stay.iter().copied().collect();
            let all = few.union(&change.iter().copied().collect());
            prop_assert!(all.holds(&few));
            // Added: bits, then levels. Removed: levels, then bits. Between them the same stands.
            let between = all.with_levels_of(&few);
            let both: BTreeSet<u16> = stay.union(&change).copied().collect();
            let ports: Vec<u16> = both.iter().flat_map(|p| vec![*p, p.wrapping_add(1)]).collect();
            for port in ports.into_iter().chain([0, u16::MAX]) {
                let found = between.at_or_below(port);
                let (before, after) = (naive(&stay, port), naive(&both, port));
                let is_start = u16::try_from(found).is_ok_and(|f| both.contains(&f));
                // Every range that stays and holds the port has an entry at each start from its own on.
                let near = (before == NO_START || before <= found) && found <= after && is_start;
                prop_assert!(
                    found == before || near,
                    "{} for {}: between {} and {}", found, port, before, after
                );
            }
        }
    }
}
