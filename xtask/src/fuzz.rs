//! `fuzz`: random tables and frames against the datapath's logic, guided by coverage.
//!
//! Owns the way to cargo-fuzz and where new inputs go: to the target directory, not to the kept ones.
//! What an input means and what must hold is netpath-common's `testing::fuzz`.

use std::{fs, process::Command, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    context::{Context, run, step},
    ebpf::PINNED_NIGHTLY,
    setup,
};

/// The fuzzer that the project is built with.
const VERSION: &str = "0.13.2";

/// The target's name.
const TARGET: &str = "datapath";

/// The longest input, bytes.
const MAX_LEN: u32 = 4096;

/// How long, or what else.
#[derive(Args)]
pub(crate) struct Options {
    /// How long to try inputs.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Make the kept inputs as few as cover what all that are there cover, instead.
    #[arg(long)]
    minimize: bool,
}

/// Builds the target and tries inputs, or makes the kept ones fewer.
pub(crate) fn fuzz(context: &Context, options: &Options) -> Result<ExitCode> {
    setup::nightly()?;
    let program = context.workspace.join(".tools/bin/cargo-fuzz");
    if !program.is_file() {
        step(&format!("setup: cargo installs cargo-fuzz {VERSION}"));
        run(context
            .cargo()
            .args(["install", "cargo-fuzz", "--version", VERSION, "--locked"])
            .arg("--root")
            .arg(context.workspace.join(".tools"))
            .env_remove("CARGO_TARGET_DIR"))?;
    }
    let found = context.target_dir.join("fuzz-corpus");
    fs::create_dir_all(&found).with_context(|| format!("cannot create {}", found.display()))?;
    let directory = context.workspace.join("netpath-common/fuzz");
    let kept = directory.join("corpus").join(TARGET);
    let fuzz = |command: &str| {
        let mut fuzz = Command::new(&program);
        // rustup's proxies choose by the variable, unless they are told that the choice is made.
        fuzz.current_dir(&context.workspace)
            .env("RUSTUP_TOOLCHAIN", PINNED_NIGHTLY)
            .env_remove("CARGO")
            .env_remove("RUSTC")
            .args(["fuzz", command, "--fuzz-dir"])
            .arg(&directory)
            .arg("--target-dir")
            .arg(context.target_dir.join("fuzz"))
            .arg(TARGET);
        fuzz
    };
    let length = format!("-max_len={MAX_LEN}");
    if options.minimize {
        return minimize(&mut fuzz("run"), &found, &kept, &length);
    }
    step(&format!("fuzz: {TARGET} for {} s", options.seconds));
    run(fuzz("run").arg(&found).arg(&kept).args([
        "--",
        &length,
        &format!("-max_total_time={}", options.seconds),
        "-print_final_stats=1",
    ]))?;
    Ok(ExitCode::SUCCESS)
}

/// Merges what was found and what is kept. By edges alone, not by how often each is taken: ten times
/// fewer inputs, which a test replays with every change.
fn minimize(
    fuzz: &mut Command,
    found: &std::path::Path,
    kept: &std::path::Path,
    length: &str,
) -> Result<ExitCode> {
    let fewer = kept.with_extension("new");
    fs::create_dir_all(&fewer).with_context(|| format!("cannot create {}", fewer.display()))?;
    run(fuzz.arg(&fewer).arg(found).arg(kept).args([
        "--",
        length,
        "-set_cover_merge=1",
        "-use_counters=0",
    ]))?;
    fs::remove_dir_all(kept).with_context(|| format!("cannot remove {}", kept.display()))?;
    fs::rename(&fewer, kept).with_context(|| format!("cannot rename {}", fewer.display()))?;
    Ok(ExitCode::SUCCESS)
}
