//! Ways to get a compiler with the sources of `core`.
//!
//! Owns what is asked of rustup and of Debian. What counts as a compiler is `ebpf`'s business.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use super::apt;
use crate::{
    context::{output, run, step, which},
    ebpf::PINNED_NIGHTLY,
};

/// For people who install Debian's packages themselves.
pub(crate) const DEBIAN_COMMAND: &str =
    "apt-get install rustc-web rust-web-src rust-web-clippy llvm-22-dev g++ zlib1g-dev";

const RUSTUP_ARGS: [&str; 9] = [
    "toolchain",
    "install",
    PINNED_NIGHTLY,
    "--no-self-update",
    "--profile=minimal",
    "--component",
    "rust-src",
    "--component",
    "clippy",
];

/// What [`from_rustup`] runs, for people who run it themselves.
pub(crate) fn rustup_command() -> String {
    format!("rustup {}", RUSTUP_ARGS.join(" "))
}

/// Adds the pinned nightly beside the toolchains that rustup has.
pub(crate) fn from_rustup() -> Result<()> {
    if which("rustup").is_none() {
        bail!("rustup is not installed");
    }
    step(&format!(
        "setup: rustup installs {PINNED_NIGHTLY} with the sources of core"
    ));
    // Where no default is set, rustup makes the first toolchain that it installs the default.
    let had_default = output(Command::new("rustup").arg("default")).is_ok();
    let installed = run(Command::new("rustup")
        .args(RUSTUP_ARGS)
        .stdin(Stdio::null()));
    if installed.is_ok() && !had_default {
        run(Command::new("rustup").args(["default", "none"]))?;
    }
    installed
}

/// Installs Debian's compiler, which comes with its sources as a package.
pub(crate) fn from_debian() -> Result<()> {
    apt::install(&["rustc-web", "rust-web-src", "rust-web-clippy"])
}
