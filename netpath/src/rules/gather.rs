//! From the records of the maps to rules. Pure.
//!
//! Owns the way back from entries to ranges: a published range has an entry at every port where
//! another one begins within it (see `netpath_common::publish`).

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netpath_common::{
    V6,
    publish::Backends,
    records::{
        CONFIG_PRESERVE_PORTS, Config, EndpointRecord, EndpointStats, LOOPBACK_UPLINK,
        NETWORK_BINDINGS, NETWORK_INTERNAL, NETWORK_MASQUERADE, NETWORK_ROUTED, NetworkRecord,
        RULE_ALLOW, RuleRecord, RuleStats, Traffic, UplinkRecord,
    },
};

use super::{InForce, Leaving, NetworkRule, Outside, PortChoice, PublishedRule};
use crate::{
    bpf::{Allowed, Entry, Family},
    config::{PortRange, Protocol},
};

/// What the maps hold.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// `np_config`.
    pub config: Option<Config>,
    /// `np_networks` by slot.
    pub networks: Vec<NetworkRecord>,
    /// `np_endpoints` by slot.
    pub endpoints: Vec<EndpointRecord>,
    /// `np_ep_stats` by slot, of those endpoints that are there.
    pub stats: HashMap<u16, EndpointStats>,
    /// `np_uplinks` by slot.
    pub uplinks: Vec<UplinkRecord>,
    /// `np_published4`.
    pub published: Vec<Entry>,
    /// `np_published6`.
    pub published6: Vec<Entry<V6>>,
    /// `np_backends`, those groups that published ports name.
    pub groups: HashMap<u16, Backends>,
    /// `np_allowed4` and `np_allowed6`.
    pub allowed: Allowed,
    /// `np_rules` and `np_rule_stats`, those that published ports name.
    pub rules: HashMap<u16, (RuleRecord, RuleStats)>,
}

impl Snapshot {
    /// Endpoints that are there.
    #[must_use]
    pub fn endpoint_slots(&self) -> Vec<u16> {
        let there = (0u16..).zip(&self.endpoints);
        let there = there.filter(|(slot, e)| *slot != 0 && e.ifindex != 0);
        there.map(|(slot, _)| slot).collect()
    }

    /// What the containers of a network exchanged without published ports.
    fn by_themselves(&self, network: u16, v6: bool) -> Traffic {
        let of_network = |slot: &u16| {
            let endpoint = self.endpoints.get(usize::from(*slot));
            endpoint.is_some_and(|e| e.network == network)
        };
        let there = self.stats.iter().filter(|(slot, _)| of_network(slot));
        let each = there.map(|(_, stats)| stats.by_itself(v6));
        each.fold(Traffic::default(), |sum, of_one| sum + of_one)
    }

    /// Groups that published ports name.
    #[must_use]
    pub fn group_slots(&self) -> Vec<u16> {
        let four = self.published.iter().map(|(_, to)| to.group);
        let six = self.published6.iter().map(|(_, to)| to.group);
        distinct(four.chain(six))
    }

    /// Rules that published ports name, by themselves or by their group.
    #[must_use]
    pub fn rule_slots(&self) -> Vec<u16> {
        let four = self.published.iter().map(|(_, to)| to.rule);
        let six = self.published6.iter().map(|(_, to)| to.rule);
        let of_groups = self.groups.values().flat_map(|g| &g.list).map(|b| b.rule);
        distinct(four.chain(six).chain(of_groups))
    }
}

fn distinct(slots: impl Iterator<Item = u16>) -> Vec<u16> {
    let mut all: Vec<u16> = slots.filter(|slot| *slot != 0).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What the maps do not know: names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Networks by slot.
    pub networks: HashMap<u16, String>,
    /// Endpoints by slot.
    pub endpoints: HashMap<u16, String>,
    /// Interfaces by index.
    pub interfaces: HashMap<u32, String>,
}

impl Names {
    fn network(&self, slot: u16) -> String {
        let known = self.networks.get(&slot).cloned();
        known.unwrap_or_else(|| format!("network-{slot}"))
    }

    fn endpoint(&self, slot: u16) -> String {
        let known = self.endpoints.get(&slot).cloned();
        known.unwrap_or_else(|| format!("endpoint-{slot}"))
    }

    fn interface(&self, index: u32) -> String {
        let known = self.interfaces.get(&index).cloned();
        known.unwrap_or_else(|| format!("if{index}"))
    }
}

/// A published range of one address, as its entries say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Range {
    rule: u16,
    endpoint: u16,
    group: u16,
    proto: u8,
    first: u16,
    last: u16,
    port: u16,
    addr: IpAddr,
    to: IpAddr,
}

/// The ranges that entries are of.
fn ranges<A: Family>(entries: &[Entry<A>]) -> Vec<Range> {
    let mut first_of = BTreeMap::new();
    for (key, to) in entries {
        // What all entries of a range share.
        let ahead = to.port.wrapping_sub(key.port);
        let lead = (to.rule, to.endpoint, to.group, to.addr);
        let range = (key.addr, key.proto, to.last, ahead, lead);
        let first = first_of.entry(range).or_insert(key.port);
        *first = key.port.min(*first);
    }
    let range = |((addr, proto, last, ahead, lead), first): ((A, _, _, u16, _), u16)| {
        let (rule, endpoint, group, to): (_, _, _, A) = lead;
        Range {
            rule,
            endpoint,
            group,
            proto,
            first,
            last,
            port: first.wrapping_add(ahead),
            addr: addr.ip(),
            to: to.ip(),
        }
    };
    first_of.into_iter().map(range).collect()
}

/// Puts the rules together.
#[must_use]
pub fn gather(maps: &Snapshot, names: &Names) -> InForce {
    let mut in_force = InForce {
        ports: maps
            .config
            .map_or_else(PortChoice::default, |c| PortChoice {
                random: c.flags & CONFIG_PRESERVE_PORTS == 0,
                range: PortRange::new(c.port_min, c.port_max),
            }),
        ..InForce::default()
    };
    for (slot, n) in (0u16..).zip(&maps.networks) {
        if slot != 0 && n.bridge_ifindex != 0 {
            in_force.networks.extend(network(maps, names, slot, n));
        }
    }
    let mut all = ranges(&maps.published);
    all.extend(ranges(&maps.published6));
    let mut rules: BTreeMap<_, PublishedRule> = BTreeMap::new();
    for range in all {
        for one in backends_of(maps, range) {
            let Some(rule) = published(maps, names, &one) else {
                continue;
            };
            let same = (one.rule, one.endpoint, one.proto, one.first, one.last);
            match rules.entry((same, one.port)) {
                std::collections::btree_map::Entry::Vacant(e) => {
                    e.insert(rule);
                }
                // Of another address, or the other family.
                std::collections::btree_map::Entry::Occupied(mut e) => {
                    let known = e.get_mut();
                    known.addresses.extend(rule.addresses);
                    known.to.extend(rule.to);
                    known.to.dedup();
                }
            }
        }
    }
    in_force.published = rules.into_values().collect();
    in_force.published.sort_by_cached_key(|r| {
        let (ports, proto) = (r.ports, r.protocol);
        let bridge = r.bridge.clone();
        (bridge, r.endpoint.clone(), proto, ports.first(), r.rule)
    });
    in_force
}

/// The range itself, or that of each backend of its group.
fn backends_of(maps: &Snapshot, range: Range) -> Vec<Range> {
    if range.group == 0 {
        return vec![range];
    }
    let backends = maps.groups.get(&range.group);
    let list = backends.map_or(&[][..], |b| &b.list);
    let there = list.iter().filter(|b| b.endpoint != 0);
    let of_backend = |b: &netpath_common::publish::Backend| {
        let e = maps.endpoints.get(usize::from(b.endpoint))?;
        let to = match range.addr {
            IpAddr::V4(_) => IpAddr::from(e.addr),
            IpAddr::V6(_) => IpAddr::from(e.addr6),
        };
        // A container without an address of this family gets nothing of it.
        (!to.is_unspecified()).then_some(Range {
            rule: b.rule,
            endpoint: b.endpoint,
            port: b.port.wrapping_add(range.port),
            to,
            ..range
        })
    };
    there.filter_map(of_backend).collect()
}

fn published(maps: &Snapshot, names: &Names, r: &Range) -> Option<PublishedRule> {
    let width = r.last.checked_sub(r.first)?;
    let slot = maps.endpoints.get(usize::from(r.endpoint))?.network;
    let network = maps.networks.get(usize::from(slot)).copied();
    let network = network.unwrap_or_default();
    let (record, stats) = maps.rules.get(&r.rule).copied().unwrap_or_default();
    let allow = (record.flags & RULE_ALLOW != 0).then(|| {
        let list = maps.allowed.get(&r.rule);
        list.map_or_else(Vec::new, |list| list.iter().copied().collect())
    });
    let there = maps.groups.get(&r.group).map(|g| g.there().count_ones());
    Some(PublishedRule {
        rule: r.rule,
        kind: "publish",
        network: names.network(slot),
        bridge: names.interface(network.bridge_ifindex),
        leaving: leaving(&network, false),
        endpoint: names.endpoint(r.endpoint),
        addresses: vec![r.addr],
        ports: PortRange::new(r.first, r.last)?,
        protocol: Protocol::from_number(r.proto)?,
        to: vec![r.to],
        to_ports: PortRange::new(r.port, r.port.checked_add(width)?)?,
        allow,
        balance: there.map(|n| n as usize),
        group: r.group,
        packets: stats.packets,
        bytes: stats.bytes,
    })
}

const fn leaving(n: &NetworkRecord, snat: bool) -> Leaving {
    if n.flags & NETWORK_INTERNAL != 0 {
        Leaving::Internal
    } else if n.flags & NETWORK_ROUTED != 0 {
        Leaving::Routed
    } else if n.flags & NETWORK_MASQUERADE == 0 {
        Leaving::Unmasqueraded
    } else if snat {
        Leaving::Snat
    } else {
        Leaving::Masquerade
    }
}

/// The rule of each family that a network has.
fn network(maps: &Snapshot, names: &Names, slot: u16, n: &NetworkRecord) -> Vec<NetworkRule> {
    let v4 = Ipv4Net::with_netmask(n.subnet.into(), n.mask.into()).map(IpNet::V4);
    let v6 = Ipv6Net::with_netmask(n.subnet6.into(), n.mask6.into()).map(IpNet::V6);
    let has4 = n.mask != [0; 4];
    let has6 = n.mask6 != [0; 16];
    let subnets = [
        (v4.ok().filter(|_| has4), IpAddr::from(n.snat)),
        (v6.ok().filter(|_| has6), IpAddr::from(n.snat6)),
    ];
    let rule = |(source, snat): (Option<IpNet>, IpAddr)| {
        let source = source?;
        let fixed = !snat.is_unspecified();
        let kind = leaving(n, fixed);
        let to = match kind {
            Leaving::Snat => vec![Outside {
                address: snat,
                uplink: None,
            }],
            Leaving::Masquerade => uplinks(maps, names, source.addr().is_ipv6()),
            Leaving::Routed | Leaving::Unmasqueraded | Leaving::Internal => Vec::new(),
        };
        let counted = maps.by_themselves(slot, source.addr().is_ipv6());
        Some(NetworkRule {
            kind,
            network: names.network(slot),
            bridge: names.interface(n.bridge_ifindex),
            source,
            to,
            endpoint_independent: n.flags & NETWORK_BINDINGS != 0,
            packets: counted.packets,
            bytes: counted.bytes,
        })
    };
    subnets.into_iter().filter_map(rule).collect()
}

/// The addresses of the uplinks; the loopback device stands for one of the host's own.
fn uplinks(maps: &Snapshot, names: &Names, v6: bool) -> Vec<Outside> {
    let there = (0u16..).zip(&maps.uplinks);
    let there = there.filter(|(slot, u)| *slot != LOOPBACK_UPLINK && u.ifindex != 0);
    let outside = |(_, u): (u16, &UplinkRecord)| {
        let address = if v6 {
            IpAddr::V6(Ipv6Addr::from(u.addr6))
        } else {
            IpAddr::V4(Ipv4Addr::from(u.addr))
        };
        let uplink = Some(names.interface(u.ifindex));
        (!address.is_unspecified()).then_some(Outside { address, uplink })
    };
    there.filter_map(outside).collect()
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
