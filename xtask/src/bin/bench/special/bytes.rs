//! Bytes of kernel memory that a flow takes.
//!
//! Owns the measure `bytes_per_flow`. netpath's table is made in full when it is loaded: its memory
//! by the flows that it is made for, which is what each costs when it is full. The kernel's
//! conntrack takes objects from the kernel's caches: the memory of those that a flow takes, with its part
//! of what their pages leave unused, and with its part of the hash table's buckets when as many are
//! tracked as may be. Both are what a flow costs in a full table.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};
use netpath::bpf::Datapath;
use netpath_common::maps;

use super::{
    Setup,
    flood::{Flood, live},
};
use crate::{
    instance::CONNTRACK,
    results::{Results, Series, Slice},
    site::Site,
    tool,
    variant::Variant,
};

/// Flows that conntrack is given: enough to make the rest of the machine's memory small beside.
const FLOWS: u32 = 100_000;

const SLABS: &str = "/proc/slabinfo";
const CONNTRACK_SLAB: &str = "nf_conntrack";

pub(super) fn run(setup: Setup<'_>, results: &mut Results) -> Result<()> {
    let site = setup.site(Variant::Netpath, 1)?;
    let netpath = table(&site)? as f64 / f64::from(CONNTRACK);
    drop(site);
    let site = setup.site(Variant::Legacy, 1)?;
    setup.progress.say("bytes_per_flow");
    let most = tool::sysctl(&site.router_ns, "netfilter/nf_conntrack_max")?;
    ensure!(
        most >= u64::from(FLOWS),
        "bytes_per_flow: the machine tracks {most} flows at most, {FLOWS} are needed"
    );
    let flood = Flood::open(&site)?;
    let before = slabs()?;
    flood.each(setup.cpu, (0..FLOWS).map(live))?;
    let after = slabs()?;
    let tracked = tool::sysctl(&site.router_ns, "netfilter/nf_conntrack_count")?;
    ensure!(
        tracked >= u64::from(FLOWS),
        "bytes_per_flow: {FLOWS} flows were made, the kernel tracks {tracked}"
    );
    let found = per_flow(&before, &after, u64::from(FLOWS));
    let legacy = found.with_context(|| format!("{SLABS} has not grown with {FLOWS} flows"))?;
    let buckets = tool::sysctl(&site.router_ns, "netfilter/nf_conntrack_buckets")?;
    let bucket = buckets as f64 * size_of::<usize>() as f64 / most as f64;
    for (variant, bytes) in [("netpath", netpath), ("legacy", legacy.bytes + bucket)] {
        results.series.push(Series {
            measure: "bytes_per_flow".to_owned(),
            ports: 1,
            variant: variant.to_owned(),
            unit: "B".to_owned(),
            higher_is_better: false,
            rounds: vec![Slice {
                rate: bytes,
                cpu_ns: None,
            }],
        });
    }
    let caches = format!(
        "{}, {} B a flow, and {bucket:.1} B of buckets",
        legacy.caches.join(" and "),
        legacy.bytes
    );
    results
        .machine
        .push(("conntrack's objects".to_owned(), caches));
    Ok(())
}

/// Memory of netpath's table of flows.
fn table(site: &Site) -> Result<u64> {
    let name = site.router_ns.name();
    let bytes = site.router_ns.run(|| {
        let datapath = Datapath::open(name)?.context("netpath is not loaded")?;
        anyhow::Ok(datapath.memory(maps::CT4)?)
    })?;
    bytes.with_context(|| format!("cannot read the size of {} in {name}", maps::CT4))
}

/// A cache of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Slab {
    /// Objects in use.
    active: u64,
    /// Bytes of the pages that each takes its part of.
    bytes: f64,
}

/// What a flow takes.
#[derive(Debug, PartialEq)]
struct PerFlow {
    bytes: f64,
    /// The caches that it has an object in.
    caches: Vec<String>,
}

/// A flow is an object of its own kind, and one of a general kind for its extensions. Which one is
/// told by its growth: other users of those take and give back thousands, not one a flow.
fn per_flow(
    before: &BTreeMap<String, Slab>,
    after: &BTreeMap<String, Slab>,
    flows: u64,
) -> Option<PerFlow> {
    let grown = after.iter().filter(|(name, slab)| {
        let old = before.get(*name).map_or(0, |old| old.active);
        slab.active.saturating_sub(old) >= flows - flows / 10
    });
    let grown: Vec<_> = grown.collect();
    let found = PerFlow {
        bytes: grown.iter().map(|(_, slab)| slab.bytes).sum(),
        caches: grown.iter().map(|(name, _)| (*name).clone()).collect(),
    };
    found
        .caches
        .iter()
        .any(|name| name == CONNTRACK_SLAB)
        .then_some(found)
}

fn slabs() -> Result<BTreeMap<String, Slab>> {
    let text = fs::read_to_string(SLABS).with_context(|| format!("cannot read {SLABS}"))?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?;
    let page = page.context("the kernel does not tell the size of a page")?;
    Ok(parse(&text, page as f64))
}

/// The caches that conntrack may use. The lines begin
/// `name active_objs num_objs objsize objperslab pagesperslab`.
fn parse(text: &str, page: f64) -> BTreeMap<String, Slab> {
    let slab = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        if name != CONNTRACK_SLAB && !name.starts_with("kmalloc-") {
            return None;
        }
        let numbers: Vec<u32> = words.map_while(|word| word.parse().ok()).collect();
        let [active, _, _, objects, pages] = *numbers.as_slice() else {
            return None;
        };
        let slab = Slab {
            active: u64::from(active),
            bytes: f64::from(pages) * page / f64::from(objects),
        };
        Some((name.to_owned(), slab))
    };
    text.lines().filter_map(slab).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(conntrack: u32, general: u32, noise: u32) -> String {
        format!(
            "slabinfo - version: 2.1\n\
             # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>\n\
             nf_conntrack {conntrack} 99999 256 16 1 : tunables 0 0 0 : slabdata 11 12 0\n\
             dentry {conntrack} 99999 192 21 1 : tunables 0 0 0 : slabdata 1000 1000 0\n\
             kmalloc-128 {general} 99999 128 32 1 : tunables 0 0 0 : slabdata 3 3 0\n\
             kmalloc-64 {noise} 99999 64 64 1 : tunables 0 0 0 : slabdata 3 3 0\n"
        )
    }

    #[test]
    fn a_flow_is_an_object_in_every_cache_that_grows_with_flows() {
        let before = parse(&text(112, 500, 9_000), 4096.0);
        let after = parse(&text(10_112, 10_400, 10_000), 4096.0);
        let found = per_flow(&before, &after, 10_000).unwrap();
        assert_eq!(found.bytes, 256.0 + 128.0);
        assert_eq!(found.caches, ["kmalloc-128", "nf_conntrack"]);
    }

    #[test]
    fn without_growth_nothing_is_known() {
        let before = parse(&text(112, 500, 9_000), 4096.0);
        let after = parse(&text(200, 500, 9_000), 4096.0);
        assert_eq!(per_flow(&before, &after, 10_000), None);
        assert_eq!(per_flow(&BTreeMap::new(), &BTreeMap::new(), 10), None);
    }
}
