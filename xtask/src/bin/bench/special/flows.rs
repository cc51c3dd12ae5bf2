//! What a packet costs among many live flows: the first of a new flow, and one of a flow that is
//! there.
//!
//! Owns the measures `first_packet_N` and `steady_N`, with N live flows. Where the machine's
//! conntrack cannot hold as many, its peers are left out, and the results say so: its limit is the
//! root namespace's, which this program does not touch.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{
    Setup,
    flood::{FRESH, Flood, fresh, live},
    talk,
    turns::Turns,
};
use crate::{
    instance, interrupt,
    results::{Results, Slice},
    site::Site,
    tool,
    variant::Variant,
};

/// Live flows of a full run.
const LEVELS: [u32; 4] = [1, 10_000, 100_000, 1_000_000];
/// Live flows of a quick run.
const QUICK: [u32; 2] = [1, 10_000];

/// New flows of a slice. Few beside those that are there.
const NEW: u32 = 500;

/// Up to so many live flows the new ones of a slice are removed after it. Beyond they stay: they
/// are few then, and removing them would take longer than all else.
const TIDY: u32 = 10_000;

/// Flows that netpath's table is made for: the most that it may be.
const TABLE: u32 = 1_048_576;

/// Flows without an answer live as long as the measurement.
const LIFETIME: &str = "3600";

/// A variant, its flows, and how far they are.
struct Contestant {
    site: Site,
    flood: Flood,
    live: u32,
    made: u32,
}

pub(super) fn run(setup: Setup<'_>, results: &mut Results) -> Result<()> {
    let mut contestants = [Variant::Netpath, Variant::Legacy, Variant::LegacyAgain]
        .into_iter()
        .map(|variant| Contestant::new(setup, variant))
        .collect::<Result<Vec<_>>>()?;
    let levels: &[u32] = if setup.quick { &QUICK } else { &LEVELS };
    for flows in levels.iter().copied() {
        for contestant in &mut contestants {
            contestant.tidy_all()?;
        }
        let more = flows + NEW * (setup.pace.rounds + 1);
        let mut able = Vec::new();
        for contestant in &mut contestants {
            let most = contestant.most()?;
            if more > most {
                let what = format!("{flows} live flows, {}", contestant.site.variant.name());
                let why = format!("not measured: the machine tracks {most} flows at most");
                results.machine.push((what, why));
                continue;
            }
            contestant
                .grow(setup, flows)
                .with_context(|| format!("{}: making flows", contestant.site.name()))?;
            able.push(contestant);
        }
        level(setup, flows, &mut able, results)?;
    }
    Ok(())
}

/// Both measures with this many live flows.
fn level(
    setup: Setup<'_>,
    flows: u32,
    contestants: &mut [&mut Contestant],
    results: &mut Results,
) -> Result<()> {
    let mut steady = Turns::rate(format!("steady_{flows}"), "packets/s");
    for contestant in contestants.iter() {
        let variant = contestant.site.variant.name();
        steady.add(variant, || contestant.steady(setup, setup.pace.slice));
    }
    let steady = steady.take(setup.pace.rounds, setup.progress)?;
    results.series.extend(steady);
    let mut first = Turns::rate(format!("first_packet_{flows}"), "flows/s");
    for contestant in contestants.iter_mut() {
        let variant = contestant.site.variant.name();
        first.add(variant, || contestant.first(setup));
    }
    let first = first.take(setup.pace.rounds, setup.progress)?;
    results.series.extend(first);
    for contestant in contestants {
        let found = contestant.count()?;
        ensure!(
            found >= u64::from(flows),
            "{}: {flows} flows should be alive, {found} are",
            contestant.site.name()
        );
    }
    Ok(())
}

impl Contestant {
    fn new(setup: Setup<'_>, variant: Variant) -> Result<Self> {
        let site = setup.site(variant, 1)?;
        if let Some(netpath) = &site.instance {
            // Again, with a table and lifetimes for this measure.
            netpath.run(&site.router_ns, &["down", "--all"])?;
            let config = instance::config(site.container_ns.name(), site.ports, site.family, TABLE);
            let lifetime = format!("[timeouts]\nudp = \"{LIFETIME}s\"\n");
            // Nobody answers them, and all are to stay.
            let config = config
                .replace("[timeouts]\n", &lifetime)
                .replace("[limits]\n", "[limits]\ninbound = 0\n");
            let file = setup.workdir.directory("flows")?.join("netpath.toml");
            fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
            let file = file.to_string_lossy();
            netpath.run(&site.router_ns, &["up", "-c", &file, "--yes"])?;
        } else {
            let lifetime = [("netfilter/nf_conntrack_udp_timeout", LIFETIME)];
            tool::sysctls(&site.router_ns, &lifetime)?;
        }
        Ok(Self {
            flood: Flood::open(&site)?,
            site,
            live: 0,
            made: 0,
        })
    }

    /// Flows that it can hold.
    fn most(&self) -> Result<u32> {
        if self.site.instance.is_some() {
            return Ok(TABLE);
        }
        let most = tool::sysctl(&self.site.router_ns, "netfilter/nf_conntrack_max")?;
        Ok(u32::try_from(most).unwrap_or(u32::MAX))
    }

    /// Makes flows until there are this many.
    fn grow(&mut self, setup: Setup<'_>, flows: u32) -> Result<()> {
        // In parts, between which a signal is heard.
        while self.live < flows {
            interrupt::check()?;
            let name = self.site.variant.name();
            setup
                .progress
                .say(&format!("{name}: {} live flows", self.live));
            let until = flows.min(self.live + 100_000);
            self.flood.each(setup.cpu, (self.live..until).map(live))?;
            self.live = until;
        }
        Ok(())
    }

    fn steady(&self, setup: Setup<'_>, span: Duration) -> Result<Slice> {
        let (passed, cpu) =
            talk::spent(setup.cpu, || self.flood.steady(setup.cpu, self.live, span))?;
        Ok(talk::value(passed.datagrams, passed.elapsed, cpu))
    }

    fn first(&mut self, setup: Setup<'_>) -> Result<Slice> {
        let sources = (self.made..self.made + NEW).map(fresh);
        let (passed, cpu) = talk::spent(setup.cpu, || self.flood.each(setup.cpu, sources))?;
        if self.live <= TIDY {
            let found = self.count()?;
            let wanted = u64::from(self.live + NEW);
            ensure!(
                found >= wanted,
                "{wanted} flows should be alive, {found} are"
            );
            self.tidy()?;
        } else {
            self.made += NEW;
        }
        Ok(talk::value(passed.datagrams, passed.elapsed, cpu))
    }

    /// Removes the new flows that have stayed.
    fn tidy_all(&mut self) -> Result<()> {
        if self.made > 0 {
            self.tidy()?;
            self.made = 0;
        }
        Ok(())
    }

    /// Removes the flows of the last slices.
    fn tidy(&self) -> Result<()> {
        let (router, address) = (&self.site.router_ns, FRESH.to_string());
        if let Some(netpath) = &self.site.instance {
            netpath.run(router, &["ct", "flush", "-s", &address])?;
        } else {
            tool::run(
                router,
                "conntrack",
                &["-D", "-p", "udp", "-s", &address],
                "",
            )?;
        }
        Ok(())
    }

    /// Flows that are alive, as the variant itself counts them.
    fn count(&self) -> Result<u64> {
        let router = &self.site.router_ns;
        let Some(netpath) = &self.site.instance else {
            return tool::sysctl(router, "netfilter/nf_conntrack_count");
        };
        let text = netpath.run(router, &["ct", "count"])?;
        let number = text.trim().parse();
        number.with_context(|| format!("`netpath ct count` says {text:?}"))
    }
}
