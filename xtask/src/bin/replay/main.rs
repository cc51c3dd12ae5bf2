//! Captures through the eBPF programs, and the time that they take.
//!
//! Owns the command line. Loading and running is `netpath_tests::runner`'s.

mod bench;

use netpath_tests::{runner::Runner, timing};

/// Rounds of a measurement.
const ROUNDS: u32 = 1000;

fn main() {
    bench::print(&timing::time(&mut Runner::new(), ROUNDS));
}
