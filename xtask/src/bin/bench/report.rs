//! Results for people.
//!
//! Owns the tables and their words. The numbers are `stats`', the rules `judge`'s: nothing here is
//! typed by hand.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use crate::{
    judge::{self, AGAIN, Noise, QUIET, Verdict},
    results::{Results, Series},
    stats::{self, Estimate, StatsError},
    targets::{Goal, ROUNDS, TARGETS, Target},
};

/// Everything that a run says: its machine, every series, the targets, and what does not count.
pub(crate) fn text(results: &Results) -> Result<String, StatsError> {
    let mut text = String::new();
    for (name, value) in &results.machine {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}: {value}");
    }
    let _ = writeln!(text, "\n{}", series_table(results)?);
    text += "\nTIMES: how many times better than the baseline, the median of the ratios within \
             each round [bootstrap 95 %].\n";
    let _ = writeln!(text, "\n{}\n", targets_table(results)?);
    text += &summary(results)?;
    Ok(text)
}

/// Which targets are met in two runs, one beside the other.
pub(crate) fn comparison(
    first: (&str, &Results),
    second: (&str, &Results),
) -> Result<String, StatsError> {
    let mut table = table(["AGAINST", "TARGET", "GOAL", first.0, second.0, "IN BOTH"]);
    let mut met = 0;
    for target in TARGETS {
        let verdicts = [
            judge::judge(first.1, target)?,
            judge::judge(second.1, target)?,
        ];
        let both = verdicts.iter().all(Verdict::met);
        met += usize::from(both);
        let cell = |verdict: &Verdict| {
            let found = verdict.found().map(interval).unwrap_or_default();
            format!("{found} {}", verdict_text(verdict, target))
        };
        table.add_row([
            target.against.to_owned(),
            target.what.to_owned(),
            goal_text(&target.goal),
            cell(&verdicts[0]),
            cell(&verdicts[1]),
            if both { "MET" } else { "not met" }.to_owned(),
        ]);
    }
    Ok(format!(
        "{table}\n\n{met} of {} targets are met in both runs\n",
        TARGETS.len()
    ))
}

fn series_table(results: &Results) -> Result<Table, StatsError> {
    let mut table = table([
        "MEASURE", "PORTS", "VARIANT", "MEDIAN", "TIMES", "CPU/OP", "CPU PART", "ROUNDS", "",
    ]);
    let mut above = None;
    for series in &results.series {
        let group = Some((&series.measure, series.ports));
        if above.is_some() && above != group {
            table.add_row([""]);
        }
        above = group;
        table.add_row(series_row(results, series)?);
    }
    for column in table.column_iter_mut().skip(3).take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    if let Some(ports) = table.column_mut(1) {
        ports.set_cell_alignment(CellAlignment::Right);
    }
    Ok(table)
}

fn series_row(results: &Results, series: &Series) -> Result<[String; 9], StatsError> {
    let Series {
        measure,
        ports,
        variant,
        ..
    } = series;
    let baseline = results
        .baseline(measure, *ports)
        .filter(|baseline| baseline.variant != *variant);
    let (mut ratio, mut cpu_part) = (None, None);
    if let Some(baseline) = baseline {
        ratio = stats::ratio(series, baseline)?;
        cpu_part = stats::cpu_ratio(series, baseline)?;
    }
    let median = stats::rate(series)?
        .map(|rate| format!("{} {}", number(rate.median), series.unit))
        .unwrap_or_default();
    let cpu = stats::cpu(series)
        .map(|cpu| format!("{} ns", number(cpu.median)))
        .unwrap_or_default();
    let noise = results.noise(measure, *ports)?;
    let note = match (noise, baseline) {
        (_, None) if results.is_alone(series) => "",
        (_, None) => "baseline",
        (Noise::Quiet(_), Some(_)) if variant.ends_with(AGAIN) => "A/A: quiet",
        (Noise::Noisy(_), Some(_)) if variant.ends_with(AGAIN) => "A/A: NOISY",
        (Noise::Noisy(_), Some(_)) => "NOISY, does not count",
        (Noise::Unknown, Some(_)) => "no A/A",
        (Noise::Quiet(_), Some(_)) => "",
    };
    Ok([
        measure.clone(),
        thousands(u64::from(*ports)),
        variant.clone(),
        median,
        ratio.as_ref().map(interval).unwrap_or_default(),
        cpu,
        cpu_part
            .map(|part| format!("{:.2}", part.median))
            .unwrap_or_default(),
        series.rounds.len().to_string(),
        note.to_owned(),
    ])
}

fn targets_table(results: &Results) -> Result<Table, StatsError> {
    let mut table = table(["AGAINST", "TARGET", "GOAL", "FOUND", "VERDICT"]);
    for target in TARGETS {
        let verdict = judge::judge(results, target)?;
        table.add_row([
            target.against.to_owned(),
            target.what.to_owned(),
            goal_text(&target.goal),
            verdict.found().map(interval).unwrap_or_default(),
            verdict_text(&verdict, target),
        ]);
    }
    Ok(table)
}

/// The last lines: what was reached, and loudly what does not count.
fn summary(results: &Results) -> Result<String, StatsError> {
    let mut text = String::new();
    let (mut met, mut judged) = (0, 0);
    for target in TARGETS {
        let verdict = judge::judge(results, target)?;
        met += usize::from(verdict.met());
        judged += usize::from(verdict.found().is_some());
    }
    let _ = writeln!(
        text,
        "{met} of {judged} targets that this run measured are met; a target counts when two runs \
         meet it (cargo xtask bench --compare A.json B.json)"
    );
    let mut groups: Vec<(&str, u32)> = Vec::new();
    for series in &results.series {
        let group = (series.measure.as_str(), series.ports);
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let mut noisy = Vec::new();
    for (measure, ports) in &groups {
        if let Noise::Noisy(copies) = results.noise(measure, *ports)? {
            noisy.push(format!(
                "  {measure}, {}: A/A {}",
                ports_text(*ports),
                interval(&copies)
            ));
        }
    }
    if !noisy.is_empty() {
        let _ = writeln!(
            text,
            "*** NOISY: {} of {} measures do not count. Two copies of one baseline differ by more \
             than {}–{}; measure again on a quiet machine:\n{}",
            noisy.len(),
            groups.len(),
            QUIET.0,
            QUIET.1,
            noisy.join("\n")
        );
    }
    Ok(text)
}

fn goal_text(goal: &Goal) -> String {
    match goal {
        Goal::Ratio { least, .. } | Goal::Ratios { least, .. } => format!("{least} times"),
        Goal::Value { most, unit, .. } => format!("under {} {unit}", number(*most)),
        Goal::Elsewhere { goal, .. } => (*goal).to_owned(),
    }
}

fn verdict_text(verdict: &Verdict, target: &Target) -> String {
    match verdict {
        Verdict::Met(_) => "MET".to_owned(),
        Verdict::Missed { short, .. } => format!("missed by {:.1} %", short * 100.0),
        Verdict::Unsure { bound, .. } => {
            format!("missed: the interval does not clear {}", number(*bound))
        }
        Verdict::Noisy {
            copies: Some(copies),
            ..
        } => format!("NOISY: A/A {}", interval(copies)),
        Verdict::Noisy { copies: None, .. } => "does not count: no A/A copy".to_owned(),
        Verdict::Short(found) => format!(
            "does not count: {} rounds, {ROUNDS} are needed",
            found.rounds
        ),
        Verdict::NotMeasured => match target.goal {
            Goal::Elsewhere { command, .. } => format!("see `{command}`"),
            Goal::Ratio { .. } | Goal::Ratios { .. } | Goal::Value { .. } => {
                "not measured".to_owned()
            }
        },
    }
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    table
}

/// A median with its interval: `1.87 [1.65–1.99]`.
pub(crate) fn interval(estimate: &Estimate) -> String {
    let Estimate {
        median, low, high, ..
    } = estimate;
    format!("{} [{}–{}]", number(*median), number(*low), number(*high))
}

/// A number with as many digits as mean something: three from 1 to 100, whole above, and two
/// places below 1.
fn number(value: f64) -> String {
    if value >= 100.0 {
        // Values of a benchmark are far below 2^63.
        thousands(value.round() as u64)
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else if value >= 0.1 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

/// A number of ports in words.
pub(crate) fn ports_text(ports: u32) -> String {
    let plural = if ports == 1 { "" } else { "s" };
    format!("{} port{plural}", thousands(u64::from(ports)))
}

fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::run;

    /// The line of a table that has all of these words.
    #[track_caller]
    fn line<'a>(text: &'a str, words: &[&str]) -> &'a str {
        text.lines()
            .find(|line| words.iter().all(|word| line.contains(word)))
            .unwrap_or_else(|| panic!("no line with {words:?} in\n{text}"))
    }

    #[test]
    fn a_quiet_run_shows_ratios_and_verdicts() {
        let text = text(&run("crr_in", 1, 1.01, 1.5)).unwrap();
        let row = line(&text, &["crr_in", "netpath"]);
        assert!(row.contains("1.50 [1.50–1.50]"), "{row}");
        line(&text, &["crr_in", "legacy-again", "1.01", "A/A: quiet"]);
        line(&text, &["legacy", "new connections in", "1.3 times", "MET"]);
        line(&text, &["kernel: 6.18"]);
        line(&text, &["1 of 1 targets"]);
        assert!(!text.contains("NOISY"), "{text}");
    }

    #[test]
    fn a_noisy_run_is_loud() {
        let text = text(&run("crr_in", 1, 1.2, 1.5)).unwrap();
        line(&text, &["crr_in", "netpath", "NOISY, does not count"]);
        line(
            &text,
            &["new connections in", "1.3 times", "NOISY: A/A 1.20"],
        );
        line(&text, &["*** NOISY: 1 of 1 measures do not count"]);
        line(&text, &["0 of 1 targets"]);
    }

    #[test]
    fn a_miss_says_by_how_much() {
        let text = text(&run("crr_in", 1, 1.0, 1.17)).unwrap();
        line(&text, &["new connections in", "missed by 10.0 %"]);
        line(&text, &["UDP packets in", "1.8 times", "not measured"]);
    }

    #[test]
    fn a_target_counts_when_both_runs_meet_it() {
        let (good, bad) = (run("crr_in", 1, 1.0, 1.5), run("crr_in", 1, 1.0, 1.1));
        let both = comparison(("a", &good), ("b", &good)).unwrap();
        let row = line(&both, &["new connections in", "1.3 times"]);
        assert!(row.trim_end().ends_with("MET"), "{row}");
        line(&both, &["1 of", "met in both"]);
        let one = comparison(("a", &good), ("b", &bad)).unwrap();
        line(&one, &["new connections in", "1.3 times", "not met"]);
        line(&one, &["0 of", "met in both"]);
    }

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let shown: Vec<_> = [146_312.4, 5_624.0, 100.0, 25.71, 1.869, 0.538, 0.0015]
            .into_iter()
            .map(number)
            .collect();
        assert_eq!(
            shown,
            ["146,312", "5,624", "100", "25.7", "1.87", "0.54", "0.0015"]
        );
    }
}
