//! `dist`: the program as it is given away: one static file.
//!
//! Owns the musl target, for netpath and for what else has to run without this machine's libraries.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build,
    context::{Context, output, run, step, which},
    ebpf::elf,
};

/// Builds the static program, checks that it is one, and says where it is.
pub(crate) fn dist(context: &Context) -> Result<PathBuf> {
    build::object(context)?;
    let target = musl_target()?;
    step(&format!("dist: building netpath for {target}"));
    run(context.cargo().args([
        "build",
        "--package=netpath",
        "--release",
        "--target",
        &target,
    ]))?;

    let built = context.target_dir.join(&target).join("release/netpath");
    let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    if elf::section(&bytes, ".interp").is_some() {
        bail!(
            "{} wants a dynamic loader; it has to be static",
            built.display()
        );
    }
    let directory = context.target_dir.join("dist");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let program = directory.join("netpath");
    fs::copy(&built, &program).with_context(|| format!("cannot write {}", program.display()))?;
    output(Command::new(&program).arg("--help"))?;
    step(&format!(
        "dist: {} ({} KiB)",
        program.display(),
        bytes.len() / 1024
    ));
    Ok(program)
}

/// The musl target of this machine's architecture, whose standard library is installed if need be.
pub(crate) fn musl_target() -> Result<String> {
    let target = format!("{}-unknown-linux-musl", env::consts::ARCH);
    let installed = || -> Result<bool> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let libraries =
            output(Command::new(rustc).args(["--print", "target-libdir", "--target", &target]))?;
        Ok(PathBuf::from(libraries.trim()).is_dir())
    };
    if installed()? {
        return Ok(target);
    }
    if which("rustup").is_none() {
        bail!(
            "the compiler has no standard library for {target}, and there is no rustup to add it: \
             install the package of your distribution that has it, or rustup"
        );
    }
    step(&format!(
        "setup: rustup adds the standard library for {target}"
    ));
    run(Command::new("rustup")
        .args(["target", "add", &target])
        .stdin(Stdio::null()))?;
    if !installed()? {
        bail!("rustup has added {target} to another toolchain than the one in use");
    }
    Ok(target)
}
