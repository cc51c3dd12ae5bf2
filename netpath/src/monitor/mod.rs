//! Dropped packets, as they happen.
//!
//! Owns reading the ring buffer of drop events. The lines are made in `format`; the counters of
//! drops, which lose nothing, are read through [`Datapath::drops`].

mod format;

use std::{
    fs::File,
    io::{self, Write as _},
};

use netpath_common::{event::DropEvent, maps};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use tokio::io::{Interest, unix::AsyncFd};

pub use self::format::Names;
use crate::bpf::{Datapath, Error, coarse_now};

/// Show packets that are dropped, as it happens.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Args {
    /// Show dropped packets (the default and only kind of event)
    #[arg(long)]
    pub drops: bool,
    /// Explain each reason
    #[arg(long)]
    pub verbose: bool,
}

impl Args {
    /// How to show them.
    #[must_use]
    pub const fn options(&self, json: bool) -> Options {
        Options {
            json,
            verbose: self.verbose,
        }
    }
}

/// How drops are shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// One JSON object a line.
    pub json: bool,
    /// Explain each reason.
    pub verbose: bool,
}

/// Prints every drop on standard output until `until` is done or nobody reads any more; returns
/// how many there were. `resolver` names the endpoint of a slot.
///
/// # Errors
/// [`Error::MonitorRuns`] if another monitor reads the events; or if reading or writing fails.
pub async fn run(
    dp: &Datapath,
    resolver: impl Fn(u16) -> Option<String>,
    opts: &Options,
    until: impl Future<Output = ()>,
) -> Result<u64, Error> {
    let clock = format::Clock::now()?;
    let names = Names {
        endpoint: &resolver,
    };
    watch(dp, until, |event| {
        let line = if opts.json {
            format::json(event, &clock, &names)
        } else {
            format::line(event, &clock, &names, opts.verbose)
        };
        let mut out = io::stdout().lock();
        match out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            other => other.map(|()| true),
        }
    })
    .await
}

/// Calls `each` for every drop until `until` is done or `each` says `false`; returns how many
/// there were. Drops from before the call are left out.
///
/// # Errors
/// As [`run`].
pub async fn watch(
    dp: &Datapath,
    until: impl Future<Output = ()>,
    mut each: impl FnMut(&DropEvent) -> io::Result<bool>,
) -> Result<u64, Error> {
    let _lock = lock(dp)?;
    let start = coarse_now()?;
    let failed = |e| Error::system(format!("reading {}", maps::EVENTS), e);
    // SAFETY: the ring owns its descriptor, which stays the same until the ring is dropped, and the
    // ring is dropped after its registration, inside the `AsyncFd`.
    let ring =
        unsafe { AsyncFd::register_with_interest(dp.ring(maps::EVENTS)?, Interest::READABLE) };
    let mut ring = ring.map_err(|e| failed(e.into()))?;
    let mut count = 0;
    tokio::pin!(until);
    loop {
        let done = tokio::select! {
            () = &mut until => true,
            // Cleared before the ring is emptied: an event after the last look makes it ready anew.
            ready = ring.readable() => {
                ready.map_err(failed)?.clear_ready();
                false
            }
        };
        while let Some(item) = ring.get_mut().next() {
            let Ok(event) = bytemuck::try_pod_read_unaligned::<DropEvent>(&item) else {
                continue;
            };
            if event.time_ns < start {
                continue;
            }
            count += 1;
            if !each(&event).map_err(|e| Error::system("writing the drops", e))? {
                return Ok(count);
            }
        }
        if done {
            return Ok(count);
        }
    }
}

/// Two readers of one ring buffer would take each other's events, so the first one locks the
/// directory of the programs: unlike files, directories of bpffs can be opened.
fn lock(dp: &Datapath) -> Result<Flock<File>, Error> {
    let path = dp.pins().programs();
    let dir =
        File::open(&path).map_err(|e| Error::system(format!("opening {}", path.display()), e))?;
    Flock::lock(dir, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| {
        if e == Errno::EWOULDBLOCK {
            return Error::MonitorRuns {
                instance: dp.instance().to_owned(),
            };
        }
        Error::system(format!("locking {}", path.display()), e)
    })
}
