//! When a run meets a target, and when it does not count.

use super::*;
use crate::{samples::run, targets::TARGETS};

/// The target of new connections in over iptables-legacy, 1.3.
fn target() -> &'static Target {
    let found = TARGETS.iter().find(|target| {
        matches!(target.goal, Goal::Ratio { subject, baseline, .. }
            if subject.measure == "crr_in" && subject.ports == 1 && baseline.variant == "legacy")
    });
    found.unwrap()
}

fn verdict(results: &Results) -> Verdict {
    judge(results, target()).unwrap()
}

#[test]
fn a_target_is_met_at_its_value_and_missed_below() {
    assert!(verdict(&run("crr_in", 1, 1.0, 1.3001)).met());
    let Verdict::Missed { short, .. } = verdict(&run("crr_in", 1, 1.0, 1.17)) else {
        panic!("1.17 is below 1.3");
    };
    assert!((short - 0.1).abs() < 1e-9, "{short}");
}

#[test]
fn a_wide_interval_is_not_sure() {
    let mut results = run("crr_in", 1, 1.0, 1.35);
    // 19 of 40 rounds far below: the median stands, the lower bound falls.
    for slice in results.series[2].rounds.iter_mut().take(19) {
        slice.rate *= 0.5;
    }
    let Verdict::Unsure { found, bound } = verdict(&results) else {
        panic!("{:?}", verdict(&results));
    };
    assert!(found.median >= 1.3 && found.low < bound, "{found:?}");
    assert!((bound - 1.17).abs() < 1e-9, "{bound}");
}

#[test]
fn copies_that_differ_make_a_measure_noisy() {
    for (again, quiet) in [(0.949, false), (0.951, true), (1.049, true), (1.051, false)] {
        let results = run("crr_in", 1, again, 2.0);
        let noise = results.noise("crr_in", 1).unwrap();
        assert_eq!(
            matches!(noise, Noise::Quiet(_)),
            quiet,
            "{again}: {noise:?}"
        );
        assert_eq!(verdict(&results).met(), quiet, "{again}");
    }
}

#[test]
fn a_copy_that_swings_is_noise_though_its_median_is_right() {
    let mut results = run("crr_in", 1, 1.0, 2.0);
    for (round, slice) in results.series[1].rounds.iter_mut().enumerate() {
        slice.rate *= if round % 2 == 0 { 1.2 } else { 0.8 };
    }
    assert!(matches!(
        verdict(&results),
        Verdict::Noisy {
            copies: Some(_),
            ..
        }
    ));
}

#[test]
fn without_a_copy_nothing_counts() {
    let mut results = run("crr_in", 1, 1.0, 2.0);
    results.series.remove(1);
    assert!(matches!(
        verdict(&results),
        Verdict::Noisy { copies: None, .. }
    ));
}

#[test]
fn fewer_than_forty_rounds_do_not_count() {
    let mut results = run("crr_in", 1, 1.0, 2.0);
    for series in &mut results.series {
        series.rounds.truncate(39);
    }
    assert!(matches!(verdict(&results), Verdict::Short(_)));
}

#[test]
fn what_was_not_measured_is_not_met() {
    assert_eq!(verdict(&run("udp_in", 1, 1.0, 2.0)), Verdict::NotMeasured);
}

#[test]
fn across_ports_the_noise_of_both_counts() {
    let across = TARGETS
        .iter()
        .find(|target| target.against == "netpath")
        .unwrap();
    let both = |again_at_ten_thousand| {
        let mut results = run("crr_in", 1, 1.0, 2.0);
        let more = run("crr_in", 10_000, again_at_ten_thousand, 1.9);
        results.series.extend(more.series);
        judge(&results, across).unwrap()
    };
    let Verdict::Met(found) = both(1.0) else {
        panic!("{:?}", both(1.0));
    };
    assert!((found.median - 0.95).abs() < 1e-9, "{found:?}");
    assert!(matches!(both(1.2), Verdict::Noisy { .. }));
}

#[test]
fn a_time_is_met_below_its_bound() {
    let of = |median, high| {
        at_most(
            Estimate {
                median,
                low: median,
                high,
                rounds: 10,
            },
            50.0,
        )
    };
    assert!(of(49.0, 55.0).met());
    assert!(matches!(of(49.0, 56.0), Verdict::Unsure { .. }));
    let Verdict::Missed { short, .. } = of(75.0, 80.0) else {
        panic!("75 is above 50");
    };
    assert!((short - 0.5).abs() < 1e-9, "{short}");
}

#[test]
fn a_time_of_few_rounds_does_not_count() {
    let clock = TARGETS
        .iter()
        .find(|target| matches!(target.goal, Goal::Value { subject, .. } if subject.measure == "install"))
        .unwrap();
    let mut results = run("install", 10_000, 1.0, 0.5);
    assert!(judge(&results, clock).unwrap().met());
    results.series[2].rounds.truncate(39);
    assert!(matches!(judge(&results, clock).unwrap(), Verdict::Short(_)));
}

#[test]
fn a_ratio_beside_another_is_met_at_its_part_of_it() {
    let target = TARGETS
        .iter()
        .find(|target| matches!(target.goal, Goal::Ratios { subject, .. } if subject.0.measure == "crr_in6"))
        .unwrap();
    let both = |six, again| {
        let mut results = run("crr_in", 1, 1.0, 1.6);
        results.series.extend(run("crr_in6", 1, again, six).series);
        judge(&results, target).unwrap()
    };
    let Verdict::Met(found) = both(1.5201, 1.0) else {
        panic!("{:?}", both(1.5201, 1.0));
    };
    assert!((found.median - 0.950_062_5).abs() < 1e-6, "{found:?}");
    assert!(matches!(both(1.5199, 1.0), Verdict::Missed { .. }));
    assert!(matches!(both(1.6, 1.2), Verdict::Noisy { .. }));
    let alone = run("crr_in6", 1, 1.0, 1.6);
    assert_eq!(judge(&alone, target).unwrap(), Verdict::NotMeasured);
}

/// A target with a baseline of another measure or a zero would be met or missed for nothing.
#[test]
fn targets_compare_like_with_like() {
    for target in TARGETS {
        if let Goal::Ratio {
            subject,
            baseline,
            least,
        } = target.goal
        {
            assert_eq!(subject.measure, baseline.measure, "{}", target.what);
            assert_ne!(subject, baseline, "{}", target.what);
            assert!(least > 0.5, "{}", target.what);
        }
    }
}
