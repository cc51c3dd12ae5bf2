//! Measures netpath beside its peers, in network namespaces of its own.
//!
//! Owns the order of a run: set up, measure, report, and remove everything in any case.
//! docs/bench.md describes it for its readers.

mod args;
mod cpu;
mod evidence;
mod forward;
mod instance;
mod interrupt;
mod load;
mod machine;
mod progress;
mod results;
mod rules;
mod run;
mod schedule;
mod site;
mod tool;
mod variant;
mod workdir;
mod worker;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::{
    args::Options,
    cpu::Cpu,
    progress::Progress,
    results::Results,
    run::Sites,
    schedule::{Pace, phases},
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
    match measure(&Line::parse().options) {
        Ok(results) => {
            for series in &results.series {
                let mut rates: Vec<_> = series.rounds.iter().map(|slice| slice.rate).collect();
                rates.sort_by(f64::total_cmp);
                let median = rates.get(rates.len() / 2).copied().unwrap_or_default();
                println!(
                    "{:9} {:6} {:13} {median:12.0} {}",
                    series.measure, series.ports, series.variant, series.unit
                );
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Everything from the first namespace to the last.
fn measure(options: &Options) -> Result<Results> {
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
    let mut results = Results {
        machine: machine::describe(netpath, &cpu, pace)?,
        series: Vec::new(),
    };
    let sites = Sites::build(&phases, netpath, &workdir, &cpu, &progress)?;
    for phase in &phases {
        let measured = run::phase(phase, pace, &sites, &cpu, &progress)?;
        results.series.extend(measured.series);
        results
            .machine
            .extend(machine::losses(phase.measure, &measured.losses));
    }
    Ok(results)
}
