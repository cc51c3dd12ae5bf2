//! Published ports in the datapath.
//!
//! Owns which entries a rule has: of IPv4, and of IPv6 where its container has it.

use std::collections::{HashMap, HashSet};

use netpath_common::{
    V4, V6,
    records::{PublishedKey, RuleRecord},
};

use super::{Error, rollback::Undo, work::Work};
use crate::{
    bpf::{Datapath, Entry},
    config::Mode,
    state::{Endpoint, Network, Rule, State},
};

impl Work<'_> {
    /// Publishes ports of endpoints, all or none. Which ports was decided before.
    pub(super) fn publish(&mut self, rules: &[(String, Vec<Rule>)]) -> Result<(), Error> {
        let (mut slots, mut entries) = (Vec::new(), Entries::default());
        let mut of_host: Vec<&Rule> = Vec::new();
        for (endpoint, rules) in rules.iter().filter(|(_, rules)| !rules.is_empty()) {
            let (n, e) = self.existing_endpoint(endpoint)?;
            if n.mode == Mode::Nat {
                of_host.extend(rules);
            }
            let of_endpoint: Vec<u16> = rules.iter().map(|r| r.slot).collect();
            slots.extend(&of_endpoint);
            self.undo
                .push(Undo::Unpublish(endpoint.clone(), of_endpoint));
            entries.add(&n, &e, rules);
        }
        if !of_host.is_empty() {
            self.reserve_ports(&[], &of_host)?;
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
    fn write_ports(&mut self, slots: &[u16], entries: &Entries) -> Result<(), Error> {
        if entries.len() == 0 {
            return Ok(());
        }
        let (datapath, state) = (self.datapath()?, &mut self.state);
        self.maps.of(entries.len(), || {
            bump_rules(&datapath, state, slots)?;
            if !entries.v6.is_empty() {
                datapath.publish(&entries.v6)?;
            }
            let done = datapath.publish(&entries.v4);
            if done.is_err() && !entries.v6.is_empty() {
                // All or none. The first error is the one that the caller needs.
                if let Err(e) = datapath.unpublish(&keys(&entries.v6)) {
                    tracing::error!("taking the published ports back failed: {e}");
                }
            }
            Ok(done?)
        })
    }

    /// Makes every rule of the state be in the datapath; changes nothing that is.
    pub(super) fn put_rules(&mut self) -> Result<(), Error> {
        let datapath = self.datapath()?;
        let v4: HashMap<_, _> = datapath.published_of::<V4>()?.into_iter().collect();
        let v6: HashMap<_, _> = datapath.published_of::<V6>()?.into_iter().collect();
        let mut missing = Entries::default();
        let mut slots = Vec::new();
        for (n, e) in self.state.endpoints() {
            for rule in &e.rules {
                let entries = Entries::of(n, e, std::slice::from_ref(rule));
                let lacks4 = entries.v4.iter().any(|(k, value)| v4.get(k) != Some(value));
                let lacks6 = entries.v6.iter().any(|(k, value)| v6.get(k) != Some(value));
                if lacks4 || lacks6 {
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
        let Some((n, e)) = self.state.endpoint(endpoint) else {
            return Ok(());
        };
        let gone: HashSet<u16> = slots.iter().copied().collect();
        let going = e.rules.iter().filter(|r| gone.contains(&r.slot));
        let entries = Entries::of(n, e, going);
        self.erase_ports(slots, &entries)?;
        if let Some(e) = self.state.endpoint_mut(endpoint) {
            e.rules.retain(|r| !gone.contains(&r.slot));
        }
        Ok(())
    }

    /// Withdraws every published port of endpoints that are about to go, all at once.
    pub(super) fn withdraw_all(&mut self, endpoints: &[&str]) -> Result<(), Error> {
        let going: HashSet<&str> = endpoints.iter().copied().collect();
        let (mut slots, mut entries) = (Vec::new(), Entries::default());
        for n in &self.state.networks {
            for e in n.endpoints.iter().filter(|e| !e.rules.is_empty()) {
                if going.contains(e.name.as_str()) {
                    self.undo
                        .push(Undo::Publish(e.name.clone(), e.rules.clone()));
                    slots.extend(e.rules.iter().map(|r| r.slot));
                    entries.add(n, e, &e.rules);
                }
            }
        }
        self.erase_ports(&slots, &entries)?;
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

    fn erase_ports(&mut self, slots: &[u16], entries: &Entries) -> Result<(), Error> {
        if entries.len() == 0 {
            return Ok(());
        }
        // First: the datapath keeps from masquerade what is reserved there.
        self.reserve_ports(slots, &[])?;
        let (datapath, state) = (self.datapath()?, &mut self.state);
        self.maps.of(entries.len(), || {
            bump_rules(&datapath, state, slots)?;
            if !entries.v6.is_empty() {
                datapath.unpublish(&keys(&entries.v6))?;
            }
            Ok(datapath.unpublish(&keys(&entries.v4))?)
        })
    }
}

fn keys<A: Copy>(entries: &[Entry<A>]) -> Vec<PublishedKey<A>> {
    entries.iter().map(|(key, _)| *key).collect()
}

/// The entries of rules in the datapath's maps.
#[derive(Default)]
struct Entries {
    v4: Vec<Entry<V4>>,
    v6: Vec<Entry<V6>>,
}

impl Entries {
    /// Those of rules of one endpoint.
    fn of<'r>(n: &Network, e: &Endpoint, rules: impl IntoIterator<Item = &'r Rule>) -> Self {
        let mut entries = Self::default();
        entries.add(n, e, rules);
        entries
    }

    fn add<'r>(&mut self, n: &Network, e: &Endpoint, rules: impl IntoIterator<Item = &'r Rule>) {
        for rule in rules {
            match n.mode {
                Mode::Nat => {
                    self.v4.extend(rule.entries(e.addr, e.slot));
                    let v6 = e.addr6.map(|addr6| rule.entries6(addr6, e.slot));
                    self.v6.extend(v6.into_iter().flatten());
                }
                Mode::Routed => {
                    self.v4.extend(rule.entries_routed(e.addr.octets(), e.slot));
                    let v6 = e.addr6.map(|a| rule.entries_routed(a.octets(), e.slot));
                    self.v6.extend(v6.into_iter().flatten());
                }
            }
        }
    }

    fn extend(&mut self, other: Self) {
        self.v4.extend(other.v4);
        self.v6.extend(other.v6);
    }

    fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
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
