//! Which ports to try, in which order.
//!
//! Owns ranges and schedule of the search: those of the kernel's `net/netfilter/nf_nat_core.c`
//! (`nf_nat_l4proto_unique_tuple`): the preserved port first, then 128, 64, 32 and 16 successive
//! ports, each run from a fresh random start, which does not fail below 90 % fill where a single
//! run or a few random tries do.

use crate::tuple;

/// Tries after the preserved port: 128 + 64 + 32 + 16.
pub(super) const TRIES: u32 = 240;

/// The ports among which a flow may be given another one: those of the same class (RFC 4787,
/// REQ-3 a).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ports {
    /// The lowest.
    pub min: u16,
    /// How many, at least 1.
    pub count: u32,
}

impl Ports {
    /// The class of a preserved port; identifiers of ICMP queries have one class.
    #[inline(always)]
    #[must_use]
    pub const fn class_of(proto: u8, port: u16) -> Self {
        match (proto, port) {
            (tuple::ICMP, _) => Self {
                min: 0,
                count: 65_536,
            },
            (_, 0..=511) => Self { min: 1, count: 511 },
            (_, 512..=1023) => Self {
                min: 600,
                count: 424,
            },
            _ => Self {
                min: 1024,
                count: 64_512,
            },
        }
    }

    /// The port at `offset` from the lowest, around.
    #[inline(always)]
    #[must_use]
    pub fn at(self, offset: u32) -> u16 {
        let offset = offset.checked_rem(self.count).unwrap_or(0);
        self.min.wrapping_add(offset as u16)
    }
}

/// Whether try number `i` (from 0) begins a run with a fresh random start.
#[inline(always)]
#[must_use]
pub(super) const fn starts_run(i: u32) -> bool {
    matches!(i, 0 | 128 | 192 | 224)
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
            }
        }
        assert_eq!(Ports::class_of(tuple::ICMP, 7).count, 65_536);
    }

    #[test]
    fn four_runs() {
        let starts: std::vec::Vec<u32> = (0..TRIES).filter(|i| starts_run(*i)).collect();
        assert_eq!(starts, [0, 128, 192, 224]);
    }
}
