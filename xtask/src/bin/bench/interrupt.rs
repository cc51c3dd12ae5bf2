//! SIGINT, SIGTERM and SIGHUP: the run ends by removing everything.
//!
//! Owns the signals of the process. They are blocked in every thread and taken by one that waits
//! for them; the run looks between two slices whether one has come.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{SigSet, Signal};

static STOPPED: AtomicBool = AtomicBool::new(false);

/// Starts to listen. Before any other thread starts: threads inherit the blocked signals. So do the
/// programs that are run, which is as well: Ctrl-C reaches all of a terminal's programs, and this
/// one decides what is cut off.
pub(crate) fn listen() -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().context("cannot block signals")?;
    thread::spawn(move || {
        while signals.wait().is_err() {}
        STOPPED.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// Fails once one has arrived.
pub(crate) fn check() -> Result<()> {
    if STOPPED.load(Ordering::Relaxed) {
        bail!("interrupted; everything that was made is removed");
    }
    Ok(())
}
