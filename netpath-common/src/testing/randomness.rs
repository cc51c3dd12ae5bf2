//! How well chosen ports can be guessed.
//!
//! Owns the statistics and their bounds. Each bound is seven standard deviations or more from what
//! independent, uniform draws give (a chi-square sum of n bins: n - 1, variance 2(n - 1)), so a good
//! generator fails less than once in a million runs.

use std::{collections::HashMap, format, string::String, vec::Vec};

/// Standard deviations that are chance.
const SIGMAS: f64 = 7.0;

/// Bins of a chi-square sum.
const BINS: usize = 64;

/// Bits of entropy that a port has to have at least.
const WANTED_BITS: f64 = 14.0;

/// The min-entropy is a lower estimate: 10,000 uniform draws come to 14 bits, give or take a third.
const MARGIN: f64 = 1.0;

/// What independent draws of ports look like.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Randomness {
    /// Collision entropy (Rényi's of order 2) in bits, by the pairs of equal draws.
    pub collision_bits: f64,
    /// Min-entropy of the best guess at the upper and at the lower eight bits, added up: the most
    /// common value estimate of NIST SP 800-90B, 6.3.1, a lower bound with 99 % confidence.
    pub min_bits: f64,
    /// The worst chi-square sum: of the upper bits, the lower bits, and the steps between draws.
    pub chi_square: f64,
    /// Correlation of each draw with the one before.
    pub correlation: f64,
    /// Draws that are the one before plus or minus one.
    pub neighbours: usize,
}

/// Measures draws of ports from `min` to `max`; the error says what is not random about them.
///
/// # Errors
/// The first bound that does not hold.
pub fn randomness(draws: &[u16], min: u16, max: u16) -> Result<Randomness, String> {
    if draws.len() < 100 * BINS {
        return Err(format!("{} draws are too few to tell", draws.len()));
    }
    if let Some(port) = draws.iter().find(|p| !(min..=max).contains(*p)) {
        return Err(format!("{port} is not one of {min} to {max}"));
    }
    let count = u32::from(max - min) + 1;
    let offsets: Vec<u32> = draws.iter().map(|p| u32::from(p - min)).collect();
    let bin = |offset: u32| (u64::from(offset) * BINS as u64 / u64::from(count)) as usize;
    let steps = offsets.windows(2).map(|w| (w[1] + count - w[0]) % count);
    let chi_square = [
        chi_square(offsets.iter().map(|o| bin(*o))),
        chi_square(offsets.iter().map(|o| *o as usize % BINS)),
        chi_square(steps.map(bin)),
    ]
    .into_iter()
    .fold(0.0, f64::max);
    let near = |w: &&[u16]| w[0].abs_diff(w[1]) == 1;
    let found = Randomness {
        collision_bits: collision_bits(&offsets),
        min_bits: min_bits(offsets.iter().map(|o| bin256(*o, count)))
            + min_bits(offsets.iter().map(|o| *o as usize % 256)),
        chi_square,
        correlation: correlation(&offsets),
        neighbours: draws.windows(2).filter(near).count(),
    };
    let n = draws.len() as f64;
    let dof = BINS as f64 - 1.0;
    let expected_neighbours = 2.0 * n / f64::from(count);
    let verdict = [
        (
            found.collision_bits >= WANTED_BITS.min(f64::from(count).log2() - 0.5),
            "too many equal ones",
        ),
        (
            found.min_bits >= WANTED_BITS - MARGIN,
            "one value is too common",
        ),
        (
            found.chi_square < dof + SIGMAS * (2.0 * dof).sqrt(),
            "not uniform",
        ),
        (found.correlation.abs() < SIGMAS / n.sqrt(), "correlated"),
        (
            (found.neighbours as f64)
                < expected_neighbours + SIGMAS * expected_neighbours.sqrt() + 2.0,
            "one follows the other",
        ),
    ];
    match verdict.iter().find(|(good, _)| !good) {
        Some((_, why)) => Err(format!("{why}: {found:?}")),
        None => Ok(found),
    }
}

/// One of 256 bins.
fn bin256(offset: u32, count: u32) -> usize {
    (u64::from(offset) * 256 / u64::from(count)) as usize
}

fn chi_square(bins: impl Iterator<Item = usize>) -> f64 {
    let mut seen = [0_u32; BINS];
    bins.for_each(|b| seen[b] += 1);
    let expected = f64::from(seen.iter().sum::<u32>()) / BINS as f64;
    let term = |n: &u32| (f64::from(*n) - expected).powi(2) / expected;
    seen.iter().map(term).sum()
}

fn collision_bits(draws: &[u32]) -> f64 {
    let mut times = HashMap::<u32, u64>::new();
    draws
        .iter()
        .for_each(|d| *times.entry(*d).or_default() += 1);
    let pairs = |n: u64| (n * (n - 1) / 2) as f64;
    let equal: f64 = times.values().map(|n| pairs(*n)).sum();
    (pairs(draws.len() as u64) / equal.max(1.0)).log2()
}

fn min_bits(values: impl Iterator<Item = usize>) -> f64 {
    let mut seen = [0_u32; 256];
    values.for_each(|v| seen[v] += 1);
    let n = f64::from(seen.iter().sum::<u32>());
    let most = f64::from(seen.iter().copied().max().unwrap_or(0)) / n;
    let upper = most + 2.576 * (most * (1.0 - most) / (n - 1.0)).sqrt();
    -upper.min(1.0).log2()
}

/// Pearson's coefficient of each draw and the next one.
fn correlation(draws: &[u32]) -> f64 {
    let mean = draws.iter().map(|d| f64::from(*d)).sum::<f64>() / draws.len() as f64;
    let off = |d: u32| f64::from(d) - mean;
    let both: f64 = draws.windows(2).map(|w| off(w[0]) * off(w[1])).sum();
    let one: f64 = draws.iter().map(|d| off(*d).powi(2)).sum();
    if one == 0.0 { 1.0 } else { both / one }
}

impl core::fmt::Display for Randomness {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "collision entropy {:.2} bits, min-entropy above {:.2} bits, chi-square {:.1} (63 degrees), \
             correlation {:.4}, neighbours {}",
            self.collision_bits, self.min_bits, self.chi_square, self.correlation, self.neighbours
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 10_000;

    /// splitmix64 (Vigna), upper half.
    fn random(n: u32) -> u32 {
        let z = u64::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as u32
    }

    fn verdict(draw: impl Fn(u32) -> u32) -> Result<Randomness, String> {
        let ports: Vec<u16> = (0..DRAWS)
            .map(|n| 1024 + (draw(n) % 64_512) as u16)
            .collect();
        randomness(&ports, 1024, 65_535)
    }

    #[test]
    fn good_draws_pass_and_bad_ones_do_not() {
        verdict(random).unwrap();
        for (what, draws) in [
            ("counted up", verdict(|n| n)),
            ("a constant step", verdict(|n| n.wrapping_mul(40_503))),
            ("runs of four", verdict(|n| random(n / 4) + n % 4)),
            ("even alone", verdict(|n| random(n) & !1)),
            ("half of the range", verdict(|n| random(n) % 32_256)),
            ("4,096 values", verdict(|n| random(random(n) % 4096))),
            (
                "one in ten the same",
                verdict(|n| if n % 10 == 0 { 7 } else { random(n) }),
            ),
            ("drawn twice", verdict(|n| random(n / 2))),
        ] {
            assert!(draws.is_err(), "{what}: {draws:?}");
        }
        assert!(randomness(&[1024; 10], 1024, 65_535).is_err(), "too few");
        assert!(randomness(&[80; 10_000], 1024, 65_535).is_err(), "outside");
    }
}
