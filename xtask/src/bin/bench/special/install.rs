//! How long it takes to publish ports: many at once, and one more.
//!
//! Owns the measures `install`, `install_one_more` (the tools' whole commands), `install_map` and
//! `install_one_more_map` (netpath's map update alone). Each is taken in the same namespaces again
//! and again; what a round has made is removed before the next, untimed.

use std::{fs, path::PathBuf, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};
use netpath::{
    bpf::{Datapath, PortChange, Reserved},
    lab::Namespace,
};
use netpath_common::{
    publish::{Change, starts_of},
    records::{self, PublishedKey},
};

use super::Setup;
use crate::{
    family::Family,
    instance::{self, CONNTRACK},
    interrupt,
    progress::Progress,
    results::{Results, Series, Slice},
    rules,
    schedule::order,
    site::Site,
    targets, tool,
    variant::{BRIDGE, CONTAINER, Published, Variant},
};

/// Published ports of a full run.
const LEVELS: [u32; 3] = [1, 1_000, 10_000];
/// Published ports of a quick run.
const QUICK: [u32; 2] = [1, 1_000];
/// The one more: beyond all others.
const MORE: u16 = 9_999;

/// Rounds at most: with many ports one of them takes seconds. As many as a target needs.
const ROUNDS: u32 = targets::ROUNDS as u32;
const QUICK_ROUNDS: u32 = 3;

const VARIANTS: [Variant; 5] = [
    Variant::Netpath,
    Variant::Legacy,
    Variant::LegacyAgain,
    Variant::IptablesNft,
    Variant::Nft,
];

/// An entry of the map.
type Entry = (PublishedKey, records::Published);

/// What a variant took in one round, in milliseconds.
struct Round {
    all: f64,
    more: f64,
    /// netpath's map alone.
    map: Option<(f64, f64)>,
}

pub(super) fn run(setup: Setup<'_>, results: &mut Results) -> Result<()> {
    let levels: &[u32] = if setup.quick { &QUICK } else { &LEVELS };
    let most = if setup.quick { QUICK_ROUNDS } else { ROUNDS };
    let rounds = setup.pace.rounds.min(most);
    let sites = VARIANTS
        .into_iter()
        .map(|variant| Installed::new(setup, variant))
        .collect::<Result<Vec<_>>>()?;
    for ports in levels {
        let series = setup
            .cpu
            .with_all(|| level(&sites, *ports, rounds, setup.progress))?;
        results.series.extend(series);
    }
    Ok(())
}

/// All rounds with this many ports.
fn level(sites: &[Installed], ports: u32, rounds: u32, progress: &Progress) -> Result<Vec<Series>> {
    progress.say(&format!("install, {ports} ports"));
    let published = Published::new(ports);
    let mut taken: Vec<Vec<Round>> = sites.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds as usize {
        for index in order(round, sites.len()) {
            interrupt::check()?;
            let (Some(site), Some(taken)) = (sites.get(index), taken.get_mut(index)) else {
                continue;
            };
            let times = site
                .round(published)
                .with_context(|| format!("install, {ports} ports: {}", site.variant.name()))?;
            if round > 0 {
                taken.push(times);
            }
        }
    }
    let mut series = Vec::new();
    for (site, rounds) in sites.iter().zip(&taken) {
        let mut add = |measure: &str, times: Vec<f64>| {
            let slices = times.into_iter().map(|rate| Slice { rate, cpu_ns: None });
            series.push(Series {
                measure: measure.to_owned(),
                ports,
                variant: site.variant.name().to_owned(),
                unit: "ms".to_owned(),
                higher_is_better: false,
                rounds: slices.collect(),
            });
        };
        add("install", rounds.iter().map(|it| it.all).collect());
        add(
            "install_one_more",
            rounds.iter().map(|it| it.more).collect(),
        );
        let maps: Vec<_> = rounds.iter().filter_map(|it| it.map).collect();
        if !maps.is_empty() {
            add("install_map", maps.iter().map(|it| it.0).collect());
            add("install_one_more_map", maps.iter().map(|it| it.1).collect());
        }
    }
    // The variants of a measure side by side.
    series.sort_by(|a, b| a.measure.cmp(&b.measure));
    Ok(series)
}

/// Namespaces in which a variant is set up and removed.
struct Installed {
    variant: Variant,
    site: Site,
    config: PathBuf,
}

impl Installed {
    fn new(setup: Setup<'_>, variant: Variant) -> Result<Self> {
        let site = setup.site(variant, 1)?;
        let config = setup.workdir.directory("install")?.join("netpath.toml");
        let installed = Self {
            variant,
            site,
            config,
        };
        installed.remove()?;
        Ok(installed)
    }

    fn round(&self, ports: Published) -> Result<Round> {
        let router = &self.site.router_ns;
        let all = if let Some(netpath) = &self.site.instance {
            let container = self.site.container_ns.name();
            let config = instance::config(container, ports, Family::V4, CONNTRACK);
            fs::write(&self.config, config)
                .with_context(|| format!("cannot write {}", self.config.display()))?;
            let file = self.config.to_string_lossy();
            milliseconds(|| netpath.run(router, &["up", "-c", &file, "--yes"]))?
        } else {
            let (program, arguments, rules) = rules::text(self.variant, ports, Family::V4)
                .with_context(|| format!("{} has no rules", self.variant.name()))?;
            milliseconds(|| tool::run(router, program, arguments, &rules))?
        };
        // Beside the TCP ports, the measured one is published over UDP.
        self.expect(ports.count() as usize + 1)?;
        let more = self.change(true)?;
        self.expect(ports.count() as usize + 2)?;
        self.change(false)?;
        let map = if self.site.instance.is_some() {
            Some(map_alone(router)?)
        } else {
            None
        };
        self.remove()?;
        Ok(Round { all, more, map })
    }

    /// Publishes one more port, or takes it back; says how many milliseconds that took.
    fn change(&self, add: bool) -> Result<f64> {
        let router = &self.site.router_ns;
        match self.variant {
            Variant::Netpath => {
                let netpath = self.site.instance.as_ref().context("netpath is not up")?;
                let command = if add { "publish" } else { "unpublish" };
                let port = format!("{MORE}:{MORE}");
                milliseconds(|| netpath.run(router, &[command, "c", &port]))
            }
            Variant::Legacy | Variant::LegacyAgain => {
                iptables(router, "iptables-legacy-restore", add)
            }
            Variant::IptablesNft => iptables(router, "iptables-nft-restore", add),
            Variant::Nft => {
                let command = if add { "add" } else { "delete" };
                let element = format!("tcp . {MORE} : {CONTAINER} . {MORE}");
                let line = format!("{command} element ip bench published {{ {element} }}\n");
                milliseconds(|| tool::run(router, "nft", &["-f", "-"], &line))
            }
            Variant::None | Variant::Forward => bail!("nothing to publish with"),
        }
    }

    /// Fails unless this many ports are published.
    fn expect(&self, ports: usize) -> Result<()> {
        let router = &self.site.router_ns;
        let save = |program| tool::run(router, program, &["-t", "nat"], "");
        let found = match self.variant {
            Variant::Netpath => open(router, |datapath| Ok(datapath.published()?.len()))?,
            Variant::Legacy | Variant::LegacyAgain => {
                save("iptables-legacy-save")?.matches("-j DNAT").count()
            }
            Variant::IptablesNft => save("iptables-nft-save")?.matches("-j DNAT").count(),
            Variant::Nft => {
                let words = ["list", "map", "ip", "bench", "published"];
                let map = tool::run(router, "nft", &words, "")?;
                map.matches(&format!(": {CONTAINER} . ")).count()
            }
            Variant::None | Variant::Forward => 0,
        };
        ensure!(
            found == ports,
            "{ports} ports should be published, {found} are"
        );
        Ok(())
    }

    /// Removes all that was installed.
    fn remove(&self) -> Result<()> {
        const EMPTY: &str = "*raw\nCOMMIT\n*filter\nCOMMIT\n*nat\nCOMMIT\n";
        let router = &self.site.router_ns;
        match self.variant {
            Variant::Netpath => {
                let netpath = self.site.instance.as_ref().context("netpath is not up")?;
                netpath.run(router, &["down", "--all"])?;
            }
            Variant::Legacy | Variant::LegacyAgain => {
                tool::run(router, "iptables-legacy-restore", &[], EMPTY)?;
            }
            Variant::IptablesNft => {
                tool::run(router, "iptables-nft-restore", &[], EMPTY)?;
            }
            Variant::Nft => {
                tool::run(router, "nft", &["delete", "table", "ip", "bench"], "")?;
            }
            Variant::None | Variant::Forward => {}
        }
        Ok(())
    }
}

/// One rule more in each table, as Docker writes them for a port, in one call for both.
fn iptables(router: &Namespace, program: &str, add: bool) -> Result<f64> {
    let (nat, filter) = if add {
        ("-A DOCKER", "-I DOCKER 1")
    } else {
        ("-D DOCKER", "-D DOCKER")
    };
    let tcp = format!("-p tcp -m tcp --dport {MORE}");
    let rules = format!(
        "*nat
{nat} ! -i {BRIDGE} {tcp} -j DNAT --to-destination {CONTAINER}:{MORE}
COMMIT
*filter
{filter} -d {CONTAINER}/32 ! -i {BRIDGE} -o {BRIDGE} {tcp} -j ACCEPT
COMMIT
"
    );
    milliseconds(|| tool::run(router, program, &["--noflush"], &rules))
}

/// What netpath's map of published ports takes for all ports, and for one: they are taken out and
/// put in again by the calls that netpath itself makes.
fn map_alone(router: &Namespace) -> Result<(f64, f64)> {
    open(router, |datapath| {
        let ports = datapath.published()?;
        let change = |write: &[Entry], remove: &[Entry], left: &[Entry]| {
            let mut reserved = Reserved::default();
            for (key, to) in left {
                reserved.add(key.proto, key.port..=to.last);
            }
            PortChange {
                v4: Change {
                    write: write.to_vec(),
                    remove: remove.iter().map(|(key, _)| *key).collect(),
                },
                starts: starts_of(left.iter().map(|(key, _)| (key.proto, key.port))),
                reserved,
                ..PortChange::default()
            }
        };
        datapath.change_ports(&change(&[], &ports, &[]))?;
        let whole = change(&ports, &[], &ports);
        let all = milliseconds(|| Ok(datapath.change_ports(&whole)?))?;
        let (rest, last) = ports.split_at(ports.len().saturating_sub(1));
        datapath.change_ports(&change(&[], last, rest))?;
        let one = change(last, &[], &ports);
        let more = milliseconds(|| Ok(datapath.change_ports(&one)?))?;
        ensure!(
            datapath.published()?.len() == ports.len(),
            "publishing {} ports in the map has lost some",
            ports.len()
        );
        Ok((all, more))
    })
}

/// Works with the maps of the router's instance.
fn open<T: Send>(
    router: &Namespace,
    work: impl FnOnce(&Datapath) -> Result<T> + Send,
) -> Result<T> {
    router.run(|| {
        let datapath = Datapath::open(router.name())?;
        work(&datapath.context("netpath is not loaded")?)
    })?
}

/// How long a piece of work takes.
fn milliseconds<T>(work: impl FnOnce() -> Result<T>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
