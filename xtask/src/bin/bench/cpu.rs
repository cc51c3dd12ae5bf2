//! CPU time and the CPU on which everything happens.
//!
//! Owns pinning and the clocks. The kernel's work for a packet is done in software interrupts,
//! whose time this kernel books on the thread that they interrupt, and in ksoftirqd where they
//! pile up: the three clocks together are the whole cost.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

/// The CPU that is measured on: the last one that this process may use. The first ones have the
/// most to do with the rest of the machine.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    index: usize,
    /// All that this process may use, and those of the main thread.
    sets: [CpuSet; 2],
    ksoftirqd: String,
}

impl Cpu {
    /// Chooses it, and keeps the calling thread off it where there is another.
    pub(crate) fn choose() -> Result<Self> {
        let this_thread = Pid::from_raw(0);
        let mut allowed =
            sched_getaffinity(this_thread).context("cannot ask for the CPUs to use")?;
        let last = (0..CpuSet::count()).rfind(|cpu| allowed.is_set(*cpu).unwrap_or(false));
        let index = last.context("this process may use no CPU")?;
        let all = allowed;
        allowed.unset(index)?;
        if (0..CpuSet::count()).any(|cpu| allowed.is_set(cpu).unwrap_or(false)) {
            sched_setaffinity(this_thread, &allowed).context("cannot leave the CPU alone")?;
        } else {
            allowed = all;
        }
        Ok(Self {
            index,
            sets: [all, allowed],
            ksoftirqd: ksoftirqd(index)?,
        })
    }

    /// Its number.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Moves the calling thread there.
    pub(crate) fn pin(&self) -> Result<()> {
        let mut set = CpuSet::new();
        set.set(self.index)?;
        sched_setaffinity(Pid::from_raw(0), &set)
            .with_context(|| format!("cannot move a thread to CPU {}", self.index))
    }

    /// Does a piece of work with every CPU, as a user's commands have them: nothing is measured beside it.
    /// Of the thread that [`Cpu::choose`] was called by.
    pub(crate) fn with_all<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let set = |set: &CpuSet| {
            sched_setaffinity(Pid::from_raw(0), set).context("cannot choose the CPUs to use")
        };
        set(&self.sets[0])?;
        let done = work();
        set(&self.sets[1])?;
        done
    }

    /// CPU time of its ksoftirqd.
    pub(crate) fn softirq_thread(&self) -> Result<Duration> {
        let path = &self.ksoftirqd;
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        let first = text.split(' ').next().unwrap_or_default();
        let nanoseconds = first
            .parse()
            .with_context(|| format!("{path} says {text:?}"))?;
        Ok(Duration::from_nanos(nanoseconds))
    }
}

/// The statistics file of the ksoftirqd of a CPU.
fn ksoftirqd(cpu: usize) -> Result<String> {
    let name = format!("ksoftirqd/{cpu}\n");
    for process in fs::read_dir("/proc")
        .context("cannot read /proc")?
        .flatten()
    {
        let path = process.path();
        if fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm == name) {
            return Ok(path.join("schedstat").to_string_lossy().into_owned());
        }
    }
    bail!("/proc has no {}: is this a container's view?", name.trim())
}

/// CPU time of the calling thread.
pub(crate) fn of_thread() -> Duration {
    // This clock can always be read.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
