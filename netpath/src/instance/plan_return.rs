//! Planning what comes back: endpoints whose interfaces are gone, networks of an earlier boot, and what
//! a killed command has left half done.
//!
//! Owns the decision whether an endpoint is made again, waits, or is forgotten.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv6Addr},
};

use super::{
    Error,
    gone::dead,
    plan::{Planner, Step},
    plan_network::on_bridge,
    ports::Ports,
};
use crate::{
    config::{self, Pool, check_endpoint_addr},
    net::{container, namespace::Namespace},
    state::{Endpoint, Network, Origin},
};

impl Planner<'_> {
    /// Plans the removal of what a killed command has left half made or half removed.
    pub(super) fn remove_unfinished(&mut self) {
        self.remove_unfinished_unbridged();
        let half: Vec<Network> = self
            .next
            .networks
            .iter()
            .filter(|n| n.unfinished)
            .cloned()
            .collect();
        for n in half {
            for e in &n.endpoints {
                self.plan.steps.push(Step::RemoveEndpoint(e.name.clone()));
            }
            self.plan.steps.push(Step::RemoveNetwork(n.name.clone()));
            self.next.networks.retain(|o| o.name != n.name);
        }
        let half = self.next.endpoints().filter(|(_, e)| e.unfinished);
        let half: Vec<String> = half.map(|(_, e)| e.name.clone()).collect();
        for name in half {
            self.drop_endpoint(&name);
        }
    }

    /// Plans what becomes of endpoints whose interfaces are gone. Where the namespace is there they are
    /// made again: the configuration's by the configuration, those of commands as they were.
    pub(super) fn look_after_dead(&mut self, config: &config::Config) {
        let away = dead(&self.next, &self.facts.links);
        let away: HashSet<String> = away.map(|e| e.name.clone()).collect();
        let all: Vec<(String, Endpoint)> = self
            .next
            .endpoints()
            .filter(|(_, e)| away.contains(&e.name) || !e.is_present())
            .map(|(n, e)| (n.name.clone(), e.clone()))
            .collect();
        for (network, e) in all {
            let same = |found: Namespace| e.may_return() || found.ino() == e.netns_ino;
            let is_back = Namespace::open(&e.netns).is_ok_and(same);
            if !is_back {
                if away.contains(&e.name) {
                    self.plan.steps.push(Step::Retire(e.name.clone()));
                    self.leave(&e);
                }
                continue;
            }
            let wanted = |n: &config::Network| n.endpoints.iter().any(|w| w.name == e.name);
            let by_config = config.networks.iter().any(wanted);
            if by_config || e.origin == Origin::Config {
                if e.is_present() {
                    self.drop_endpoint(&e.name);
                } else if by_config {
                    self.forget_gone(&e.name);
                    continue;
                }
                // One that the configuration no longer has is removed with the others.
            } else if e.is_present() {
                // Its ports are free for the plan, if only for itself.
                self.leave(&e);
            }
            self.returning.push((network, e));
        }
    }

    fn leave(&mut self, e: &Endpoint) {
        for n in &mut self.next.networks {
            n.endpoints.retain(|o| o.name != e.name || e.may_return());
        }
        if let Some(e) = self.next.endpoint_mut(&e.name) {
            e.leave();
        }
    }

    /// An endpoint that is gone comes back: it is no longer there to be in the way, but what it was is
    /// remembered.
    pub(super) fn forget_gone(&mut self, name: &str) {
        let Some((n, e)) = self.next.endpoint(name).filter(|(_, e)| !e.is_present()) else {
            return;
        };
        let (network, e) = (n.name.clone(), e.clone());
        self.returning.push((network, e));
        for n in &mut self.next.networks {
            n.endpoints.retain(|o| o.name != name);
        }
    }

    /// An endpoint with the addresses that it had before, where it is free to choose and they are free.
    pub(super) fn as_before(
        &self,
        n: &Network,
        wanted: &config::Endpoint,
        before: Option<&Endpoint>,
    ) -> config::Endpoint {
        let Some(before) = before else {
            return wanted.clone();
        };
        let others = || n.endpoints.iter().filter(|e| e.is_present());
        let fits = |addr: IpAddr, pool: &Pool<'_>| {
            check_endpoint_addr(&wanted.name, addr, &n.name, pool).is_ok()
        };
        let fits4 = fits(before.addr.into(), &n.pool());
        let pool6 = n.pool6();
        let fits6 = |a: &Ipv6Addr| pool6.as_ref().is_some_and(|pool| fits((*a).into(), pool));
        let addr6 = before.addr6.filter(fits6);
        let mut wanted = wanted.clone();
        if others().all(|e| e.addr != before.addr) && fits4 {
            wanted.addr = wanted.addr.or(Some(before.addr));
        }
        if others().all(|e| e.addr6 != before.addr6) {
            wanted.addr6 = wanted.addr6.or(addr6);
        }
        wanted.mac = wanted.mac.or(Some(before.mac));
        wanted
    }

    /// Plans to remember an endpoint whose namespace is not there yet.
    pub(super) fn wait_for(
        &mut self,
        network: &str,
        wanted: &config::Endpoint,
    ) -> Result<(), Error> {
        let Some(n) = self.next.network(network) else {
            return Ok(());
        };
        // Chosen when it comes.
        let ifname = wanted.ifname.clone();
        let ifname = ifname.unwrap_or_else(|| container::IFNAME.to_owned());
        let mut e = self.fresh_endpoint(n, wanted, Origin::Config, (0, ifname))?;
        e.gone = Some(Vec::new());
        let step = Step::Await(network.to_owned(), Box::new(e.clone()));
        self.plan.steps.push(step);
        self.insert_endpoint(network, e);
        Ok(())
    }

    /// Plans the ports that commands had published of endpoints that the configuration brings back.
    pub(super) fn keep_ports_of_commands(
        &mut self,
        ports: &mut Ports<'_>,
        added: &HashSet<&str>,
    ) -> Result<(), Error> {
        for (_, before) in self.returning.clone() {
            if !added.contains(before.name.as_str()) {
                continue;
            }
            let by_command = before.specs().filter(|(_, o)| *o == Origin::Command);
            let specs: Vec<_> = by_command.map(|(s, _)| s.clone()).collect();
            self.new_rules(ports, &before.name, &specs, Origin::Command)?;
        }
        Ok(())
    }

    /// Plans to make the endpoints of commands again whose namespaces are there, and says which. One that
    /// cannot be made waits on: what somebody has put there in the meantime is no reason to stop.
    pub(super) fn bring_back(&mut self, ports: &mut Ports<'_>) -> Vec<String> {
        let mut back = Vec::new();
        for (network, before) in self.returning.clone() {
            if before.origin != Origin::Command || self.next.network(&network).is_none() {
                continue;
            }
            let next = self.next.endpoint(&before.name);
            if before.may_return() && next.is_none_or(|(_, e)| e.is_present()) {
                // The configuration has one of the name.
                continue;
            }
            let saved = (self.next.clone(), self.plan.clone());
            match self.again(ports, &network, &before) {
                Ok(()) => back.push(before.name.clone()),
                Err(e) => {
                    tracing::warn!("endpoint `{}` waits on: {e}", before.name);
                    (self.next, self.plan) = saved;
                    if before.is_present() {
                        self.plan.steps.push(Step::Retire(before.name.clone()));
                    }
                }
            }
        }
        back
    }

    fn again(
        &mut self,
        ports: &mut Ports<'_>,
        network: &str,
        before: &Endpoint,
    ) -> Result<(), Error> {
        if before.is_present() {
            self.drop_endpoint(&before.name);
        } else {
            for n in &mut self.next.networks {
                n.endpoints.retain(|o| o.name != before.name);
            }
        }
        let specs: Vec<_> = before.specs().map(|(s, _)| s.clone()).collect();
        let wanted = config::Endpoint {
            name: before.name.clone(),
            netns: before.netns.clone(),
            addr: None,
            addr6: None,
            mac: None,
            ifname: Some(before.container_ifname.clone()),
            gw_priority: before.gw_priority,
            rates: before.rates,
            publish: specs.clone(),
        };
        let e = self.new_endpoint(network, &wanted, Origin::Command)?;
        self.insert_endpoint(network, e);
        self.new_rules(ports, &before.name, &specs, Origin::Command)?;
        Ok(())
    }

    /// Plans to make networks again that commands have made, where their bridges are gone or others have
    /// their names. The configuration's are looked at with it.
    pub(super) fn revive_networks(&mut self, configured: &[config::Network]) -> Result<(), Error> {
        for i in 0..self.next.networks.len() {
            let Some(n) = self.next.networks.get(i) else {
                break;
            };
            let link = self.facts.link(&n.bridge);
            let there = link.is_some_and(|l| l.index == n.ifindex);
            if there || configured.iter().any(|w| w.name == n.name) {
                continue;
            }
            // One that this plan adds has no index yet either.
            if self.before.network(&n.name).is_none() {
                continue;
            }
            let new = on_bridge(n.clone(), link)?;
            if let Some(n) = self.next.networks.get_mut(i) {
                *n = new.clone();
            }
            self.plan.steps.push(Step::ChangeNetwork(Box::new(new)));
        }
        Ok(())
    }
}
