//! The machine.
//!
//! Owns QEMU's command line, the time limit and the reading of the console.

use std::{
    fmt,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// What the last line of the script inside begins with.
pub(crate) const MARK: &str = "netpath-vm: ";

/// The exit statuses of what ran inside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Verdict {
    prog: u8,
    lab: u8,
}

impl Verdict {
    /// Whether both were good.
    pub(crate) fn good(self) -> bool {
        self.prog == 0 && self.lab == 0
    }

    /// Reads the script's last line. The console may have put something before it.
    fn parse(line: &str) -> Option<Self> {
        let (_, statuses) = line.split_once(MARK)?;
        let status = |name: &str| {
            let (_, rest) = statuses.split_once(name)?;
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        };
        Some(Self {
            prog: status("prog=")?,
            lab: status("lab=")?,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let say = |status| if status == 0 { "passed" } else { "FAILED" };
        write!(f, "program tests {}, lab {}", say(self.prog), say(self.lab))
    }
}

/// Boots the kernel, shows its console and waits for the verdict.
pub(crate) fn boot(kernel: &Path, initramfs: &Path, kvm: bool, limit: Duration) -> Result<Verdict> {
    let accelerator = if kvm { "kvm" } else { "tcg" };
    let mut machine = Command::new("qemu-system-x86_64")
        .args(["-accel", accelerator, "-cpu", "max"])
        .args(["-smp", "2", "-m", "2048", "-no-reboot"])
        .args(["-nodefaults", "-nographic", "-serial", "stdio"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", "console=ttyS0 quiet loglevel=3 panic=-1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run qemu-system-x86_64")?;
    let verdict = watch(&mut machine, limit);
    // It has switched itself off, unless something went wrong; then it must not stay.
    if verdict.is_err() {
        let _ = machine.kill();
    }
    machine.wait().context("cannot wait for QEMU")?;
    verdict
}

/// Reads the console to its end.
fn watch(machine: &mut Child, limit: Duration) -> Result<Verdict> {
    let console = machine.stdout.take().context("QEMU has no console")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            if sender
                .send(String::from_utf8_lossy(&line).trim_end().to_owned())
                .is_err()
            {
                break;
            }
        }
    });
    let end = Instant::now() + limit;
    let mut verdict = None;
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                verdict = Verdict::parse(&line).or(verdict);
                println!("{line}");
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                bail!(
                    "the machine was not done after {} s; see --timeout",
                    limit.as_secs()
                )
            }
        }
    }
    verdict.context("the machine ended without a verdict; its last words are above")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_found_behind_noise() {
        let line = "[   12.3] random: crng init donenetpath-vm: prog=0 lab=1\r";
        let verdict = Verdict::parse(line).unwrap();
        assert_eq!(verdict, Verdict { prog: 0, lab: 1 });
        assert!(!verdict.good());
        assert_eq!(Verdict::parse("prog=0 lab=0"), None);
    }
}
