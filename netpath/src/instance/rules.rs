//! Published ports in the datapath.
//!
//! Owns the order of a change: what lets clients in comes last where it comes and first where it goes.
//! What there is to write is [`super::port_plan`]'s.

use std::collections::{BTreeSet, HashSet};

use netpath_common::{V4, V6, publish::Change, records::RuleRecord};

use super::{
    Error,
    drift::Scene,
    port_plan::{Everything, Placed, PortPlan, difference, flags},
    rollback::Undo,
    work::Work,
};
use crate::{
    bpf::{Allowed, Datapath, Family, PortChange},
    state::{Endpoint, Rule, State},
};

impl Work<'_> {
    /// Publishes ports of endpoints, all or none. Which ports was decided before.
    pub(super) fn publish(&mut self, rules: &[(String, Vec<Rule>)]) -> Result<(), Error> {
        let mut come = Vec::new();
        for (endpoint, rules) in rules.iter().filter(|(_, rules)| !rules.is_empty()) {
            let (n, e) = self.existing_endpoint(endpoint)?;
            let slots = rules.iter().map(|r| r.slot).collect();
            self.undo.push(Undo::Unpublish(endpoint.clone(), slots));
            come.extend(rules.iter().map(|r| Placed::new(r, &n, &e)));
        }
        self.change_rules(&[], &come)?;
        for (endpoint, rules) in rules {
            if let Some(e) = self.state.endpoint_mut(endpoint) {
                e.rules.extend_from_slice(rules);
            }
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
        let Some((n, e)) = self.state.endpoint(endpoint) else {
            return Ok(());
        };
        let going: HashSet<u16> = slots.iter().copied().collect();
        let gone = e.rules.iter().filter(|r| going.contains(&r.slot));
        let gone: Vec<_> = gone.map(|r| Placed::new(r, n, e)).collect();
        self.change_rules(&gone, &[])?;
        if let Some(e) = self.state.endpoint_mut(endpoint) {
            e.rules.retain(|r| !going.contains(&r.slot));
        }
        Ok(())
    }

    /// Withdraws every published port of endpoints that are about to go, all at once.
    pub(super) fn withdraw_all(&mut self, endpoints: &[&str]) -> Result<(), Error> {
        let going: HashSet<&str> = endpoints.iter().copied().collect();
        let mut gone = Vec::new();
        for n in &self.state.networks {
            for e in n.endpoints.iter().filter(|e| !e.rules.is_empty()) {
                if going.contains(e.name.as_str()) {
                    self.undo
                        .push(Undo::Publish(e.name.clone(), e.rules.clone()));
                    gone.extend(e.rules.iter().map(|r| Placed::new(r, n, e)));
                }
            }
        }
        self.change_rules(&gone, &[])?;
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

    fn change_rules(&mut self, gone: &[Placed], come: &[Placed]) -> Result<(), Error> {
        if gone.is_empty() && come.is_empty() {
            return Ok(());
        }
        let slots: Vec<u16> = gone.iter().map(|p| p.rule.slot).collect();
        let of_host = come.iter().filter(|p| p.takes_host_ports());
        let of_host: Vec<&Rule> = of_host.map(|p| &p.rule).collect();
        // First: the datapath keeps from masquerade what is reserved there.
        self.reserve_ports(&slots, &of_host)?;
        let plan = PortPlan::of(&self.state, gone, come);
        let (datapath, state) = (self.datapath()?, &mut self.state);
        self.maps.of(plan.ports.entries(), || {
            let lists = lists_of(come);
            let done = come_and_go(&datapath, state, &plan, &lists, (gone, come));
            if done.is_err() {
                // Nobody asks for the list of a rule that does not lead anywhere, but the next rule in
                // its slot would have it.
                forget_lists(&datapath, &lists);
            }
            done
        })
    }

    /// Makes every rule of the state be in the datapath, and no other; changes nothing that is.
    pub(super) fn put_rules(&mut self) -> Result<(), Error> {
        let datapath = self.datapath()?;
        let want = Everything::of(&self.state);
        let mut lists: Allowed = datapath.allowed()?;
        lists.values_mut().for_each(BTreeSet::clear);
        lists.extend(want.allowed);
        datapath.set_allowed(&lists)?;
        for (group, backends) in &want.groups {
            datapath.set_backends(*group, backends)?;
        }
        let change = PortChange {
            v4: difference(&want.v4, &datapath.published()?),
            v6: difference(&want.v6, &datapath.published6()?),
            starts: want.starts,
            reserved: want.reserved,
        };
        let written4 = change.v4.write.iter().map(|(_, to)| (to.rule, to.group));
        let written6 = change.v6.write.iter().map(|(_, to)| (to.rule, to.group));
        let missing: HashSet<(u16, u16)> = written4.chain(written6).collect();
        let all: Vec<(u16, u16, u32)> = self
            .state
            .rules()
            .map(|(_, r)| (r.slot, r.group, flags(r)))
            .collect();
        let slots: Vec<u16> = all.iter().map(|(slot, ..)| *slot).collect();
        let records = datapath.rules(&slots)?;
        let mut renewed = Vec::new();
        for ((slot, group, flags), record) in all.iter().zip(records) {
            let is_missing = missing.contains(&(*slot, 0)) || missing.contains(&(0, *group));
            if is_missing || record.flags != *flags || record.generation == 0 {
                renewed.push((*slot, *flags));
            }
        }
        let same = renewed.is_empty()
            && change.entries() == 0
            && change.starts == datapath.starts()?
            && datapath.reserved()?.holds(&change.reserved);
        if same {
            return Ok(());
        }
        let state = &mut self.state;
        self.maps.of(change.entries(), || {
            bump_rules(&datapath, state, &renewed)?;
            datapath.change_ports(&change)?;
            Ok(datapath.sync_taken()?)
        })
    }

    /// Gives rules of an endpoint other allow lists: `rules` as they are to be. Flows whose clients are
    /// still let in go on, the others end with their next packet.
    pub(super) fn change_lists(&mut self, endpoint: &str, rules: &[Rule]) -> Result<(), Error> {
        let Some((_, e)) = self.state.endpoint(endpoint) else {
            return Ok(());
        };
        let new: HashSet<u16> = rules.iter().map(|r| r.slot).collect();
        let old: Vec<Rule> = e
            .rules
            .iter()
            .filter(|r| new.contains(&r.slot))
            .cloned()
            .collect();
        self.undo.push(Undo::Allow(endpoint.to_owned(), old));
        let (datapath, state) = (self.datapath()?, &mut self.state);
        let (open, listed): (Vec<_>, Vec<_>) = rules.iter().partition(|r| r.spec.allow.is_empty());
        // Where everybody comes to be let in, the list is taken away last.
        datapath.set_allowed(&lists(&listed))?;
        let slots: Vec<u16> = rules.iter().map(|r| r.slot).collect();
        let records = datapath.rules(&slots)?;
        let next = |(rule, found): (&Rule, &RuleRecord)| {
            let generation = state.next_revision(found.generation);
            let flags = flags(rule);
            (rule.slot, RuleRecord { generation, flags })
        };
        let records: Vec<_> = rules.iter().zip(&records).map(next).collect();
        datapath.set_rules(&records)?;
        datapath.set_allowed(&lists(&open))?;
        if let Some(e) = self.state.endpoint_mut(endpoint) {
            for rule in rules {
                if let Some(old) = e.rules.iter_mut().find(|r| r.slot == rule.slot) {
                    *old = rule.clone();
                }
            }
        }
        Ok(())
    }
}

impl Scene<'_> {
    /// Published ports that are not in the datapath, or are there and nobody's.
    pub(super) fn rules(&mut self) -> Result<(), Error> {
        let (datapath, state) = (self.datapath, self.state);
        let want = Everything::of(state);
        let v4 = difference(&want.v4, &datapath.published()?);
        let v6 = difference(&want.v6, &datapath.published6()?);
        self.entries::<V4>(&v4);
        self.entries::<V6>(&v6);
        let slots: Vec<u16> = state.rules().map(|(_, r)| r.slot).collect();
        let records = datapath.rules(&slots)?;
        for ((e, rule), record) in state.rules().zip(records) {
            if record.flags != flags(rule) || record.generation == 0 {
                let text = format!("the record of published port {} is another", rule.spec);
                self.note(&format!("endpoint `{}`", e.name), text);
            }
        }
        let mut lists = datapath.allowed()?;
        lists.retain(|_, nets| !nets.is_empty());
        if lists != want.allowed {
            self.note("published ports", "their allow lists are others".into());
        }
        for (group, backends) in &want.groups {
            if datapath.backends(*group)? != *backends {
                let text = format!("group {group} of np_backends is another");
                self.note("published ports", text);
            }
        }
        if want.starts != datapath.starts()? || !datapath.reserved()?.holds(&want.reserved) {
            let text = "np_starts or np_reserved does not have them all";
            self.note("published ports", text.into());
        }
        Ok(())
    }

    fn entries<A: Family>(&mut self, change: &Change<A>) {
        let state = self.state;
        for (key, to) in &change.write {
            let of = |(_, r): &(&Endpoint, &Rule)| {
                r.slot == to.rule && to.group == 0 || to.group != 0 && r.group == to.group
            };
            let holder = state.rules().find(of).map_or("?", |(e, _)| e.name.as_str());
            let text = format!(
                "port {} of {} is not published any more ({})",
                key.port,
                key.addr.ip(),
                A::PUBLISHED
            );
            self.note(&format!("endpoint `{holder}`"), text);
        }
        for key in &change.remove {
            let text = format!(
                "port {} of {} leads to a container and is nobody's ({})",
                key.port,
                key.addr.ip(),
                A::PUBLISHED
            );
            self.note("published ports", text);
        }
    }
}

/// Carries a plan out.
fn come_and_go(
    datapath: &Datapath,
    state: &mut State,
    plan: &PortPlan,
    lists: &Allowed,
    (gone, come): (&[Placed], &[Placed]),
) -> Result<(), Error> {
    datapath.set_allowed(lists)?;
    // Whoever had these slots before cannot count any more: its generation is outdated.
    let new: Vec<u16> = come.iter().map(|p| p.rule.slot).collect();
    datapath.reset_rule_stats(&new)?;
    let records: Vec<_> = come.iter().map(|p| (p.rule.slot, p.flags())).collect();
    bump_rules(datapath, state, &records)?;
    for (group, backends) in &plan.groups {
        datapath.set_backends(*group, backends)?;
    }
    datapath.change_ports(&plan.ports)?;
    if !gone.is_empty() {
        datapath.sync_taken()?;
    }
    // Only now: a flow that was made until this moment ends as well.
    let records: Vec<_> = gone.iter().map(|p| (p.rule.slot, 0)).collect();
    bump_rules(datapath, state, &records)?;
    forget_lists(datapath, &lists_of(gone));
    Ok(())
}

/// Removes the lists of rules that are no more. Nobody asks for them, so a failure is only logged:
/// whoever has the slot next sets its own.
fn forget_lists(datapath: &Datapath, lists: &Allowed) {
    let none = lists.keys().map(|slot| (*slot, BTreeSet::new())).collect();
    if let Err(e) = datapath.set_allowed(&none) {
        tracing::warn!("{e}");
    }
}

/// The allow lists of rules that have one.
fn lists_of(rules: &[Placed]) -> Allowed {
    let listed = rules.iter().map(|p| &p.rule);
    let listed: Vec<_> = listed.filter(|r| !r.spec.allow.is_empty()).collect();
    lists(&listed)
}

/// The allow lists of rules, empty ones as well.
fn lists(rules: &[&Rule]) -> Allowed {
    let list = |r: &&Rule| (r.slot, r.spec.allow.iter().copied().collect());
    rules.iter().map(list).collect()
}

/// Gives rules, each with the bits of its record, new generations: whatever flows they made are over.
fn bump_rules(datapath: &Datapath, state: &mut State, rules: &[(u16, u32)]) -> Result<(), Error> {
    let slots: Vec<u16> = rules.iter().map(|(slot, _)| *slot).collect();
    let found = datapath.rules(&slots)?;
    let next = |((slot, flags), found): (&(u16, u32), RuleRecord)| {
        let generation = state.next_generation(found.generation);
        let flags = *flags;
        (*slot, RuleRecord { generation, flags })
    };
    let records: Vec<_> = rules.iter().zip(found).map(next).collect();
    if records.is_empty() {
        return Ok(());
    }
    Ok(datapath.set_rules(&records)?)
}
