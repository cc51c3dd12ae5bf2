//! What a run proves.
//!
//! Owns three rules. A measure counts only if two copies of its baseline cannot be told apart: its
//! A/A interval lies within 0.95–1.05; a time against the clock has no copy, since noise can only
//! make it longer. A target is met if the median reaches it and the lower bound
//! of the interval nine tenths of it, in at least 40 rounds. And it is met for good if it is met in
//! two runs.

use crate::{
    results::{Results, Series},
    stats::{self, Estimate, StatsError},
    targets::{Goal, Key, ROUNDS, Target},
};

/// How the second copy of a baseline is called: the baseline's name and this.
pub(crate) const AGAIN: &str = "-again";

/// Where the A/A interval has to lie.
pub(crate) const QUIET: (f64, f64) = (0.95, 1.05);

/// The part of a target that the far bound of the interval has to reach.
pub(crate) const SLACK: f64 = 0.9;

/// How far two copies of one thing are apart, and so what a difference means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Noise {
    /// The copies cannot be told apart.
    Quiet(Estimate),
    /// They can: nothing that this measure says counts.
    Noisy(Estimate),
    /// There is no second copy.
    Unknown,
}

/// What a run says about a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Reached.
    Met(Estimate),
    /// The median falls short.
    Missed {
        /// What was found.
        found: Estimate,
        /// The part of the target that is lacking.
        short: f64,
    },
    /// The median reaches it, but the interval is too wide to be sure.
    Unsure {
        /// What was found.
        found: Estimate,
        /// Where the far bound had to be.
        bound: f64,
    },
    /// The run was too noisy to tell.
    Noisy {
        /// What was found, for what it is worth.
        found: Estimate,
        /// The A/A estimate that says so; `None` without a second copy of the baseline.
        copies: Option<Estimate>,
    },
    /// Too few rounds to tell.
    Short(Estimate),
    /// Not part of this run.
    NotMeasured,
}

impl Verdict {
    /// Whether the target is met in this run.
    pub(crate) fn met(&self) -> bool {
        matches!(self, Self::Met(_))
    }

    /// What was found, whatever it is worth.
    pub(crate) fn found(&self) -> Option<&Estimate> {
        match self {
            Self::Met(found)
            | Self::Missed { found, .. }
            | Self::Unsure { found, .. }
            | Self::Noisy { found, .. }
            | Self::Short(found) => Some(found),
            Self::NotMeasured => None,
        }
    }
}

impl Results {
    /// The series of this name, if the run has it.
    pub(crate) fn find(&self, measure: &str, ports: u32, variant: &str) -> Option<&Series> {
        self.series.iter().find(|series| {
            series.measure == measure && series.ports == ports && series.variant == variant
        })
    }

    /// What the variants of a measure are compared with: the one that has a second copy, else
    /// iptables-legacy, else the first.
    pub(crate) fn baseline(&self, measure: &str, ports: u32) -> Option<&Series> {
        let group = || {
            self.series
                .iter()
                .filter(move |series| series.measure == measure && series.ports == ports)
        };
        group()
            .find_map(|series| {
                let original = series.variant.strip_suffix(AGAIN)?;
                self.find(measure, ports, original)
            })
            .or_else(|| self.find(measure, ports, "legacy"))
            .or_else(|| group().next())
    }

    /// Whether no other variant was measured beside this series.
    pub(crate) fn is_alone(&self, series: &Series) -> bool {
        let group =
            |other: &&Series| other.measure == series.measure && other.ports == series.ports;
        self.series.iter().filter(group).count() == 1
    }

    /// How noisy a measure was.
    pub(crate) fn noise(&self, measure: &str, ports: u32) -> Result<Noise, StatsError> {
        let Some(baseline) = self.baseline(measure, ports) else {
            return Ok(Noise::Unknown);
        };
        let copy = format!("{}{AGAIN}", baseline.variant);
        let Some(copy) = self.find(measure, ports, &copy) else {
            return Ok(Noise::Unknown);
        };
        Ok(match stats::ratio(copy, baseline)? {
            Some(copies) if copies.within(QUIET.0, QUIET.1) => Noise::Quiet(copies),
            Some(copies) => Noise::Noisy(copies),
            None => Noise::Unknown,
        })
    }

    fn key(&self, key: Key) -> Option<&Series> {
        self.find(key.measure, key.ports, key.variant)
    }
}

/// What a run says about a target.
pub(crate) fn judge(results: &Results, target: &Target) -> Result<Verdict, StatsError> {
    match target.goal {
        Goal::Ratio {
            subject,
            baseline,
            least,
        } => ratio(results, subject, baseline, least),
        Goal::Ratios {
            subject,
            other,
            least,
        } => ratios(results, subject, other, least),
        Goal::Value {
            subject,
            most,
            rounds,
            ..
        } => {
            let found = results.key(subject).map(stats::rate).transpose()?.flatten();
            Ok(match found {
                None => Verdict::NotMeasured,
                Some(found) if found.rounds < rounds => Verdict::Short(found),
                // No copies to compare: noise makes a time longer, never shorter.
                Some(found) => at_most(found, most),
            })
        }
        Goal::Elsewhere { .. } => Ok(Verdict::NotMeasured),
    }
}

fn ratio(
    results: &Results,
    subject: Key,
    baseline: Key,
    least: f64,
) -> Result<Verdict, StatsError> {
    let (Some(series), Some(other)) = (results.key(subject), results.key(baseline)) else {
        return Ok(Verdict::NotMeasured);
    };
    let Some(found) = stats::ratio(series, other)? else {
        return Ok(Verdict::NotMeasured);
    };
    // A comparison across numbers of ports rests on both.
    counts(results, &[subject, baseline], found, least)
}

/// As [`ratio`], of a ratio to another ratio.
fn ratios(
    results: &Results,
    (subject, baseline): (Key, Key),
    (other, its_baseline): (Key, Key),
    least: f64,
) -> Result<Verdict, StatsError> {
    let four = [subject, baseline, other, its_baseline].map(|key| results.key(key));
    let [
        Some(subject_of),
        Some(baseline_of),
        Some(other_of),
        Some(its_baseline_of),
    ] = four
    else {
        return Ok(Verdict::NotMeasured);
    };
    let found = stats::ratio_of_ratios((subject_of, baseline_of), (other_of, its_baseline_of))?;
    let Some(found) = found else {
        return Ok(Verdict::NotMeasured);
    };
    counts(results, &[subject, other], found, least)
}

/// The verdict about what was found, if the measures of all these series count.
fn counts(
    results: &Results,
    keys: &[Key],
    found: Estimate,
    least: f64,
) -> Result<Verdict, StatsError> {
    for key in keys {
        match results.noise(key.measure, key.ports)? {
            Noise::Quiet(_) => {}
            Noise::Noisy(copies) => {
                let copies = Some(copies);
                return Ok(Verdict::Noisy { found, copies });
            }
            Noise::Unknown => {
                let copies = None;
                return Ok(Verdict::Noisy { found, copies });
            }
        }
    }
    if found.rounds < ROUNDS {
        return Ok(Verdict::Short(found));
    }
    Ok(at_least(found, least))
}

fn at_least(found: Estimate, least: f64) -> Verdict {
    let bound = least * SLACK;
    if found.median < least {
        let short = 1.0 - found.median / least;
        Verdict::Missed { found, short }
    } else if found.low < bound {
        Verdict::Unsure { found, bound }
    } else {
        Verdict::Met(found)
    }
}

/// The mirror image of [`at_least`], for values that are to be small.
fn at_most(found: Estimate, most: f64) -> Verdict {
    let bound = most / SLACK;
    if found.median > most {
        let short = found.median / most - 1.0;
        Verdict::Missed { found, short }
    } else if found.high > bound {
        Verdict::Unsure { found, bound }
    } else {
        Verdict::Met(found)
    }
}

#[cfg(test)]
mod tests;
