//! Planning networks: the bridge's name, the subnet, the MTU, and what may change in place.

use std::time::SystemTime;

use ipnet::Ipv4Net;
use netpath_common::maps::MAX_NETWORKS;

use super::{
    Error,
    plan::{Planner, Step},
};
use crate::{
    config::{self, Mac, Uplinks, choose_subnet, overlaps},
    net::{Link, hex_id, random_mac},
    state::{Ipv6, Network, Origin},
};

/// MTU of Ethernet, for a network without an uplink to take it from.
const ETHERNET_MTU: u32 = 1500;

impl Planner<'_> {
    /// Plans the removal of networks and endpoints that the configuration no longer has, and of
    /// those whose interfaces are gone.
    pub(super) fn remove_what_is_gone(&mut self, config: &config::Config) {
        self.remove_unfinished();
        self.look_after_dead(config);
        let wanted = |name: &str| config.networks.iter().find(|n| n.name == name);
        for n in self.next.networks.clone() {
            let stays = wanted(&n.name).is_some_and(|w| Self::same_ground(w, &n));
            let by_command = wanted(&n.name).is_none() && n.origin == Origin::Command;
            if stays || by_command {
                continue;
            }
            if wanted(&n.name).is_none() {
                self.plan.losses.push(format!("network {}", n.name));
            } else {
                self.plan
                    .losses
                    .push(format!("network {} (to make it anew)", n.name));
            }
            for e in n.endpoints.iter().filter(|e| e.origin == Origin::Command) {
                self.plan.losses.push(format!("endpoint {}", e.name));
            }
            for e in &n.endpoints {
                self.plan.steps.push(Step::RemoveEndpoint(e.name.clone()));
            }
            self.plan.steps.push(Step::RemoveNetwork(n.name.clone()));
            self.next.networks.retain(|o| o.name != n.name);
        }
        self.remove_endpoints(config);
    }

    /// Whether a network may stay where it is: bridge, subnets, gateways and mode are as asked for. A
    /// bridge that was deleted behind netpath's back is made again in place.
    fn same_ground(wanted: &config::Network, n: &Network) -> bool {
        wanted.bridge == n.bridge
            && wanted.subnet.is_none_or(|s| s == n.subnet)
            && wanted.gateway_in(n.subnet) == n.gateway
            && wanted.ipv6 == n.ipv6.map(|v6| v6.subnet)
            && wanted.ipv6_gateway() == n.ipv6.map(|v6| v6.gateway)
            && wanted.mode == n.mode
    }

    pub(super) fn add_network(
        &mut self,
        wanted: &config::Network,
        origin: Origin,
    ) -> Result<(), Error> {
        self.check_uplinks(wanted)?;
        self.check_segments(wanted)?;
        let goes = |n: &str| self.plan.steps.contains(&Step::RemoveNetwork(n.to_owned()));
        let found = self.facts.link(&wanted.bridge);
        // A bridge that this plan removes first is no obstacle, and none to adopt either.
        let found = found.filter(|l| {
            // A killed command may not have known the index.
            let made = |n: &Network| n.ifindex == l.index || n.mac == l.mac;
            let ours = |n: &Network| made(n) && !n.adopted && goes(&n.name);
            !self.before.networks.iter().any(ours)
        });
        if let Some(link) = found.filter(|l| !l.is_bridge()) {
            return Err(Error::BridgeTaken {
                network: wanted.name.clone(),
                name: wanted.bridge.clone(),
                what: format!("a {}", link.describe()),
            });
        }
        if let Some(n) = self
            .next
            .networks
            .iter()
            .find(|n| n.bridge == wanted.bridge)
        {
            return Err(Error::BridgeTaken {
                network: wanted.name.clone(),
                name: wanted.bridge.clone(),
                what: format!("network `{}`", n.name),
            });
        }
        let (subnet, mtu) = (self.subnet(wanted)?, self.mtu(wanted));
        self.check_ipv6_mtu(wanted, mtu)?;
        let network = Network {
            id: hex_id()?,
            created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
            slot: self.next.free_network_slot().ok_or(Error::NoSlot {
                what: "network",
                most: MAX_NETWORKS - 1,
            })?,
            name: wanted.name.clone(),
            origin,
            unfinished: false,
            bridge: wanted.bridge.clone(),
            ifindex: 0,
            mac: found.map_or_else(random_mac, |l| Ok::<Mac, _>(l.mac))?,
            adopted: found.is_some(),
            found: None,
            subnet,
            gateway: wanted.gateway_in(subnet),
            ipv6: self.ipv6(wanted)?,
            mode: wanted.mode,
            mtu,
            gso_max_size: wanted.gso_max_size,
            icc: wanted.icc,
            masquerade: wanted.masquerade,
            bindings: wanted.bindings,
            snat: wanted.snat,
            internal: wanted.internal,
            host_binding: wanted.host_binding,
            uplink_hook: wanted.uplink_hook,
            early_drop: wanted.early_drop,
            xdp_translate: wanted.xdp_translate,
            ports_held: wanted.ports_held,
            uplinks: wanted.uplinks.clone(),
            endpoints: Vec::new(),
        };
        self.warn_of_small_uplinks(wanted);
        self.plan
            .steps
            .push(Step::AddNetwork(Box::new(network.clone())));
        self.next.networks.push(network);
        Ok(())
    }

    pub(super) fn change_network(&mut self, wanted: &config::Network) -> Result<(), Error> {
        self.check_uplinks(wanted)?;
        self.check_segments(wanted)?;
        let mtu = wanted.mtu;
        let larger =
            |n: &Network| wanted.gso_max_size.is_some() && n.gso_max_size != wanted.gso_max_size;
        if self.next.network(&wanted.name).is_some_and(larger) {
            self.warn_of_small_uplinks(wanted);
        }
        let link = self.facts.link(&wanted.bridge);
        let Some(n) = self.next.network_mut(&wanted.name) else {
            return Ok(());
        };
        let new = Network {
            origin: Origin::Config,
            // Left out, it stays: the uplink's MTU when the network was made.
            mtu: mtu.unwrap_or(n.mtu),
            gso_max_size: wanted.gso_max_size,
            icc: wanted.icc,
            masquerade: wanted.masquerade,
            bindings: wanted.bindings,
            snat: wanted.snat,
            ipv6: n.ipv6.map(|ipv6| Ipv6 {
                snat: wanted.snat6,
                ..ipv6
            }),
            internal: wanted.internal,
            host_binding: wanted.host_binding,
            uplink_hook: wanted.uplink_hook,
            early_drop: wanted.early_drop,
            xdp_translate: wanted.xdp_translate,
            ports_held: wanted.ports_held,
            uplinks: wanted.uplinks.clone(),
            ..n.clone()
        };
        let new = on_bridge(new, link)?;
        if new != *n || link.is_none_or(|l| l.index != n.ifindex) {
            *n = new.clone();
            self.plan.steps.push(Step::ChangeNetwork(Box::new(new)));
        }
        Ok(())
    }

    fn subnet(&self, wanted: &config::Network) -> Result<Ipv4Net, Error> {
        let others = |(_, index): &&(Ipv4Net, u32)| !self.is_own(wanted, *index);
        let mut used: Vec<(Ipv4Net, String)> = Vec::new();
        for (route, index) in self.facts.on_link.iter().filter(others) {
            let by = self
                .facts
                .link_by_index(*index)
                .map_or("?", |l| l.name.as_str());
            used.push((*route, by.to_owned()));
        }
        used.extend(
            self.next
                .networks
                .iter()
                .map(|n| (n.subnet, n.bridge.clone())),
        );
        let Some(subnet) = wanted.subnet else {
            let nets: Vec<Ipv4Net> = used.iter().map(|(n, _)| *n).collect();
            return choose_subnet(&nets).ok_or_else(|| Error::NoSubnet {
                network: wanted.name.clone(),
            });
        };
        match used.into_iter().find(|(net, _)| overlaps(*net, subnet)) {
            None => Ok(subnet),
            Some((route, ifname)) => Err(Error::SubnetRouted {
                network: wanted.name.clone(),
                subnet: subnet.into(),
                route: route.into(),
                ifname,
            }),
        }
    }

    /// Whether an interface is a bridge of netpath's, or the one that `wanted` names.
    pub(super) fn is_own(&self, wanted: &config::Network, index: u32) -> bool {
        let on = |n: &Network| n.ifindex == index && index != 0;
        let named = self.facts.link(&wanted.bridge);
        self.before.networks.iter().any(on) || named.is_some_and(|l| l.index == index)
    }

    fn check_uplinks(&self, wanted: &config::Network) -> Result<(), Error> {
        let Uplinks::Named(names) = &wanted.uplinks else {
            return Ok(());
        };
        let links = names.iter().filter_map(|name| self.facts.link(name));
        if let Some(link) = links.into_iter().find(|l| !l.ethernet) {
            return Err(Error::NoEthernet {
                network: wanted.name.clone(),
                name: link.name.clone(),
                kind: link.describe().to_owned(),
            });
        }
        match names.iter().find(|name| self.facts.link(name).is_none()) {
            None => Ok(()),
            Some(name) => Err(Error::NoUplink {
                network: wanted.name.clone(),
                name: name.clone(),
                known: self
                    .facts
                    .links
                    .iter()
                    .map(|l| l.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }

    fn mtu(&self, wanted: &config::Network) -> u32 {
        let uplink = match &wanted.uplinks {
            Uplinks::Auto => self.facts.default_uplinks.iter().map(|u| u.mtu).min(),
            Uplinks::Named(names) => names
                .iter()
                .filter_map(|n| self.facts.link(n))
                .map(|l| l.mtu)
                .min(),
        };
        wanted.mtu.or(uplink).unwrap_or(ETHERNET_MTU)
    }
}

/// A network of the state as it is to be on the bridge that has its name by now.
pub(super) fn on_bridge(n: Network, link: Option<&Link>) -> Result<Network, Error> {
    match link {
        Some(l) if l.index == n.ifindex => Ok(n),
        // A killed command made it and could not say so.
        Some(l) if l.is_bridge() && l.mac == n.mac => Ok(n),
        Some(l) if l.is_bridge() => Ok(Network {
            adopted: true,
            mac: l.mac,
            ..n
        }),
        Some(l) => Err(Error::BridgeTaken {
            network: n.name,
            name: n.bridge,
            what: format!("a {}", l.describe()),
        }),
        None => Ok(Network {
            adopted: false,
            found: None,
            ifindex: 0,
            ..n
        }),
    }
}
