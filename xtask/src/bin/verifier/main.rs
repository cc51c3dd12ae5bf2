//! Loads every program of an eBPF object and prints what the verifier says about each.
//!
//! Owns the bounds and the table. Loading is `load`'s, reading the verifier's words `verdict`'s.
//! Attaches and pins nothing: all is gone when it ends.

mod chain;
mod load;
mod verdict;

use std::{env, fs, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use comfy_table::{CellAlignment, Table, presets};

use crate::verdict::Verdict;

/// Instructions that the verifier may process for one program. The kernel's limit is a million;
/// the distance is room for other kernels, which prune less.
const MOST_INSTRUCTIONS: u64 = 200_000;

/// Bytes of stack of a program with everything that it calls: the kernel's limit, here for every
/// program as the oldest kernel counts it ([`chain`]).
const MOST_STACK: u64 = 512;

fn main() -> ExitCode {
    match verify() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn verify() -> Result<()> {
    let path = env::args_os()
        .nth(1)
        .context("usage: xtask-verifier OBJECT")?;
    let path = std::path::PathBuf::from(path);
    let object = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let programs = load::programs(&object)?;
    println!("{}", table(&programs));

    let over: Vec<_> = programs.iter().filter_map(over_bound).collect();
    if !over.is_empty() {
        bail!("{}", over.join("; "));
    }
    Ok(())
}

fn table(programs: &[Verdict]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header([
        "PROGRAM",
        "VERIFIED INSNS",
        "STATES",
        "STACK",
        "TRANSLATED",
        "JITED",
        "VERIFY TIME",
    ]);
    for program in programs {
        table.add_row([
            program.name.clone(),
            program.instructions.to_string(),
            program.states.to_string(),
            format!("{} B", program.chain.stack),
            format!("{} B", program.translated),
            format!("{} B", program.jited),
            format!("{:.1} ms", program.time.as_secs_f64() * 1e3),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// What is wrong with a program, if anything.
fn over_bound(program: &Verdict) -> Option<String> {
    let Verdict {
        name,
        instructions,
        chain,
        ..
    } = program;
    if *instructions > MOST_INSTRUCTIONS {
        Some(format!(
            "{name}: {instructions} verified instructions, {MOST_INSTRUCTIONS} allowed"
        ))
    } else if chain.stack > MOST_STACK {
        Some(format!(
            "{name}: {} bytes of stack in its deepest chain of calls ({:?}) as Linux 6.1 rounds \
             them, {MOST_STACK} allowed",
            chain.stack, chain.frames
        ))
    } else {
        None
    }
}
