//! Endpoints on the host, in the container and in the datapath.

use std::{collections::HashSet, os::fd::AsFd as _};

use ipnet::Ipv6Net;
use netpath_common::records::{
    ENDPOINT_ISOLATED, ENDPOINT_SHAPED, ENDPOINT_VISIBLE, EndpointRecord, IFACE_ENDPOINT,
    IfaceRecord,
};

use super::{Error, error::known, gone::is_alive, rollback::Undo, work::Work};
use crate::{
    bpf::{Datapath, Hook},
    config::Firewall,
    net::{
        Announced, Hop, Link, PortFlags, VethPair, container, namespace::Namespace, random_mac,
        sysctl,
    },
    state::{Endpoint, Network},
};

impl Work<'_> {
    /// Adds endpoints with their published ports, each to the network of its name. The program is
    /// attached and the records are written before either side of a pair is up; ports are
    /// published when all endpoints are there.
    pub(super) async fn add_endpoints(&mut self, new: &[(&str, &Endpoint)]) -> Result<(), Error> {
        if new.is_empty() {
            return Ok(());
        }
        for (network, e) in new {
            self.existing_network(network)?;
            self.forget_gone(&e.name);
            self.undo.push(Undo::RemoveEndpoint(e.name.clone()));
            if let Some(n) = self.state.network_mut(network) {
                n.endpoints.push(Endpoint {
                    ifindex: 0,
                    unfinished: true,
                    ..e.alone()
                });
            }
        }
        // Their slots may be those of endpoints that have just been removed.
        self.end_flows()?;
        // Once for all: the file grows with every endpoint.
        self.save()?;
        for (_, e) in new {
            self.make_endpoint(&e.name).await?;
        }
        self.announce(new).await;
        let rules: Vec<_> = new
            .iter()
            .map(|(_, e)| (e.name.clone(), e.rules.clone()))
            .collect();
        self.publish(&rules)?;
        for (_, e) in new {
            if let Some(e) = self.state.endpoint_mut(&e.name) {
                e.unfinished = false;
            }
        }
        Ok(())
    }

    /// Tells the neighbours of new endpoints who has their addresses now.
    async fn announce(&self, new: &[(&str, &Endpoint)]) {
        let names: HashSet<&str> = new.iter().map(|(_, e)| e.name.as_str()).collect();
        for n in &self.state.networks {
            let here = new.iter().filter(|(network, _)| *network == n.name);
            let here: Vec<_> = here
                .map(|(_, e)| Announced {
                    addr: e.addr,
                    addr6: e.addr6,
                    mac: e.mac,
                })
                .collect();
            if here.is_empty() {
                continue;
            }
            // Who came with them knows nobody yet.
            let is_new = |e: &Endpoint| names.contains(e.name.as_str());
            let knowing = n.adopted || !n.endpoints.iter().all(is_new);
            let netlink = &self.instance.netlink;
            if let Err(e) = netlink.announce(n.ifindex, &here, knowing).await {
                // They find out by themselves, later.
                tracing::warn!("network `{}`: {e}", n.name);
            }
        }
    }

    async fn make_endpoint(&mut self, name: &str) -> Result<(), Error> {
        let (network, e) = self.existing_endpoint(name)?;
        let netns = Namespace::open(&e.netns)?;
        let netlink = &self.instance.netlink;
        netlink
            .create_veth(&VethPair {
                host: &e.ifname,
                host_mac: random_mac()?,
                peer: &e.container_ifname,
                peer_mac: e.mac,
                mtu: network.mtu,
                netns: netns.as_fd(),
                netns_name: netns.name(),
            })
            .await?;
        self.put_endpoint(name).await?;
        // Which of several interfaces leads out is decided when they are there.
        let leads = !network.internal && self.is_alone_in(e.netns_ino);
        let side = container::Side {
            ifname: &e.container_ifname,
            addr: e.addr,
            prefix: network.subnet.prefix_len(),
            gateway: leads.then_some(Hop::V4(Some(network.gateway))),
            ipv6: side6(&network, &e, leads),
        };
        container::configure(&netns, side)?;
        if e.rates.out.is_some() {
            self.shape_container(&e)?;
        }
        self.put_several_ways(&e.netns, e.netns_ino)
    }

    /// Makes the host's side and the records of an endpoint be right; changes nothing that is.
    pub(super) async fn put_endpoint(&mut self, name: &str) -> Result<(), Error> {
        let (network, mut e) = self.existing_endpoint(name)?;
        let (netlink, datapath) = (&self.instance.netlink, self.datapath()?);
        let gone = || Error::NoEndpoint {
            name: name.to_owned(),
            known: format!("its interface {} is gone", e.ifname),
        };
        let known = match e.ifindex {
            0 => None,
            index => netlink.link_by_index(index).await?,
        };
        let link = match known.filter(|l| is_alive(l, &e)) {
            Some(link) => link,
            None => netlink.link(&e.ifname).await?.ok_or_else(gone)?,
        };
        if link.name != e.ifname {
            netlink.rename(link.index, &e.ifname).await?;
        }
        e.ifindex = link.index;
        if let Some(stored) = self.state.endpoint_mut(name) {
            stored.ifindex = link.index;
        }
        self.put_endpoint_mtu(&network, &e, &link).await?;
        self.put_endpoint_segments(&network, &e, &link).await?;
        // Before its address is known: from then on packets may come.
        self.put_endpoint_gro(&network, &e, &link).await?;
        if e.rates.into.is_some() {
            self.shape_host_side(&e).await?;
        }
        self.put_endpoint_record(&datapath, &network, &e)?;
        datapath.attach(Hook::Veth, &e.ifname, e.ifindex)?;
        let netlink = &self.instance.netlink;
        let flags = PortFlags {
            isolated: !network.icc,
        };
        if link.controller == Some(network.ifindex) {
            if link.isolated != Some(flags.isolated) {
                netlink.set_port(e.ifindex, flags).await?;
            }
        } else {
            netlink.add_port(network.ifindex, e.ifindex, flags).await?;
            if let Some(bridge) = netlink.link_by_index(network.ifindex).await? {
                self.put_bridge_segments(&network, &bridge).await?;
            }
        }
        if !link.up {
            // The host has no IPv6 business on a port of the bridge, whether or not its network has
            // IPv6; the setting goes with the interface.
            let key = sysctl::disable_ipv6(&e.ifname);
            if sysctl::read_optional(&key)?.is_some() {
                sysctl::write(&key, "1")?;
            }
            netlink.set_up(e.ifindex, true).await?;
        }
        Ok(())
    }

    pub(super) fn put_endpoint_record(
        &mut self,
        datapath: &Datapath,
        network: &Network,
        e: &Endpoint,
    ) -> Result<(), Error> {
        let found = datapath.endpoint(e.slot)?;
        let mut record = EndpointRecord {
            generation: found.generation,
            ..endpoint_record(network, e)
        };
        if record != found || record.generation == 0 {
            if found.ifindex == 0 {
                datapath.reset_endpoint_stats(e.slot)?;
            }
            // No flow depends on how its packets go.
            let same = EndpointRecord {
                flags: record.flags,
                ..found
            };
            if record != same || record.generation == 0 {
                record.generation = self.state.next_generation(found.generation);
            }
            datapath.set_endpoint(e.slot, &record)?;
        }
        datapath.set_endpoint_addr(e.addr, e.slot)?;
        if let Some(addr6) = e.addr6 {
            datapath.set_endpoint_addr(addr6, e.slot)?;
        }
        let iface = IfaceRecord {
            kind: IFACE_ENDPOINT,
            slot: e.slot.into(),
            flags: 0,
        };
        Ok(datapath.set_iface(e.ifindex, &iface)?)
    }

    /// Gives both ends of an endpoint the MTU of its network, where the host's has another.
    async fn put_endpoint_mtu(&self, n: &Network, e: &Endpoint, link: &Link) -> Result<(), Error> {
        if link.mtu == n.mtu {
            return Ok(());
        }
        match Namespace::open(&e.netns) {
            Ok(netns) if netns.ino() == e.netns_ino => {
                container::set_mtu(&netns, &e.container_ifname, n.mtu)?;
            }
            Ok(_) | Err(_) => tracing::warn!(
                "endpoint `{}`: its namespace is no longer `{}`: its MTU is set on the host's side only",
                e.name,
                e.netns
            ),
        }
        Ok(self.instance.netlink.set_mtu(link.index, n.mtu).await?)
    }

    /// Removes an endpoint: frees its ports, ends its flows, deletes its interfaces. Fine if a part
    /// of it, or all, is gone.
    pub(super) async fn remove_endpoint(&mut self, name: &str) -> Result<(), Error> {
        if self.state.member(name).is_some() {
            return self.leave(name);
        }
        let Some((network, e)) = self.state.endpoint(name) else {
            return Ok(());
        };
        let (network, e) = (network.name.clone(), Box::new(e.clone()));
        // Not saved here: an endpoint of the state that is gone is removed as well as any other.
        self.undo.push(if e.is_present() {
            Undo::AddEndpoint(network, e)
        } else {
            Undo::Remember(network, e)
        });
        self.clear_endpoint(name).await
    }

    /// As [`Work::remove_endpoint`], without a note on the undo stack.
    pub(super) async fn clear_endpoint(&mut self, name: &str) -> Result<(), Error> {
        let Some((network, e)) = self.state.endpoint(name) else {
            return Ok(());
        };
        let (network, e) = (network.name.clone(), e.clone());
        if e.is_present() {
            self.take_off(&e).await?;
        }
        if let Some(n) = self.state.network_mut(&network) {
            n.endpoints.retain(|other| other.name != name);
        }
        if e.is_present() {
            self.put_ways_left(&e.netns, e.netns_ino);
        }
        Ok(())
    }

    /// Takes an endpoint out of the datapath and off the host. One that is gone has nothing there: its
    /// address may be another's by now.
    async fn take_off(&mut self, e: &Endpoint) -> Result<(), Error> {
        let slots: Vec<u16> = e.rules.iter().map(|r| r.slot).collect();
        if let Ok(datapath) = self.datapath() {
            // Without an undo of its own: adding the endpoint again brings its rules.
            self.drop_rules(&e.name, &slots)?;
            if datapath.endpoint_stats(e.slot)?.flows > 0 {
                self.ended.insert(e.slot);
            }
            let found = datapath.endpoint(e.slot)?;
            let generation = self.state.next_generation(found.generation);
            datapath.set_endpoint(
                e.slot,
                &EndpointRecord {
                    generation,
                    ..Default::default()
                },
            )?;
            datapath.remove_endpoint_addr(e.addr)?;
            if let Some(addr6) = e.addr6 {
                datapath.remove_endpoint_addr(addr6)?;
            }
            if e.ifindex != 0 {
                datapath.remove_iface(e.ifindex)?;
            }
        }
        let netlink = &self.instance.netlink;
        // By name as well: where a command was killed the index is not known, and somebody may have
        // renamed it.
        let named = netlink.link(&e.ifname).await?;
        let link = match named {
            None if e.ifindex != 0 => {
                let other = netlink.link_by_index(e.ifindex).await?;
                other.filter(|l| is_alive(l, e))
            }
            named => named,
        };
        if let Some(link) = link {
            netlink.delete_link(link.index).await?;
        }
        if let Ok(datapath) = self.datapath()
            && e.ifindex != 0
        {
            datapath.detach(Hook::Veth, e.ifindex)?;
        }
        Ok(())
    }

    /// The endpoint of this name without its rules, and its network without its endpoints.
    pub(super) fn existing_endpoint(&self, name: &str) -> Result<(Network, Endpoint), Error> {
        let found = self
            .state
            .endpoint(name)
            .map(|(n, e)| (n.alone(), e.alone()));
        found.ok_or_else(|| Error::NoEndpoint {
            name: name.to_owned(),
            known: known(
                "endpoint",
                self.state.endpoints().map(|(_, e)| e.name.as_str()),
            ),
        })
    }
}

/// How an endpoint's packets go.
fn flags(network: &Network, e: &Endpoint) -> u32 {
    let flag = |on, bit| if on { bit } else { 0 };
    flag(network.firewall == Firewall::Visible, ENDPOINT_VISIBLE)
        | flag(network.isolated, ENDPOINT_ISOLATED)
        | flag(e.rates.into.is_some(), ENDPOINT_SHAPED)
}

/// The record of an endpoint, without a generation.
pub(super) fn endpoint_record(n: &Network, e: &Endpoint) -> EndpointRecord {
    EndpointRecord {
        ifindex: e.ifindex,
        generation: 0,
        addr: e.addr.octets(),
        mac: e.mac.0,
        network: n.slot,
        mtu: n.mtu,
        flags: flags(n, e),
        addr6: e.addr6.map(|a| a.octets()).unwrap_or_default(),
    }
}

/// The IPv6 half of the container's side.
fn side6(network: &Network, e: &Endpoint, leads: bool) -> Option<container::Side6> {
    let (ipv6, addr) = network.ipv6.zip(e.addr6)?;
    Some(container::Side6 {
        addr: Ipv6Net::new(addr, ipv6.subnet.prefix_len()).ok()?,
        gateway: leads.then_some(Hop::V6(Some(ipv6.gateway))),
    })
}
