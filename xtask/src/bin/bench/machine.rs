//! The circumstances of a run: machine, kernel, programs, settings.
//!
//! Owns what is written beside the numbers, so that they can be judged later.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use nix::unistd::{SysconfVar, sysconf};

use crate::{args::Measure, cpu::Cpu, schedule::Pace};

/// Names and values.
pub(crate) fn describe(netpath: &Path, cpu: &Cpu, pace: Pace) -> Result<Vec<(String, String)>> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let entries = [
        ("kernel", kernel.trim().to_owned()),
        ("processor", processor()),
        ("processors", processors()),
        ("measured on processor", cpu.index().to_string()),
        ("netpath", version(netpath, "--version")?),
        (
            "iptables",
            version(Path::new("iptables-legacy"), "--version")?,
        ),
        ("nftables", version(Path::new("nft"), "--version")?),
        ("rounds", pace.rounds.to_string()),
        ("slice", format!("{} ms", pace.slice.as_millis())),
    ];
    Ok(entries
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec())
}

/// The losses of a measure, for those who lost something.
pub(crate) fn losses(measure: Measure, losses: &[(String, f64)]) -> Option<(String, String)> {
    let worst = losses.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let value = format!("at most {:.4} % ({})", worst.1 * 100.0, worst.0);
    Some((
        format!("datagrams lost, {}", crate::run::name(measure)),
        value,
    ))
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

fn processors() -> String {
    // Not those that this thread may use: it stays off one.
    match sysconf(SysconfVar::_NPROCESSORS_ONLN) {
        Ok(Some(count)) => count.to_string(),
        _ => "unknown".to_owned(),
    }
}

/// What a program says about itself.
fn version(program: &Path, argument: &str) -> Result<String> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = Command::new(program)
        .arg(argument)
        .env("PATH", path)
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(
        output.status.success(),
        "`{} {argument}` failed ({})",
        program.display(),
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
