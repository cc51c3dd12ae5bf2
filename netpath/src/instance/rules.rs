//! Published ports in the datapath.

use std::collections::{HashMap, HashSet};

use netpath_common::records::RuleRecord;

use super::{Error, rollback::Undo, work::Work};
use crate::state::Rule;

impl Work<'_> {
    /// Publishes ports of an endpoint, all or none. Which ports was decided before.
    pub(super) fn publish(&mut self, endpoint: &str, rules: Vec<Rule>) -> Result<(), Error> {
        if rules.is_empty() {
            return Ok(());
        }
        let (_, e) = self.existing_endpoint(endpoint)?;
        let datapath = self.datapath()?;
        let slots = rules.iter().map(|r| r.slot).collect();
        self.undo.push(Undo::Unpublish(endpoint.to_owned(), slots));
        let mut entries = Vec::new();
        for rule in &rules {
            self.bump_rule(rule.slot)?;
            entries.extend(rule.entries(e.addr, e.slot));
        }
        datapath.publish(&entries)?;
        if let Some(e) = self.state.endpoint_mut(endpoint) {
            e.rules.extend(rules);
        }
        Ok(())
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
        for slot in slots {
            self.bump_rule(slot)?;
        }
        if !missing.is_empty() {
            datapath.publish(&missing)?;
        }
        Ok(())
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
        let datapath = self.datapath()?;
        let Some((_, e)) = self.state.endpoint(endpoint) else {
            return Ok(());
        };
        let gone: HashSet<u16> = slots.iter().copied().collect();
        let keys: Vec<_> = e
            .rules
            .iter()
            .filter(|r| gone.contains(&r.slot))
            .flat_map(Rule::keys)
            .collect();
        for slot in slots {
            self.bump_rule(*slot)?;
        }
        if !keys.is_empty() {
            datapath.unpublish(&keys)?;
        }
        if let Some(e) = self.state.endpoint_mut(endpoint) {
            e.rules.retain(|r| !gone.contains(&r.slot));
        }
        Ok(())
    }

    fn bump_rule(&mut self, slot: u16) -> Result<(), Error> {
        let datapath = self.datapath()?;
        let found = datapath.rule(slot)?.generation;
        let generation = self.state.next_generation(found);
        Ok(datapath.set_rule(
            slot,
            &RuleRecord {
                generation,
                zero: 0,
            },
        )?)
    }
}
