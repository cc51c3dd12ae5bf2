//! What the user sees while the run goes on.
//!
//! Owns the bar on a terminal and the lines elsewhere; both on standard error.

use std::{
    io::{IsTerminal as _, stderr},
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};

/// Counts steps.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    start: Instant,
}

impl Progress {
    /// Begins to count up to `steps`.
    pub(crate) fn new(steps: u64) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps);
            if let Ok(style) =
                ProgressStyle::with_template("{bar:32} {percent:>3} % {eta:>5}  {msg}")
            {
                bar.set_style(style);
            }
            bar
        });
        Self {
            bar,
            start: Instant::now(),
        }
    }

    /// Says what comes.
    pub(crate) fn say(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(message.to_owned()),
            None => eprintln!("{:7.1} s  {message}", self.start.elapsed().as_secs_f64()),
        }
    }

    /// Says which part of it is being done; of interest for a moment only, so on a terminal only.
    pub(crate) fn detail(&self, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(message.to_owned());
        }
    }

    /// One step is done.
    pub(crate) fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
