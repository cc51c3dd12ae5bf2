//! Planning endpoints and their published ports: namespace, address, slots, host ports.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
};

use netpath_common::maps::MAX_ENDPOINTS;

use super::{
    AddressError, Error, PlaceError,
    error::known,
    ipv6::address6,
    plan::{Planner, Step},
    ports::{Chosen, Ports, no_home},
};
use crate::{
    config::{self, HostBinding, Mode, PortSpec, check_endpoint_addr},
    net::{hex_id, namespace::Namespace, random_ifname, random_mac},
    state::{Endpoint, Network, Origin, Rule, addrs_of},
};

impl Planner<'_> {
    /// Plans the removal of endpoints that the configuration no longer has, or has differently.
    pub(super) fn remove_endpoints(&mut self, config: &config::Config) {
        let wanted = |network: &Network, e: &Endpoint| {
            let n = config.networks.iter().find(|n| n.name == network.name)?;
            n.endpoints.iter().find(|w| w.name == e.name)
        };
        let mut going = Vec::new();
        for (n, e) in self.next.endpoints() {
            match wanted(n, e) {
                Some(w) if same_endpoint(w, e) => {}
                Some(_) => going.push((e.name.clone(), None)),
                // Nothing is lost.
                None if !e.is_present() && e.origin == Origin::Config => {
                    going.push((e.name.clone(), None));
                }
                None if e.origin == Origin::Command => {}
                None => going.push((e.name.clone(), Some(format!("endpoint {}", e.name)))),
            }
        }
        for (name, loss) in going {
            self.plan.losses.extend(loss);
            self.drop_endpoint(&name);
        }
    }

    pub(super) fn drop_endpoint(&mut self, name: &str) {
        self.plan.steps.push(Step::RemoveEndpoint(name.to_owned()));
        for n in &mut self.next.networks {
            n.endpoints.retain(|e| e.name != name);
        }
    }

    /// Checks an endpoint and makes its open choices, published ports excepted.
    pub(super) fn new_endpoint(
        &self,
        network: &str,
        wanted: &config::Endpoint,
        origin: Origin,
    ) -> Result<Endpoint, Error> {
        let n = self.next.network(network).ok_or_else(|| Error::NoNetwork {
            name: network.to_owned(),
            known: known("network", self.next.network_names()),
        })?;
        if let Some(network) = self.next.network_of(&wanted.name) {
            return Err(Error::EndpointExists {
                name: wanted.name.clone(),
                network: network.to_owned(),
            });
        }
        let wrong = |source| Error::Container {
            endpoint: wanted.name.clone(),
            source,
        };
        let netns = Namespace::open(&wanted.netns).map_err(wrong)?;
        if netns.ino() == self.facts.own_netns {
            return Err(Error::OwnNamespace {
                endpoint: wanted.name.clone(),
                netns: wanted.netns.to_string(),
            });
        }
        let mut present = n.endpoints.iter().filter(|e| e.is_present());
        if let Some(e) = present.find(|e| e.netns_ino == netns.ino()) {
            return Err(PlaceError::AlreadyConnected {
                endpoint: wanted.name.clone(),
                other: e.name.clone(),
                network: n.name.clone(),
            }
            .into());
        }
        let container_ifname = self.inside_name(&netns, wanted)?;
        self.fresh_endpoint(n, wanted, origin, (netns.ino(), container_ifname))
    }

    /// A new endpoint with its choices made: those of the one that it comes back as, where they are free.
    pub(super) fn fresh_endpoint(
        &self,
        n: &Network,
        wanted: &config::Endpoint,
        origin: Origin,
        (netns_ino, container_ifname): (u64, String),
    ) -> Result<Endpoint, Error> {
        let before = self.returning.iter().find(|(_, e)| e.name == wanted.name);
        let before = before
            .map(|(_, e)| e)
            .filter(|e| n.subnet.contains(&e.addr));
        let wanted = &self.as_before(n, wanted, before);
        Ok(Endpoint {
            id: hex_id()?,
            name: wanted.name.clone(),
            origin,
            unfinished: false,
            gone: None,
            netns: wanted.netns.clone(),
            netns_ino,
            slot: self.next.free_endpoint_slot().ok_or(Error::NoSlot {
                what: "endpoint",
                most: MAX_ENDPOINTS - 1,
            })?,
            addr: address(n, wanted)?,
            addr6: address6(n, wanted)?,
            mac: wanted.mac.map_or_else(random_mac, Ok)?,
            ifname: self.ifname()?,
            ifindex: 0,
            container_ifname,
            gw_priority: wanted.gw_priority,
            gro: false,
            rates: wanted.rates,
            rules: Vec::new(),
        })
    }

    pub(super) fn insert_endpoint(&mut self, network: &str, e: Endpoint) {
        if let Some(n) = self.next.network_mut(network) {
            n.endpoints.push(e);
        }
    }

    fn ifname(&self) -> Result<String, Error> {
        loop {
            let name = random_ifname()?;
            let used = self.next.endpoints().any(|(_, e)| e.ifname == name);
            if !used && self.facts.link(&name).is_none() {
                return Ok(name);
            }
        }
    }

    /// Plans to withdraw the rules that the configuration made and no longer has.
    pub(super) fn withdraw_rules(&mut self, endpoint: &str, wanted: &[PortSpec]) {
        let Some((n, e)) = self.next.endpoint(endpoint) else {
            return;
        };
        let have: HashSet<&PortSpec> = e.rules.iter().map(|r| &r.spec).collect();
        let named: HashSet<&PortSpec> = wanted.iter().collect();
        let is_bound = |r: &Rule| r.at() == published_at(n, e, &r.spec);
        let (mut stale, mut listed) = (Vec::new(), Vec::<Rule>::new());
        for rule in e.rules.iter().filter(|r| r.origin == Origin::Config) {
            if is_bound(rule) && named.contains(&rule.spec) {
                continue;
            }
            let other = wanted.iter().find(|w| {
                let free = !have.contains(*w) && !listed.iter().any(|r| r.spec == **w);
                free && rule.spec.differs_in_allow_only(w)
            });
            match other {
                Some(spec) if is_bound(rule) => listed.push(Rule {
                    spec: spec.clone(),
                    ..rule.clone()
                }),
                _ => stale.push(rule.clone()),
            }
        }
        if let Some(e) = self.next.endpoint_mut(endpoint) {
            let slots: HashSet<u16> = stale.iter().map(|r| r.slot).collect();
            e.rules.retain(|r| !slots.contains(&r.slot));
            for rule in &mut e.rules {
                if let Some(new) = listed.iter().find(|r| r.slot == rule.slot) {
                    *rule = new.clone();
                }
            }
        }
        let steps = &mut self.plan.steps;
        if !stale.is_empty() {
            steps.push(Step::Unpublish(endpoint.to_owned(), stale));
        }
        if !listed.is_empty() {
            steps.push(Step::Allow(endpoint.to_owned(), listed));
        }
    }

    /// The rules of an endpoint that `specs` give another allow list, as they are to be.
    pub(super) fn other_lists(&self, endpoint: &str, specs: &[PortSpec]) -> Vec<Rule> {
        let Some((n, e)) = self.next.endpoint(endpoint) else {
            return Vec::new();
        };
        let listed = specs.iter().filter_map(|spec| {
            let same = |r: &&Rule| {
                let options = r.spec.balance == spec.balance && r.spec.allow != spec.allow;
                options && n.asks_for(spec, r)
            };
            let rule = e.rules.iter().find(same)?;
            Some(Rule {
                spec: spec.clone(),
                ..rule.clone()
            })
        });
        listed.collect()
    }

    /// The rules of `wanted` that the endpoint does not have yet; they are added to it.
    pub(super) fn new_rules(
        &mut self,
        ports: &mut Ports<'_>,
        endpoint: &str,
        wanted: &[PortSpec],
        origin: Origin,
    ) -> Result<Vec<Rule>, Error> {
        let Some((_, e)) = self.next.endpoint(endpoint).filter(|(_, e)| e.is_present()) else {
            return Ok(Vec::new());
        };
        let have: HashSet<PortSpec> = e.rules.iter().map(|r| r.spec.clone()).collect();
        let missing: Vec<PortSpec> = wanted
            .iter()
            .filter(|s| !have.contains(*s))
            .cloned()
            .collect();
        let rules = self.choose_ports(ports, endpoint, &missing, origin)?;
        if let Some(e) = self.next.endpoint_mut(endpoint) {
            e.rules.extend(rules.iter().cloned());
        }
        Ok(rules)
    }

    /// One rule for each of `specs`, with slot, address and host port chosen.
    pub(super) fn choose_ports(
        &self,
        ports: &mut Ports<'_>,
        endpoint: &str,
        specs: &[PortSpec],
        origin: Origin,
    ) -> Result<Vec<Rule>, Error> {
        let (n, e) = self
            .next
            .endpoint(endpoint)
            .ok_or_else(|| Error::NoEndpoint {
                name: endpoint.to_owned(),
                known: known(
                    "endpoint",
                    self.next.endpoints().map(|(_, e)| e.name.as_str()),
                ),
            })?;
        let mut rules: Vec<Rule> = Vec::new();
        for spec in specs {
            let at = published_at(n, e, spec);
            let chosen = match n.mode {
                Mode::Nat => ports.allocate(endpoint, &e.homes(n), spec, at, n.ports_held)?,
                Mode::Routed => own_ports(n, e, &rules, spec)?,
            };
            rules.push(Rule {
                slot: ports.slot()?,
                spec: spec.clone(),
                origin,
                addr: at.addr,
                addr6: at.addr6,
                host: chosen.host,
                group: chosen.group,
                member: chosen.member,
            });
        }
        Ok(rules)
    }
}

/// Where the ports of a SPEC are published.
fn published_at(n: &Network, e: &Endpoint, spec: &PortSpec) -> HostBinding {
    match n.mode {
        Mode::Nat => spec.host_ip.map_or(n.binding(), HostBinding::one),
        Mode::Routed => HostBinding::one(e.addr.into()),
    }
}

/// The first port of a SPEC in a routed network, where the container's own ports are published, each
/// once in a family; ports of the host are not asked for.
fn own_ports(n: &Network, e: &Endpoint, new: &[Rule], spec: &PortSpec) -> Result<Chosen, Error> {
    if spec.balance {
        return Err(Error::RoutedBalance {
            endpoint: e.name.clone(),
            spec: spec.clone(),
        });
    }
    let (homes, at) = (e.homes(n), published_at(n, e, spec));
    if let Some(addr) = spec.host_ip.filter(|addr| !homes.has_family_of(*addr)) {
        return Err(no_home(&e.name, spec, addr));
    }
    let wanted: Vec<IpAddr> = addrs_of(spec, at, &homes).collect();
    let mut taken = e
        .rules
        .iter()
        .chain(new)
        .filter(|r| r.proto() == spec.proto && r.spec.container.overlaps(spec.container));
    match taken.find_map(|r| Some((r, r.addrs(&homes).find(|addr| wanted.contains(addr))?))) {
        None => Ok(Chosen {
            host: spec.container.first(),
            group: 0,
            member: 0,
        }),
        Some((r, addr)) => Err(Error::PortTaken {
            endpoint: e.name.clone(),
            addr,
            port: r.spec.container.first().max(spec.container.first()),
            proto: spec.proto,
            holder: e.name.clone(),
        }),
    }
}

fn same_endpoint(wanted: &config::Endpoint, e: &Endpoint) -> bool {
    wanted.netns == e.netns
        && wanted.addr.is_none_or(|a| a == e.addr)
        && wanted.addr6.is_none_or(|a| Some(a) == e.addr6)
        && wanted.mac.is_none_or(|m| m == e.mac)
        && wanted
            .ifname
            .as_ref()
            .is_none_or(|name| *name == e.container_ifname)
}

/// The address asked for, or the lowest that is free.
fn address(n: &Network, wanted: &config::Endpoint) -> Result<Ipv4Addr, Error> {
    let present = || n.endpoints.iter().filter(|e| e.is_present());
    let holder = |addr: Ipv4Addr| present().find(|e| e.addr == addr);
    if let Some(addr) = wanted.addr {
        check_endpoint_addr(&wanted.name, addr.into(), &n.name, &n.pool())?;
        return match holder(addr) {
            None => Ok(addr),
            Some(e) => {
                let (name, other) = (wanted.name.clone(), e.name.clone());
                let addr = addr.into();
                Err(config::Error::AddressTaken { name, addr, other }.into())
            }
        };
    }
    // Those of endpoints that are gone come last: neighbours remember them, and they may come back.
    let present = || present().map(|e| e.addr.into()).collect();
    let (pool, taken) = (n.pool(), n.taken());
    match pool
        .lowest_free(&taken)
        .or_else(|| pool.lowest_free(&present()))
    {
        Some(IpAddr::V4(addr)) => Ok(addr),
        _ => Err(AddressError::none_left(&n.name, &pool, &taken).into()),
    }
}
