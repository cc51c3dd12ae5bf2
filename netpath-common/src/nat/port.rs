//! Which ports to try, in which order.
//!
//! Owns ranges and order of the search. The kernel tries runs of successive ports from random starts
//! (`nf_nat_l4proto_unique_tuple`, `net/netfilter/nf_nat_core.c`); here every try is random by
//! itself, so that nobody can tell a port from the one before it (RFC 6056), and so that taken ports
//! which lie side by side cost no more than others. A range of few ports is walked whole, from a
//! random start: its last free port is found.

use crate::tuple;

/// Tries after the preserved port. With nine ports out of ten taken they all fail once in 10^11.
pub(super) const TRIES: u32 = 240;

/// The ports among which a flow may be given another one. None: as [`Ports::class_of`] says.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ports {
    /// The lowest.
    pub min: u16,
    /// How many.
    pub count: u32,
}

impl Ports {
    /// From `min` to `max`, both among them; none where `max` is lower.
    #[inline(always)]
    #[must_use]
    pub const fn range(min: u16, max: u16) -> Self {
        Self {
            min,
            count: (max as u32 + 1).saturating_sub(min as u32),
        }
    }

    /// The ports of the same class as a preserved port (RFC 4787, REQ-3 a); identifiers of ICMP
    /// queries have one class.
    #[inline(always)]
    #[must_use]
    pub const fn class_of(proto: u8, port: u16) -> Self {
        match (proto, port) {
            (tuple::ICMP, _) => Self::range(0, 65_535),
            (_, 0..=511) => Self::range(1, 511),
            (_, 512..=1023) => Self::range(600, 1023),
            _ => Self::range(1024, 65_535),
        }
    }

    /// Whether a port is one of them.
    #[inline(always)]
    #[must_use]
    pub const fn holds(self, port: u16) -> bool {
        (port.wrapping_sub(self.min) as u32) < self.count
    }

    /// Whether there are so few that every one is tried.
    #[inline(always)]
    pub(super) const fn are_few(self) -> bool {
        self.count <= TRIES
    }

    /// The port at `offset` from the lowest, around.
    #[inline(always)]
    #[must_use]
    pub fn at(self, offset: u32) -> u16 {
        let offset = offset.checked_rem(self.count).unwrap_or(0);
        self.min.wrapping_add(offset as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_closed() {
        for (port, min, max) in [
            (80, 1, 511),
            (511, 1, 511),
            (512, 600, 1023),
            (700, 600, 1023),
            (1024, 1024, 65_535),
            (65_535, 1024, 65_535),
        ] {
            let p = Ports::class_of(tuple::TCP, port);
            assert_eq!(p.min, min);
            assert_eq!(u32::from(p.min) + p.count - 1, max);
            for offset in [0, 1, p.count - 1, p.count, u32::MAX] {
                assert!((u32::from(min)..=max).contains(&u32::from(p.at(offset))));
                assert!(p.holds(p.at(offset)));
            }
            assert!(!p.holds(min - 1));
        }
        assert_eq!(Ports::class_of(tuple::ICMP, 7).count, 65_536);
    }

    #[test]
    fn a_range_has_its_ends_and_may_be_empty() {
        let p = Ports::range(50_000, 50_063);
        assert_eq!(p.count, 64);
        assert!(p.are_few() && p.holds(50_000) && p.holds(50_063));
        assert!(!p.holds(49_999) && !p.holds(50_064));
        assert_eq!(Ports::range(0, 65_535).count, 65_536);
        assert_eq!(Ports::range(9, 8).count, 0);
        assert!(!Ports::default().holds(0));
    }
}
