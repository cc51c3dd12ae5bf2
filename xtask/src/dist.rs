//! `dist`: the program as it is given away: one static file, and what is installed beside it.
//!
//! Owns the musl target, for netpath and for what else has to run without this machine's libraries.

use std::{
    env, fs,
    path::{Path, PathBuf},
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
    beside(context, &program, &directory)?;
    step(&format!(
        "dist: {} ({} KiB)",
        program.display(),
        bytes.len() / 1024
    ));
    Ok(program)
}

/// What is installed beside the program: its manual pages and completions, made by itself, and the units and
/// settings of `packaging`.
fn beside(context: &Context, program: &Path, directory: &Path) -> Result<()> {
    let man = directory.join("man");
    if man.exists() {
        fs::remove_dir_all(&man).with_context(|| format!("cannot empty {}", man.display()))?;
    }
    run(Command::new(program).arg("man").arg(&man))?;
    let completions = directory.join("completions");
    fs::create_dir_all(&completions)
        .with_context(|| format!("cannot create {}", completions.display()))?;
    for (shell, name) in [
        ("bash", "netpath"),
        ("zsh", "_netpath"),
        ("fish", "netpath.fish"),
    ] {
        let text = output(Command::new(program).args(["completions", shell]))?;
        let file = completions.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    for part in ["systemd", "networkd", "NetworkManager"] {
        let (from, to) = (
            context.workspace.join("packaging").join(part),
            directory.join(part),
        );
        fs::create_dir_all(&to).with_context(|| format!("cannot create {}", to.display()))?;
        for entry in
            fs::read_dir(&from).with_context(|| format!("cannot read {}", from.display()))?
        {
            let file = entry?.path();
            let copy = to.join(file.file_name().context("a file without a name")?);
            fs::copy(&file, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
        }
    }
    Ok(())
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
