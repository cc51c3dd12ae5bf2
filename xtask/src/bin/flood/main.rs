//! What a dropped packet costs: netpath with XDP, netpath with tc, and iptables raw DROP.
//!
//! Owns the rounds and the table. All receivers are alive at once, one CPU does everything, and the
//! slices of a round are interleaved. The cost is that of the whole slice less that of the sender,
//! which is measured in the same round by frames that nobody receives.

mod clock;
mod inject;
mod site;

use std::{
    env,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use nix::sys::signal::{SigSet, Signal};

use clock::Cpu;
use site::{Dropper, Packets, Site};

/// Measure CPU time per dropped packet.
#[derive(Debug, Parser)]
#[command(name = "xtask-flood")]
struct Args {
    /// Rounds
    #[arg(long, default_value_t = 40)]
    rounds: u32,
    /// Frames in a slice
    #[arg(long, default_value_t = 20_000)]
    frames: u32,
    /// The netpath program
    #[arg(long, default_value = "target/debug/netpath")]
    netpath: PathBuf,
}

/// The receivers, the sender first.
const DROPPERS: [Dropper; 5] = [
    Dropper::Sender,
    Dropper::Nothing,
    Dropper::Xdp,
    Dropper::Tc,
    Dropper::Raw,
];

static STOPPED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    match listen().and_then(|()| measure(&Args::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<()> {
    let directory = env::temp_dir().join(format!("npflood{}", std::process::id()));
    let done = measure_in(args, &directory);
    // netpath's state files; the instances are gone by now.
    let _ = std::fs::remove_dir_all(&directory);
    done
}

fn measure_in(args: &Args, directory: &std::path::Path) -> Result<()> {
    for packets in [Packets::Unpublished, Packets::Direct] {
        let mut sites = Vec::new();
        for (i, dropper) in DROPPERS.into_iter().enumerate() {
            // tc leaves the host's own ports to the stack, which answers.
            if (packets, dropper) == (Packets::Unpublished, Dropper::Tc) {
                continue;
            }
            check()?;
            let prefix = format!("npflood{}-{i}", std::process::id());
            let site = Site::build(&prefix, directory, &args.netpath, packets, dropper)
                .with_context(|| format!("setting up {}", dropper.name()))?;
            sites.push(site);
        }
        let costs = thread::scope(|scope| {
            // A thread of its own: it changes its namespace and its CPU.
            scope.spawn(|| rounds(args, &sites)).join()
        });
        let costs = costs.map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        print(packets, &sites, &costs);
    }
    Ok(())
}

/// Nanoseconds per frame of each site, by round.
fn rounds(args: &Args, sites: &[Site]) -> Result<Vec<Vec<f64>>> {
    let cpu = Cpu::bind()?;
    let mut costs = vec![Vec::new(); sites.len()];
    let mut sent = 0_u64;
    // The first round warms up: neighbours, page pools, the buckets of the refused.
    for round in 0..=args.rounds {
        for (site, costs) in sites.iter().zip(&mut costs) {
            check()?;
            let before = cpu.worked()?;
            site.send(args.frames)?;
            // Lets ksoftirqd, which lives on this CPU, finish what it has begun.
            thread::sleep(Duration::from_millis(1));
            let worked = cpu.worked()? - before;
            if round > 0 {
                costs.push(worked.as_nanos() as f64 / f64::from(args.frames));
            }
        }
        sent += u64::from(args.frames);
    }
    sites.iter().try_for_each(|site| proof(site, sent))?;
    Ok(costs)
}

/// Every frame was dropped where it should be, but for those that may be refused.
fn proof(site: &Site, sent: u64) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut dropped = site.dropped()?;
    // A burst and then some a second pass; a minute is longer than any run.
    let refused = netpath_common::datapath::REFUSED_PER_SECOND * 60;
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

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print(packets: Packets, sites: &[Site], costs: &[Vec<f64>]) {
    println!("{}, CPU ns per packet, medians of rounds", packets.name());
    println!(
        "  {:20} {:>8} {:>10} {:>12}",
        "", "whole", "receiver", "raw / this"
    );
    let Some(sender) = costs.first() else { return };
    let net = |i: usize| -> Vec<f64> {
        let all = costs.get(i).into_iter().flatten();
        all.zip(sender).map(|(all, sender)| all - sender).collect()
    };
    let raw = net(sites.len() - 1);
    for (i, site) in sites.iter().enumerate() {
        let own = net(i);
        let whole = median(costs.get(i).into_iter().flatten().copied());
        let ratio = median(raw.iter().zip(&own).map(|(raw, own)| raw / own));
        if site.dropper == Dropper::Sender {
            println!("  {:20} {whole:8.0}", site.dropper.name());
        } else {
            println!(
                "  {:20} {whole:8.0} {:10.0} {ratio:12.2}",
                site.dropper.name(),
                median(own.iter().copied())
            );
        }
    }
}

/// Starts to listen for signals that end the run. Before any other thread starts: threads inherit
/// the blocked signals.
fn listen() -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().context("cannot block signals")?;
    thread::spawn(move || {
        while signals.wait().is_err() {}
        STOPPED.store(true, Ordering::Relaxed);
    });
    Ok(())
}

fn check() -> Result<()> {
    if STOPPED.load(Ordering::Relaxed) {
        bail!("interrupted; everything that was made is removed");
    }
    Ok(())
}
