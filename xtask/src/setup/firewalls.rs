//! ufw and firewalld for the namespace tests.
//!
//! Owns their files in the target directory. They are unpacked there and not installed: installed, they
//! would start, and the machine would have another firewall.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::apt;
use crate::context::{Context, run};

/// They, and the bus that firewalld is asked by.
const PACKAGES: [&str; 3] = ["ufw", "firewalld", "dbus"];

/// What packages have at the root and systems have below `usr`, where the root only points to it.
const MERGED: [&str; 3] = ["bin", "sbin", "lib"];

/// Makes them be there.
pub(crate) fn unpack(context: &Context) -> Result<()> {
    let place = context.target_dir.join("firewalls");
    let files = place.join("files");
    if files.is_dir() {
        return Ok(());
    }
    let (packages, fresh) = (place.join("packages"), place.join("fresh"));
    // What an attempt that failed has left.
    let _ = fs::remove_dir_all(&fresh);
    apt::download(&PACKAGES, &packages)?;
    fs::create_dir_all(fresh.join("usr"))
        .with_context(|| format!("cannot make {}", fresh.display()))?;
    let found =
        fs::read_dir(&packages).with_context(|| format!("cannot read {}", packages.display()))?;
    for entry in found {
        let package = entry?.path();
        if package.extension().is_some_and(|e| e == "deb") {
            let mut dpkg = std::process::Command::new("dpkg-deb");
            run(dpkg.arg("-x").arg(&package).arg(&fresh))?;
        }
    }
    for name in MERGED {
        let from = fresh.join(name);
        if from.is_dir() {
            merge(&from, &fresh.join("usr").join(name))?;
        }
    }
    fs::rename(&fresh, &files).with_context(|| format!("cannot make {}", files.display()))
}

/// Moves what is in a directory into another one.
fn merge(from: &Path, to: &Path) -> Result<()> {
    let mut copy = std::process::Command::new("cp");
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    run(copy.arg("-a").arg(from.join(".")).arg(to))?;
    fs::remove_dir_all(from).with_context(|| format!("cannot remove {}", from.display()))
}
