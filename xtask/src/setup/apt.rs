//! Debian's packages.
//!
//! Owns the calls of apt. Installs only what can be had without removing anything.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::context::{as_root, output, prefixed, run, step, which};

/// Installs packages, as root or through sudo.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if which("apt-get").is_none() {
        bail!("this is no Debian system; install the equivalents of its packages {list}");
    }
    let sudo = as_root(&format!("apt-get install {list}"))
        .with_context(|| format!("as root, run: apt-get install {list}"))?;
    step(&format!("setup: apt-get install {list}"));
    let apt = || apt_get(&sudo);
    refresh(&sudo);
    let arguments = |apt: &mut Command| {
        apt.args(["install", "--no-install-recommends"])
            .args(packages);
    };
    let mut rehearsal = apt();
    rehearsal.arg("--simulate");
    arguments(&mut rehearsal);
    let plan = output(&mut rehearsal)?;
    let removed: Vec<_> = plan
        .lines()
        .filter_map(|line| line.strip_prefix("Remv ")?.split(' ').next())
        .collect();
    if !removed.is_empty() {
        bail!(
            "apt-get install {list} would remove {}: not done",
            removed.join(", ")
        );
    }
    let mut install = apt();
    arguments(&mut install);
    run(install.stdout(Stdio::null()))
}

/// Gets the packages of these that are not installed, with what they need, and puts them into a
/// directory. Installs nothing.
pub(crate) fn download(packages: &[&str], to: &Path) -> Result<()> {
    let list = packages.join(" ");
    if which("apt-get").is_none() {
        bail!("this is no Debian system, which the packages {list} are taken from");
    }
    let sudo = as_root(&format!("getting the packages {list}"))?;
    step(&format!("setup: apt-get install --download-only {list}"));
    refresh(&sudo);
    // Where apt keeps what it has begun to get.
    fs::create_dir_all(to.join("partial"))
        .with_context(|| format!("cannot make {}", to.display()))?;
    let place = format!("Dir::Cache::archives={}", to.display());
    let mut apt = apt_get(&sudo);
    apt.args([
        "install",
        "--download-only",
        "--no-install-recommends",
        "-o",
    ])
    .arg(place)
    .args(packages);
    run(apt.stdout(Stdio::null()))
}

/// Reads the lists of packages anew, as root or through sudo: those of a fresh machine are empty.
pub(crate) fn update() -> Result<()> {
    refresh(&as_root("apt-get update")?);
    Ok(())
}

/// The lists of a fresh machine are empty or old. A source that cannot be read is no reason to give up:
/// the others may have everything.
fn refresh(sudo: &[String]) {
    if let Err(error) = run(apt_get(sudo).arg("update").stdout(Stdio::null())) {
        step(&format!(
            "setup: {error:#}; going on with the lists that are there"
        ));
    }
}

fn apt_get(sudo: &[String]) -> Command {
    let mut apt = prefixed(sudo, "env");
    apt.args(["DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get"])
        .args([
            "-q",
            "-y",
            "-o",
            "Dpkg::Use-Pty=0",
            "-o",
            "DPkg::Lock::Timeout=300",
        ])
        .stdin(Stdio::null());
    apt
}
