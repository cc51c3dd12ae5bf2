//! What is in force, read from the maps.
//!
//! Owns which maps are read. What their records mean is [`crate::rules`]'s. The state is asked for
//! names alone, and need not be there.

use std::collections::HashMap;

use netpath_common::records::RuleRecord;

use super::{Error, Instance};
use crate::{
    bpf::Datapath,
    rules::{InForce, Names, Snapshot, gather},
    state::State,
};

impl Instance {
    /// Every rule that the datapath works with, whatever the configuration and the state say.
    ///
    /// # Errors
    /// It is not up, or a map cannot be read.
    pub async fn in_force(&self) -> Result<InForce, Error> {
        let datapath = Datapath::open(&self.name)?.ok_or_else(|| Error::NotUp {
            instance: self.name.clone(),
        })?;
        let state = self.state()?.unwrap_or_default();
        let links = self.netlink.links().await?;
        let mut names = names(&state);
        names.interfaces = links.into_iter().map(|l| (l.index, l.name)).collect();
        Ok(gather(&snapshot(&datapath)?, &names))
    }
}

fn names(state: &State) -> Names {
    let networks = state.networks.iter().map(|n| (n.slot, n.name.clone()));
    let endpoints = state.endpoints().map(|(_, e)| (e.slot, e.name.clone()));
    Names {
        networks: networks.collect(),
        endpoints: endpoints.collect(),
        interfaces: HashMap::new(),
    }
}

fn snapshot(datapath: &Datapath) -> Result<Snapshot, Error> {
    let mut maps = Snapshot {
        config: Some(datapath.config()?),
        networks: datapath.networks()?,
        endpoints: datapath.endpoints()?,
        uplinks: datapath.uplinks()?,
        published: datapath.published()?,
        published6: datapath.published6()?,
        allowed: datapath.allowed()?,
        ..Snapshot::default()
    };
    for slot in maps.endpoint_slots() {
        maps.stats.insert(slot, datapath.endpoint_stats(slot)?);
    }
    for group in maps.group_slots() {
        maps.groups.insert(group, datapath.backends(group)?);
    }
    let slots = maps.rule_slots();
    let records: Vec<RuleRecord> = datapath.rules(&slots)?;
    let stats = datapath.rule_stats(&slots)?;
    let rules = slots.into_iter().zip(records.into_iter().zip(stats));
    maps.rules = rules.collect();
    Ok(maps)
}
