//! `setup`: everything that building and testing need.
//!
//! Owns the order in which ways of getting the tools are tried. Each way has its own file. Never
//! changes the default toolchain: a compiler is only added beside it.

mod apt;
mod compiler;
mod firewalls;
mod linker;
mod tools;

use anyhow::{Result, bail};

use self::tools::Tool;
pub(crate) use self::{
    apt::{install as install_packages, update as update_packages},
    firewalls::unpack as unpack_firewalls,
    tools::missing as missing_test_tools,
};
use crate::{
    context::{Context, step},
    ebpf::{Compiler, Missing, PINNED_NIGHTLY, Toolchain},
};

/// Where Debian's compiler is.
const DEBIAN: &str = "/usr/bin";

/// Finds the eBPF toolchain, installing what is missing.
pub(crate) fn toolchain(context: &Context) -> Result<Toolchain> {
    match Toolchain::find(&context.workspace) {
        Ok(toolchain) => return Ok(toolchain),
        Err(Missing::Override(message)) => bail!(message),
        Err(missing) => step(&format!("setup: {missing}")),
    }
    let mut failures = Vec::new();

    let mut compilers = found_compilers()?;
    if compilers.is_empty() {
        attempt(&mut failures, compiler::from_rustup());
        compilers = found_compilers()?;
    }
    for compiler in &compilers {
        if attempt(&mut failures, linker::install(context, compiler.llvm_major)) {
            break;
        }
    }
    // A nightly may be too new for every LLVM to be had; Debian's compiler and LLVM match.
    let nightly_only = compilers
        .iter()
        .all(|compiler| !compiler.rustc.starts_with(DEBIAN));
    if nightly_only
        && Toolchain::find(&context.workspace).is_err()
        && attempt(&mut failures, compiler::from_debian())
    {
        for compiler in found_compilers()?
            .iter()
            .filter(|compiler| compiler.rustc.starts_with(DEBIAN))
        {
            attempt(&mut failures, linker::install(context, compiler.llvm_major));
        }
    }
    Toolchain::find(&context.workspace).or_else(|missing| {
        let failures: String = failures.iter().map(|it| format!("\n  - {it:#}")).collect();
        bail!("{missing}.\nTried:{failures}\n\n{}", by_hand(context))
    })
}

/// Finds the pinned nightly, or installs it: sanitizers need one.
pub(crate) fn nightly() -> Result<()> {
    let is_there = found_compilers()?
        .iter()
        .any(|compiler| compiler.rustc.to_string_lossy().contains(PINNED_NIGHTLY));
    if is_there {
        return Ok(());
    }
    compiler::from_rustup()
}

/// Installs the programs that the namespace tests run.
pub(crate) fn test_tools() -> Result<()> {
    install_tools("the tests want", &missing_test_tools())
}

/// Installs the programs that the benchmark runs.
pub(crate) fn bench_tools() -> Result<()> {
    install_tools("the benchmark wants", &tools::missing_for_bench())
}

fn install_tools(who: &str, missing: &[Tool]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|tool| tool.program).collect();
    step(&format!("setup: {who} {}", names.join(", ")));
    let mut packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    install_packages(&packages)
}

fn found_compilers() -> Result<Vec<Compiler>> {
    Compiler::candidates().map_err(anyhow::Error::msg)
}

/// Notes a failure and says whether there was none.
fn attempt(failures: &mut Vec<anyhow::Error>, result: Result<()>) -> bool {
    match result {
        Ok(()) => true,
        Err(error) => {
            step(&format!("setup: {error:#}; trying another way"));
            failures.push(error);
            false
        }
    }
}

/// What a person can do where setup cannot.
fn by_hand(context: &Context) -> String {
    format!(
        "Either, with rustup:\n  {}\n  cargo binstall bpf-linker@{}\n\
         or, on Debian 12 or later, as root:\n  {}\n  cargo xtask setup\n\
         or name the tools yourself:\n  NETPATH_BPF_RUSTC=... NETPATH_BPF_LINKER=... \
         cargo xtask setup\n(the workspace is {})",
        compiler::rustup_command(),
        linker::VERSION,
        compiler::DEBIAN_COMMAND,
        context.workspace.display(),
    )
}
