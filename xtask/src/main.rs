//! Everything that a developer or CI runs: `cargo xtask COMMAND`.
//!
//! Owns the command line. Each command has a file of its own.

mod bench;
mod build;
mod context;
mod dist;
mod ebpf;
mod fuzz;
mod lint;
mod mutants;
mod replay;
mod run;
mod setup;
mod test;
mod verifier;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::context::{Context, step};

/// Builds, runs, tests and packages netpath.
///
/// Whatever is missing for a command is set up first.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install what builds the eBPF programs.
    ///
    /// Looks for a Rust compiler with the sources of `core` and a bpf-linker with its LLVM. What
    /// is missing comes from rustup, from bpf-linker's releases or from Debian's packages; the
    /// default toolchain stays as it is. Takes no time when all is there.
    Setup {
        /// Also install the programs that the namespace tests run.
        #[arg(long)]
        tests: bool,
    },
    /// Build the netpath program with the eBPF programs inside. Never needs root.
    Build {
        /// Optimise the program. The eBPF programs always are.
        #[arg(long)]
        release: bool,
    },
    /// Build netpath and run it as root, through sudo where needed.
    Run {
        /// netpath's arguments; without any, `lab`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run all tests, and count them in the last line.
    ///
    /// The program and namespace tests need root, and sudo is used where needed. A test that
    /// cannot run on this machine says so and counts as skipped; in CI (CI=true) that is a
    /// failure.
    Test(test::Options),
    /// Fuzz the datapath's logic, compiled for the host. Needs no root.
    ///
    /// Inputs that reach new code are kept in the target directory; one that fails is written below
    /// netpath-common/fuzz/artifacts, and its path is printed.
    Fuzz(fuzz::Options),
    /// Put seeded faults into the decision code, one at a time: every one has to fail a test.
    ///
    /// The list is xtask/mutants.toml. Works on a copy under target; the last line counts.
    Mutants(mutants::Options),
    /// Check formatting, lints, documentation, licences and the length of files.
    Lint,
    /// Build the static program: target/dist/netpath.
    Dist,
    /// Load every eBPF program and print what the verifier says about it. Needs root.
    Verifier,
    /// Run a capture through the eBPF programs, or time them. Needs root.
    ///
    /// Everything after the command is for the replay: see `cargo xtask replay --help`.
    #[command(disable_help_flag = true)]
    Replay {
        /// What to replay, and how.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Measure netpath beside iptables, nftables and plain forwarding. Needs root.
    ///
    /// Everything runs in network namespaces of its own. docs/bench.md says what is measured, how,
    /// and how to read it.
    Bench(bench::Options),
    /// Boot a Debian kernel under QEMU, and run the program tests and the lab there.
    Vm(vm::Options),
}

fn main() -> ExitCode {
    match execute(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<ExitCode> {
    let context = Context::new()?;
    match command {
        Command::Setup { tests } => {
            let toolchain = setup::toolchain(&context)?;
            if tests {
                setup::test_tools()?;
            }
            step(&format!("ready: {toolchain}"));
        }
        Command::Build { release } => {
            build::netpath(&context, release)?;
        }
        Command::Run { arguments } => return run::run(&context, &arguments),
        Command::Test(options) => return test::test(&context, &options),
        Command::Fuzz(options) => return fuzz::fuzz(&context, &options),
        Command::Mutants(options) => return mutants::mutants(&context, &options),
        Command::Lint => lint::lint(&context)?,
        Command::Dist => {
            dist::dist(&context)?;
        }
        Command::Verifier => verifier::verifier(&context)?,
        Command::Replay { arguments } => return replay::replay(&context, &arguments),
        Command::Bench(options) => return bench::bench(&context, &options),
        Command::Vm(options) => return vm::vm(&context, &options),
    }
    Ok(ExitCode::SUCCESS)
}
