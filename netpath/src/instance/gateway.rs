//! The ways out of a container with endpoints in several networks: which one is its default route, by
//! Docker's rule.

use std::cmp::Reverse;

use ipnet::IpNet;

use super::{Error, unbridged, work::Work};
use crate::{
    config::NetnsRef,
    net::{Hop, Way, ways},
    state::{Endpoint, Network, State},
};

/// An endpoint of a container, as a way out.
#[derive(Clone, Debug)]
struct Candidate<'a> {
    /// Asked for by the user; the highest goes first.
    priority: i32,
    network: &'a str,
    ifname: &'a str,
    v4: Option<(IpNet, Hop)>,
    v6: Option<(IpNet, Hop)>,
}

impl<'a> Candidate<'a> {
    fn bridged(n: &'a Network, e: &'a Endpoint) -> Self {
        let leads = !n.internal;
        let v4 = IpNet::new(e.addr.into(), n.subnet.prefix_len());
        let v6 = n.ipv6.zip(e.addr6).filter(|_| leads);
        Self {
            priority: e.gw_priority,
            network: &n.name,
            ifname: &e.container_ifname,
            v4: v4
                .ok()
                .filter(|_| leads)
                .map(|net| (net, Hop::V4(Some(n.gateway)))),
            v6: v6.and_then(|(v6, addr)| {
                let net = IpNet::new(addr.into(), v6.subnet.prefix_len()).ok()?;
                Some((net, Hop::V6(Some(v6.gateway))))
            }),
        }
    }

    fn is_dual_stack(&self) -> bool {
        self.v4.is_some() && self.v6.is_some()
    }
}

/// The endpoints in the namespace with this inode. One that is gone may have had a namespace of which the
/// kernel has given the inode to another one.
fn here(state: &State, ino: u64) -> impl Iterator<Item = (&Network, &Endpoint)> {
    let all = state.endpoints();
    all.filter(move |(_, e)| e.is_present() && e.netns_ino == ino)
}

/// The ways out of the container in the namespace with this inode, of both families.
fn ways_of(state: &State, ino: u64) -> Vec<Way> {
    let bridged = here(state, ino);
    let mut all: Vec<_> = bridged.map(|(n, e)| Candidate::bridged(n, e)).collect();
    for (n, m) in state.members().filter(|(_, m)| m.netns_ino == ino) {
        if let Some((lan, port)) = n.lan.as_ref().zip(m.port.as_ref()) {
            let (v4, v6) = unbridged::ways(n.driver, lan, port);
            all.push(Candidate {
                priority: port.gw_priority,
                network: &n.name,
                ifname: &port.ifname,
                v4,
                v6,
            });
        }
    }
    choose(all)
}

/// Docker's order: the priority, then both families, then the network's name. Each family has a default
/// route of its own.
fn choose(mut all: Vec<Candidate<'_>>) -> Vec<Way> {
    all.sort_by_key(|c| (Reverse(c.priority), !c.is_dual_stack(), c.network));
    let way = |c: &Candidate<'_>, (source, hop): (IpNet, Hop), default| Way {
        ifname: c.ifname.to_owned(),
        source,
        hop,
        default,
    };
    let v4 = all.iter().filter_map(|c| Some((c, c.v4?))).enumerate();
    let v6 = all.iter().filter_map(|c| Some((c, c.v6?))).enumerate();
    v4.chain(v6)
        .map(|(place, (c, out))| way(c, out, place == 0))
        .collect()
}

/// How many interfaces the container in the namespace with this inode has of netpath.
fn endpoints_in(state: &State, ino: u64) -> usize {
    let bridged = here(state, ino);
    let others = state
        .members()
        .filter(|(_, m)| m.netns_ino == ino && m.port.is_some());
    bridged.count() + others.count()
}

impl Work<'_> {
    /// The container has no other interface of netpath.
    pub(super) fn is_alone_in(&self, ino: u64) -> bool {
        endpoints_in(&self.state, ino) <= 1
    }

    /// Makes the default routes of a container be those of the endpoints that it has, if it has any
    /// and can be seen.
    pub(super) fn put_ways(&self, netns: &NetnsRef, ino: u64) -> Result<(), Error> {
        if endpoints_in(&self.state, ino) == 0 {
            return Ok(());
        }
        match unbridged::namespace(netns, ino) {
            Some(netns) => Ok(ways::put(&netns, &ways_of(&self.state, ino))?),
            None => Ok(()),
        }
    }

    /// The same where there is a choice; a container's only interface has its way out from the
    /// beginning.
    pub(super) fn put_several_ways(&self, netns: &NetnsRef, ino: u64) -> Result<(), Error> {
        if self.is_alone_in(ino) {
            return Ok(());
        }
        self.put_ways(netns, ino)
    }

    /// The same when an endpoint has gone, which no way out of the others may hold up.
    pub(super) fn put_ways_left(&self, netns: &NetnsRef, ino: u64) {
        if let Err(e) = self.put_ways(netns, ino) {
            tracing::warn!("the default routes of the container in `{netns}`: {e}");
        }
    }

    /// Gives an endpoint another priority as its container's way out.
    pub(super) fn prefer(&mut self, name: &str, priority: i32) -> Result<(), Error> {
        let place = match self.state.endpoint_mut(name) {
            Some(e) => Some((
                std::mem::replace(&mut e.gw_priority, priority),
                e.netns.clone(),
                e.netns_ino,
            )),
            None => self.state.member_mut(name).and_then(|m| {
                let port = m.port.as_mut()?;
                let old = std::mem::replace(&mut port.gw_priority, priority);
                Some((old, m.netns.clone(), m.netns_ino))
            }),
        };
        let Some((old, netns, ino)) = place else {
            return Ok(());
        };
        self.undo
            .push(super::rollback::Undo::Prefer(name.to_owned(), old));
        self.put_ways(&netns, ino)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network that leads out by these families.
    fn candidate(network: &'static str, priority: i32, v4: bool, v6: bool) -> Candidate<'static> {
        let net4 = IpNet::new([10, 1, 0, 2].into(), 24).unwrap();
        let net6: IpNet = "fd00::2/64".parse().unwrap();
        Candidate {
            priority,
            network,
            ifname: network,
            v4: v4.then_some((net4, Hop::V4(Some([10, 1, 0, 1].into())))),
            v6: v6.then_some((net6, Hop::V6("fd00::1".parse().ok()))),
        }
    }

    /// The networks of the default routes.
    fn defaults(all: &[(&'static str, i32, bool, bool)]) -> (String, String) {
        let all = all.iter().map(|(n, p, v4, v6)| candidate(n, *p, *v4, *v6));
        let ways = choose(all.collect());
        let of = |v4: bool| {
            let mut own = ways.iter().filter(|w| w.source.addr().is_ipv4() == v4);
            own.find(|w| w.default)
                .map(|w| w.ifname.clone())
                .unwrap_or_default()
        };
        (of(true), of(false))
    }

    #[test]
    fn docker_s_order() {
        for (all, v4, v6) in [
            (&[("b", 0, true, false), ("a", 0, true, false)][..], "a", ""),
            (&[("a", 0, true, false), ("b", 1, true, false)], "b", ""),
            (&[("a", -1, true, false), ("b", 0, true, false)], "b", ""),
            // An internal one is none.
            (&[("a", 9, false, false), ("b", 0, true, false)], "b", ""),
            (&[("a", 0, true, false), ("b", 0, true, true)], "b", "b"),
            (&[("a", 1, true, false), ("b", 0, true, true)], "a", "b"),
            (&[("a", 0, false, true), ("b", 0, true, false)], "b", "a"),
            (&[("a", 0, false, false)], "", ""),
        ] {
            assert_eq!(defaults(all), (v4.to_owned(), v6.to_owned()), "{all:?}");
        }
    }
}
