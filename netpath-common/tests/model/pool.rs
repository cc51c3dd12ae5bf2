//! Balanced ports: containers that share one port of the host.
//!
//! Owns who shares it, who of them may be chosen, and what is remembered of choices: of the same packet
//! the same container is chosen as long as it can be, whoever else comes or goes.

use std::collections::HashMap;

use netpath_common::{
    addr::{V4, V6},
    publish::{Backend, Backends},
    records::{Published, PublishedKey},
    testing::plain::Line,
    tuple,
};

use crate::{
    scene::{Asked, BALANCED, BALANCED_INSIDE, POOL, Scene, Target},
    side::Side,
    world::World,
};

/// The containers that are to share a port.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Pool {
    pub(crate) wanted: [bool; 3],
    /// As user space has written it.
    written: [bool; 3],
}

/// The rule of a member, as a party.
pub(crate) const fn member(udp: bool, who: usize) -> usize {
    POOL + if udp { 3 } else { 0 } + who
}

/// The slot of a rule by its party.
pub(crate) const fn slot_of(party: usize) -> u16 {
    10 + (party - POOL) as u16
}

/// What has been chosen for a packet: among whom, and whom.
#[derive(Debug, Default)]
pub(crate) struct Choices<A>(HashMap<Line<A>, (u8, usize)>);

impl<A: Side> Choices<A> {
    /// Whoever was chosen before is chosen again where it can be, but for somebody new.
    pub(crate) fn chosen(&mut self, line: Line<A>, among: &[Target], who: usize) {
        let set = among.iter().fold(0, |set, t| set | 1 << t.who);
        if let Some((before, was)) = self.0.insert(line, (set, who)) {
            let is_new = before >> who & 1 == 0;
            assert!(
                who == was || is_new || set >> was & 1 == 0,
                "{line:?} went to {was} of {before:b} and goes to {who} of {set:b}"
            );
        }
    }
}

impl Scene {
    /// Who shares the balanced port of a protocol.
    pub(crate) fn members(&self, proto: u8) -> impl Iterator<Item = usize> {
        let pool = match proto {
            tuple::TCP => Some(&self.pools[0]),
            tuple::UDP => Some(&self.pools[1]),
            _ => None,
        };
        let is_in = move |who: &usize| pool.is_some_and(|pool| pool.wanted[*who]);
        (0..3).filter(is_in).filter(|who| !self.is_routed(*who))
    }

    /// Whether somebody who shares a balanced port can be sent to.
    pub(crate) fn lives(&self, proto: u8) -> bool {
        self.members(proto)
            .any(|who| !self.gone[who] && self.is_reachable(who))
    }

    /// Where the balanced port may lead a client: to who lives and lets it in. Where nobody lives the way
    /// is that of one of the dead, and open to whom that lets in.
    pub(crate) fn balanced<A: Side>(&self, proto: u8, client: A) -> Asked {
        let target = |who| Target {
            who,
            port: BALANCED_INSIDE,
            rule: member(proto == tuple::UDP, who),
        };
        let all: Vec<Target> = self.members(proto).map(target).collect();
        let lives = |t: &&Target| !self.gone[t.who] && self.is_reachable(t.who);
        let living: Vec<Target> = all.iter().filter(lives).copied().collect();
        let lets_in = |t: &&Target| self.lets_in(t.rule, client);
        let among = if living.is_empty() { all } else { living };
        let standing: Vec<Target> = among.iter().filter(lets_in).copied().collect();
        if standing.is_empty() {
            Asked::Refused
        } else {
            Asked::Leads(standing)
        }
    }
}

impl World {
    /// Somebody comes to share the port, or goes.
    pub(crate) fn share(&mut self, udp: bool, who: usize, on: bool) {
        self.scene.pools[usize::from(udp)].wanted[who] = on;
        self.fill_pool(udp);
    }

    /// Writes who shares a port, as user space does: whoever goes has another rule from then on.
    pub(crate) fn fill_pool(&mut self, udp: bool) {
        let proto = if udp { tuple::UDP } else { tuple::TCP };
        let now = [0, 1, 2].map(|who| self.scene.members(proto).any(|m| m == who));
        let was = std::mem::replace(&mut self.scene.pools[usize::from(udp)].written, now);
        if was == now {
            return;
        }
        self.scene.pool_changes += 1;
        self.write_pool::<V4>(udp, was, now);
        self.write_pool::<V6>(udp, was, now);
        for who in 0..3 {
            if was[who] != now[who] {
                self.scene.renew(member(udp, who));
            }
        }
    }

    fn write_pool<A: Side>(&mut self, udp: bool, was: [bool; 3], now: [bool; 3]) {
        let all = self.scene.containers;
        let t = A::tables_mut(&mut self.host);
        let (group, proto) = (
            1 + u16::from(udp),
            if udp { tuple::UDP } else { tuple::TCP },
        );
        let mut backends = Backends::default();
        for who in (0..3).filter(|who| now[*who]) {
            backends.list[who] = Backend {
                endpoint: all[who].slot,
                rule: slot_of(member(udp, who)),
                port: BALANCED_INSIDE,
                zero: 0,
            };
        }
        backends.fill();
        t.backends[usize::from(group)] = backends;
        for who in (0..3).filter(|who| was[*who] != now[*who]) {
            t.rules[usize::from(slot_of(member(udp, who)))].generation += 1;
        }
        if now.contains(&true) {
            let key = PublishedKey {
                addr: A::NONE,
                port: BALANCED,
                proto,
                zero: 0,
            };
            let shared = Published {
                last: BALANCED,
                group,
                ..Published::default()
            };
            t.set_published(key, shared);
        } else {
            // The rule of nobody.
            t.unpublish(proto, BALANCED, 0);
        }
    }

    /// The interface of a container goes while user space looks away.
    pub(crate) fn lose(&mut self, who: usize) {
        self.scene.gone[who] = true;
        let ifindex = self.scene.containers[who].ifindex;
        self.host.tables.gone.insert(ifindex);
        self.host.tables6.gone.insert(ifindex);
    }
}
