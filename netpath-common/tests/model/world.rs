//! A host, the other ends of its packets, and what a step does to them.
//!
//! Owns the playing. What must hold with each frame is `observe`'s, what the table must look like
//! `table`'s.

use std::collections::VecDeque;

use netpath_common::{
    Verdict,
    datapath::collect,
    event::Hook,
    records::EndpointStats,
    testing::plain::{Line, is_private, line},
    testing::*,
    tuple,
};

use crate::{
    fragment::{Ends as FromTo, Heads},
    life::{H2, Life, Xdp},
    packets::packet,
    scene::{DNS, LISTS, Scene, UPLINK as PARTY_UPLINK, WEB, is_first},
    step::{Ends, Lie, Step},
    table,
    talk::Talks,
};

/// Packets that somebody may still answer.
const REMEMBERED: usize = 48;
/// The whole table is looked at once in so many steps.
const CHECKED_EVERY: u64 = 64;

/// What a packet looked like where it ended, so that the other end can answer.
pub(crate) struct Sent {
    pub(crate) line: Line,
    /// It was delivered to this container; otherwise it left.
    pub(crate) at: Option<Container>,
}

/// The host and its surroundings.
pub(crate) struct World {
    pub(crate) host: Host,
    pub(crate) scene: Scene,
    pub(crate) talks: Talks,
    pub(crate) heads: Heads,
    /// Frames that were dropped.
    pub(crate) refused: u64,
    /// What each slot has sent and was given, as the model counts it.
    stats: [EndpointStats; 4],
    pub(crate) sent: VecDeque<Sent>,
    /// Identification of the next datagram in parts.
    pub(crate) id: u16,
    steps: u64,
}

impl World {
    pub(crate) fn new(life: Life) -> Self {
        let host = life.host();
        Self {
            scene: Scene::new(life, host.tables.now),
            host,
            talks: Talks::default(),
            heads: Heads::default(),
            refused: 0,
            stats: Default::default(),
            sent: VecDeque::new(),
            id: 1000,
            steps: 0,
        }
    }

    /// Shows a frame to a hook, and what the hook sends to come in once more; what became of each.
    fn run(&mut self, hook: Hook, input: &Frame) -> Vec<Outcome> {
        let before = self.before(hook, input);
        let out = self.host.run(hook, input);
        self.after(hook, input, &out, &before);
        self.remember(&out);
        let again: Vec<Frame> = out
            .frame
            .again
            .iter()
            .map(|bytes| Frame {
                bytes: bytes.clone(),
                ifindex: input.ifindex,
                ..Frame::default()
            })
            .collect();
        let mut all = vec![out];
        for frame in again {
            all.extend(self.run(hook, &frame));
        }
        all
    }

    fn remember(&mut self, out: &Outcome) {
        let at = match out.result {
            Ok(Verdict::ToEndpoint { ifindex }) => {
                let all = &self.scene.containers;
                let c = all.iter().find(|c| c.ifindex == ifindex);
                Some(*c.unwrap_or_else(|| panic!("{} to nobody's {ifindex}", out.text())))
            }
            Ok(Verdict::ToUplink { .. } | Verdict::TranslatedToStack) => None,
            _ => return,
        };
        if let Some(line) = line(&out.frame.bytes) {
            self.sent.push_front(Sent { line, at });
            self.sent.truncate(REMEMBERED);
        }
    }

    /// Counts a translated frame as the endpoints' statistics must.
    pub(crate) fn count(&mut self, ends: FromTo, bytes: u64) {
        let slot = |who: usize| usize::from(self.scene.containers[who].slot);
        if let Some(from) = ends.0 {
            let s = &mut self.stats[slot(from)];
            s.tx_packets += 1;
            s.tx_bytes += bytes;
        }
        if let Some(to) = ends.1 {
            let s = &mut self.stats[slot(to)];
            s.rx_packets += 1;
            s.rx_bytes += bytes;
        }
    }

    pub(crate) fn send(&mut self, c: &Container, p: &Datagram, lie: Option<Lie>) -> Vec<Outcome> {
        let gateway = if is_first(c) {
            BRIDGE1_MAC
        } else {
            BRIDGE2_MAC
        };
        let mac = match lie {
            Some(Lie::Mac) => ROUTER_MAC,
            _ => c.mac,
        };
        let frame = spoilt(p.frame(mac, gateway, c.ifindex), lie);
        self.run(Hook::Veth, &frame)
    }

    pub(crate) fn arrive(&mut self, p: &Datagram, lie: Option<Lie>) -> Vec<Outcome> {
        let frame = spoilt(p.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF), lie);
        if self.scene.life.xdp != Xdp::Off {
            let early = self.run(Hook::Xdp, &frame);
            if early[0].result != Ok(Verdict::Pass) {
                return early;
            }
        }
        self.run(Hook::UplinkIngress, &frame)
    }

    pub(crate) fn egress(&mut self, p: &Datagram) -> Vec<Outcome> {
        self.run(
            Hook::UplinkEgress,
            &p.frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF),
        )
    }

    /// The kernel's routes lead nothing out of the uplink that is to the host or a container, and what
    /// is to an address that the host has lost may still be a hairpin's.
    fn routed_out(&self, ends: Ends) -> Ends {
        if [H, H2].contains(&ends.dst) || is_private(ends.dst) {
            Ends { dst: S2, ..ends }
        } else {
            ends
        }
    }

    /// Does a step.
    pub(crate) fn take(&mut self, step: &Step) {
        match *step {
            Step::Send {
                who,
                ends,
                ref shape,
                lie,
            } => {
                let c = self.scene.containers[who];
                let src = match lie {
                    Some(Lie::Address(a)) => a,
                    _ => c.addr,
                };
                let p = packet(src, ends.dst, ends.sport, ends.dport, shape);
                self.send(&c, &p, lie);
            }
            Step::Arrive {
                src,
                ends,
                ref shape,
                lie,
            } => {
                let p = packet(src, ends.dst, ends.sport, ends.dport, shape);
                self.arrive(&p, lie);
            }
            Step::Parts {
                who,
                ends,
                tcp,
                len,
                ref order,
            } => self.parts(who, ends, tcp, len, order),
            Step::FromStack {
                who,
                ends,
                ref shape,
            } => {
                let src = self.scene.containers[who].addr;
                let ends = self.routed_out(ends);
                self.egress(&packet(src, ends.dst, ends.sport, ends.dport, shape));
            }
            Step::FromHost { ends, ref shape } => {
                let src = self.scene.host;
                let ends = self.routed_out(ends);
                self.egress(&packet(src, ends.dst, ends.sport, ends.dport, shape));
            }
            Step::Handshake { who, sport } => self.handshake(who, sport),
            Step::Answer { n, flags, seq, ttl } => self.answer(n, flags, seq, ttl),
            Step::Complain {
                n,
                kind,
                mtu,
                quoted,
                dst,
                by_host,
            } => self.complain(n, (kind, mtu), quoted, dst, by_host),
            Step::Listen { port, on } => {
                self.scene.listening.retain(|p| *p != port);
                if on {
                    self.scene.listening.push(port);
                }
                let all = &self.scene.listening;
                self.host.tables.host_listeners = all
                    .iter()
                    .flat_map(|port| [(tuple::TCP, *port), (tuple::UDP, *port)])
                    .collect();
            }
            Step::Wait { ms } => {
                self.host.tables.advance_ms(ms);
                self.scene.wait(ms);
            }
            Step::Replace { who } => {
                let c = &mut self.scene.containers[who];
                self.host.tables.remove_container(c);
                c.mac[5] ^= 0x40;
                c.ifindex += 10;
                self.host.tables.add_container(c);
                self.scene.renew(who);
            }
            Step::Publish { udp, to } => self.publish(udp, to),
            Step::Allow { udp, list } => self.allow(udp, list),
            Step::Uplink { moves } => self.change_uplink(moves),
            Step::Collect { force } => {
                for (key, _) in self.host.tables.entries() {
                    collect(&self.host.tables, &key, force);
                }
                if force {
                    assert_eq!(self.host.tables.entry_count(), 0);
                    self.talks.clear();
                }
            }
        }
        self.steps += 1;
        if self.steps.is_multiple_of(CHECKED_EVERY) {
            self.check();
        }
    }

    fn publish(&mut self, udp: bool, to: Option<usize>) {
        let (proto, port, inner, rule, party) = if udp {
            (tuple::UDP, 5353, 53, RULE_DNS, DNS)
        } else {
            (tuple::TCP, 8080, 80, RULE_WEB, WEB)
        };
        match to {
            Some(to) => {
                let to = self.scene.containers[to];
                self.host.tables.publish(proto, port, &to, inner, rule);
            }
            None => self.host.tables.unpublish(proto, port, rule),
        }
        self.scene.renew(party);
        let place = if udp {
            &mut self.scene.dns
        } else {
            &mut self.scene.web
        };
        *place = to.map(|to| (to, inner));
    }

    fn allow(&mut self, udp: bool, list: Option<usize>) {
        let rule = if udp { RULE_DNS } else { RULE_WEB };
        let list_of = |n: usize| LISTS[n].iter().map(|(net, n)| (*net, 8 * *n as u8));
        let prefixes: Vec<_> = list.into_iter().flat_map(list_of).collect();
        self.host.tables.allow(rule, &prefixes);
        self.scene.allow(udp, list);
        self.talks.doubt(&self.scene);
    }

    fn change_uplink(&mut self, moves: bool) {
        let t = &mut self.host.tables;
        let uplink = &mut t.uplinks[usize::from(UPLINK)];
        uplink.generation += 1;
        if moves {
            t.host_addrs.remove(&uplink.addr);
            uplink.addr = if uplink.addr == H { H2 } else { H };
            t.host_addrs.insert(uplink.addr);
            self.scene.host = uplink.addr;
        }
        self.scene.renew(PARTY_UPLINK);
    }

    /// What must hold between packets.
    pub(crate) fn check(&self) {
        let t = &self.host.tables;
        table::check_form(t, self.scene.life.capacity);
        table::check_numbers(t);
        table::check_limits(t, &self.scene.life);
        assert_eq!(self.host.drops.values().sum::<u64>(), self.refused);
        for (slot, want) in self.stats.iter().enumerate().skip(1) {
            let EndpointStats { drops, flows, .. } = t.stats(slot as u16);
            let want = EndpointStats {
                drops,
                flows,
                ..*want
            };
            assert_eq!(t.stats(slot as u16), want, "statistics of slot {slot}");
        }
    }

    /// In the end everything expires and the collector leaves nothing.
    pub(crate) fn drain(&mut self) {
        self.check();
        self.host.tables.advance_ms(500_000_000);
        for (key, _) in self.host.tables.entries() {
            collect(&self.host.tables, &key, false);
        }
        assert!(self.host.tables.entries().is_empty());
        table::check_numbers(&self.host.tables);
    }
}

/// A frame as the lie has it.
fn spoilt(mut frame: Frame, lie: Option<Lie>) -> Frame {
    match lie {
        Some(Lie::Cut(len)) => frame.bytes.truncate(len),
        Some(Lie::Byte(at, to)) => {
            if let Some(byte) = frame.bytes.get_mut(at) {
                *byte = to;
            }
        }
        Some(Lie::Address(_) | Lie::Mac) | None => {}
    }
    frame
}
