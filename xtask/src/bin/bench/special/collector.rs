//! A million flows that are over: how long it takes to be rid of them, and at what price.
//!
//! Owns the measures `collect_pass` (a pass over a million expired flows, its pauses included),
//! `collect_pass_live` (one over a million live ones), `collect_step` and `collect_call` (the
//! longest that a step, and one system call of it, kept a processor), `collect_empty` (the same
//! of a table without flows), `collect_agent` (from the moment at which a million flows of a
//! running agent are over until the last is gone) and `agent_rss` (its memory at its peak).

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use netpath::{
    bpf::Datapath,
    ct::{
        self, Filter,
        collect::{Orphans, Sweep, SweepStats},
    },
    lab::Namespace,
};
use netpath_common::{
    V4,
    testing::{Seen, numbered_flow},
};
use nix::time::{ClockId, clock_gettime};

use super::Setup;
use crate::{
    instance::{self, Instance},
    interrupt,
    results::{Results, Series, Slice},
    site::Site,
    variant::{Published, Variant},
};

/// Flows, and what the table is made for.
const FLOWS: u32 = 1_000_000;
const TABLE: u32 = 1_048_576;
/// Flows that one batch writes.
const BATCH: u32 = 2048;
/// Between two steps, as the agent has it.
const PAUSE: Duration = Duration::from_millis(1);
/// Seconds from now, when a flow was seen last that is over.
const OLD: i64 = -1000;
/// The same of one that lives throughout the run.
const LIVE: i64 = 3600;
/// The agent should be done long before.
const PATIENCE: Duration = Duration::from_secs(120);
/// Rounds at most: each takes seconds.
const ROUNDS: u32 = 5;

/// What one round measured, by measure and unit.
type Values = Vec<(&'static str, &'static str, f64)>;

pub(super) fn run(setup: Setup<'_>, results: &mut Results) -> Result<()> {
    let mut site = setup.site(Variant::Netpath, 1)?;
    // It would take part in the passes.
    instance_of(&mut site)?.end_agent();
    remake(setup, &site)?;
    setup.progress.say("collector");
    let rounds = if setup.quick {
        1
    } else {
        setup.pace.rounds.min(ROUNDS)
    };
    let mut series: Vec<Series> = Vec::new();
    for _ in 0..rounds {
        interrupt::check()?;
        let mut values = site.router_ns.run(|| passes(&site.router_ns))??;
        values.extend(agent(&mut site)?);
        for (measure, unit, rate) in values {
            let slice = Slice { rate, cpu_ns: None };
            match series.iter_mut().find(|it| it.measure == measure) {
                Some(found) => found.rounds.push(slice),
                None => series.push(Series {
                    measure: measure.to_owned(),
                    ports: 1,
                    variant: Variant::Netpath.name().to_owned(),
                    unit: unit.to_owned(),
                    higher_is_better: false,
                    rounds: vec![slice],
                }),
            }
        }
    }
    results.series.extend(series);
    Ok(())
}

/// Brings the instance up again with a table for a million flows.
fn remake(setup: Setup<'_>, site: &Site) -> Result<()> {
    let netpath = site.instance.as_ref().context("netpath is not up")?;
    let router = &site.router_ns;
    netpath.run(router, &["down", "--all"])?;
    let config = setup.workdir.directory("collector")?.join("netpath.toml");
    let text = instance::config(
        site.container_ns.name(),
        Published::new(1),
        site.family,
        TABLE,
    );
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    netpath.run(router, &["up", "-c", &config.to_string_lossy(), "--yes"])?;
    Ok(())
}

/// The passes of the collector by themselves.
fn passes(router: &Namespace) -> Result<Values> {
    let datapath = open(router)?;
    let (_, empty) = pass(&datapath)?;
    fill(&datapath, LIVE)?;
    let (live_s, live) = pass(&datapath)?;
    ensure!(
        live.removed == 0 && live.seen == 2 * FLOWS as usize,
        "of {FLOWS} live flows {} entries were seen and {} flows removed",
        live.seen,
        live.removed
    );
    ct::flush(&datapath, &Filter::default())?;
    fill(&datapath, OLD)?;
    let (expired_s, expired) = pass(&datapath)?;
    ensure!(
        expired.removed == FLOWS as usize,
        "{} of {FLOWS} expired flows were removed",
        expired.removed
    );
    let step = live.longest_step.max(expired.longest_step);
    let call = live.longest_call.max(expired.longest_call);
    Ok(vec![
        ("collect_pass", "s", expired_s),
        ("collect_pass_live", "s", live_s),
        ("collect_step", "ms", milliseconds(step)),
        ("collect_call", "ms", milliseconds(call)),
        ("collect_empty", "ms", milliseconds(empty.longest_step)),
    ])
}

/// One pass with its pauses, and its seconds.
fn pass(datapath: &Datapath) -> Result<(f64, SweepStats)> {
    let began = Instant::now();
    let mut sweep = Sweep::<V4>::begin(datapath, Orphans::Slice(0))?;
    while sweep.step()? {
        interrupt::check()?;
        thread::sleep(PAUSE);
    }
    Ok((began.elapsed().as_secs_f64(), sweep.stats()))
}

/// The same by a running agent: its memory with a million live flows, and then how long it takes
/// until a million flows that are over are gone.
fn agent(site: &mut Site) -> Result<Values> {
    let router = &site.router_ns;
    router.run(|| fill(&open(router)?, LIVE))??;
    let before = router.run(|| {
        let datapath = open(router)?;
        let before = removed(&datapath)?;
        // These tell that it has been through the table.
        write(&datapath, FLOWS..FLOWS + 10_000, OLD)?;
        anyhow::Ok(before)
    })??;
    let pid = instance_of(site)?.start_agent()?;
    let router = &site.router_ns;
    gone(router, before + 10_000)?;
    let peak = peak(pid)?;
    let before = router.run(|| {
        let datapath = open(router)?;
        let before = removed(&datapath)?;
        // Written over: they are over now.
        fill(&datapath, OLD)?;
        anyhow::Ok(before)
    })??;
    let seconds = gone(router, before + u64::from(FLOWS))?;
    instance_of(site)?.end_agent();
    Ok(vec![
        ("collect_agent", "s", seconds),
        ("agent_rss", "MiB", peak as f64 / 1024.0),
    ])
}

/// Waits until so many flows have been removed since netpath was loaded; the seconds that took.
fn gone(router: &Namespace, count: u64) -> Result<f64> {
    let began = Instant::now();
    while router.run(|| removed(&open(router)?))?? < count {
        interrupt::check()?;
        ensure!(began.elapsed() < PATIENCE, "the agent collects nothing");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(began.elapsed().as_secs_f64())
}

fn instance_of(site: &mut Site) -> Result<&mut Instance> {
    site.instance.as_mut().context("netpath is not up")
}

/// The resident memory of a process at its peak, KiB.
fn peak(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    match line.and_then(|line| line.split_whitespace().next()?.parse().ok()) {
        Some(kib) => Ok(kib),
        None => bail!("{path} has no VmHWM: the agent has ended"),
    }
}

fn open(router: &Namespace) -> Result<Datapath> {
    Datapath::open(router.name())?.context("netpath is not loaded")
}

fn removed(datapath: &Datapath) -> Result<u64> {
    let counters = datapath.counters()?;
    let found = counters.iter().find(|(c, _)| c.as_str() == "flow-removed");
    Ok(found.map_or(0, |(_, count)| *count))
}

fn fill(datapath: &Datapath, seconds: i64) -> Result<()> {
    write(datapath, 0..FLOWS, seconds)
}

/// Writes flows that were seen last so many seconds from now.
fn write(datapath: &Datapath, numbers: std::ops::Range<u32>, seconds: i64) -> Result<()> {
    let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)?);
    let stamp = (now.as_nanos() as u64).saturating_add_signed(seconds * 1_000_000_000);
    let seen = Seen {
        original: stamp,
        reply: stamp,
    };
    for first in numbers.clone().step_by(BATCH as usize) {
        interrupt::check()?;
        let (keys, entries): (Vec<_>, Vec<_>) = (first..numbers.end.min(first + BATCH))
            .flat_map(|number| numbered_flow(number, seen))
            .unzip();
        datapath.write_flows(&keys, &entries)?;
    }
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
