//! Endpoints whose namespaces have gone, and changes that a killed command has left half done.
//!
//! Owns noticing and clearing away. What is kept of an endpoint is [`crate::state`]'s, its way back
//! [`super::plan_return`]'s.

use std::{collections::BTreeSet, net::IpAddr};

use netpath_common::records::LOOPBACK_IFINDEX;

use super::{
    Error,
    rollback::{Rollback, Undo},
    work::Work,
};
use crate::{
    ct,
    net::{Link, namespace::Namespace},
    state::{Endpoint, State},
};

/// Whether a link is the host's side of an endpoint, under whatever name.
pub(super) fn is_alive(link: &Link, e: &Endpoint) -> bool {
    link.index == e.ifindex && link.is_veth()
}

/// Whether the name of an endpoint's namespace leads to another one by now. A namespace lives on without
/// its name; then only its interface tells.
pub(super) fn has_moved(e: &Endpoint) -> bool {
    Namespace::open(&e.netns).is_ok_and(|n| n.ino() != e.netns_ino)
}

/// The endpoints of a state whose interfaces are no more, or whose names lead elsewhere. The kernel deletes the host's side with the
/// container's.
pub(super) fn dead<'s>(state: &'s State, links: &[Link]) -> impl Iterator<Item = &'s Endpoint> {
    state.endpoints().map(|(_, e)| e).filter(move |e| {
        let present = e.is_present() && !e.unfinished;
        present && (!links.iter().any(|l| is_alive(l, e)) || has_moved(e))
    })
}

impl Work<'_> {
    /// Takes the endpoints whose interfaces are no more out of the datapath, and says which.
    pub(super) async fn retire_dead(&mut self) -> Result<Vec<String>, Error> {
        let links = self.instance.netlink.links().await?;
        let dead: Vec<String> = dead(&self.state, &links).map(|e| e.name.clone()).collect();
        for name in &dead {
            self.retire_endpoint(name).await?;
        }
        Ok(dead)
    }

    /// Takes an endpoint out of the datapath and off the host: its ports, address and flows are free. It
    /// is remembered if its namespace may come back. There is no undoing: the namespace is gone.
    pub(super) async fn retire_endpoint(&mut self, name: &str) -> Result<(), Error> {
        let Some((n, e)) = self.state.endpoint(name) else {
            return Ok(());
        };
        let (network, mut kept) = (n.name.clone(), e.clone());
        let at = n.endpoints.iter().position(|other| other.name == name);
        self.announce_change()?;
        self.clear_endpoint(name).await?;
        if !kept.may_return() {
            return Ok(());
        }
        kept.leave();
        if let (Some(n), Some(at)) = (self.state.network_mut(&network), at) {
            n.endpoints.insert(at.min(n.endpoints.len()), kept);
        }
        Ok(())
    }

    /// Remembers an endpoint whose namespace is not there yet.
    pub(super) fn await_endpoint(&mut self, network: &str, e: Endpoint) {
        self.undo.push(Undo::RemoveEndpoint(e.name.clone()));
        if let Some(n) = self.state.network_mut(network) {
            n.endpoints.push(e);
        }
    }

    /// Forgets an endpoint that is gone, since it comes back now.
    pub(super) fn forget_gone(&mut self, name: &str) {
        let Some((n, e)) = self.state.endpoint(name).filter(|(_, e)| !e.is_present()) else {
            return;
        };
        let (network, e) = (n.name.clone(), e.clone());
        self.undo.push(Undo::Remember(network.clone(), Box::new(e)));
        if let Some(n) = self.state.network_mut(&network) {
            n.endpoints.retain(|other| other.name != name);
        }
    }

    /// Removes the flows of endpoints that were removed, so that they count towards no quota: a slot is
    /// given to the next endpoint.
    pub(super) fn end_flows(&mut self) -> Result<(), Error> {
        let slots = std::mem::take(&mut self.ended);
        match self.datapath() {
            Ok(datapath) if !slots.is_empty() => Ok(ct::end_outward(&datapath, &slots, true)?),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Finishes, or clears away, what a killed command has left: what was half made or half removed goes,
    /// everything else is put right.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        if !self.interrupted {
            return Ok(());
        }
        tracing::warn!("a command was killed in the middle of a change: putting that right first");
        self.announce_change()?;
        let half = |n: &&crate::state::Network| n.unfinished;
        let networks: Vec<String> = self
            .state
            .networks
            .iter()
            .filter(half)
            .map(|n| n.name.clone())
            .collect();
        let (unbridged, members) = self.unfinished_unbridged();
        for name in networks.iter().chain(&unbridged) {
            self.remove_network(name).await?;
        }
        for name in &members {
            self.remove_endpoint(name).await?;
        }
        let half = self.state.endpoints().filter(|(_, e)| e.unfinished);
        let half: Vec<String> = half.map(|(_, e)| e.name.clone()).collect();
        for name in &half {
            self.remove_endpoint(name).await?;
        }
        self.retire_dead().await?;
        for name in self.dead_members() {
            self.remove_endpoint(&name).await?;
        }
        let networks: Vec<String> = self.state.networks.iter().map(|n| n.name.clone()).collect();
        for name in &networks {
            self.put_network(name).await?;
        }
        let unbridged = self.state.unbridged.iter().map(|n| n.name.clone());
        for name in unbridged.collect::<Vec<_>>() {
            self.put_unbridged(&name).await?;
        }
        self.shrink().await?;
        for name in self.present() {
            self.put_endpoint(&name).await?;
        }
        self.put_rules()?;
        self.reserve_ports(&[], &[])?;
        self.sweep()?;
        if !self.state.networks.is_empty() {
            self.put_host_access().await?;
            self.enable_forwarding().await?;
        }
        self.end_flows()?;
        self.interrupted = false;
        // There is nothing to go back to.
        self.undo = Rollback::default();
        self.save()
    }

    /// Removes from the datapath what a killed command has left of interfaces and addresses that are
    /// nobody's: it had no time to remember their numbers.
    pub(super) fn sweep(&self) -> Result<(), Error> {
        let datapath = self.datapath()?;
        let networks = self.state.networks.iter().map(|n| n.ifindex);
        let endpoints = || {
            self.state
                .endpoints()
                .map(|(_, e)| e)
                .filter(|e| e.is_present())
        };
        let uplinks = self.state.uplinks.iter().map(|u| u.ifindex);
        let known = networks
            .chain(endpoints().map(|e| e.ifindex))
            .chain(uplinks);
        let mut known: BTreeSet<u32> = known.collect();
        for index in datapath.ifaces()?.into_keys() {
            if !known.contains(&index) {
                datapath.remove_iface(index)?;
            }
        }
        known.insert(LOOPBACK_IFINDEX);
        datapath.detach_strays(&known)?;
        let addrs = endpoints().flat_map(|e| [Some(e.addr.into()), e.addr6.map(IpAddr::V6)]);
        let addrs: BTreeSet<IpAddr> = addrs.flatten().collect();
        for addr in datapath.endpoint_addrs()?.into_keys() {
            if !addrs.contains(&addr) {
                datapath.remove_endpoint_addr(addr)?;
            }
        }
        Ok(())
    }

    /// The endpoints that are on the host.
    pub(super) fn present(&self) -> Vec<String> {
        let present = self.state.endpoints().filter(|(_, e)| e.is_present());
        present.map(|(_, e)| e.name.clone()).collect()
    }
}
