//! Measures that need more than a site as it is: many flows, many ports, a second container, the
//! host itself.
//!
//! Owns their order, and what they share: taking turns, and the load between two threads of their
//! choice. What is measured and how is each file's own business.

mod big_tcp;
mod bridge;
mod bytes;
mod collector;
mod drops;
mod flood;
mod flows;
mod host;
mod install;
mod local;
mod proxy;
mod talk;
mod turns;

use std::path::Path;

use anyhow::Result;

use crate::{
    args::Special,
    cpu::Cpu,
    family::Family,
    progress::Progress,
    report::ports_text,
    results::Results,
    schedule::{Contestant, Pace},
    site::Site,
    variant::{Published, Variant},
    workdir::Workdir,
};

/// What every special measure is given.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'s> {
    /// The program to measure.
    pub(crate) netpath: &'s Path,
    /// The run's directory.
    pub(crate) workdir: &'s Workdir,
    /// Where the load runs.
    pub(crate) cpu: &'s Cpu,
    /// How often and how long.
    pub(crate) pace: Pace,
    /// Whether to keep it short.
    pub(crate) quick: bool,
    /// Who tells the user.
    pub(crate) progress: &'s Progress,
}

impl Setup<'_> {
    /// A site for one measure.
    ///
    /// Sites have their variant and number of ports in their names, so two of a kind differ in the
    /// ports; where a variant translates nothing, the number has no other effect.
    fn site(&self, variant: Variant, ports: u32) -> Result<Site> {
        let ports = Published::new(ports);
        self.progress.say(&format!(
            "setting up {}, {}",
            variant.name(),
            ports_text(ports.count())
        ));
        let contestant = Contestant {
            variant,
            ports,
            family: Family::V4,
        };
        Site::build(contestant, self.netpath, self.workdir, self.cpu)
    }
}

/// Takes a special measure. Its series and what there is to say about it are added to `results`.
pub(crate) fn run(measure: Special, setup: Setup<'_>, results: &mut Results) -> Result<()> {
    match measure {
        Special::Flows => flows::run(setup, results),
        Special::Install => install::run(setup, results),
        Special::Bytes => bytes::run(setup, results),
        Special::BigTcp => big_tcp::run(setup, results),
        Special::Bridge => bridge::run(setup, results),
        Special::Local => local::run(setup, results),
        Special::Host => host::run(setup, results),
        Special::Drops => drops::run(setup, results),
        Special::Collector => collector::run(setup, results),
    }
}
