//! Making networks without a bridge and their endpoints, and taking them away.

use std::os::fd::AsFd as _;

use ipnet::Ipv6Net;

use super::{
    super::{Error, ParentError, error::known, rollback::Undo, work::Work},
    is_alive, is_port, namespace, ways,
};
use crate::{
    net::{Announced, Hop, LanPort, Link, container, namespace::Namespace},
    state::{Lan, Made, Member, Port, Unbridged},
};

impl Work<'_> {
    /// Adds a network without its endpoints.
    pub(in super::super) async fn add_unbridged(&mut self, n: Unbridged) -> Result<(), Error> {
        self.undo.push(Undo::RemoveNetwork(n.name.clone()));
        let name = n.name.clone();
        self.state.unbridged.push(Unbridged {
            unfinished: true,
            ..n.alone()
        });
        self.save()?;
        self.put_unbridged(&name).await?;
        if let Some(n) = self.state.unbridged_mut(&name) {
            n.unfinished = false;
        }
        Ok(())
    }

    /// Gives a network other labels and address management.
    pub(in super::super) fn change_unbridged(&mut self, new: Unbridged) {
        let Some(n) = self.state.unbridged_mut(&new.name) else {
            return;
        };
        let old = n.alone();
        let members = std::mem::take(&mut n.members);
        *n = Unbridged { members, ..new };
        self.undo.push(Undo::ChangeUnbridged(Box::new(old)));
    }

    /// Makes the parent that a network has for itself be there; changes nothing that is right already.
    pub(in super::super) async fn put_unbridged(&self, name: &str) -> Result<(), Error> {
        let lan = self.state.unbridged(name).and_then(|n| n.lan.clone());
        let Some((lan, made)) = lan.and_then(|lan| Some((lan.clone(), lan.made?))) else {
            return Ok(());
        };
        let netlink = &self.instance.netlink;
        let link = match netlink.link(&lan.parent).await? {
            Some(link) => link,
            None => {
                match &made {
                    Made::Vlan(base, id) => {
                        let index = self.parent(base).await?.index;
                        netlink.create_vlan(&lan.parent, index, *id).await?;
                    }
                    Made::Dummy => netlink.create_dummy(&lan.parent).await?,
                }
                self.parent(&lan.parent).await?
            }
        };
        if !link.up {
            netlink.set_up(link.index, true).await?;
        }
        Ok(())
    }

    /// The interface of the host that has this name.
    async fn parent(&self, name: &str) -> Result<Link, Error> {
        let netlink = &self.instance.netlink;
        match netlink.link(name).await? {
            Some(link) => Ok(link),
            None => {
                let links = netlink.links().await?;
                let known = known("interface", links.iter().map(|l| l.name.as_str()));
                Err(ParentError::Gone {
                    parent: name.to_owned(),
                    known,
                }
                .into())
            }
        }
    }

    /// Removes a network and its endpoints, and the parent if it was made for the network.
    pub(in super::super) async fn remove_unbridged(&mut self, n: Unbridged) -> Result<(), Error> {
        if let Some(stored) = self.state.unbridged_mut(&n.name) {
            stored.unfinished = true;
        }
        self.save()?;
        for m in &n.members {
            self.leave(&m.name)?;
        }
        let n = n.alone();
        self.undo.push(Undo::AddUnbridged(Box::new(n.clone())));
        if let Some((parent, made)) = n.lan.and_then(|lan| Some((lan.parent, lan.made?))) {
            let kind = match made {
                Made::Vlan(..) => "vlan",
                Made::Dummy => "dummy",
            };
            let netlink = &self.instance.netlink;
            let link = netlink.link(&parent).await?;
            if let Some(link) = link.filter(|l| l.kind.as_deref() == Some(kind)) {
                netlink.delete_link(link.index).await?;
            }
        }
        self.state.unbridged.retain(|other| other.name != n.name);
        self.save()
    }

    /// Adds an endpoint.
    pub(in super::super) async fn join(
        &mut self,
        network: &str,
        member: &Member,
    ) -> Result<(), Error> {
        self.undo.push(Undo::RemoveEndpoint(member.name.clone()));
        let n = self.state.unbridged_mut(network);
        let Some(n) = n else {
            return Err(Error::no_network(network, self.state.network_names()));
        };
        let mut member = member.clone();
        member.unfinished = true;
        if let Some(port) = &mut member.port {
            port.ifindex = 0;
        }
        n.members.push(member.clone());
        let n = n.alone();
        self.save()?;
        let netns = Namespace::open(&member.netns)?;
        match (&n.lan, &member.port) {
            (Some(lan), Some(port)) => {
                let link = self.make_port(&n, lan, port, &netns).await?;
                let stored = self.state.member_mut(&member.name);
                if let Some(port) = stored.and_then(|m| m.port.as_mut()) {
                    port.ifindex = link.index;
                }
                self.put_several_ways(&member.netns, member.netns_ino)?;
            }
            // The host's own is up, or down for a reason.
            _ if n.driver == crate::config::Driver::Host => {}
            _ => container::loopback_up(&netns)?,
        }
        if let Some(stored) = self.state.member_mut(&member.name) {
            stored.unfinished = false;
        }
        Ok(())
    }

    async fn make_port(
        &self,
        n: &Unbridged,
        lan: &Lan,
        port: &Port,
        netns: &Namespace,
    ) -> Result<Link, Error> {
        let parent = self.parent(&lan.parent).await?;
        let netlink = &self.instance.netlink;
        netlink
            .create_lan_port(&LanPort {
                driver: n.driver,
                parent: &lan.parent,
                parent_index: parent.index,
                ifname: &port.ifname,
                mac: port.mac,
                mtu: lan.mtu,
                netns: netns.as_fd(),
                netns_name: netns.name(),
            })
            .await?;
        // Which of several interfaces leads out is decided when they are there.
        let alone = self.is_alone_in(netns.ino());
        let (v4, v6) = ways(n.driver, lan, port);
        let hop = |way: Option<(_, Hop)>| way.filter(|_| alone).map(|(_, hop)| hop);
        let ipv6 = lan.ipv6.zip(port.addr6).and_then(|(ipv6, addr)| {
            Some(container::Side6 {
                addr: Ipv6Net::new(addr, ipv6.subnet.prefix_len()).ok()?,
                gateway: hop(v6),
            })
        });
        let side = container::Side {
            ifname: &port.ifname,
            addr: port.addr,
            prefix: lan.subnet.prefix_len(),
            gateway: hop(v4),
            ipv6,
        };
        let link = container::configure(netns, side)?;
        if !n.driver.routes_by_device() {
            // Whoever had the address before is remembered outside.
            let one = Announced {
                addr: port.addr,
                addr6: port.addr6,
                mac: link.mac,
            };
            let announced =
                netns.run(async |netlink| netlink.announce(link.index, &[one], true).await);
            if let Err(e) = announced {
                tracing::warn!("network `{}`: {e}", n.name);
            }
        }
        Ok(link)
    }

    /// Removes an endpoint with its interface. Fine if a part of it, or all, is gone.
    pub(in super::super) fn leave(&mut self, name: &str) -> Result<(), Error> {
        let Some((n, m)) = self.state.member(name) else {
            return Ok(());
        };
        let (network, driver, m) = (n.name.clone(), n.driver, m.clone());
        let undo = Undo::Join(network.clone(), Box::new(m.clone()));
        self.undo.push(undo);
        if let (Some(port), Some(netns)) = (&m.port, namespace(&m.netns, m.netns_ino)) {
            container::remove(&netns, &port.ifname, |link| is_port(driver, port, link))?;
        }
        if let Some(n) = self.state.unbridged_mut(&network) {
            n.members.retain(|other| other.name != name);
        }
        self.put_ways_left(&m.netns, m.netns_ino);
        Ok(())
    }

    /// What a killed command has left half made or half removed: networks, and members of others.
    pub(in super::super) fn unfinished_unbridged(&self) -> (Vec<String>, Vec<String>) {
        let networks = self.state.unbridged.iter().filter(|n| n.unfinished);
        let members = self.state.members().filter(|(_, m)| m.unfinished);
        (
            networks.map(|n| n.name.clone()).collect(),
            members.map(|(_, m)| m.name.clone()).collect(),
        )
    }

    /// The members whose containers are gone.
    pub(in super::super) fn dead_members(&self) -> Vec<String> {
        let members = self.state.members();
        let dead = members.filter(|(n, m)| !is_alive(n.driver, m));
        dead.map(|(_, m)| m.name.clone()).collect()
    }
}
