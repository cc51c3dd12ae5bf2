//! Programs that run at the same time, on every processor.
//!
//! Owns the threads, their processors and what lets them begin together; and what a test reads and
//! writes between such rounds without touching every map. Owns no case.
//!
//! The kernel runs each program of BPF_PROG_TEST_RUN with softirqs off, as it does at the hooks: one
//! at a time on a processor, and no lock between processors.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use aya::{maps::Array, programs::SchedClassifier};
use netpath_common::{
    Addr,
    conntrack::Budget,
    maps,
    testing::{Frame, UPLINK_IF},
    tuple::Tuple,
};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    runner::{Ran, Runner},
    skip,
    test_run::{self, Input},
};

/// Looks at the others before the processor is left to one of them, which may be on the same one.
const SPINS: u32 = 300;

/// The processors that this thread may use.
///
/// # Panics
/// When the kernel does not tell.
#[must_use]
pub fn processors() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap())
        .collect()
}

/// Whether there is one processor, where nothing runs at the same time; then the caller returns, and
/// the skip is on record.
#[must_use]
pub fn alone() -> bool {
    let few = processors().len() < 2;
    if few {
        skip::record("this needs two processors");
    }
    few
}

/// Where threads wait for each other, again and again. They spin: to be woken takes longer than the
/// programs run.
#[derive(Debug)]
struct Start {
    threads: u32,
    arrived: AtomicU32,
}

impl Start {
    /// Waits until all have come `round` times, the first being 0.
    fn wait(&self, round: u32) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        let all = self.threads * (round + 1);
        let mut spins = 0;
        while self.arrived.load(Ordering::Acquire) < all {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

/// Held while threads run: those of two tests would only wait for each other's processors.
static RUNNING: Mutex<()> = Mutex::new(());

/// Runs `work(thread, round)` on as many threads as often as that, each round at the same time on
/// all. Threads take the processors in turn. The results, by thread and round.
///
/// # Panics
/// Where a thread does.
pub fn rounds<R: Send>(
    threads: usize,
    rounds: u32,
    work: impl Fn(usize, u32) -> R + Sync,
) -> Vec<Vec<R>> {
    let _running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let cpus = processors();
    let start = Start {
        threads: threads as u32,
        arrived: AtomicU32::new(0),
    };
    let (start, work) = (&start, &work);
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                let cpu = cpus[thread % cpus.len()];
                scope.spawn(move || {
                    let mut set = CpuSet::new();
                    set.set(cpu).unwrap();
                    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
                    (0..rounds)
                        .map(|round| {
                            start.wait(round);
                            work(thread, round)
                        })
                        .collect()
                })
            })
            .collect();
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    })
}

/// A loaded tc program that any thread may run.
#[derive(Debug)]
pub struct Shared(OwnedFd);

impl Shared {
    /// Runs it on a frame.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn run(&self, frame: &Frame) -> io::Result<Ran> {
        let input = Input {
            gso_size: frame.gso_size,
            ..Input::new(&frame.bytes, frame.ifindex)
        };
        let out = test_run::tc(self.0.as_fd(), &input)?;
        Ok(Ran {
            action: out.action,
            bytes: out.bytes,
        })
    }
}

impl Runner {
    /// A loaded tc program for threads.
    ///
    /// # Panics
    /// Where it is not loaded.
    #[must_use]
    pub fn shared(&self, program: &str) -> Shared {
        let p: &SchedClassifier = self.ebpf.program(program).unwrap().try_into().unwrap();
        Shared(p.fd().unwrap().as_fd().try_clone_to_owned().unwrap())
    }

    /// Writes the configuration alone.
    ///
    /// # Panics
    /// Where the kernel refuses it.
    pub fn sync_config(&mut self) {
        let mut map = Array::try_from(self.ebpf.map_mut(maps::CONFIG).unwrap()).unwrap();
        map.set(0, self.tables.config.unwrap(), 0).unwrap();
    }

    /// How many live flows count towards a limit.
    ///
    /// # Panics
    /// When the kernel refuses to read the map.
    #[must_use]
    pub fn live(&self, budget: Budget) -> i64 {
        let map: Array<_, u64> = Array::try_from(self.ebpf.map(maps::LIVE).unwrap()).unwrap();
        map.get(&budget.index(), 0).unwrap() as i64
    }
}

/// The frame by which the collector is given keys.
#[must_use]
pub fn proposal<A: Addr>(keys: &[Tuple<A>], force: bool) -> Frame {
    let mut bytes = vec![0_u8; 14];
    bytes.extend([u8::from(force), keys.len() as u8]);
    for key in keys {
        bytes.extend(bytemuck::bytes_of(key));
    }
    Frame {
        bytes,
        ifindex: UPLINK_IF,
        ..Frame::default()
    }
}
