//! What happens to a host besides packets: time, and what its administrator and user space do.
//!
//! Owns these changes, in the tables of both families at once as the maps have them, and in the scene. What
//! a packet meets afterwards is `world`'s.

use netpath_common::{
    addr::{V4, V6},
    datapath::collect,
    testing::*,
    tuple,
};

use crate::{
    pool::slot_of,
    scene::{DNS, UPLINK as PARTY_UPLINK, WEB},
    side::Side,
    step::What,
    world::World,
};

impl World {
    /// A step without packets.
    pub(crate) fn change(&mut self, what: &What) {
        match *what {
            What::Listen { port, on } => {
                self.scene.listening.retain(|p| *p != port);
                if on {
                    self.scene.listening.push(port);
                }
                self.listen::<V4>();
                self.listen::<V6>();
            }
            What::Wait { ms } => {
                self.wait(ms);
                self.scene.wait(ms);
            }
            What::Replace { who } => self.replace(who),
            What::Publish { udp, to } => {
                let (place, inner) = if udp {
                    (&mut self.scene.dns, 53)
                } else {
                    (&mut self.scene.web, 80)
                };
                *place = to.map(|to| (to, inner));
                self.place(udp);
            }
            What::Allow { rule, list } => {
                self.allow::<V4>(rule, list);
                self.allow::<V6>(rule, list);
                self.scene.allow(rule, list);
                self.doubt::<V4>();
                self.doubt::<V6>();
            }
            What::Share { udp, who, on } => self.share(udp, who, on),
            What::Lose { who } => self.lose(who),
            What::Open { network, mode } => self.open_as(network, mode),
            What::Uplink { moves } => {
                self.move_uplink::<V4>(moves[0]);
                self.move_uplink::<V6>(moves[1]);
                for uplinks in [
                    &mut self.host.tables.uplinks,
                    &mut self.host.tables6.uplinks,
                ] {
                    let uplink = &mut uplinks[usize::from(UPLINK)];
                    uplink.generation += 1;
                    uplink.addr = self.scene.host();
                    uplink.addr6 = self.scene.host();
                }
                self.scene.renew(PARTY_UPLINK);
            }
            What::Collect { force } => {
                self.collect::<V4>(force);
                self.collect::<V6>(force);
            }
            _ => unreachable!("{what:?} is a packet"),
        }
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.host.tables.advance_ms(ms);
        self.host.tables6.advance_ms(ms);
    }

    pub(crate) fn collect<A: Side>(&mut self, force: bool) {
        let t = A::tables(&self.host);
        for (key, _) in t.entries() {
            collect(t, &key, force);
        }
        if force {
            assert_eq!(t.entry_count(), 0);
            A::half_mut(&mut self.halves).talks.clear();
            A::half_mut(&mut self.halves).bindings.clear();
        }
    }

    fn listen<A: Side>(&mut self) {
        let all = &self.scene.listening;
        A::tables_mut(&mut self.host).host_listeners = all
            .iter()
            .flat_map(|port| [(tuple::TCP, *port), (tuple::UDP, *port)])
            .collect();
    }

    /// The endpoint is another one with the address.
    pub(crate) fn replace(&mut self, who: usize) {
        let old = self.scene.containers[who];
        let c = &mut self.scene.containers[who];
        c.mac[5] ^= 0x40;
        c.ifindex += 10;
        replace(&mut self.host.tables, &old, c);
        replace(&mut self.host.tables6, &old, c);
        self.scene.gone[who] = false;
        self.scene.renew(who);
    }

    /// Writes where a published port leads: of a routed network at the container's own address.
    pub(crate) fn place(&mut self, udp: bool) {
        self.place_in::<V4>(udp);
        self.place_in::<V6>(udp);
        self.scene.renew(if udp { DNS } else { WEB });
    }

    fn place_in<A: Side>(&mut self, udp: bool) {
        let (proto, port, inner, rule) = if udp {
            (tuple::UDP, 5353, 53, RULE_DNS)
        } else {
            (tuple::TCP, 8080, 80, RULE_WEB)
        };
        let to = if udp { self.scene.dns } else { self.scene.web };
        let routed = to.is_some_and(|(to, _)| self.scene.is_routed(to));
        let to = to.map(|(to, _)| self.scene.containers[to]);
        let t = A::tables_mut(&mut self.host);
        t.published
            .retain(|key, _| key.proto != proto || key.port != inner);
        t.unpublish(proto, port, rule);
        match to {
            Some(to) if routed => {
                t.publish_range(A::of(&to), (inner, inner), proto, (&to, inner), rule);
                // It takes no port of the host.
                t.set_reserved(proto, inner, false);
            }
            Some(to) => t.publish(proto, port, &to, inner, rule),
            None => {}
        }
    }

    fn allow<A: Side>(&mut self, rule: usize, list: Option<usize>) {
        let rule = match rule {
            WEB => RULE_WEB,
            DNS => RULE_DNS,
            member => slot_of(member),
        };
        let list_of = |n: usize| A::LISTS[n].iter().map(|(net, n)| (*net, 8 * *n as u8));
        let prefixes: Vec<_> = list.into_iter().flat_map(list_of).collect();
        A::tables_mut(&mut self.host).allow(rule, &prefixes);
    }

    fn doubt<A: Side>(&mut self) {
        A::half_mut(&mut self.halves).talks.doubt(&self.scene);
    }

    fn move_uplink<A: Side>(&mut self, moves: bool) {
        if moves {
            let addrs = &mut A::tables_mut(&mut self.host).host_addrs;
            addrs.remove(&self.scene.host());
            self.scene.move_host::<A>();
            addrs.insert(self.scene.host());
        }
    }
}

fn replace<A: Side>(t: &mut MemTables<A>, old: &Container, new: &Container) {
    t.remove_container(old);
    t.add_container(new);
}
