//! Load between two threads of a measure's choice.
//!
//! Owns the CPU time of it: of the whole process, so that whatever stands between the two, like a
//! proxy, is counted.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::time::{ClockId, clock_gettime};

use crate::{
    cpu::Cpu,
    load::{Kind, Outcome, Session},
    results::Slice,
    worker::Worker,
};

/// Two threads that talk.
pub(super) struct Talk<'t> {
    client: &'t Worker,
    server: &'t Worker,
    session: Session,
    kind: Kind,
}

impl<'t> Talk<'t> {
    /// Opens the sockets: `client` connects to `target`, `server` listens on `port` and has to see
    /// the address `seen`.
    pub(super) fn open(
        kind: Kind,
        client: &'t Worker,
        server: &'t Worker,
        target: SocketAddrV4,
        port: u16,
        seen: Ipv4Addr,
    ) -> Result<Self> {
        let bind = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let seen = seen.into()..=seen.into();
        let session = Session::between(kind, None, client, server, target.into(), bind, seen)?;
        Ok(Self {
            client,
            server,
            session,
            kind,
        })
    }

    /// One slice; returns its value and the share of operations that were lost, which only
    /// datagrams may be.
    pub(super) fn slice(&self, cpu: &Cpu, span: Duration) -> Result<(Slice, f64)> {
        let (outcome, spent) = spent(cpu, || {
            self.session.run(self.client, self.server, cpu, span)
        })?;
        let Outcome {
            operations,
            lost,
            elapsed,
            ..
        } = outcome;
        ensure!(
            lost == 0 || self.kind == Kind::Udp,
            "{lost} operations were begun and never came to their end"
        );
        // As `run` judges it.
        let share = lost as f64 / (operations + lost) as f64;
        ensure!(
            share <= crate::run::MOST_LOST,
            "{:.1} % of the datagrams were lost",
            share * 100.0
        );
        Ok((value(operations, elapsed, spent), share))
    }
}

/// A slice's value.
pub(super) fn value(operations: u64, elapsed: Duration, cpu: Duration) -> Slice {
    let operations = operations as f64;
    Slice {
        rate: operations / elapsed.as_secs_f64(),
        cpu_ns: Some(cpu.as_nanos() as f64 / operations),
    }
}

/// CPU time of this process and of the software interrupts' thread that a piece of work took.
pub(super) fn spent<T>(cpu: &Cpu, work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let now = || {
        let process = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID);
        let process = Duration::from(process.context("cannot read the process' CPU clock")?);
        anyhow::Ok(process + cpu.softirq_thread()?)
    };
    let before = now()?;
    let done = work()?;
    Ok((done, now()?.saturating_sub(before)))
}
