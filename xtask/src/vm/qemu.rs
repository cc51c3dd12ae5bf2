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
pub(crate) const MARK: &str = "netpath-vm:";

/// What goes before the line of a test that has skipped itself.
pub(crate) const SKIPPED: &str = "netpath-vm-skip: ";

/// What has become of the programs inside.
#[derive(Debug)]
pub(crate) struct Verdict {
    statuses: Vec<(String, u8)>,
    tests: Tally,
}

impl Verdict {
    /// Whether all were good, and tests did run. None may be skipped: what they miss elsewhere is here.
    pub(crate) fn good(&self) -> bool {
        self.statuses.iter().all(|(_, status)| *status == 0) && self.tests.verdict(true).is_ok()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, status) in &self.statuses {
            let word = if *status == 0 { "good" } else { "FAILED" };
            write!(f, "{name} {word}, ")?;
        }
        write!(f, "{}", self.tests)?;
        if let Err(why) = self.tests.verdict(true) {
            write!(f, "; FAILED: {why}")?;
        }
        Ok(())
    }
}

/// Reads the script's last line, `NAME=STATUS` for each program. The console may have put something
/// before it.
fn statuses(line: &str) -> Option<Vec<(String, u8)>> {
    let (_, statuses) = line.split_once(MARK)?;
    let status = |word: &str| {
        let (name, status) = word.split_once('=')?;
        Some((name.to_owned(), status.parse().ok()?))
    };
    let statuses: Option<Vec<_>> = statuses.split_whitespace().map(status).collect();
    statuses.filter(|statuses| !statuses.is_empty())
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
    let (mut found, mut skipped) = (None, Vec::new());
    let mut tests = Tally::default();
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                found = statuses(&line).or(found);
                skipped.extend(line.split_once(SKIPPED).map(|(_, why)| why.to_owned()));
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
        found.context("the machine ended without a verdict; its last words are above")?;
    tests.skip(&skipped);
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

    fn verdict(line: &str, summary: &str) -> Verdict {
        let mut tests = Tally::default();
        tests.line(summary);
        let statuses = statuses(line).unwrap();
        Verdict { statuses, tests }
    }

    const PASSED: &str = "test result: ok. 3 passed; 0 failed; 0 ignored";

    #[test]
    fn a_verdict_is_found_behind_noise() {
        let line = "[   12.3] random: crng init donenetpath-vm: prog=0 lab=1";
        let wanted = vec![("prog".to_owned(), 0), ("lab".to_owned(), 1)];
        assert_eq!(statuses(line), Some(wanted));
        assert_eq!(statuses("prog=0 lab=0"), None);
        assert_eq!(statuses("netpath-vm:"), None);
        assert_eq!(statuses("netpath-vm: prog="), None);
    }

    #[test]
    fn one_bad_status_a_skip_or_no_test_is_not_good() {
        assert!(verdict("netpath-vm: prog=0 lab=0", PASSED).good());
        assert!(!verdict("netpath-vm: prog=0 lab=1", PASSED).good());
        assert!(!verdict("netpath-vm: prog=0 lab=0", "").good());
        let mut skipped = verdict("netpath-vm: prog=0", PASSED);
        skipped.tests.skip(&["no SCTP".to_owned()]);
        assert!(!skipped.good());
        assert!(
            skipped
                .to_string()
                .contains("2 passed, 0 failed, 1 skipped; FAILED")
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
