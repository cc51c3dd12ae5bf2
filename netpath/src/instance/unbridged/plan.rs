//! Planning networks without a bridge and who is in them.

use std::time::SystemTime;

use ipnet::Ipv4Net;

use super::{
    super::{
        AddressError, Error, ParentError,
        error::known,
        plan::{Planner, Step, is_absent},
    },
    is_alive,
    member::same_member,
};
use crate::{
    config::{self, Config, Driver, overlaps},
    net::hex_id,
    state::{Ipv6, Lan, Made, Member, Origin, Unbridged},
};

/// MTU of a parent that leads nowhere, bytes.
const ETHERNET_MTU: u32 = 1500;
/// Digits of a network's identifier in the name of a parent that leads nowhere: Docker's.
const SHORT_ID: usize = 12;
/// Numbers that a VLAN may have (IEEE 802.1Q, 9.6).
const VLANS: std::ops::RangeInclusive<u16> = 1..=4094;

impl Planner<'_> {
    /// Plans the removal of what a killed command has left half made or half removed.
    pub(in super::super) fn remove_unfinished_unbridged(&mut self) {
        let half = self.next.unbridged.iter().filter(|n| n.unfinished);
        for n in half.cloned().collect::<Vec<_>>() {
            self.drop_unbridged(&n);
        }
        let half = self.next.members().filter(|(_, m)| m.unfinished);
        for name in half.map(|(_, m)| m.name.clone()).collect::<Vec<_>>() {
            self.drop_member(&name);
        }
    }

    fn drop_unbridged(&mut self, n: &Unbridged) {
        for m in &n.members {
            self.plan.steps.push(Step::RemoveEndpoint(m.name.clone()));
        }
        self.plan.steps.push(Step::RemoveNetwork(n.name.clone()));
        self.next.unbridged.retain(|o| o.name != n.name);
    }

    /// Plans the removal of members whose containers are gone.
    pub(in super::super) fn remove_dead_members(&mut self) {
        let dead = |n: &Unbridged, m: &Member| !is_alive(n.driver, m);
        let members = self.next.members();
        let dead = members.filter(|(n, m)| dead(n, m));
        let dead: Vec<String> = dead.map(|(_, m)| m.name.clone()).collect();
        for name in dead {
            self.drop_member(&name);
        }
    }

    /// Plans the removal of what the configuration no longer has, or has differently.
    pub(in super::super) fn remove_unbridged(&mut self, config: &Config) {
        self.remove_dead_members();
        let wanted = |name: &str| config.unbridged.iter().find(|n| n.common.name == name);
        let named = |name: &str| config.networks.iter().any(|n| n.name == name);
        for n in self.next.unbridged.clone() {
            let is_named = wanted(&n.name).is_some() || named(&n.name);
            let stays = wanted(&n.name).is_some_and(|w| same_ground(w, &n));
            if stays || (!is_named && n.origin == Origin::Command) {
                continue;
            }
            let anew = if is_named { " (to make it anew)" } else { "" };
            self.plan.losses.push(format!("network {}{anew}", n.name));
            for m in n.members.iter().filter(|m| m.origin == Origin::Command) {
                self.plan.losses.push(format!("endpoint {}", m.name));
            }
            self.drop_unbridged(&n);
        }
        let mut going = Vec::new();
        for (n, m) in self.next.members() {
            let wanted = wanted(&n.name).and_then(|w| {
                let endpoints = &w.common.endpoints;
                endpoints.iter().find(|e| e.name == m.name)
            });
            match wanted {
                Some(w) if same_member(w, m) => {}
                Some(_) => going.push((m.name.clone(), None)),
                None if m.origin == Origin::Command => {}
                None => going.push((m.name.clone(), Some(format!("endpoint {}", m.name)))),
            }
        }
        for (name, loss) in going {
            self.plan.losses.extend(loss);
            self.drop_member(&name);
        }
    }

    fn drop_member(&mut self, name: &str) {
        self.plan.steps.push(Step::RemoveEndpoint(name.to_owned()));
        for n in &mut self.next.unbridged {
            n.members.retain(|m| m.name != name);
        }
    }

    /// Plans what the configuration has: its networks without a bridge, or what changes of them.
    pub(in super::super) fn put_unbridged(&mut self, config: &Config) -> Result<(), Error> {
        for wanted in &config.unbridged {
            match self.next.unbridged_mut(&wanted.common.name) {
                None => self.add_unbridged(wanted, Origin::Config)?,
                Some(n) => {
                    let (mut new, from) = (n.clone(), &wanted.common);
                    new.origin = Origin::Config;
                    new.labels = from.labels.clone();
                    if let Some(lan) = &mut new.lan {
                        lan.ipam = from.ipam.clone();
                        let mut aux = lan.ipam.aux.iter();
                        if let Some((name, addr, m)) =
                            aux.find_map(|(k, a)| Some((k, *a, n.holder(*a)?)))
                        {
                            return Err(AddressError::AuxTaken {
                                network: n.name.clone(),
                                name: name.clone(),
                                addr,
                                endpoint: m.name.clone(),
                            }
                            .into());
                        }
                    }
                    if new != *n {
                        *n = new.clone();
                        let step = Step::ChangeUnbridged(Box::new(new.alone()));
                        self.plan.steps.push(step);
                    }
                }
            }
        }
        Ok(())
    }

    /// Plans the endpoints that the configuration has and that are not there.
    pub(in super::super) fn put_members(&mut self, config: &Config) -> Result<(), Error> {
        for n in &config.unbridged {
            for wanted in &n.common.endpoints {
                match self.next.member(&wanted.name) {
                    // A later `up` makes it: there is nothing to remember it by.
                    None if self.absent_ok && is_absent(&wanted.netns) => tracing::warn!(
                        "endpoint `{}` of network `{}` is left out: there is no namespace `{}`",
                        wanted.name,
                        n.common.name,
                        wanted.netns
                    ),
                    None => self.join(&n.common.name, wanted, Origin::Config)?,
                    Some((_, m)) => {
                        if let Some(port) = &m.port {
                            let now = port.gw_priority;
                            self.prefer(wanted, now);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    pub(in super::super) fn add_unbridged(
        &mut self,
        wanted: &config::Unbridged,
        origin: Origin,
    ) -> Result<(), Error> {
        let name = &wanted.common.name;
        let one = matches!(wanted.driver, Driver::Host | Driver::None);
        let mut others = self.next.unbridged.iter();
        if let Some(other) = others.find(|n| one && n.driver == wanted.driver) {
            return Err(config::Error::OnlyOne {
                network: name.clone(),
                driver: wanted.driver.as_str(),
                other: other.name.clone(),
            }
            .into());
        }
        let id = hex_id()?;
        let lan = if wanted.driver.has_parent() {
            Some(self.lan(wanted, &id)?)
        } else {
            None
        };
        let network = Unbridged {
            id,
            created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
            name: name.clone(),
            origin,
            unfinished: false,
            driver: wanted.driver,
            labels: wanted.common.labels.clone(),
            lan,
            members: Vec::new(),
        };
        let step = Step::AddUnbridged(Box::new(network.clone()));
        self.plan.steps.push(step);
        self.next.unbridged.push(network);
        Ok(())
    }

    fn lan(&self, wanted: &config::Unbridged, id: &str) -> Result<Lan, Error> {
        let common = &wanted.common;
        let (parent, made, most) = self.parent(wanted, id)?;
        let mut others = self.next.unbridged.iter();
        let on = |n: &&Unbridged| n.lan.as_ref().is_some_and(|lan| lan.parent == parent);
        if let Some(other) = others.find(on) {
            return Err(config::Error::ParentTaken {
                network: common.name.clone(),
                parent,
                other: other.name.clone(),
            }
            .into());
        }
        let mtu = common.mtu.unwrap_or(most);
        if mtu > most {
            return Err(ParentError::Mtu {
                network: common.name.clone(),
                wanted: mtu,
                parent,
                most,
            }
            .into());
        }
        self.check_ipv6_mtu(common, mtu)?;
        let subnet = self.lan_subnet(common)?;
        Ok(Lan {
            parent,
            made,
            internal: common.internal,
            mtu,
            subnet,
            gateway: common.gateway_in(subnet),
            ipv6: self.lan_ipv6(common)?,
            ipam: common.ipam.clone(),
        })
    }

    /// The name of the parent, whether it is to be made, and the largest MTU on it.
    fn parent(
        &self,
        wanted: &config::Unbridged,
        id: &str,
    ) -> Result<(String, Option<Made>, u32), Error> {
        let Some(name) = wanted.parent.clone() else {
            let name = format!("dm-{}", id.get(..SHORT_ID).unwrap_or(id));
            return Ok((name, Some(Made::Dummy), ETHERNET_MTU));
        };
        // One that goes with a network of this plan is made again.
        let ours = |n: &&Unbridged| n.lan.as_ref().is_some_and(|l| l.parent == name);
        let before = self.before.unbridged.iter().find(ours);
        let goes = before.and_then(|n| n.lan.as_ref()?.made.clone());
        if let (Some(link), None) = (self.facts.link(&name), goes) {
            if !link.ethernet {
                return Err(ParentError::Kind {
                    network: wanted.common.name.clone(),
                    parent: name,
                    kind: link.describe().to_owned(),
                }
                .into());
            }
            return Ok((name, None, link.mtu));
        }
        let vlan = vlan(&name).and_then(|(base, id)| Some((self.facts.link(base)?, id)));
        match vlan {
            Some((base, id)) => {
                let made = Made::Vlan(base.name.clone(), id);
                Ok((name, Some(made), base.mtu))
            }
            None => Err(ParentError::None {
                network: wanted.common.name.clone(),
                parent: name,
                known: known(
                    "interface",
                    self.facts.links.iter().map(|l| l.name.as_str()),
                ),
            }
            .into()),
        }
    }

    /// The subnet: that of the network outside, which the host may well reach, or one that is chosen.
    fn lan_subnet(&self, wanted: &config::Network) -> Result<Ipv4Net, Error> {
        let Some(subnet) = wanted.subnet else {
            return self.free_subnet(wanted);
        };
        let used = self.network_subnets();
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

    fn lan_ipv6(&self, wanted: &config::Network) -> Result<Option<Ipv6>, Error> {
        let Some((subnet, gateway)) = wanted.ipv6.zip(wanted.ipv6_gateway()) else {
            return Ok(None);
        };
        if let Some((route, ifname)) = self.network_with_ipv6(subnet) {
            return Err(AddressError::SubnetRouted {
                network: wanted.name.clone(),
                subnet: subnet.into(),
                route: route.into(),
                ifname,
            }
            .into());
        }
        let snat = None;
        Ok(Some(Ipv6 {
            subnet,
            gateway,
            snat,
        }))
    }
}

/// The interface and number that the name of a VLAN stands for.
fn vlan(name: &str) -> Option<(&str, u16)> {
    let (base, id) = name.rsplit_once('.')?;
    let id = id.parse().ok().filter(|id| VLANS.contains(id))?;
    (!base.is_empty()).then_some((base, id))
}

/// Whether a network may stay where it is.
fn same_ground(wanted: &config::Unbridged, n: &Unbridged) -> bool {
    let from = &wanted.common;
    let lan = n.lan.as_ref().is_none_or(|lan| {
        let parent = match &wanted.parent {
            Some(parent) => *parent == lan.parent,
            None => lan.made == Some(Made::Dummy),
        };
        let size = from.subnet_size;
        parent
            && from.internal == lan.internal
            && from.mtu.is_none_or(|mtu| mtu == lan.mtu)
            && from.subnet.is_none_or(|s| s == lan.subnet)
            && size.is_none_or(|size| size == lan.subnet.prefix_len())
            && from.gateway_in(lan.subnet) == lan.gateway
            && from.ipv6 == lan.ipv6.map(|v6| v6.subnet)
            && from.ipv6_gateway() == lan.ipv6.map(|v6| v6.gateway)
    });
    wanted.driver == n.driver && lan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_vlans() {
        assert_eq!(vlan("eth0.10"), Some(("eth0", 10)));
        assert_eq!(vlan("bond0.100.20"), Some(("bond0.100", 20)));
        for no in [
            "eth0",
            "eth0.",
            ".10",
            "eth0.0",
            "eth0.4095",
            "eth0.x",
            "eth0.70000",
        ] {
            assert_eq!(vlan(no), None, "{no}");
        }
    }
}
