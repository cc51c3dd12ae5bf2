//! Running the real tools inside a namespace.
//!
//! Owns how they are called and how their failures are told. Which tools is the callers' business.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use netpath::lab::Namespace;

/// Runs a program in a namespace, with `input` as its standard input; returns what it printed.
pub(crate) fn run(
    namespace: &Namespace,
    program: &str,
    arguments: &[&str],
    input: &str,
) -> Result<String> {
    let name = format!("{program} {}", arguments.join(" "));
    let what = || format!("`{name}` in {}", namespace.name());
    let mut command = Command::new(program);
    // Root's programs are where the PATH may not lead.
    let path = env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    command
        .args(arguments)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // A program runs in the namespace of the thread that starts it.
    let mut child = namespace
        .run(|| command.spawn())?
        .with_context(|| format!("cannot run {}", what()))?;
    let mut stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(stdin) = &mut stdin {
                // A program that does not read to the end says why by its status.
                let _ = stdin.write_all(input.as_bytes());
            }
            drop(stdin);
        });
        child.wait_with_output()
    });
    let output = output.with_context(|| format!("cannot wait for {}", what()))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", what(), output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes sysctls of a namespace, by their paths below /proc/sys/net.
pub(crate) fn sysctls(namespace: &Namespace, settings: &[(&str, &str)]) -> Result<()> {
    namespace
        .run(|| {
            settings
                .iter()
                .try_for_each(|(name, value)| write(name, value))
        })?
        .with_context(|| format!("in {}", namespace.name()))
}

/// The same, without those that this kernel does not have.
pub(crate) fn sysctls_if_there(namespace: &Namespace, settings: &[(&str, &str)]) -> Result<()> {
    let write_if_there = |(name, value): &(&str, &str)| {
        if sysctl_path(name).exists() {
            write(name, value)
        } else {
            Ok(())
        }
    };
    namespace
        .run(|| settings.iter().try_for_each(write_if_there))?
        .with_context(|| format!("in {}", namespace.name()))
}

/// Of the calling thread's namespace.
fn sysctl_path(name: &str) -> PathBuf {
    Path::new("/proc/sys/net").join(name)
}

fn write(name: &str, value: &str) -> Result<()> {
    let path = sysctl_path(name);
    fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))
}

/// Reads a number below /proc/sys/net of a namespace.
pub(crate) fn sysctl(namespace: &Namespace, name: &str) -> Result<u64> {
    namespace
        .run(|| {
            let path = sysctl_path(name);
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let number = text.trim().parse();
            number.with_context(|| format!("{} says {text:?}", path.display()))
        })?
        .with_context(|| format!("in {}", namespace.name()))
}
