//! The run: sites, phases, rounds, slices.
//!
//! Owns their order and the checks between them. How a site is built, what a slice sends and what
//! counts as proof is the business of `site`, `load` and `evidence`.

use std::{collections::HashMap, path::Path};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum as _;

use crate::{
    args::Measure,
    cpu::Cpu,
    evidence::{Evidence, Work},
    interrupt,
    load::{Kind, Outcome, Session},
    progress::Progress,
    results::{Series, Slice},
    schedule::{Contestant, Pace, Phase, order},
    site::Site,
    workdir::Workdir,
};

/// Share of datagrams beyond whose loss a rate says nothing.
pub(crate) const MOST_LOST: f64 = 0.05;

/// What tells sites apart: variant, ports, family.
type Key = (&'static str, u32, &'static str);

/// All sites of a run, alive at once.
pub(crate) struct Sites {
    sites: HashMap<Key, Site>,
}

impl Sites {
    /// Builds those that the phases need.
    pub(crate) fn build(
        phases: &[Phase],
        netpath: &Path,
        workdir: &Workdir,
        cpu: &Cpu,
        progress: &Progress,
    ) -> Result<Self> {
        progress.say("setting up");
        let mut sites = HashMap::new();
        for contestant in phases.iter().flat_map(|phase| &phase.contestants) {
            if sites.contains_key(&key(*contestant)) {
                continue;
            }
            interrupt::check()?;
            progress.detail(&format!(
                "setting up {}, {} ports",
                contestant.variant.name(),
                contestant.ports.count()
            ));
            let site = Site::build(*contestant, netpath, workdir, cpu)?;
            sites.insert(key(*contestant), site);
            progress.step();
        }
        Ok(Self { sites })
    }

    fn get(&self, contestant: Contestant) -> Result<&Site> {
        self.sites
            .get(&key(contestant))
            .context("a contestant was not set up")
    }
}

fn key(it: Contestant) -> Key {
    (it.variant.name(), it.ports.count(), it.family.suffix())
}

/// Steps that the progress counts.
pub(crate) fn steps(phases: &[Phase], pace: Pace) -> u64 {
    let slices: usize = phases.iter().map(|phase| phase.contestants.len()).sum();
    let sites: std::collections::HashSet<_> = phases
        .iter()
        .flat_map(|phase| phase.contestants.iter().map(|it| key(*it)))
        .collect();
    (slices * (pace.rounds as usize + 1) + sites.len()) as u64
}

/// A contestant in one phase.
struct Turn<'s> {
    site: &'s Site,
    session: Session,
    before: Evidence,
    operations: u64,
    lost: u64,
    slices: Vec<Slice>,
}

/// What a phase gave.
pub(crate) struct Measured {
    /// One for each contestant.
    pub(crate) series: Vec<Series>,
    /// Share of the operations that were lost, by contestant; none where nothing can get lost.
    pub(crate) losses: Vec<(String, f64)>,
}

/// Measures one phase.
pub(crate) fn phase(
    phase: &Phase,
    pace: Pace,
    sites: &Sites,
    cpu: &Cpu,
    progress: &Progress,
) -> Result<Measured> {
    let measure = phase.measure;
    let name = name(measure);
    progress.say(&name);
    let mut turns = Vec::new();
    for contestant in &phase.contestants {
        interrupt::check()?;
        let site = sites.get(*contestant)?;
        let open = || {
            if measure.kind() == Kind::Bulk {
                site.offloads(false)?;
            }
            anyhow::Ok(Turn {
                before: Evidence::take(site, measure.direction())?,
                session: Session::open(site, measure)?,
                site,
                operations: 0,
                lost: 0,
                slices: Vec::new(),
            })
        };
        turns.push(open().with_context(|| format!("{name}: {}", site.name()))?);
    }
    for round in 0..=pace.rounds as usize {
        for index in order(round, turns.len()) {
            interrupt::check()?;
            let Some(turn) = turns.get_mut(index) else {
                continue;
            };
            progress.detail(&format!("{name}: {}", turn.site.variant.name()));
            let outcome = turn
                .slice(measure, cpu, pace)
                .with_context(|| format!("{name}: {}", turn.site.name()))?;
            // The first round warms up caches, neighbours and windows.
            if round > 0 {
                turn.slices.push(slice(outcome));
            }
            progress.step();
        }
    }
    let mut measured = Measured {
        series: Vec::new(),
        losses: Vec::new(),
    };
    for turn in turns {
        let site = turn.site.name();
        let lost = turn
            .close(measure)
            .with_context(|| format!("{name}: {site} has not done what it should"))?;
        if measure.kind() == Kind::Udp {
            measured.losses.push((site, lost));
        }
        measured.series.push(Series {
            measure: format!("{name}{}", turn.site.family.suffix()),
            ports: turn.site.ports.count(),
            variant: turn.site.variant.name().to_owned(),
            unit: measure.unit().to_owned(),
            higher_is_better: true,
            rounds: turn.slices,
        });
    }
    Ok(measured)
}

impl Turn<'_> {
    fn slice(&mut self, measure: Measure, cpu: &Cpu, pace: Pace) -> Result<Outcome> {
        let outcome = self
            .session
            .slice(self.site, measure.direction(), cpu, pace.slice)?;
        ensure!(
            outcome.lost == 0 || measure.kind() == Kind::Udp,
            "{} operations were begun and never came to their end",
            outcome.lost
        );
        self.operations += outcome.operations;
        self.lost += outcome.lost;
        Ok(outcome)
    }

    /// Checks what came of it all and says which share was lost.
    fn close(&self, measure: Measure) -> Result<f64> {
        let after = Evidence::take(self.site, measure.direction())?;
        let work = Work {
            kind: measure.kind(),
            operations: self.operations,
        };
        after.judge(self.before, self.site.variant, work)?;
        if measure.kind() == Kind::Bulk {
            self.site.offloads(true)?;
        }
        let lost = self.lost as f64 / (self.operations + self.lost) as f64;
        ensure!(
            lost <= MOST_LOST,
            "{:.1} % of the datagrams were lost, {:.0} % make a rate meaningless",
            lost * 100.0,
            MOST_LOST * 100.0
        );
        Ok(lost)
    }
}

fn slice(outcome: Outcome) -> Slice {
    let operations = outcome.operations as f64;
    Slice {
        rate: operations / outcome.elapsed.as_secs_f64(),
        cpu_ns: Some(outcome.cpu.as_nanos() as f64 / operations),
    }
}

/// A measure as the command line names it.
pub(crate) fn name(measure: Measure) -> String {
    measure
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}
