//! Order statistics of measured times.
//!
//! Owns quantiles and the way from raw times to times net of an empty program.

use serde::Serialize;

/// How long something takes, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Stats {
    /// The shortest: closest to what the code costs, since disturbance only adds.
    pub min: f64,
    /// The median.
    pub median: f64,
    /// The first quartile.
    pub low: f64,
    /// The third quartile.
    pub high: f64,
}

impl Stats {
    /// Of times as they were measured.
    ///
    /// # Panics
    /// Without any time.
    #[must_use]
    pub fn raw(times: &[u32]) -> Self {
        let mut sorted: Vec<f64> = times.iter().copied().map(f64::from).collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            min: quantile(&sorted, 0.0),
            median: quantile(&sorted, 0.5),
            low: quantile(&sorted, 0.25),
            high: quantile(&sorted, 0.75),
        }
    }

    /// Of times net of those that an empty program took in the same rounds. Quartiles and median
    /// are those of the differences within a round; the minimum is the difference of the minima.
    ///
    /// # Panics
    /// Where the rounds of the two differ in number, or there are none.
    #[must_use]
    pub fn net(times: &[u32], empty: &[u32]) -> Self {
        assert_eq!(times.len(), empty.len(), "one empty run in each round");
        let mut sorted: Vec<f64> = times
            .iter()
            .zip(empty)
            .map(|(time, empty)| f64::from(*time) - f64::from(*empty))
            .collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            min: Self::raw(times).min - Self::raw(empty).min,
            median: quantile(&sorted, 0.5),
            low: quantile(&sorted, 0.25),
            high: quantile(&sorted, 0.75),
        }
    }
}

/// The value below which the part `q` of `sorted` lies, between neighbours by a straight line.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    assert!(!sorted.is_empty(), "nothing was measured");
    let at = q * (sorted.len() - 1) as f64;
    let low = sorted[at.floor() as usize];
    let high = sorted[at.ceil() as usize];
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_known_times() {
        let stats = Stats::raw(&[5, 1, 4, 2, 3]);
        assert_eq!(
            stats,
            Stats {
                min: 1.0,
                median: 3.0,
                low: 2.0,
                high: 4.0
            }
        );
        assert!((Stats::raw(&[1, 2]).median - 1.5).abs() < 1e-9);
    }

    #[test]
    fn net_is_within_a_round() {
        // The second round was disturbed as a whole: the difference is not.
        let stats = Stats::net(&[110, 210, 112], &[10, 110, 11]);
        assert_eq!(stats.median, 100.0);
        assert_eq!(stats.min, 100.0);
    }
}
