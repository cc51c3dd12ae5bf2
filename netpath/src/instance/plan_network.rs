//! Planning networks: the bridge's name, the subnet, the MTU, and what may change in place.

use std::{net::IpAddr, time::SystemTime};

use ipnet::Ipv4Net;
use netpath_common::maps::MAX_NETWORKS;

use super::{
    AddressError, Error,
    plan::{Planner, Step},
};
use crate::{
    config::{self, Mac, Uplinks, choose_subnet, overlaps},
    net::{Link, hex_id, random_mac},
    state::{Endpoint, Ipv6, Network, Origin},
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
            && wanted
                .subnet_size
                .is_none_or(|size| size == n.subnet.prefix_len())
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
        if let Some(bridge) = found {
            self.warn_of_strangers(&wanted.name, bridge);
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
            ipam: wanted.ipam.clone(),
            labels: wanted.labels.clone(),
            mode: wanted.mode,
            mtu,
            gso_max_size: wanted.gso_max_size,
            icc: wanted.icc,
            masquerade: wanted.masquerade,
            no_masquerade: wanted.no_masquerade.clone(),
            bindings: wanted.bindings,
            snat: wanted.snat,
            internal: wanted.internal,
            host_binding: wanted.host_binding.addr,
            host_binding6: wanted.host_binding.addr6,
            isolated: wanted.isolated,
            firewall: wanted.firewall,
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
        check_aux(n, wanted)?;
        let new = Network {
            origin: Origin::Config,
            // Left out, it stays: the uplink's MTU when the network was made.
            mtu: mtu.unwrap_or(n.mtu),
            gso_max_size: wanted.gso_max_size,
            icc: wanted.icc,
            masquerade: wanted.masquerade,
            no_masquerade: wanted.no_masquerade.clone(),
            bindings: wanted.bindings,
            snat: wanted.snat,
            ipv6: n.ipv6.map(|ipv6| Ipv6 {
                snat: wanted.snat6,
                ..ipv6
            }),
            ipam: wanted.ipam.clone(),
            labels: wanted.labels.clone(),
            internal: wanted.internal,
            host_binding: wanted.host_binding.addr,
            host_binding6: wanted.host_binding.addr6,
            isolated: wanted.isolated,
            firewall: wanted.firewall,
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

    /// Warns of the ports that a bridge to be adopted has already: behind them is no endpoint.
    fn warn_of_strangers(&self, network: &str, bridge: &Link) {
        let ports = self.facts.links.iter();
        let ports = ports.filter(|l| l.controller == Some(bridge.index));
        let names: Vec<_> = ports.map(|l| l.name.as_str()).collect();
        if !names.is_empty() {
            tracing::warn!(
                "network `{network}`: bridge {} has ports of others ({}), which reach each other but \
                 no longer the host, nor the outside by it; give the network a bridge of its own",
                bridge.name,
                names.join(", ")
            );
        }
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
        used.extend(self.network_subnets());
        let Some(subnet) = wanted.subnet else {
            return self.choose_subnet(wanted, used);
        };
        match used.into_iter().find(|(net, _)| overlaps(*net, subnet)) {
            None => Ok(subnet),
            Some((route, ifname)) => Err(AddressError::SubnetRouted {
                network: wanted.name.clone(),
                subnet: subnet.into(),
                route: route.into(),
                ifname,
            }
            .into()),
        }
    }

    /// The subnets of the networks of all drivers, and what has them.
    pub(super) fn network_subnets(&self) -> Vec<(Ipv4Net, String)> {
        let bridged = self.next.networks.iter();
        let bridged = bridged.map(|n| (n.subnet, n.bridge.clone()));
        let lans = self.next.unbridged.iter().filter_map(|n| n.lan.as_ref());
        let lans = lans.map(|lan| (lan.subnet, lan.parent.clone()));
        bridged.chain(lans).collect()
    }

    /// A subnet that nothing of the host has.
    pub(super) fn free_subnet(&self, wanted: &config::Network) -> Result<Ipv4Net, Error> {
        let routes = self.facts.on_link.iter();
        let routes = routes.map(|(net, _)| (*net, String::new()));
        self.choose_subnet(wanted, routes.chain(self.network_subnets()).collect())
    }

    /// A subnet that meets none of these.
    fn choose_subnet(
        &self,
        wanted: &config::Network,
        used: Vec<(Ipv4Net, String)>,
    ) -> Result<Ipv4Net, Error> {
        // Containers would take a name server for one of their neighbours.
        let servers = self.facts.nameservers.iter().copied().map(Ipv4Net::from);
        let claimed = self.claimed.iter().copied();
        let used = used.into_iter().map(|(net, _)| net);
        let nets: Vec<Ipv4Net> = used.chain(servers).chain(claimed).collect();
        let size = wanted.subnet_size;
        let none = || AddressError::NoSubnet {
            network: wanted.name.clone(),
            size,
            networks: self.next.network_names().count(),
        };
        Ok(choose_subnet(&nets, size).ok_or_else(none)?)
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
        if let Some(link) = links.into_iter().find(|l| !l.can_lead_out()) {
            return Err(Error::UnknownFrames {
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

/// Checks that no endpoint that stays has an address that shall be something else's.
fn check_aux(n: &Network, wanted: &config::Network) -> Result<(), Error> {
    for (name, addr) in &wanted.ipam.aux {
        let has =
            |e: &&Endpoint| IpAddr::V4(e.addr) == *addr || e.addr6.map(IpAddr::V6) == Some(*addr);
        if let Some(e) = n.endpoints.iter().find(has) {
            let taken = AddressError::AuxTaken {
                network: n.name.clone(),
                name: name.clone(),
                addr: *addr,
                endpoint: e.name.clone(),
            };
            return Err(taken.into());
        }
    }
    Ok(())
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
