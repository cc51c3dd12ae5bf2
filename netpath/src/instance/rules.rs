//! Published ports in the datapath.

use std::collections::{HashMap, HashSet};

use netpath_common::records::{Published, PublishedKey, RuleRecord};

use super::{Error, rollback::Undo, work::Work};
use crate::{
    bpf::Datapath,
    state::{Rule, State},
};

impl Work<'_> {
    /// Publishes ports of endpoints, all or none. Which ports was decided before.
    pub(super) fn publish(&mut self, rules: &[(String, Vec<Rule>)]) -> Result<(), Error> {
        let (mut slots, mut entries) = (Vec::new(), Vec::new());
        for (endpoint, rules) in rules.iter().filter(|(_, rules)| !rules.is_empty()) {
            let (_, e) = self.existing_endpoint(endpoint)?;
            let of_endpoint: Vec<u16> = rules.iter().map(|r| r.slot).collect();
            slots.extend(&of_endpoint);
            self.undo
                .push(Undo::Unpublish(endpoint.clone(), of_endpoint));
            entries.extend(rules.iter().flat_map(|r| r.entries(e.addr, e.slot)));
        }
        let new: Vec<&Rule> = rules.iter().flat_map(|(_, rules)| rules).collect();
        if !new.is_empty() {
            self.reserve_ports(&[], &new)?;
        }
        self.write_ports(&slots, &entries)?;
        for (endpoint, rules) in rules {
            if let Some(e) = self.state.endpoint_mut(endpoint) {
                e.rules.extend_from_slice(rules);
            }
        }
        Ok(())
    }

    /// Gives the rules in `slots` new generations and writes their ports, all at once.
    fn write_ports(
        &mut self,
        slots: &[u16],
        entries: &[(PublishedKey, Published)],
    ) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        let (datapath, state) = (self.datapath()?, &mut self.state);
        self.maps.of(entries.len(), || {
            bump_rules(&datapath, state, slots)?;
            Ok(datapath.publish(entries)?)
        })
    }

    /// Makes every rule of the state be in the datapath; changes nothing that is.
    pub(super) fn put_rules(&mut self) -> Result<(), Error> {
        let datapath = self.datapath()?;
        let found: HashMap<_, _> = datapath.published()?.into_iter().collect();
        let mut missing = Vec::new();
        let mut slots = Vec::new();
        for (_, e) in self.state.endpoints() {
            for rule in &e.rules {
                let entries = rule.entries(e.addr, e.slot);
                if entries
                    .iter()
                    .any(|(key, value)| found.get(key) != Some(value))
                {
                    slots.push(rule.slot);
                    missing.extend(entries);
                }
            }
        }
        self.write_ports(&slots, &missing)
    }

    /// Withdraws published ports; their flows end with the next packet.
    pub(super) fn unpublish(&mut self, endpoint: &str, slots: &[u16]) -> Result<(), Error> {
        if let Some((_, e)) = self.state.endpoint(endpoint) {
            let rules = e
                .rules
                .iter()
                .filter(|r| slots.contains(&r.slot))
                .cloned()
                .collect();
            self.undo.push(Undo::Publish(endpoint.to_owned(), rules));
        }
        self.drop_rules(endpoint, slots)
    }

    /// As [`Work::unpublish`], without a note on the undo stack.
    pub(super) fn drop_rules(&mut self, endpoint: &str, slots: &[u16]) -> Result<(), Error> {
        let Some((_, e)) = self.state.endpoint(endpoint) else {
            return Ok(());
        };
        let gone: HashSet<u16> = slots.iter().copied().collect();
        let going = e.rules.iter().filter(|r| gone.contains(&r.slot));
        let keys: Vec<_> = going.flat_map(Rule::keys).collect();
        self.erase_ports(slots, &keys)?;
        if let Some(e) = self.state.endpoint_mut(endpoint) {
            e.rules.retain(|r| !gone.contains(&r.slot));
        }
        Ok(())
    }

    /// Withdraws every published port of endpoints that are about to go, all at once.
    pub(super) fn withdraw_all(&mut self, endpoints: &[&str]) -> Result<(), Error> {
        let going: HashSet<&str> = endpoints.iter().copied().collect();
        let (mut slots, mut keys) = (Vec::new(), Vec::new());
        for n in &self.state.networks {
            for e in n.endpoints.iter().filter(|e| !e.rules.is_empty()) {
                if going.contains(e.name.as_str()) {
                    self.undo
                        .push(Undo::Publish(e.name.clone(), e.rules.clone()));
                    slots.extend(e.rules.iter().map(|r| r.slot));
                    keys.extend(e.rules.iter().flat_map(Rule::keys));
                }
            }
        }
        self.erase_ports(&slots, &keys)?;
        for e in self
            .state
            .networks
            .iter_mut()
            .flat_map(|n| &mut n.endpoints)
        {
            if going.contains(e.name.as_str()) {
                e.rules.clear();
            }
        }
        Ok(())
    }

    fn erase_ports(&mut self, slots: &[u16], keys: &[PublishedKey]) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        // First: the datapath keeps from masquerade what is reserved there.
        self.reserve_ports(slots, &[])?;
        let (datapath, state) = (self.datapath()?, &mut self.state);
        self.maps.of(keys.len(), || {
            bump_rules(&datapath, state, slots)?;
            Ok(datapath.unpublish(keys)?)
        })
    }
}

/// Gives rules new generations: whatever flows they made are over.
fn bump_rules(datapath: &Datapath, state: &mut State, slots: &[u16]) -> Result<(), Error> {
    let found = datapath.rule_generations(slots)?;
    let next = |(slot, found): (&u16, u32)| {
        let generation = state.next_generation(found);
        (
            *slot,
            RuleRecord {
                generation,
                zero: 0,
            },
        )
    };
    let records: Vec<_> = slots.iter().zip(found).map(next).collect();
    Ok(datapath.set_rules(&records)?)
}
