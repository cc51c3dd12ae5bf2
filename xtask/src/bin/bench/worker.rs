//! Threads that live in a namespace and on the measured CPU.
//!
//! Owns their life. They live as long as their site, so that a slice has nothing to set up; what
//! they do comes as closures.

use std::{
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, anyhow};
use netpath::lab::Namespace;
use nix::sched::{CloneFlags, setns};

use crate::cpu::Cpu;

type Job = Box<dyn FnOnce() + Send>;

/// A thread; it ends when this is dropped.
pub(crate) struct Worker {
    name: String,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What a worker is doing.
pub(crate) struct Pending<T> {
    name: String,
    result: Receiver<T>,
}

impl Worker {
    /// Starts a thread in a namespace, on a CPU.
    pub(crate) fn start(namespace: &Namespace, cpu: &Cpu) -> Result<Self> {
        let name = namespace.name().to_owned();
        let file = namespace
            .file()
            .try_clone()
            .with_context(|| format!("cannot keep the namespace {name}"))?;
        let cpu = cpu.clone();
        let (jobs, queue) = mpsc::channel::<Job>();
        let (ready, entered) = mpsc::channel();
        let thread = thread::spawn(move || {
            let enter = || {
                setns(file, CloneFlags::CLONE_NEWNET).context("cannot enter the namespace")?;
                cpu.pin()
            };
            if ready.send(enter()).is_ok() {
                queue.iter().for_each(|job| job());
            }
        });
        entered
            .recv()
            .map_err(anyhow::Error::from)
            .and_then(|entered| entered)
            .with_context(|| format!("cannot start a thread in {name}"))?;
        Ok(Self {
            name,
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Has it do something, after what it is doing.
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Pending<T> {
        let (done, result) = mpsc::channel();
        let job = Box::new(move || {
            // Nobody may be waiting any more.
            let _ = done.send(work());
        });
        if let Some(jobs) = &self.jobs {
            // A thread that has ended drops the job; whoever waits for it is told.
            let _ = jobs.send(job);
        }
        Pending {
            name: self.name.clone(),
            result,
        }
    }

    /// Has it do something, and waits for that.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        self.begin(work).wait()
    }
}

impl<T> Pending<T> {
    /// Waits for the result.
    pub(crate) fn wait(self) -> Result<T> {
        self.result
            .recv()
            .map_err(|_| anyhow!("the thread in {} has ended before its work", self.name))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed, and whoever waited for it has failed.
            let _ = thread.join();
        }
    }
}
