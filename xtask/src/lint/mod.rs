//! `lint`: what can be judged without running anything.
//!
//! Owns the list of checks; all of them run, and all failures are reported. What a source file has
//! to look like is `sources`' business.

mod sources;

use std::process::Command;

use anyhow::{Result, bail};

use crate::{
    context::{Context, run, step, which},
    ebpf::Build,
    setup,
};

/// A check prints what it finds and fails if that is a fault.
type Check = fn(&Context) -> Result<()>;

/// Runs every check.
pub(crate) fn lint(context: &Context) -> Result<()> {
    // First, or the program is judged without the parts that need the object.
    setup::toolchain(context)?;
    let checks: [(&str, Check); 6] = [
        ("formatting", formatting),
        ("source files", sources::check),
        ("clippy for the host", clippy_host),
        ("lints for the BPF target", lint_ebpf),
        ("documentation", documentation),
        ("dependencies", dependencies),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        step(&format!("lint: {name}"));
        if let Err(error) = check(context) {
            eprintln!("error: {error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("lint found fault with: {}", failed.join(", "));
    }
    Ok(())
}

fn formatting(context: &Context) -> Result<()> {
    run(context.cargo().args(["fmt", "--all", "--check"]))
}

/// Every crate but the one that only the BPF target can build.
const HOST: [&str; 4] = ["--workspace", "--exclude", "netpath-ebpf", "--all-features"];

fn clippy_host(context: &Context) -> Result<()> {
    run(context
        .cargo()
        .arg("clippy")
        .args(HOST)
        .args(["--all-targets", "--", "-Dwarnings"]))
}

/// Lints the kernel programs and, a second time, the crate that they share with the host.
fn lint_ebpf(context: &Context) -> Result<()> {
    let toolchain = setup::toolchain(context)?;
    let build = Build {
        toolchain: &toolchain,
        workspace: &context.workspace,
        target_dir: &context.target_dir,
    };
    let mut command = if let Some(clippy) = toolchain.compiler.sibling("clippy-driver") {
        let mut command = build.cargo("check");
        // As `cargo clippy` does it: the driver stands in for rustc, for the workspace's crates.
        command.env("RUSTC_WORKSPACE_WRAPPER", clippy);
        command.env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__");
        command
    } else {
        step(&format!(
            "lint: {} comes without clippy (Debian: rust-web-clippy); the compiler's lints only",
            toolchain.compiler.rustc.display()
        ));
        build.cargo("check")
    };
    deny_warnings(&mut command);
    run(command.args(["--package", "netpath-ebpf", "--package", "netpath-common"]))
}

/// Makes the compiler's warnings errors, beside the flags that the command has.
fn deny_warnings(command: &mut Command) {
    const FLAGS: &str = "CARGO_ENCODED_RUSTFLAGS";
    let flags = command
        .get_envs()
        .find(|(name, _)| *name == FLAGS)
        .and_then(|(_, flags)| flags);
    if let Some(flags) = flags {
        let mut flags = flags.to_owned();
        flags.push("\u{1f}-Dwarnings");
        command.env(FLAGS, flags);
    }
}

fn documentation(context: &Context) -> Result<()> {
    run(context
        .cargo()
        .args(["doc", "--no-deps"])
        .args(HOST)
        .env("RUSTDOCFLAGS", "-Dwarnings"))
}

fn dependencies(context: &Context) -> Result<()> {
    if which("cargo-deny").is_none() {
        step(
            "lint: NOT CHECKED: licences and sources of dependencies; cargo-deny is not installed",
        );
        return Ok(());
    }
    run(context
        .cargo()
        .args(["deny", "check", "bans", "licenses", "sources"]))
}
