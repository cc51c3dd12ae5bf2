//! What is measured in which order.
//!
//! Owns the phases and the order of the variants within a round. A phase is one measure: all its
//! contestants take turns slice by slice, so that whatever the machine does besides meets all of
//! them alike.

use std::time::Duration;

use clap::ValueEnum as _;

use crate::{
    args::{Choice, Measure, Options},
    family::Family,
    variant::{Published, Variant},
};

/// A variant with its published ports, and whose packets it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contestant {
    /// The variant.
    pub(crate) variant: Variant,
    /// Its ports.
    pub(crate) ports: Published,
    /// The family of its packets.
    pub(crate) family: Family,
}

/// One measure and who takes part in it.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    /// What is measured.
    pub(crate) measure: Measure,
    /// Who takes part.
    pub(crate) contestants: Vec<Contestant>,
}

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Rounds that count, after one that does not.
    pub(crate) rounds: u32,
    /// Length of a slice.
    pub(crate) slice: Duration,
}

impl Pace {
    /// As asked for.
    pub(crate) fn of(options: &Options) -> Self {
        let (rounds, slice) = if options.quick { (6, 100) } else { (50, 200) };
        Self {
            rounds: options.rounds.unwrap_or(rounds),
            slice: Duration::from_millis(options.slice_ms.unwrap_or(slice)),
        }
    }
}

/// The phases, as asked for.
pub(crate) fn phases(options: &Options) -> Vec<Phase> {
    let all = Measure::value_variants().iter().copied();
    let measures = all.filter(|it| wanted(options, Choice::Shared(*it)));
    measures
        .map(|measure| Phase {
            measure,
            contestants: contestants(measure, options),
        })
        .collect()
}

/// Whether this is to be measured.
pub(crate) fn wanted(options: &Options, choice: Choice) -> bool {
    options.only.is_empty() || options.only.contains(&choice)
}

/// Everyone with one port; those whose cost may depend on the ports with more, where it may show; and
/// IPv6 in the same rounds, so that both families' ratios compare.
fn contestants(measure: Measure, options: &Options) -> Vec<Contestant> {
    let more: &[u32] = match measure {
        Measure::CrrIn if options.quick => &[10_000],
        // The points of the plot.
        Measure::CrrIn => &[100, 1_000, 10_000],
        Measure::BulkIn | Measure::BulkOut => &[],
        Measure::UdpIn | Measure::UdpOut | Measure::RrIn | Measure::RrOut | Measure::CrrOut => {
            &[10_000]
        }
    };
    let of = |family, variants: &[Variant], count| {
        let contestant = |variant: &Variant| Contestant {
            variant: *variant,
            ports: Published::new(count),
            family,
        };
        variants.iter().map(contestant).collect::<Vec<_>>()
    };
    let single = of(Family::V4, &Variant::ALL, 1);
    let scaled = more
        .iter()
        .flat_map(|count| of(Family::V4, &Variant::SCALING, *count));
    let six = of(Family::V6, &Variant::SIX, 1);
    let takes_part = |it: &Contestant| {
        options.variants.is_empty()
            || options
                .variants
                .iter()
                .any(|name| name == it.variant.name())
    };
    single
        .into_iter()
        .chain(scaled)
        .chain(six)
        .filter(takes_part)
        .collect()
}

/// The order of a round: each round begins with another contestant, and every other round goes
/// backwards, so that nobody always runs behind the same one.
pub(crate) fn order(round: usize, contestants: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..contestants).collect();
    order.rotate_left(round.checked_rem(contestants).unwrap_or_default());
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn options(words: &[&str]) -> Options {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        let words = std::iter::once(&"bench").chain(words);
        clap::Parser::try_parse_from(words)
            .map(|line: Line| line.options)
            .unwrap()
    }

    #[test]
    fn every_round_has_everyone_once_and_another_one_first() {
        let mut first = HashSet::new();
        for round in 0..14 {
            let order = order(round, 7);
            first.insert(order[0]);
            assert_eq!(order.iter().collect::<HashSet<_>>().len(), 7);
        }
        assert_eq!(first.len(), 7);
        assert_ne!(order(0, 7)[1], order(1, 7)[1]);
        assert_eq!(order(3, 0), Vec::<usize>::new());
    }

    #[test]
    fn only_what_was_asked_for_is_measured() {
        let phases = phases(&options(&["--only", "rr_out,bulk_in"]));
        let taken = |phase: &Phase| (phase.measure, phase.contestants.len());
        let taken: Vec<_> = phases.iter().map(taken).collect();
        assert_eq!(taken, [(Measure::RrOut, 17), (Measure::BulkIn, 12)]);
    }

    #[test]
    fn variants_can_be_chosen() {
        let names = Variant::ALL.map(Variant::name);
        assert_eq!(names, crate::args::VARIANTS);
        let phases = phases(&options(&["--only=udp_in", "--variants=netpath,none"]));
        let taken = phases.iter().flat_map(|phase| &phase.contestants);
        let names: Vec<_> = taken
            .map(|it| (it.variant.name(), it.ports.count(), it.family.suffix()))
            .collect();
        assert_eq!(
            names,
            [
                ("netpath", 1, ""),
                ("none", 1, ""),
                ("netpath", 10_000, ""),
                ("netpath", 1, "6"),
                ("none", 1, "6")
            ]
        );
    }

    #[test]
    fn a_full_run_has_the_points_of_the_plot() {
        let full = phases(&options(&[]));
        assert_eq!(full.len(), 8);
        let crr = full.iter().find(|it| it.measure == Measure::CrrIn).unwrap();
        let ports: HashSet<_> = crr.contestants.iter().map(|it| it.ports.count()).collect();
        assert_eq!(ports, HashSet::from([1, 100, 1_000, 10_000]));
        let slices: usize = full.iter().map(|phase| phase.contestants.len()).sum();
        let pace = Pace::of(&options(&[]));
        let minutes = pace.slice.as_secs_f64() * f64::from(pace.rounds + 1) * slices as f64 / 60.0;
        assert!(minutes < 25.0, "{minutes} minutes");
    }

    #[test]
    fn the_pace_can_be_set() {
        let pace = Pace::of(&options(&["--quick", "--rounds", "3", "--slice-ms", "20"]));
        assert_eq!((pace.rounds, pace.slice.as_millis()), (3, 20));
    }
}
