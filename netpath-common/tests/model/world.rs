//! A host, the other ends of its packets, and what must hold.
//!
//! Owns the model: which conversations were asked for. It is told by packets that left or entered,
//! never by the conntrack table.

use std::collections::HashSet;

use netpath_common::{
    Verdict, conntrack::STATE_CLAIMED, datapath::collect, event::Hook, testing::*, tuple,
};

use crate::{
    packets::{Seen, addr, be, is_private, packet, seen},
    step::Step,
};

/// A conversation as a container sees it: protocol, its address and port, the peer's.
type Talk = (u8, Addr, u16, Addr, u16);

/// What a packet looked like where it ended, so that the other end can answer.
struct Sent {
    frame: Frame,
    /// It was delivered to this container; otherwise it left.
    at: Option<Container>,
}

/// The host and its surroundings.
pub(crate) struct World {
    host: Host,
    sent: Vec<Sent>,
    containers: [Container; 3],
    /// Conversations that a container began.
    begun: HashSet<Talk>,
    /// First fragments that went into a container: source, identification.
    heads: HashSet<(Addr, u16)>,
    generation: u8,
    capacity: usize,
}

impl World {
    pub(crate) fn new(mut host: Host, capacity: usize) -> Self {
        host.tables.ct_capacity = capacity;
        Self {
            host,
            sent: Vec::new(),
            containers: [C1, C2, C3],
            begun: HashSet::new(),
            heads: HashSet::new(),
            generation: 0,
            capacity,
        }
    }

    pub(crate) fn take(&mut self, step: &Step) {
        match *step {
            Step::Send {
                who,
                src,
                dst,
                sport,
                dport,
                ref shape,
            } => {
                self.send(self.containers[who], &packet(src, dst, sport, dport, shape));
            }
            Step::Arrive {
                src,
                dst,
                sport,
                dport,
                ref shape,
            } => {
                self.arrive(&packet(src, dst, sport, dport, shape));
            }
            Step::FromStack {
                who,
                dst,
                sport,
                dport,
                ref shape,
            } => {
                let src = self.containers[who].addr;
                let p = packet(src, dst, sport, dport, shape);
                self.egress(&p);
            }
            Step::Answer { n, flags, ttl } => self.answer(n, flags, ttl),
            Step::Complain {
                n,
                kind,
                quoted,
                dst,
            } => self.complain(n, kind, quoted, dst),
            Step::Wait { ms } => self.host.tables.advance_ms(ms),
            Step::Replace { who } => {
                self.generation = self.generation.wrapping_add(1);
                self.host.tables.remove_container(&self.containers[who]);
                self.containers[who].mac[5] ^= 0x40;
                self.containers[who].ifindex += 10;
                self.host.tables.add_container(&self.containers[who]);
                let gone = self.containers[who].addr;
                self.begun.retain(|t| t.1 != gone);
            }
            Step::Publish { udp, to } => {
                let (proto, port, rule) = if udp {
                    (tuple::UDP, 5353, RULE_DNS)
                } else {
                    (tuple::TCP, 8080, RULE_WEB)
                };
                match to {
                    Some(to) => {
                        let to = self.containers[to];
                        let inner = if udp { 53 } else { 80 };
                        self.host.tables.publish(proto, port, &to, inner, rule);
                    }
                    None => self.host.tables.unpublish(proto, port, rule),
                }
            }
            Step::Uplink => self.host.tables.uplinks[usize::from(UPLINK)].generation += 1,
            Step::Collect { force } => {
                for (key, _) in self.host.tables.entries() {
                    collect(&self.host.tables, &key, force);
                }
            }
        }
    }

    fn send(&mut self, from: Container, p: &Datagram) {
        let out = self.host.from(&from, p);
        let honest = p.src == from.addr;
        if !honest {
            assert!(
                out.result.is_err(),
                "{from:?} sent with the source {:?}",
                p.src
            );
        }
        if let (Ok(_), Some(s)) = (&out.result, self.l4_of(from, p)) {
            self.begun.insert((s.proto, s.src, s.sport, s.dst, s.dport));
        }
        self.follow(&out);
    }

    fn l4_of(&self, from: Container, p: &Datagram) -> Option<Seen> {
        seen(&p.frame(from.mac, ROUTER_MAC, from.ifindex).bytes)
    }

    fn arrive(&mut self, p: &Datagram) {
        let out = self.host.from_outside(p);
        self.invited(&out);
        self.follow(&out);
    }

    fn egress(&mut self, p: &Datagram) {
        let out = self.host.from_stack(p);
        if out.result.is_ok() {
            // 1: the stack's packets go out as they are now.
            assert!(
                !is_private(addr(&out.frame.bytes, 26)),
                "{} left",
                out.text()
            );
            let f = p.frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF);
            if let Some(s) = seen(&f.bytes) {
                self.begun.insert((s.proto, s.src, s.sport, s.dst, s.dport));
            }
            self.sent.push(Sent {
                frame: out.frame,
                at: None,
            });
        }
    }

    /// 2: what came from outside and goes to a container was asked for.
    fn invited(&mut self, out: &Outcome) {
        let b = &out.frame.bytes;
        let inwards = matches!(
            out.result,
            Ok(Verdict::ToEndpoint { .. } | Verdict::TranslatedToStack)
        );
        if !inwards {
            return;
        }
        let Some(s) = seen(b) else {
            let head = self.heads.contains(&(addr(b, 26), be(b, 18)));
            assert!(head, "a tail without its head: {}", out.text());
            return;
        };
        let l4 = 14 + usize::from(b[14] & 15) * 4;
        let ok = if s.proto == tuple::ICMP && matches!(s.icmp_type, 3 | 4 | 11 | 12) {
            // An error about a packet that the container sent.
            addr(b, l4 + 8 + 12) == s.dst
        } else {
            self.begun
                .contains(&(s.proto, s.dst, s.dport, s.src, s.sport))
                || self.is_published(&s)
        };
        assert!(ok, "uninvited: {}", out.text());
        if be(b, 20) & 0x2000 != 0 {
            self.heads.insert((s.src, be(b, 18)));
        }
    }

    fn is_published(&self, s: &Seen) -> bool {
        self.host
            .tables
            .published
            .iter()
            .any(|(k, p)| k.proto == s.proto && p.addr == s.dst && p.port == s.dport)
    }

    /// What becomes of a translated packet.
    fn follow(&mut self, out: &Outcome) {
        let frame = out.frame.clone();
        match out.result {
            Ok(Verdict::ToUplink { ifindex, .. }) => {
                assert_eq!(ifindex, UPLINK_IF);
                assert!(
                    [H, GW1, GW2].contains(&addr(&frame.bytes, 26)),
                    "1: {} left",
                    out.text()
                );
                self.sent.push(Sent { frame, at: None });
            }
            Ok(Verdict::ToEndpoint { ifindex }) => {
                let c = self
                    .containers
                    .iter()
                    .find(|c| c.ifindex == ifindex)
                    .copied();
                let c = c.unwrap_or_else(|| panic!("{} to nobody's {ifindex}", out.text()));
                assert_eq!(addr(&frame.bytes, 30), c.addr, "{}", out.text());
                assert_eq!(frame.bytes[..6], c.mac, "{}", out.text());
                self.sent.push(Sent { frame, at: Some(c) });
            }
            Ok(
                Verdict::Pass
                | Verdict::Held
                | Verdict::ToNeighbour { .. }
                | Verdict::TranslatedToStack,
            )
            | Err(_) => {}
        }
        // 8: what a hook may see as a reason is the enum; it was counted by the host.
        if out.result.is_err() {
            assert!(self.host.drops.values().sum::<u64>() > 0);
        }
    }

    fn nth(&self, n: usize) -> Option<(Seen, u8, Option<Container>)> {
        let sent = self.sent.len().checked_sub(1 + n).map(|i| &self.sent[i])?;
        let s = seen(&sent.frame.bytes)?;
        let kind = sent
            .frame
            .bytes
            .get(14 + usize::from(sent.frame.bytes[14] & 15) * 4)?;
        Some((s, *kind, sent.at))
    }

    fn answer(&mut self, n: usize, flags: u8, ttl: u8) {
        let Some((s, kind, at)) = self.nth(n) else {
            return;
        };
        let p = match s.proto {
            tuple::TCP => tcp(s.dst, s.dport, s.src, s.sport, flags),
            tuple::UDP => udp(s.dst, s.dport, s.src, s.sport, b"answer"),
            _ if matches!(kind, 8 | 13) => query(s.dst, s.src, tuple::answer_type(kind), s.sport),
            _ => return,
        };
        self.back(at, &p.ttl(ttl));
    }

    fn complain(&mut self, n: usize, kind: u8, quoted: usize, dst: Option<Addr>) {
        let Some((s, l4_kind, at)) = self.nth(n) else {
            return;
        };
        let about = match s.proto {
            tuple::TCP => tcp(s.src, s.sport, s.dst, s.dport, 0x10),
            tuple::UDP => udp(s.src, s.sport, s.dst, s.dport, b"question"),
            _ if matches!(l4_kind, 0 | 8 | 13 | 14) => query(s.src, s.dst, l4_kind, s.sport),
            _ => return,
        };
        let from = if at.is_some() { s.dst } else { R };
        self.back(
            at,
            &error(from, dst.unwrap_or(s.src), kind, 1, &about, quoted),
        );
    }

    fn back(&mut self, at: Option<Container>, p: &Datagram) {
        match at {
            None => self.arrive(p),
            // The container may have been replaced since; then it is another one's packet.
            Some(c) if self.containers.contains(&c) => {
                let out = self.host.from(&c, p);
                if (out.passed() || p.proto != tuple::ICMP)
                    && let Some(s) = self.l4_of(c, p)
                {
                    self.begun.insert((s.proto, s.src, s.sport, s.dst, s.dport));
                }
                self.follow(&out);
            }
            Some(c) => {
                let gateway = if c.network == NET1 {
                    BRIDGE1_MAC
                } else {
                    BRIDGE2_MAC
                };
                let out = self
                    .host
                    .run(Hook::Veth, &p.frame(c.mac, gateway, c.ifindex));
                assert!(
                    out.result.is_err(),
                    "a replaced container sent {}",
                    out.text()
                );
            }
        }
    }

    /// 3: entries come in pairs that point at each other, and no two live flows share a tuple.
    pub(crate) fn check(&self) {
        let entries = self.host.tables.entries();
        assert!(entries.len() <= self.capacity);
        let mut outside = HashSet::new();
        for (key, e) in &entries {
            assert_eq!(
                e.state & STATE_CLAIMED,
                0,
                "a claimed entry was left behind"
            );
            let other_key = e.other_key(key);
            let other = self.host.tables.entry(&other_key);
            let other = other.unwrap_or_else(|| panic!("{key:?} stands alone"));
            assert_eq!(
                other.other_key(&other_key),
                *key,
                "the other half points elsewhere"
            );
            assert_ne!(other.is_record(), e.is_record());
            assert_eq!(other.state & !0xff, e.state & !0xff, "salts differ");
            assert_eq!((e.from, e.to), (other.to, other.from));
            assert_eq!(
                (e.uplink, e.rule, e.generation),
                (other.uplink, other.rule, other.generation)
            );
            if e.is_record() {
                assert!(outside.insert(*key));
            }
        }
        assert_eq!(entries.len(), 2 * outside.len());
    }

    /// In the end everything expires and the collector leaves nothing.
    pub(crate) fn drain(&mut self) {
        self.host.tables.advance_ms(500_000_000);
        for (key, _) in self.host.tables.entries() {
            collect(&self.host.tables, &key, false);
        }
        assert!(self.host.tables.entries().is_empty());
    }
}
