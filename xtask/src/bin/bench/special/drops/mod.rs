//! What a dropped packet costs in a flood of unwanted ones: netpath with XDP, netpath with tc, and
//! one rule of iptables-legacy in raw PREROUTING.
//!
//! Owns the measures `drop_unpublished` (UDP to a port that nobody has) and `drop_direct` (UDP to a
//! container's own address). A value is the CPU time of a slice less that of the sender alone, which
//! takes its turn in the same round with frames that nobody receives.

mod inject;
mod site;

use std::{
    cell::RefCell,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use self::site::{Dropper, Packets, Site};
use super::{Setup, turns::Turns};
use crate::{
    cpu::{self, Cpu},
    interrupt,
    results::{Results, Slice},
    workdir::PREFIX,
};

/// Frames of a slice.
const FRAMES: u32 = 100_000;

/// The receivers.
const DROPPERS: [Dropper; 5] = [
    Dropper::Xdp,
    Dropper::Tc,
    Dropper::Raw,
    Dropper::RawAgain,
    Dropper::Nothing,
];

pub(super) fn run(setup: Setup<'_>, results: &mut Results) -> Result<()> {
    for (measure, packets) in [
        ("drop_unpublished", Packets::Unpublished),
        ("drop_direct", Packets::Direct),
    ] {
        let sender = build(setup, packets, Dropper::Sender)?;
        let mut sites = Vec::new();
        for dropper in DROPPERS {
            // tc leaves the host's own ports to the stack, which answers.
            if (packets, dropper) != (Packets::Unpublished, Dropper::Tc) {
                sites.push((dropper, build(setup, packets, dropper)?));
            }
        }
        let alone: RefCell<Vec<f64>> = RefCell::default();
        let mut turns = Turns::rate(measure, "ns");
        turns.higher_is_better = false;
        turns.add("sender", || {
            let rate = slice(setup.cpu, &sender)?;
            alone.borrow_mut().push(rate);
            Ok(Slice { rate, cpu_ns: None })
        });
        for (dropper, site) in &sites {
            turns.add(dropper.name(), || {
                let rate = slice(setup.cpu, site)?;
                Ok(Slice { rate, cpu_ns: None })
            });
        }
        let rounds = setup.pace.rounds;
        let mut series = turns.take(rounds, setup.progress)?;
        // The first entry is the warm-up round's.
        let alone = alone.take();
        let alone = alone.get(1..).unwrap_or_default();
        series.retain(|series| series.variant != "sender");
        for series in &mut series {
            for (slice, alone) in series.rounds.iter_mut().zip(alone) {
                slice.rate -= alone;
            }
        }
        let sent = u64::from(FRAMES) * u64::from(rounds + 1);
        for (_, site) in &sites {
            proof(site, sent)?;
        }
        results.series.extend(series);
    }
    Ok(())
}

fn build(setup: Setup<'_>, packets: Packets, dropper: Dropper) -> Result<Site> {
    interrupt::check()?;
    let name = dropper.name();
    setup.progress.say(&format!("setting up a flood, {name}"));
    let prefix = format!("{PREFIX}drop-{name}");
    let directory = setup.workdir.directory(&prefix)?;
    Site::build(&prefix, &directory, setup.netpath, packets, dropper)
        .with_context(|| format!("cannot set up a flood for {name}"))
}

/// Nanoseconds of CPU time for each frame of one slice.
fn slice(cpu: &Cpu, site: &Site) -> Result<f64> {
    thread::scope(|scope| {
        // A thread of its own: it changes its namespace and its CPU.
        let thread = scope.spawn(|| {
            cpu.pin()?;
            let begin = (cpu::of_thread(), cpu.softirq_thread()?);
            site.send(FRAMES)?;
            // Lets ksoftirqd, which lives on this CPU, finish what it has begun.
            thread::sleep(Duration::from_millis(1));
            let worked = cpu::of_thread() - begin.0 + cpu.softirq_thread()? - begin.1;
            Ok(worked.as_nanos() as f64 / f64::from(FRAMES))
        });
        match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Every frame was dropped where it should be, but for those that may be refused.
fn proof(site: &Site, sent: u64) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut dropped = site.dropped()?;
    // A burst and then some a second pass; two minutes are longer than any run.
    let refused = netpath_common::datapath::REFUSED_PER_SECOND * 120;
    let enough = |dropped: u64| match (site.packets, site.dropper) {
        (Packets::Unpublished, Dropper::Xdp) => dropped + refused.min(sent / 10) >= sent,
        _ => dropped == sent,
    };
    while dropped.is_some_and(|d| !enough(d)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
        dropped = site.dropped()?;
    }
    if let Some(dropped) = dropped {
        ensure!(
            enough(dropped),
            "{}: {dropped} of {sent} packets were dropped: the measurement is void",
            site.dropper.name()
        );
    }
    Ok(())
}
