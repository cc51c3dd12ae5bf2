//! Ratios between variants, and how sure they are.
//!
//! Owns the statistics: the ratio within a round, the median of the rounds, and a bootstrap
//! percentile interval of that median. What the values mean is `judge`'s business.
//!
//! The machine's speed drifts by more than the differences that are looked for, but little within a
//! round. So variants are compared round by round, and nothing is assumed about how the ratios are
//! distributed.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use statrs::statistics::{Data, OrderStatistics as _};
use thiserror::Error;

use crate::results::{Series, Slice};

/// Times that the rounds are drawn anew.
const RESAMPLES: usize = 10_000;

/// Part of the resampled medians that lies outside the interval, at each end: 95 % lie inside.
const TAIL: f64 = 0.025;

/// The same for every interval, so that a saved run always gives the same report.
const SEED: u64 = 0x6e65_7470_6174_6821;

/// A median with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// The median of the rounds.
    pub(crate) median: f64,
    /// Lower bound of the 95 % interval of the median.
    pub(crate) low: f64,
    /// Upper bound of the 95 % interval of the median.
    pub(crate) high: f64,
    /// Rounds that it rests on.
    pub(crate) rounds: usize,
}

impl Estimate {
    /// Whether the whole interval lies within these bounds.
    pub(crate) fn within(&self, low: f64, high: f64) -> bool {
        self.low >= low && self.high <= high
    }
}

/// Why two series do not compare.
#[derive(Debug, Error, PartialEq)]
pub(crate) enum StatsError {
    /// The rounds cannot be paired.
    #[error(
        "{measure} at {ports} ports: {subject} has {subject_rounds} rounds and {baseline} has \
         {baseline_rounds}; only rounds that ran side by side compare"
    )]
    Unpaired {
        /// The measure of both.
        measure: String,
        /// The published ports of the first.
        ports: u32,
        /// The first variant.
        subject: String,
        /// Its rounds.
        subject_rounds: usize,
        /// The second variant.
        baseline: String,
        /// Its rounds.
        baseline_rounds: usize,
    },
    /// Two series that mean different things.
    #[error(
        "{subject_measure} in {subject_unit} does not compare with {baseline_measure} in \
         {baseline_unit}"
    )]
    Unlike {
        /// The measure of the first.
        subject_measure: String,
        /// Its unit.
        subject_unit: String,
        /// The measure of the second.
        baseline_measure: String,
        /// Its unit.
        baseline_unit: String,
    },
    /// A value that no slice can have.
    #[error(
        "{measure} at {ports} ports, {variant}, round {round}: {value} is no measurement; a slice \
         without a single operation has to end the run"
    )]
    Impossible {
        /// The measure.
        measure: String,
        /// The published ports.
        ports: u32,
        /// The variant.
        variant: String,
        /// The round, from 0.
        round: usize,
        /// What was found there.
        value: f64,
    },
}

/// The median of a series' rates, with its interval; `None` without rounds.
pub(crate) fn rate(series: &Series) -> Result<Option<Estimate>, StatsError> {
    check(series, |slice| Some(slice.rate))?;
    let rates: Vec<f64> = series.rounds.iter().map(|slice| slice.rate).collect();
    Ok(estimate(&rates))
}

/// The median CPU time of one operation in nanoseconds; `None` where it was not measured in every
/// round.
pub(crate) fn cpu(series: &Series) -> Option<Estimate> {
    let times: Option<Vec<f64>> = series.rounds.iter().map(|slice| slice.cpu_ns).collect();
    estimate(&times?)
}

/// How many times better `subject` is than `baseline`: the median ratio of their rounds.
///
/// Above 1, `subject` is the better one, also where a smaller value is: such ratios are turned
/// over.
pub(crate) fn ratio(subject: &Series, baseline: &Series) -> Result<Option<Estimate>, StatsError> {
    paired(subject, baseline)?;
    check(subject, |slice| Some(slice.rate))?;
    check(baseline, |slice| Some(slice.rate))?;
    Ok(estimate(&times_better(subject, baseline)))
}

/// Round by round, how many times better `subject` is than `baseline`, whichever way its values count.
fn times_better(subject: &Series, baseline: &Series) -> Vec<f64> {
    let rounds = subject.rounds.iter().zip(&baseline.rounds);
    rounds
        .map(|(subject_slice, baseline_slice)| {
            if subject.higher_is_better {
                subject_slice.rate / baseline_slice.rate
            } else {
                baseline_slice.rate / subject_slice.rate
            }
        })
        .collect()
}

/// How one ratio compares with another, each of a series to its baseline: the median of their ratios
/// within a round. All four have to have run side by side.
pub(crate) fn ratio_of_ratios(
    (subject, baseline): (&Series, &Series),
    (other, its_baseline): (&Series, &Series),
) -> Result<Option<Estimate>, StatsError> {
    for series in [baseline, other, its_baseline] {
        paired(subject, series)?;
    }
    for series in [subject, baseline, other, its_baseline] {
        check(series, |slice| Some(slice.rate))?;
    }
    let rounds = times_better(subject, baseline);
    let rounds = rounds.iter().zip(times_better(other, its_baseline));
    let values: Vec<f64> = rounds.map(|(subject, other)| subject / other).collect();
    Ok(estimate(&values))
}

/// The CPU time of an operation of `subject` as a part of `baseline`'s: below 1, `subject` spends
/// less. `None` where it was not measured in every round of both.
pub(crate) fn cpu_ratio(
    subject: &Series,
    baseline: &Series,
) -> Result<Option<Estimate>, StatsError> {
    paired(subject, baseline)?;
    check(subject, |slice| slice.cpu_ns)?;
    check(baseline, |slice| slice.cpu_ns)?;
    let rounds = subject.rounds.iter().zip(&baseline.rounds);
    let ratios: Option<Vec<f64>> = rounds
        .map(|(subject, baseline)| Some(subject.cpu_ns? / baseline.cpu_ns?))
        .collect();
    Ok(ratios.as_deref().and_then(estimate))
}

/// The median of these values, with its bootstrap interval; `None` without values.
///
/// With a single value the interval is that value: nothing is known about its noise, which the
/// number of rounds tells the reader.
pub(crate) fn estimate(values: &[f64]) -> Option<Estimate> {
    bootstrap(values, RESAMPLES)
}

fn bootstrap(values: &[f64], resamples: usize) -> Option<Estimate> {
    let last = values.len().checked_sub(1)?;
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut drawn = vec![0.0; values.len()];
    let mut medians = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        for place in &mut drawn {
            // `u32` rather than `usize`: the draws are the same on every machine.
            let index = random.random_range(0..=u32::try_from(last).ok()?);
            *place = values[index as usize];
        }
        medians.push(Data::new(drawn.as_mut_slice()).median());
    }
    let mut medians = Data::new(medians);
    Some(Estimate {
        median: Data::new(values.to_vec()).median(),
        low: medians.quantile(TAIL),
        high: medians.quantile(1.0 - TAIL),
        rounds: values.len(),
    })
}

fn paired(subject: &Series, baseline: &Series) -> Result<(), StatsError> {
    if subject.unit != baseline.unit || subject.higher_is_better != baseline.higher_is_better {
        return Err(StatsError::Unlike {
            subject_measure: subject.measure.clone(),
            subject_unit: subject.unit.clone(),
            baseline_measure: baseline.measure.clone(),
            baseline_unit: baseline.unit.clone(),
        });
    }
    if subject.rounds.len() != baseline.rounds.len() {
        return Err(StatsError::Unpaired {
            measure: subject.measure.clone(),
            ports: subject.ports,
            subject: subject.variant.clone(),
            subject_rounds: subject.rounds.len(),
            baseline: baseline.variant.clone(),
            baseline_rounds: baseline.rounds.len(),
        });
    }
    Ok(())
}

/// Refuses values that would make a ratio infinite or meaningless.
fn check(series: &Series, value: impl Fn(&Slice) -> Option<f64>) -> Result<(), StatsError> {
    let values = series.rounds.iter().enumerate();
    for (round, value) in values.filter_map(|(round, slice)| Some((round, value(slice)?))) {
        if !value.is_finite() || value <= 0.0 {
            return Err(StatsError::Impossible {
                measure: series.measure.clone(),
                ports: series.ports,
                variant: series.variant.clone(),
                round,
                value,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::series;

    /// Deterministic noise around 1, of this relative width, with a distribution that is not
    /// normal: uniform.
    fn noise(seed: u64, width: f64, count: usize) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..count)
            .map(|_| 1.0 + width * (random.random_range(0..=2_000_u32) as f64 / 1_000.0 - 1.0))
            .collect()
    }

    #[test]
    fn the_median_is_the_middle_value() {
        assert_eq!(estimate(&[3.0, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(estimate(&[4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(estimate(&[]), None);
    }

    #[test]
    fn one_round_has_no_width() {
        let one = estimate(&[7.0]).unwrap();
        assert_eq!(
            (one.low, one.median, one.high, one.rounds),
            (7.0, 7.0, 7.0, 1)
        );
    }

    /// The interval is a promise about repetition: over many runs of the same experiment it has to
    /// hold the true median about 95 times in 100.
    #[test]
    fn the_interval_covers_the_true_median() {
        let runs: u64 = 200;
        let covered = (0..runs)
            .filter(|seed| {
                let found = bootstrap(&noise(*seed, 0.2, 40), 500).unwrap();
                found.low <= 1.0 && 1.0 <= found.high
            })
            .count();
        assert!((180..=199).contains(&covered), "{covered} of {runs}");
    }

    #[test]
    fn more_rounds_narrow_the_interval() {
        let width = |count| {
            let found = estimate(&noise(1, 0.2, count)).unwrap();
            found.high - found.low
        };
        assert!(width(160) < width(14), "{} {}", width(160), width(14));
    }

    #[test]
    fn an_interval_is_the_same_every_time() {
        let values = noise(5, 0.3, 14);
        assert_eq!(estimate(&values), estimate(&values));
    }

    /// A machine that slows down to a third in the course of the run: a comparison of the medians
    /// of the rates would be all noise, the ratio within a round has none.
    #[test]
    fn drift_does_not_touch_a_ratio() {
        let speed: Vec<f64> = (0..40)
            .map(|round| 1_000.0 - 16.0 * f64::from(round))
            .collect();
        let twice: Vec<f64> = speed.iter().map(|rate| rate * 2.0).collect();
        let found = ratio(&series("netpath", &twice), &series("legacy", &speed));
        let found = found.unwrap().unwrap();
        assert!(found.within(1.999_999, 2.000_001), "{found:?}");
    }

    #[test]
    fn fewer_milliseconds_are_better() {
        let with_unit = |variant, rates: &[f64]| Series {
            unit: "ms".to_owned(),
            higher_is_better: false,
            ..series(variant, rates)
        };
        let found = ratio(
            &with_unit("netpath", &[5.0, 5.0, 5.0]),
            &with_unit("legacy", &[150.0, 100.0, 200.0]),
        );
        assert_eq!(found.unwrap().unwrap().median, 30.0);
    }

    #[test]
    fn cpu_is_a_part_of_the_baselines() {
        let with_cpu = |variant, cpu: &[Option<f64>]| {
            let mut series = series(variant, &vec![1.0; cpu.len()]);
            for (slice, cpu_ns) in series.rounds.iter_mut().zip(cpu) {
                slice.cpu_ns = *cpu_ns;
            }
            series
        };
        let subject = with_cpu("netpath", &[Some(50.0), Some(60.0), Some(55.0)]);
        let baseline = with_cpu("legacy", &[Some(100.0), Some(120.0), Some(110.0)]);
        assert_eq!(cpu_ratio(&subject, &baseline).unwrap().unwrap().median, 0.5);
        let partly = with_cpu("legacy", &[Some(100.0), None, Some(110.0)]);
        assert_eq!(cpu_ratio(&subject, &partly).unwrap(), None);
        assert_eq!(cpu(&partly), None);
    }

    #[test]
    fn rounds_that_do_not_pair_are_refused() {
        let error = ratio(
            &series("netpath", &[1.0, 2.0]),
            &series("legacy", &[1.0, 2.0, 3.0]),
        );
        assert!(
            matches!(error, Err(StatsError::Unpaired { .. })),
            "{error:?}"
        );
    }

    #[test]
    fn an_empty_slice_is_refused() {
        let error = ratio(
            &series("netpath", &[1.0, 2.0]),
            &series("legacy", &[1.0, 0.0]),
        );
        let Err(StatsError::Impossible { variant, round, .. }) = error else {
            panic!("{error:?}");
        };
        assert_eq!((variant.as_str(), round), ("legacy", 1));
    }
}
