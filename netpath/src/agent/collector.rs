//! When the agent collects expired flows.
//!
//! Owns the pauses between the steps of a pass and between two passes. What a step does is
//! [`crate::ct::collect`]'s.

use std::time::Duration;

use netpath_common::{V4, V6};
use tokio::time::{Instant, sleep_until};

use crate::{
    bpf,
    ct::collect::{Orphans, Sweep, SweepStats},
    instance::{self, Instance},
};

/// Between two steps: others get the processor.
const PAUSE: Duration = Duration::from_millis(1);
/// Before the next attempt, after one that failed or found nothing to collect from.
const AGAIN: Duration = Duration::from_secs(5);
/// No step should keep a processor longer.
const LONGEST_STEP: Duration = Duration::from_millis(10);

/// The collector of a running agent.
pub(super) struct Collector {
    next: Instant,
    turn: u16,
    pass: Option<Pass>,
    /// How long the table of the other family can wait.
    other: Duration,
}

/// A pass over the table of a family under way: one of IPv4, then one of IPv6.
enum Pass {
    V4(Sweep<V4>),
    V6(Sweep<V6>),
}

impl Pass {
    fn step(&mut self) -> Result<bool, bpf::Error> {
        match self {
            Self::V4(sweep) => sweep.step(),
            Self::V6(sweep) => sweep.step(),
        }
    }

    fn stats(&self) -> SweepStats {
        match self {
            Self::V4(sweep) => sweep.stats(),
            Self::V6(sweep) => sweep.stats(),
        }
    }

    fn rest(&self) -> Result<Duration, bpf::Error> {
        match self {
            Self::V4(sweep) => sweep.rest(),
            Self::V6(sweep) => sweep.rest(),
        }
    }
}

impl Collector {
    /// A collector whose first pass is due at once.
    pub(super) fn new() -> Self {
        Self {
            next: Instant::now(),
            turn: 0,
            pass: None,
            other: Duration::MAX,
        }
    }

    /// Waits until the next step is due. May be dropped and called again.
    pub(super) async fn due(&self) {
        sleep_until(self.next).await;
    }

    /// Does the next step of the pass, or begins one. A failure is logged, and the pass is tried
    /// anew later.
    pub(super) fn step(&mut self, instance: &Instance) {
        let rest = self.advance(instance).unwrap_or_else(|e| {
            match e {
                instance::Error::NotUp { .. } => tracing::debug!("the instance is not up"),
                e => tracing::error!("collecting expired flows failed: {e}"),
            }
            self.pass = None;
            AGAIN
        });
        self.next = Instant::now() + rest;
    }

    fn advance(&mut self, instance: &Instance) -> Result<Duration, instance::Error> {
        let Some(pass) = &mut self.pass else {
            let (datapath, _) = instance.running()?;
            self.turn = self.turn.wrapping_add(1);
            let sweep = Sweep::begin(&datapath, Orphans::Slice(self.turn))?;
            self.pass = Some(Pass::V4(sweep));
            return Ok(Duration::ZERO);
        };
        if pass.step()? {
            return Ok(PAUSE);
        }
        log(&pass.stats());
        let rest = pass.rest()?;
        if matches!(pass, Pass::V4(_)) {
            let (datapath, _) = instance.running()?;
            let sweep = Sweep::begin(&datapath, Orphans::Slice(self.turn))?;
            self.pass = Some(Pass::V6(sweep));
            self.other = rest;
            return Ok(PAUSE);
        }
        self.pass = None;
        Ok(rest.min(self.other))
    }
}

fn log(stats: &SweepStats) {
    let SweepStats {
        seen,
        removed,
        steps,
        ..
    } = stats;
    let (step, call) = (
        stats.longest_step.as_micros(),
        stats.longest_call.as_micros(),
    );
    tracing::debug!(
        "collected {removed} flows of {seen} entries in {steps} steps; the longest step took \
         {step} us of a processor, the longest system call {call} us"
    );
    if stats.longest_step > LONGEST_STEP {
        tracing::warn!(
            "a step of the collector kept a processor for {step} us: it read {} entries of {} \
             buckets at most",
            stats.most_entries,
            stats.most_buckets
        );
    }
}
