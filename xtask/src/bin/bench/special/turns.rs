//! Taking turns: a round is one slice of every contestant.
//!
//! Owns the order and the names of the series, as `run` does for the measures of `schedule`.

use anyhow::{Context as _, Result};

use crate::{
    interrupt,
    progress::Progress,
    results::{Series, Slice},
    schedule::order,
};

/// What one turn gives.
type Turn<'t> = Box<dyn FnMut() -> Result<Slice> + 't>;

/// A measure and all who take part in it.
pub(super) struct Turns<'t> {
    /// As the results name it.
    pub(super) measure: String,
    /// Published ports in place.
    pub(super) ports: u32,
    /// The unit of the values.
    pub(super) unit: &'static str,
    /// Whether a larger value is the better one.
    pub(super) higher_is_better: bool,
    contestants: Vec<(&'static str, Turn<'t>)>,
}

impl<'t> Turns<'t> {
    /// A measure of operations per second.
    pub(super) fn rate(measure: impl Into<String>, unit: &'static str) -> Self {
        Self {
            measure: measure.into(),
            ports: 1,
            unit,
            higher_is_better: true,
            contestants: Vec::new(),
        }
    }

    /// Adds a contestant.
    pub(super) fn add(&mut self, variant: &'static str, turn: impl FnMut() -> Result<Slice> + 't) {
        self.contestants.push((variant, Box::new(turn)));
    }

    /// Takes this many rounds, after one that does not count.
    pub(super) fn take(self, rounds: u32, progress: &Progress) -> Result<Vec<Series>> {
        let Self {
            measure,
            ports,
            unit,
            higher_is_better,
            mut contestants,
        } = self;
        progress.say(&measure);
        let mut slices: Vec<Vec<Slice>> = contestants.iter().map(|_| Vec::new()).collect();
        for round in 0..=rounds as usize {
            for index in order(round, contestants.len()) {
                interrupt::check()?;
                let Some((variant, turn)) = contestants.get_mut(index) else {
                    continue;
                };
                let slice = turn().with_context(|| format!("{measure}: {variant}"))?;
                if let (true, Some(slices)) = (round > 0, slices.get_mut(index)) {
                    slices.push(slice);
                }
            }
        }
        let series = contestants
            .iter()
            .zip(slices)
            .map(|((variant, _), rounds)| Series {
                measure: measure.clone(),
                ports,
                variant: (*variant).to_owned(),
                unit: unit.to_owned(),
                higher_is_better,
                rounds,
            });
        Ok(series.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn turns<'t>(calls: &'t RefCell<Vec<&'static str>>) -> Turns<'t> {
        let mut turns = Turns::rate("rr", "transactions/s");
        for variant in ["a", "b", "c"] {
            turns.add(variant, move || {
                calls.borrow_mut().push(variant);
                Ok(Slice {
                    rate: calls.borrow().len() as f64,
                    cpu_ns: None,
                })
            });
        }
        turns
    }

    #[test]
    fn rounds_are_interleaved_and_the_first_does_not_count() {
        let calls = RefCell::default();
        let series = turns(&calls).take(4, &Progress::new(0)).unwrap();
        assert_eq!(calls.borrow().len(), 15);
        for round in calls.borrow().chunks(3) {
            let mut round = round.to_vec();
            round.sort_unstable();
            assert_eq!(round, ["a", "b", "c"]);
        }
        for series in series {
            assert_eq!(series.rounds.len(), 4);
            // The index is the round: its value was counted in that round.
            for (round, slice) in series.rounds.iter().enumerate() {
                let first = 3.0 * (round + 1) as f64;
                assert!(
                    slice.rate > first && slice.rate <= first + 3.0,
                    "{series:?}"
                );
            }
        }
    }

    #[test]
    fn a_failure_names_measure_and_variant() {
        let mut turns = Turns::rate("rr", "transactions/s");
        turns.add("a", || anyhow::bail!("lost"));
        let error = turns.take(1, &Progress::new(0)).unwrap_err();
        assert_eq!(format!("{error:#}"), "rr: a: lost");
    }
}
