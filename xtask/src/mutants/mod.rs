//! `mutants`: whether the tests notice when code that decides is wrong.
//!
//! Owns the command and its report. The faults are `list`'s, the copy that they are put into is
//! `copy`'s, building and testing that is `trial`'s.

mod copy;
mod list;
mod trial;

use std::{collections::BTreeSet, process::ExitCode, time::Instant};

use anyhow::{Result, bail};
use clap::Args;

use self::{
    copy::Copy,
    list::Mutant,
    trial::{Outcome, Trial},
};
use crate::context::{Context, step};

/// Which faults, and how.
#[derive(Args)]
pub(crate) struct Options {
    /// Only print what there is.
    #[arg(long)]
    list: bool,
    /// Seconds that the tests may take with one fault, which may make them run for ever.
    #[arg(long, default_value_t = 300)]
    limit: u32,
    /// Only faults whose name contains one of these.
    names: Vec<String>,
}

/// Tries every fault that was asked for; success where each was noticed.
pub(crate) fn mutants(context: &Context, options: &Options) -> Result<ExitCode> {
    let chosen = list::chosen(list::read(&context.workspace)?, &options.names)?;
    if options.list {
        for mutant in &chosen {
            println!("{:32} {:26} {}", mutant.name, mutant.file, mutant.breaks);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let copy = Copy::new(context)?;
    let trial = Trial {
        context,
        copy: &copy,
        limit: options.limit,
    };
    step("mutants: the code as it is");
    let packages: BTreeSet<&str> = chosen.iter().map(|m| m.package.as_str()).collect();
    for package in packages {
        match trial.run(package)? {
            Outcome::Missed => {}
            Outcome::Caught(by) => bail!("without any fault a test of {package} fails: {by}"),
            Outcome::Unbuilt(why) => {
                bail!("without any fault the tests of {package} do not build:\n{why}")
            }
        }
    }
    let began = Instant::now();
    let mut bad = 0;
    for mutant in &chosen {
        let good = report(mutant, &try_one(&trial, mutant)?);
        bad += usize::from(!good);
    }
    println!(
        "{} caught, {bad} missed, {} seconds",
        chosen.len() - bad,
        began.elapsed().as_secs()
    );
    Ok(if bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Puts a fault in, tests, and takes it out again.
fn try_one(trial: &Trial<'_>, mutant: &Mutant) -> Result<Outcome> {
    let path = mutant.path(trial.copy.root());
    let text = mutant.text(trial.copy.root())?;
    copy::write(&path, mutant.apply(&text)?.as_bytes())?;
    let outcome = trial.run(&mutant.package);
    copy::write(&path, text.as_bytes())?;
    outcome
}

/// Prints what became of a fault; whether it was noticed.
fn report(mutant: &Mutant, outcome: &Outcome) -> bool {
    let name = &mutant.name;
    match outcome {
        Outcome::Caught(by) => println!("caught {name}: {by}"),
        Outcome::Missed => println!("MISSED {name}: {} ({})", mutant.breaks, mutant.file),
        Outcome::Unbuilt(why) => println!("MISSED {name}: it does not build:\n{why}"),
    }
    matches!(outcome, Outcome::Caught(_))
}
