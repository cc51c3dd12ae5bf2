//! Several endpoints behind one published port: which of them a flow goes to.
//!
//! Owns the choice. It is rendezvous hashing: of all backends the one whose hash with the flow's place
//! is the highest, so that a backend that comes or goes moves its own share only. A table has the
//! choice for each place, and the cost of a flow does not depend on how many backends there are; the
//! hashes are compared only where the one in the table cannot be had. Both ways agree, so a backend
//! whose host side died is left out the same whether user space has noticed or not.

use bytemuck::{Pod, Zeroable};

use crate::addr::Addr;

/// Backends of one published port.
pub const MAX_BACKENDS: usize = 16;
/// Places of [`Backends::table`]: a power of two.
pub const PLACES: usize = 1024;
/// In [`Backends::table`]: there is no backend.
pub const NO_BACKEND: u8 = u8::MAX;

/// One endpoint of several. A free place has `endpoint` 0.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Backend {
    /// Slot of the endpoint.
    pub endpoint: u16,
    /// Slot of its own rule: a flow depends on this one alone.
    pub rule: u16,
    /// The container's port for the first port of the range.
    pub port: u16,
    /// Always zero.
    pub zero: u16,
}

/// The backends of a published port, by group in `np_backends`.
///
/// A backend keeps its index as long as it is there.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Backends {
    /// By index.
    pub list: [Backend; MAX_BACKENDS],
    /// By place: the index that [`choose`] gives among those that are there.
    pub table: [u8; PLACES],
}

impl Default for Backends {
    fn default() -> Self {
        Self {
            list: [Backend::default(); MAX_BACKENDS],
            table: [NO_BACKEND; PLACES],
        }
    }
}

/// Mixes every bit into every other (finalizer of MurmurHash3, Appleby).
#[inline(always)]
const fn mix(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ h >> 16
}

/// The place of a flow, by its client and what that asked for.
#[inline(always)]
#[must_use]
pub fn place_of<A: Addr>(src: &A, sport: u16, dst: &A, dport: u16) -> u32 {
    let ports = u32::from(sport) << 16 | u32::from(dport);
    let ends = mix(src.mixed()).wrapping_add(dst.mixed());
    mix(mix(ends) ^ ports) & (PLACES as u32 - 1)
}

/// How much the backend at `index` wants the flows of a place.
#[inline(always)]
#[must_use]
pub const fn claim(place: u32, index: u32) -> u32 {
    // The index makes the last bits, so that no two claims are the same.
    mix(place << 8 | index & 0xff) & !0xff | index & 0xff
}

/// The index of the backend for a place, among those whose bit is set; [`NO_BACKEND`] for none.
#[must_use]
pub fn choose(place: u32, among: u16) -> u8 {
    let there = (0..MAX_BACKENDS as u8).filter(|i| among >> i & 1 != 0);
    there
        .max_by_key(|i| claim(place, u32::from(*i)))
        .unwrap_or(NO_BACKEND)
}

impl Backends {
    /// Those that are there, by the bit of their index.
    #[must_use]
    pub fn there(&self) -> u16 {
        let bits = self.list.iter().enumerate();
        bits.fold(0, |all, (i, b)| all | u16::from(b.endpoint != 0) << i)
    }

    /// Makes the table that belongs to the list.
    pub fn fill(&mut self) {
        let there = self.there();
        for (place, index) in (0..).zip(&mut self.table) {
            *index = choose(place, there);
        }
    }

    /// The backend at an index; a free place for an index out of range.
    #[inline(always)]
    #[must_use]
    pub fn at(&self, index: u32) -> Backend {
        self.list.get(index as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn backends(there: u16) -> Backends {
        let mut b = Backends::default();
        for (i, place) in b.list.iter_mut().enumerate() {
            place.endpoint = if there >> i & 1 == 0 { 0 } else { 7 };
        }
        b.fill();
        b
    }

    #[test]
    fn shares_are_even_within_bounds() {
        for n in 1..=MAX_BACKENDS as u32 {
            let b = backends((1u32 << n).wrapping_sub(1) as u16);
            for index in 0..n {
                let share = b.table.iter().filter(|i| u32::from(**i) == index).count();
                let even = PLACES as f64 / f64::from(n);
                // Four standard deviations of a binomial distribution.
                let off = 4.0 * (even * (1.0 - 1.0 / f64::from(n))).sqrt();
                assert!(
                    (share as f64 - even).abs() <= off,
                    "{index} of {n}: {share}"
                );
            }
        }
        assert!(backends(0).table.iter().all(|i| *i == NO_BACKEND));
    }

    #[test]
    fn clients_are_spread_over_all_places() {
        let mut seen = [0u32; PLACES];
        for client in 0..64u8 {
            for sport in 32_768..33_792 {
                let place = place_of(&[198, 51, 100, client], sport, &[192, 0, 2, 1], 8080);
                seen[place as usize] += 1;
            }
        }
        // 64 a place; six standard deviations.
        assert!(seen.iter().all(|n| (16..=112).contains(n)), "{seen:?}");
        let one = place_of(&[0xfd; 16], 1, &[0x20; 16], 2);
        assert_eq!(one, place_of(&[0xfd; 16], 1, &[0x20; 16], 2));
        assert_ne!(one, place_of(&[0xfd; 16], 3, &[0x20; 16], 2));
    }

    proptest! {
        /// Nothing moves but what belongs to the backend that comes or goes.
        #[test]
        fn movement_is_minimal(there in any::<u16>(), which in 0..MAX_BACKENDS) {
            let (without, with) = (there & !(1 << which), there | 1 << which);
            let (a, b) = (backends(without), backends(with));
            for place in 0..PLACES {
                let (before, after) = (a.table[place], b.table[place]);
                prop_assert!(before == after || usize::from(after) == which);
            }
        }

        /// The table is the choice, and the choice is one of those that are there.
        #[test]
        fn the_table_is_the_choice(there in any::<u16>(), place in 0..PLACES as u32) {
            let index = backends(there).table[place as usize];
            prop_assert_eq!(index, choose(place, there));
            if there == 0 {
                prop_assert_eq!(index, NO_BACKEND);
            } else {
                prop_assert!(there >> index & 1 != 0);
            }
        }
    }
}
