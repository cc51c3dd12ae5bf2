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

use crate::test::tally::Tally;

/// What the last line of the script inside begins with.
pub(crate) const MARK: &str = "netpath-vm: ";

/// What has become of the programs inside.
#[derive(Debug)]
pub(crate) struct Verdict {
    statuses: Statuses,
    tests: Tally,
}

/// Their exit statuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Statuses {
    prog: u8,
    lab: u8,
}

impl Verdict {
    /// Whether both were good, and tests did run.
    pub(crate) fn good(&self) -> bool {
        self.statuses == Statuses { prog: 0, lab: 0 } && self.tests.verdict(false).is_ok()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let say = |good| if good { "good" } else { "FAILED" };
        let prog = self.statuses.prog == 0 && self.tests.verdict(false).is_ok();
        let lab = self.statuses.lab == 0;
        write!(
            f,
            "program tests {} ({}), lab {}",
            say(prog),
            self.tests,
            say(lab)
        )
    }
}

impl Statuses {
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
            if sender.send(plain(&String::from_utf8_lossy(&line))).is_err() {
                break;
            }
        }
    });
    let end = Instant::now() + limit;
    let mut statuses = None;
    let mut tests = Tally::default();
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                statuses = Statuses::parse(&line).or(statuses);
                tests.line(&line);
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
    let statuses =
        statuses.context("the machine ended without a verdict; its last words are above")?;
    Ok(Verdict { statuses, tests })
}

/// A line of the console without what would clear or reset the terminal that shows it.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut pieces = line.trim_end().split('\u{1b}');
    text.extend(pieces.next());
    for piece in pieces {
        let end = piece
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(piece.len());
        let (sequence, rest) = piece.split_at((end + 1).min(piece.len()));
        // Colours are harmless.
        if sequence.ends_with('m') {
            text.push('\u{1b}');
            text.push_str(sequence);
        }
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_found_behind_noise() {
        let line = "[   12.3] random: crng init donenetpath-vm: prog=0 lab=1";
        assert_eq!(Statuses::parse(line), Some(Statuses { prog: 0, lab: 1 }));
        assert_eq!(Statuses::parse("prog=0 lab=0"), None);
    }

    #[test]
    fn a_machine_without_tests_is_not_good() {
        let statuses = Statuses { prog: 0, lab: 0 };
        assert!(
            !Verdict {
                statuses,
                tests: Tally::default()
            }
            .good()
        );
    }

    #[test]
    fn only_colours_get_to_the_terminal() {
        assert_eq!(
            plain("\u{1b}c\u{1b}[?7l\u{1b}[2Ja\u{1b}[32mb\r"),
            "a\u{1b}[32mb"
        );
        assert_eq!(plain("plain"), "plain");
    }
}
