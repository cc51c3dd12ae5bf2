//! How a network is open to the outside: translated, with or without bindings, or routed.
//!
//! Owns what an administrator makes of a network while its conversations live. What is true then is asked
//! of the scene.

use netpath_common::{
    addr::{V4, V6},
    datapath::collect,
    records::{CONFIG_BINDINGS, NETWORK_BINDINGS, NETWORK_MASQUERADE, NETWORK_ROUTED},
    testing::{Host, NET1, NET2},
};

use crate::{
    life::Life,
    scene::Scene,
    side::{Place, Side},
    world::World,
};

/// The ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// A port for each destination.
    Nat,
    /// One outside port for one inside.
    Bound,
    /// Addresses stay.
    Routed,
}

impl Scene {
    pub(crate) fn mode(&self, who: usize) -> Mode {
        self.modes[index(self.containers[who].network)]
    }

    pub(crate) fn is_routed(&self, who: usize) -> bool {
        self.mode(who) == Mode::Routed
    }

    pub(crate) fn is_bound(&self, who: usize) -> bool {
        self.mode(who) == Mode::Bound
    }

    /// Whether nothing of the network of this address is translated.
    pub(crate) fn stays<A: Side>(&self, a: A) -> bool {
        self.at(a).is_some_and(|who| self.is_routed(who))
    }

    /// Whether the outside may reach an address of a network by itself at all.
    pub(crate) fn is_open<A: Side>(&self, a: A) -> bool {
        let Place::Network(network) = a.place() else {
            return false;
        };
        self.modes[index(network)] == Mode::Routed
    }

    /// The containers of a network.
    pub(crate) fn of_network(&self, network: u16) -> Vec<usize> {
        let all = self.containers.iter().enumerate();
        all.filter(|(_, c)| c.network == network)
            .map(|(who, _)| who)
            .collect()
    }
}

const fn index(network: u16) -> usize {
    if network == NET1 { 0 } else { 1 }
}

/// Writes the ways into the records of both families.
pub(crate) fn write(host: &mut Host, life: &Life, modes: [Mode; 2]) {
    let bit = |on: bool, bit: u32| if on { bit } else { 0 };
    for (network, mode) in [NET1, NET2].into_iter().zip(modes) {
        let masquerade = (network == NET1 || life.masquerade) && mode != Mode::Routed;
        for networks in [&mut host.tables.networks, &mut host.tables6.networks] {
            let record = &mut networks[usize::from(network)];
            record.flags &= !(NETWORK_MASQUERADE | NETWORK_BINDINGS | NETWORK_ROUTED);
            record.flags |= bit(masquerade, NETWORK_MASQUERADE)
                | bit(mode == Mode::Bound, NETWORK_BINDINGS)
                | bit(mode == Mode::Routed, NETWORK_ROUTED);
        }
    }
    for config in [&mut host.tables.config, &mut host.tables6.config] {
        let flags = &mut config.as_mut().unwrap().flags;
        *flags &= !CONFIG_BINDINGS;
        *flags |= bit(modes.contains(&Mode::Bound), CONFIG_BINDINGS);
    }
}

impl World {
    /// A network is opened in another way. One that becomes routed, or was, is made anew with its
    /// containers; of another one what they have of the outside ends, as user space ends it.
    pub(crate) fn open_as(&mut self, network: u16, mode: Mode) {
        let was = self.scene.modes[index(network)];
        if was == mode {
            return;
        }
        let theirs = self.scene.of_network(network);
        let anew = was == Mode::Routed || mode == Mode::Routed;
        self.scene.modes[index(network)] = mode;
        if anew {
            for who in theirs {
                self.replace(who);
            }
        }
        write(&mut self.host, &self.scene.life, self.scene.modes);
        if anew {
            for udp in [false, true] {
                self.place(udp);
                self.fill_pool(udp);
            }
        } else {
            self.end_outward::<V4>(network);
            self.end_outward::<V6>(network);
        }
    }

    fn end_outward<A: Side>(&mut self, network: u16) {
        let theirs = self.scene.of_network(network);
        let slots: Vec<u16> = theirs
            .iter()
            .map(|who| self.scene.containers[*who].slot)
            .collect();
        let t = A::tables(&self.host);
        for (key, e) in t.entries() {
            if e.is_record()
                && e.rule == 0
                && [e.from, e.to].iter().any(|slot| slots.contains(slot))
            {
                collect(t, &key, true);
            }
        }
        let half = A::half_mut(&mut self.halves);
        half.talks.end_outward(&theirs, |line| {
            let who = self.scene.at(line.src);
            who.is_some_and(|who| theirs.contains(&who))
        });
        half.bindings.end(&theirs);
    }
}
