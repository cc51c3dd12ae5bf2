//! Waiting with a deadline instead of sleeping.
//!
//! Owns the one loop that looks again until something holds.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long the tests wait for anything.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Waits until `holds`.
///
/// # Panics
/// When it does not within [`DEADLINE`].
#[track_caller]
pub fn until(what: &str, holds: impl FnMut() -> bool) {
    until_within(DEADLINE, what, holds);
}

/// Waits until `holds`, for what takes its time.
///
/// # Panics
/// When it does not within `most`.
#[track_caller]
pub fn until_within(most: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + most;
    while !holds() {
        assert!(
            Instant::now() < deadline,
            "waited {most:?} in vain until {what}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}
