//! The plan of a change: every step with its choices made, and nothing done yet.
//!
//! Owns the comparison of what is asked for with what is there. Reads only.

use std::{collections::HashSet, fmt};

use ipnet::Ipv4Net;

use super::{Drift, Error, edit::check_present, facts::Facts, forwarding, ports::Ports};
use crate::{
    config::{Config, NetnsRef, Rates},
    net::namespace::Namespace,
    state::{Endpoint, Ipv6, Member, Network, Origin, Rule, State, Unbridged},
};

/// One step of a plan.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// Put right what was changed by hand: part of making everything be as it was made.
    Repair(Drift),
    /// Take an endpoint out of the datapath whose namespace is gone.
    Retire(String),
    /// Remember an endpoint of the network of this name whose namespace is not there yet.
    Await(String, Box<Endpoint>),
    /// Withdraw rules, by slot, of an endpoint.
    Unpublish(String, Vec<Rule>),
    /// Remove an endpoint.
    RemoveEndpoint(String),
    /// Remove a network.
    RemoveNetwork(String),
    /// Add a network without endpoints.
    AddNetwork(Box<Network>),
    /// Give a network other properties in place.
    ChangeNetwork(Box<Network>),
    /// Add a network that has no bridge, without endpoints.
    AddUnbridged(Box<Unbridged>),
    /// Give a network that has no bridge other properties in place.
    ChangeUnbridged(Box<Unbridged>),
    /// Add an endpoint to the network of this name, which has no bridge.
    Join(String, Box<Member>),
    /// Add an endpoint to the network of this name.
    AddEndpoint(String, Box<Endpoint>),
    /// Give an endpoint another priority as its container's way out.
    Prefer(String, i32),
    /// Publish ports of an endpoint.
    Publish(String, Vec<Rule>),
    /// Give rules of an endpoint other allow lists.
    Allow(String, Vec<Rule>),
    /// Give an endpoint other bandwidth limits.
    Shape(String, Rates),
    /// Turn IPv6 forwarding on; these interfaces keep listening to router advertisements.
    ForwardIpv6(Vec<String>),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let specs = |f: &mut fmt::Formatter<'_>, rules: &[Rule]| {
            rules.iter().try_for_each(|r| write!(f, " {}", r.spec))
        };
        match self {
            Self::Repair(drift) => write!(f, "repair {drift}"),
            Self::Retire(e) => write!(f, "endpoint {e} is gone: free its ports and its address"),
            Self::Await(n, e) => write!(
                f,
                "endpoint {} of network {n} waits: there is no namespace `{}`",
                e.name, e.netns
            ),
            Self::Unpublish(e, rules) => {
                write!(f, "unpublish {e}")?;
                specs(f, rules)
            }
            Self::RemoveEndpoint(e) => write!(f, "remove endpoint {e}"),
            Self::RemoveNetwork(n) => write!(f, "remove network {n}"),
            Self::AddNetwork(n) => {
                write!(
                    f,
                    "add network {} ({} on bridge {}, gateway {}",
                    n.name, n.subnet, n.bridge, n.gateway
                )?;
                if let Some(Ipv6 {
                    subnet, gateway, ..
                }) = n.ipv6
                {
                    write!(f, "; {subnet}, gateway {gateway}")?;
                }
                write!(f, ")")
            }
            Self::ChangeNetwork(n) if n.ifindex == 0 => write!(
                f,
                "make network {} again ({} on bridge {})",
                n.name, n.subnet, n.bridge
            ),
            Self::ChangeNetwork(n) => write!(f, "change network {}", n.name),
            Self::AddUnbridged(n) => {
                write!(f, "add network {} (driver {}", n.name, n.driver.as_str())?;
                if let Some(lan) = &n.lan {
                    write!(f, " on {}, {}", lan.parent, lan.subnet)?;
                    if let Some(v6) = lan.ipv6 {
                        write!(f, ", {}", v6.subnet)?;
                    }
                }
                write!(f, ")")
            }
            Self::ChangeUnbridged(n) => write!(f, "change network {}", n.name),
            Self::Join(n, m) => {
                write!(f, "add endpoint {} (", m.name)?;
                if let Some(port) = &m.port {
                    write!(f, "{} ", port.addr)?;
                }
                write!(f, "in `{}`) to network {n}", m.netns)
            }
            Self::AddEndpoint(n, e) => {
                write!(f, "add endpoint {} ({}", e.name, e.addr)?;
                if let Some(addr6) = e.addr6 {
                    write!(f, ", {addr6}")?;
                }
                write!(f, " in `{}`) to network {n}", e.netns)?;
                if e.rules.is_empty() {
                    return Ok(());
                }
                write!(f, ", publish")?;
                specs(f, &e.rules)
            }
            Self::Prefer(e, priority) => {
                write!(f, "give endpoint {e} the gateway priority {priority}")
            }
            Self::Publish(e, rules) => {
                write!(f, "publish {e}")?;
                specs(f, rules)
            }
            Self::Allow(e, rules) => {
                write!(f, "change allowed sources of {e}")?;
                specs(f, rules)
            }
            Self::Shape(e, rates) => write!(f, "limit {e} to {rates}"),
            Self::ForwardIpv6(advertised) => {
                write!(f, "turn IPv6 forwarding on")?;
                if advertised.is_empty() {
                    return Ok(());
                }
                write!(
                    f,
                    ", and accept_ra = 2 on {}: the host's default route comes by router \
                     advertisements and would go",
                    advertised.join(", ")
                )
            }
        }
    }
}

/// What a change will do, in order.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// What a user would miss: endpoints and networks that go and do not come back.
    pub losses: Vec<String>,
}

impl Plan {
    /// Whether another plan does the same, by its words: identifiers and the like are made up anew.
    #[must_use]
    pub fn says(&self, other: &Self) -> bool {
        let words = |p: &Self| p.steps.iter().map(ToString::to_string).collect::<Vec<_>>();
        words(self) == words(other) && self.losses == other.losses
    }

    /// Whether it removes this object for good or to make it anew: a repair would be of no use.
    pub(super) fn removes(&self, object: &str) -> bool {
        self.steps.iter().any(
            |step| matches!(step, Step::RemoveNetwork(n) if object == format!("network `{n}`")),
        )
    }
}

/// Planning under way: the state as the steps so far will leave it.
#[derive(Debug)]
pub(super) struct Planner<'a> {
    pub(super) facts: &'a Facts,
    pub(super) before: &'a State,
    pub(super) next: State,
    pub(super) plan: Plan,
    /// Subnets that the configuration gives to one of its networks: no other may choose them.
    pub(super) claimed: Vec<Ipv4Net>,
    /// Endpoints that are made again, with the names of their networks, as they were.
    pub(super) returning: Vec<(String, Endpoint)>,
    /// Endpoints whose namespaces have never been there wait for them.
    pub(super) absent_ok: bool,
}

impl<'a> Planner<'a> {
    pub(super) fn new(before: &'a State, facts: &'a Facts) -> Self {
        Self {
            facts,
            before,
            next: before.clone(),
            plan: Plan::default(),
            claimed: Vec::new(),
            returning: Vec::new(),
            absent_ok: false,
        }
    }

    /// Plans to make everything be as `config` says.
    pub(super) fn converge(mut self, config: &Config) -> Result<Plan, Error> {
        let mut config = config.clone();
        for n in &mut config.networks {
            self.settle6(n)?;
        }
        for n in &mut config.unbridged {
            self.settle6(&mut n.common)?;
        }
        let config = &config;
        let others = config.unbridged.iter().map(|n| &n.common);
        let all = config.networks.iter().chain(others);
        self.claimed = all.filter_map(|n| n.subnet).collect();
        self.remove_what_is_gone(config);
        self.remove_unbridged(config);
        for wanted in &config.networks {
            let missing = self.next.network(&wanted.name).is_none();
            if missing {
                self.add_network(wanted, Origin::Config)?;
            } else {
                self.change_network(wanted)?;
            }
        }
        self.revive_networks(&config.networks)?;
        self.put_unbridged(config)?;
        let mut additions = Vec::new();
        let mut added = HashSet::new();
        for network in &config.networks {
            for wanted in &network.endpoints {
                match self.next.endpoint(&wanted.name) {
                    None if self.absent_ok && is_absent(&wanted.netns) => {
                        self.wait_for(&network.name, wanted)?;
                    }
                    None => {
                        let e = self.new_endpoint(&network.name, wanted, Origin::Config)?;
                        additions.push(wanted.name.clone());
                        added.insert(wanted.name.as_str());
                        self.insert_endpoint(&network.name, e);
                    }
                    // It waits, and publishes nothing.
                    Some((_, e)) if !e.is_present() => {}
                    Some((_, e)) => {
                        let now = e.gw_priority;
                        self.prefer(wanted, now);
                        self.shape(&wanted.name, wanted.rates);
                        self.withdraw_rules(&wanted.name, &wanted.publish);
                    }
                }
            }
        }
        self.put_members(config)?;
        // Ports last: every one that is given up is free by now.
        let (facts, freed) = (self.facts, self.next.clone());
        let mut ports = Ports::new(&freed, facts);
        for wanted in config.networks.iter().flat_map(|n| &n.endpoints) {
            let rules =
                self.new_rules(&mut ports, &wanted.name, &wanted.publish, Origin::Config)?;
            if added.contains(wanted.name.as_str()) {
                continue;
            }
            if !rules.is_empty() {
                self.plan
                    .steps
                    .push(Step::Publish(wanted.name.clone(), rules));
            }
        }
        self.keep_ports_of_commands(&mut ports, &added)?;
        additions.extend(self.bring_back(&mut ports));
        for name in additions {
            if let Some((n, e)) = self.next.endpoint(&name) {
                self.plan
                    .steps
                    .push(Step::AddEndpoint(n.name.clone(), Box::new(e.clone())));
            }
        }
        Ok(self.finish())
    }

    /// Plans other bandwidth limits of an endpoint.
    fn shape(&mut self, endpoint: &str, rates: Rates) {
        if let Some(e) = self.next.endpoint_mut(endpoint)
            && e.rates != rates
        {
            e.rates = rates;
            self.plan
                .steps
                .push(Step::Shape(endpoint.to_owned(), rates));
        }
    }

    /// The plan in its order, with what its networks need of the host.
    pub(super) fn finish(mut self) -> Plan {
        let needed = |state: &State| forwarding::needs_ipv6(&state.networks);
        if needed(&self.next) && !needed(self.before) && !self.facts.forwarding6.on {
            let advertised = self.facts.forwarding6.advertised.clone();
            self.plan.steps.push(Step::ForwardIpv6(advertised));
        }
        self.plan.steps.sort_by_key(Step::rank);
        self.plan
    }

    /// Plans one more endpoint.
    pub(super) fn add_endpoint(
        mut self,
        network: &str,
        wanted: &crate::config::Endpoint,
    ) -> Result<Plan, Error> {
        self.remove_dead_members();
        let network = &self.next.find_network(network)?.name().to_owned();
        self.forget_gone(&wanted.name);
        if self.next.unbridged(network).is_some() {
            self.join(network, wanted, Origin::Command)?;
            return Ok(self.plan);
        }
        let e = self.new_endpoint(network, wanted, Origin::Command)?;
        self.insert_endpoint(network, e);
        let before = self.next.clone();
        let mut ports = Ports::new(&before, self.facts);
        self.new_rules(&mut ports, &wanted.name, &wanted.publish, Origin::Command)?;
        if let Some((n, e)) = self.next.endpoint(&wanted.name) {
            self.plan
                .steps
                .push(Step::AddEndpoint(n.name.clone(), Box::new(e.clone())));
        }
        Ok(self.plan)
    }

    /// Plans another priority for an endpoint that has `now`.
    pub(super) fn prefer(&mut self, wanted: &crate::config::Endpoint, now: i32) {
        let priority = wanted.gw_priority;
        if priority != now {
            let step = Step::Prefer(wanted.name.clone(), priority);
            self.plan.steps.push(step);
        }
    }

    /// Plans more published ports of an endpoint.
    pub(super) fn publish(
        mut self,
        endpoint: &str,
        specs: &[crate::config::PortSpec],
    ) -> Result<Plan, Error> {
        if let Some((_, e)) = self.next.endpoint(endpoint) {
            check_present(e)?;
        }
        // A port that it publishes already is one whose allow list changes.
        let listed = self.other_lists(endpoint, specs);
        let is_new = |s: &&crate::config::PortSpec| !listed.iter().any(|r| r.spec == **s);
        let new: Vec<_> = specs.iter().filter(is_new).cloned().collect();
        let mut ports = Ports::new(&self.next, self.facts);
        let rules = self.choose_ports(&mut ports, endpoint, &new, Origin::Command)?;
        if !listed.is_empty() {
            let step = Step::Allow(endpoint.to_owned(), listed);
            self.plan.steps.push(step);
        }
        if !rules.is_empty() {
            let step = Step::Publish(endpoint.to_owned(), rules);
            self.plan.steps.push(step);
        }
        Ok(self.plan)
    }
}

/// Whether a namespace may yet come. A place to fill in never does.
pub(super) fn is_absent(netns: &NetnsRef) -> bool {
    !netns.is_to_fill_in() && !Namespace::exists(netns)
}

impl Step {
    /// Steps go in this order: what gives something up before what may take it.
    const fn rank(&self) -> u8 {
        match self {
            Self::Repair(_) | Self::Retire(_) | Self::Unpublish(..) | Self::Allow(..) => 0,
            Self::RemoveEndpoint(_) => 1,
            Self::RemoveNetwork(_) => 2,
            Self::AddNetwork(_)
            | Self::ChangeNetwork(_)
            | Self::AddUnbridged(_)
            | Self::ChangeUnbridged(_) => 3,
            Self::AddEndpoint(..) | Self::Await(..) | Self::Join(..) | Self::Shape(..) => 4,
            Self::Prefer(..) => 5,
            Self::Publish(..) => 6,
            Self::ForwardIpv6(_) => 7,
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
