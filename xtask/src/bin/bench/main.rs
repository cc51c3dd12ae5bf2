//! Measures netpath beside its peers, in network namespaces of its own.
//!
//! Owns the order of a run: set up, measure, report, and remove everything in any case.
//! docs/bench.md describes it for its readers.

mod args;
mod cpu;
mod evidence;
mod family;
mod forward;
mod instance;
mod interrupt;
mod json;
mod judge;
mod load;
mod machine;
mod plot;
mod progress;
mod report;
mod results;
mod rules;
mod run;
#[cfg(test)]
mod samples;
mod schedule;
mod site;
mod special;
mod stats;
mod targets;
mod tool;
mod variant;
mod workdir;
mod worker;

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum as _};

use crate::{
    args::{Choice, Options, Special},
    cpu::Cpu,
    progress::Progress,
    results::Results,
    run::Sites,
    schedule::{Pace, phases, wanted},
    special::Setup,
    workdir::Workdir,
};

/// Measures netpath beside iptables, nftables and plain forwarding.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    match execute(&Line::parse().options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(options: &Options) -> Result<()> {
    if let [first, second] = options.compare.as_slice() {
        return compare(first, second);
    }
    let results = match &options.from {
        Some(path) => json::load(path)?,
        None => {
            let mut results = Results::default();
            let ended = measure(options, &mut results);
            if let Err(error) = &ended {
                let why = ("incomplete".to_owned(), format!("{error:#}"));
                results.machine.push(why);
            }
            // Also where it has failed, if there is something: it took long.
            if let (Some(path), false) = (&options.json, results.series.is_empty()) {
                json::save(&results, path)?;
            }
            ended?;
            results
        }
    };
    print!("{}", report::text(&results)?);
    if let Some(directory) = &options.plots {
        for path in plot::save(&results, directory)? {
            println!("drawn: {path}");
        }
    }
    Ok(())
}

/// Says which targets two runs meet.
fn compare(first: &Path, second: &Path) -> Result<()> {
    let runs = [json::load(first)?, json::load(second)?];
    ensure!(
        runs[0] != runs[1],
        "{} and {} hold the same run; a target counts when two runs meet it",
        first.display(),
        second.display()
    );
    let names = [first.to_string_lossy(), second.to_string_lossy()];
    let text = report::comparison((&names[0], &runs[0]), (&names[1], &runs[1]))?;
    print!("{text}");
    Ok(())
}

/// Everything from the first namespace to the last.
fn measure(options: &Options, results: &mut Results) -> Result<()> {
    let netpath = options
        .netpath
        .as_deref()
        .context("no program to measure: give --netpath PATH")?;
    interrupt::listen()?;
    let cpu = Cpu::choose()?;
    let pace = Pace::of(options);
    let phases = phases(options);
    let workdir = Workdir::take()?;
    let progress = Progress::new(run::steps(&phases, pace));
    results.machine = machine::describe(netpath, &cpu, pace)?;
    let shared = Sites::build(&phases, netpath, &workdir, &cpu, &progress)?;
    for phase in &phases {
        let measured = run::phase(phase, pace, &shared, &cpu, &progress)?;
        results.series.extend(measured.series);
        results
            .machine
            .extend(machine::losses(phase.measure, &measured.losses));
    }
    // Idle sites cost nothing but memory, and the others use their names.
    drop(shared);
    let setup = Setup {
        netpath,
        workdir: &workdir,
        cpu: &cpu,
        pace,
        quick: options.quick,
        progress: &progress,
    };
    for special in Special::value_variants().iter().copied() {
        if wanted(options, Choice::Special(special)) {
            special::run(special, setup, results)?;
        }
    }
    Ok(())
}
