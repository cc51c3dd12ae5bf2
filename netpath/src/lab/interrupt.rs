//! SIGINT, SIGTERM and SIGHUP: the lab ends by removing everything.
//!
//! Owns the signals of the process while the lab runs. They are blocked in every thread and taken
//! by one that waits for them, so nothing of the lab is cut off half-way.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    thread,
};

use nix::sys::signal::{SigSet, Signal};

use super::Error;

static STOPPED: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// Starts to listen. Before any other thread starts: threads inherit the blocked signals, while
/// programs that they run do not.
pub(super) fn listen() -> Result<(), Error> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals
        .thread_block()
        .map_err(Error::sys("block signals"))?;
    thread::spawn(move || {
        while signals.wait().is_err() {}
        *STOPPED.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        STOPPED.1.notify_all();
    });
    Ok(())
}

/// Whether one has arrived.
pub(super) fn stopped() -> bool {
    *STOPPED.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for one.
pub(super) fn wait() {
    let mut stopped = STOPPED.0.lock().unwrap_or_else(PoisonError::into_inner);
    while !*stopped {
        stopped = STOPPED
            .1
            .wait(stopped)
            .unwrap_or_else(PoisonError::into_inner);
    }
}
