//! Where things are and how other programs are run.
//!
//! Owns the workspace's paths, the notion of being root, and the running of commands.

use std::{
    env, fs,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// What every subcommand needs to know.
pub(crate) struct Context {
    /// The root of the workspace.
    pub(crate) workspace: PathBuf,
    /// Cargo's target directory.
    pub(crate) target_dir: PathBuf,
}

impl Context {
    /// Reads it from the paths of this very program.
    pub(crate) fn new() -> Result<Self> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask is not inside the workspace")?
            .to_path_buf();
        let program = env::current_exe().context("cannot find the path of xtask")?;
        let target_dir = program
            .ancestors()
            .find(|dir| dir.join("CACHEDIR.TAG").is_file())
            .map_or_else(|| workspace.join("target"), Path::to_path_buf);
        Ok(Self {
            workspace,
            target_dir,
        })
    }

    /// The outer cargo, in the workspace.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.workspace);
        // Cargo describes xtask to xtask; the next cargo is to see what the first one saw.
        for (name, _) in env::vars_os() {
            let about_xtask = name.to_str().is_some_and(|name| {
                name.starts_with("CARGO_PKG_")
                    || name.starts_with("CARGO_MANIFEST_")
                    || name == "CARGO_PRIMARY_PACKAGE"
            });
            if about_xtask {
                cargo.env_remove(name);
            }
        }
        cargo
    }

    /// The netpath program of a profile's directory.
    pub(crate) fn netpath(&self, directory: &str) -> PathBuf {
        self.target_dir.join(directory).join("netpath")
    }
}

/// Tells the user what happens next.
pub(crate) fn step(message: &str) {
    eprintln!("==> {message}");
}

/// Runs a command to its end; a failure names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = show(command);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{name}`"))?;
    if !status.success() {
        bail!("`{name}` failed ({status})");
    }
    Ok(())
}

/// Runs a command and returns what it printed on standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = show(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{name}`"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{name}` failed ({}): {}", output.status, stderr.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{name}` printed no text"))
}

/// A command as a person would type it.
pub(crate) fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether this process is root: what it makes in /proc belongs to its user.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// The words before a command that needs root: none for root, `sudo` for others.
///
/// Fails where sudo is missing, or would ask for a password with nobody to type it.
pub(crate) fn as_root(purpose: &str) -> Result<Vec<String>> {
    if is_root() {
        return Ok(Vec::new());
    }
    if which("sudo").is_none() {
        bail!("{purpose} needs root, and there is no sudo: run this as root");
    }
    let silent = Command::new("sudo")
        .args(["-n", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !silent && !std::io::stdin().is_terminal() {
        bail!("{purpose} needs root, and sudo wants a password: run this as root");
    }
    step(&format!("{purpose} needs root: using sudo"));
    Ok(vec!["sudo".to_owned()])
}

/// A command, preceded by the words of [`as_root`].
pub(crate) fn prefixed(prefix: &[String], program: impl AsRef<std::ffi::OsStr>) -> Command {
    match prefix.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Where a program is: on PATH, or where root's programs are, which PATH may leave out.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// Whether this is a CI run.
pub(crate) fn in_ci() -> bool {
    env::var("CI").is_ok_and(|ci| !ci.is_empty() && ci != "false" && ci != "0")
}
