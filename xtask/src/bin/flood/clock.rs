//! The CPU on which everything happens, and its clocks.
//!
//! Owns pinning and reading. The receiver works in software interrupts, whose time the kernel books
//! on the thread that they interrupt, and in ksoftirqd where they pile up.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

/// A CPU that the calling thread is bound to.
#[derive(Debug)]
pub(crate) struct Cpu {
    ksoftirqd: String,
}

impl Cpu {
    /// Binds the calling thread, and all that it starts, to the last CPU it may use: the first ones
    /// have the most to do with the rest of the machine.
    pub(crate) fn bind() -> Result<Self> {
        let this = Pid::from_raw(0);
        let allowed = sched_getaffinity(this).context("cannot ask for the CPUs to use")?;
        let last = (0..CpuSet::count()).rfind(|cpu| allowed.is_set(*cpu).unwrap_or(false));
        let index = last.context("this process may use no CPU")?;
        let mut set = CpuSet::new();
        set.set(index)?;
        sched_setaffinity(this, &set).with_context(|| format!("cannot move to CPU {index}"))?;
        Ok(Self {
            ksoftirqd: ksoftirqd(index)?,
        })
    }

    /// Time that the calling thread and the CPU's ksoftirqd have worked.
    pub(crate) fn worked(&self) -> Result<Duration> {
        let own = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        let text = fs::read_to_string(&self.ksoftirqd)
            .with_context(|| format!("cannot read {}", self.ksoftirqd))?;
        let first = text.split(' ').next().unwrap_or_default();
        let kernel = first
            .parse()
            .with_context(|| format!("{} begins with {first:?}", self.ksoftirqd))?;
        Ok(Duration::from(own) + Duration::from_nanos(kernel))
    }
}

/// Where the kernel tells how long ksoftirqd of this CPU has run.
fn ksoftirqd(cpu: usize) -> Result<String> {
    let name = format!("ksoftirqd/{cpu}");
    for process in fs::read_dir("/proc")?.flatten() {
        let path = process.path();
        if fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name) {
            return Ok(path.join("schedstat").display().to_string());
        }
    }
    bail!("there is no {name}: is this a container without the host's /proc?")
}
