//! What a hook did with a frame, held against the conversations that the model knows.
//!
//! Owns the invariants: 1 nothing private leaves, 2 nothing enters uninvited, 3 one outside tuple for
//! one conversation, which keeps it while it lives. (8 is `account`'s; 4 and 7, checksums and TTL, the
//! host's.)

use netpath_common::{
    Verdict,
    counters::Counter,
    event::Hook,
    testing::plain::{Body, Ip, Line, Looks, SYN, is_private, look},
    testing::*,
    tuple,
};

use crate::{
    fragment::Ends,
    scene::{UPLINK as PARTY_UPLINK, gateway, is_gateway},
    talk::{Kind, has_fixed_port},
    world::World,
};

/// Counters before a frame.
pub(crate) struct Before {
    counters: Vec<u64>,
    wanted: Option<Line>,
}

pub(crate) fn ip(frame: &Frame) -> Option<Ip> {
    match look(&frame.bytes) {
        Looks::Ip(ip) => Some(ip),
        Looks::Short | Looks::Foreign | Looks::BadIp => None,
    }
}

impl World {
    /// To be called before a frame meets its hook.
    pub(crate) fn before(&self, hook: Hook, input: &Frame) -> Before {
        Before {
            counters: self.host.tables.counters(),
            wanted: self.wanted(hook, input),
        }
    }

    /// What the frame must become, if it belongs to a conversation that is there beyond doubt.
    fn wanted(&self, hook: Hook, input: &Frame) -> Option<Line> {
        let ip = ip(input)?;
        let Body::Talk(line, flags) = ip.body else {
            return None;
        };
        if ip.ttl < 2 || ip.len > 576 {
            return None;
        }
        let from = match hook {
            Hook::Veth => Some(self.sender(input).filter(|(_, honest)| *honest)?.0),
            Hook::UplinkEgress => self.scene.at(ip.src),
            Hook::UplinkIngress if ip.src == self.scene.host => return None,
            Hook::UplinkIngress | Hook::Xdp | Hook::Bridge | Hook::Loopback => None,
        };
        let (after, to) = self.talks.wanted(&self.scene, &line, flags, from)?;
        // At its egress the stack sends what goes to the outside.
        (hook != Hook::UplinkEgress || to.is_none()).then_some(after)
    }

    /// The container that owns the interface of a frame, and whether the MAC address is its own.
    pub(crate) fn sender(&self, input: &Frame) -> Option<(usize, bool)> {
        let all = &self.scene.containers;
        let who = all.iter().position(|c| c.ifindex == input.ifindex)?;
        let mac = input.bytes.get(6..12);
        Some((who, mac == Some(&all[who].mac)))
    }

    /// To be called with what the hook made of it.
    pub(crate) fn after(&mut self, hook: Hook, input: &Frame, out: &Outcome, before: &Before) {
        let grown: Vec<u64> = self
            .host
            .tables
            .counters()
            .iter()
            .zip(&before.counters)
            .map(|(now, then)| now - then)
            .collect();
        self.judge_drop(hook, input, out);
        let verdict = match out.result {
            Err(reason) => {
                self.refused += 1;
                let excused = hook == Hook::Xdp;
                assert!(
                    before.wanted.is_none() || excused,
                    "{reason:?} for a packet of a live conversation: {}",
                    describe(input)
                );
                self.check_counters(hook, input, out, &grown, false);
                return self.disturb(hook, input);
            }
            Ok(verdict) => verdict,
        };
        let translated = matches!(
            verdict,
            Verdict::ToUplink { .. } | Verdict::ToEndpoint { .. } | Verdict::TranslatedToStack
        );
        self.check_counters(hook, input, out, &grown, translated);
        if hook == Hook::Xdp && !translated {
            return;
        }
        let (Some(a), Some(b)) = (ip(input), ip(&out.frame)) else {
            assert!(!translated, "translated without being IPv4: {}", out.text());
            return;
        };
        // 1: also what the stack sends as it is.
        if hook == Hook::UplinkEgress || matches!(verdict, Verdict::ToUplink { .. }) {
            assert!(!is_private(b.src), "1: {} left", out.text());
        }
        if !translated {
            assert_eq!(before.wanted, None, "not translated: {}", describe(input));
            if hook == Hook::UplinkEgress {
                self.check_shadow(&a);
            }
            self.disturb(hook, input);
            return self.begin_unseen(&a, grown[Counter::FlowNew as usize] == 1);
        }
        let new = grown[Counter::FlowNew as usize] == 1;
        let moved = grown[Counter::PortChanged as usize] == 1;
        let ends = match (a.body, b.body) {
            (Body::Talk(x, flags), Body::Talk(y, _)) => {
                if let Some(wanted) = before.wanted {
                    assert_eq!(y, wanted, "3: {x:?} of a live conversation");
                }
                self.check_mss(input, out, flags);
                assert!(!new || moved == (x.sport != y.sport), "{x:?} became {y:?}");
                self.talk(hook, (&a, &b), (x, y), flags, new)
            }
            (Body::Error(Some(x)), Body::Error(Some(y))) => self.error(hook, &b, x, y),
            (Body::Tail, Body::Tail) => self.heads.tail(&self.scene, &a, &b),
            _ => panic!("{} became {}", describe(input), out.text()),
        };
        self.check_ends(hook, input, &a, out, ends);
        self.count(ends, input.bytes.len() as u64);
    }

    /// The MSS of a SYN is lowered where that is wanted, to what 1500 bytes hold.
    fn check_mss(&self, input: &Frame, out: &Outcome, flags: u8) {
        if flags & SYN != 0 && mss(&input.bytes).is_some() {
            let most = if self.scene.life.clamp {
                1460
            } else {
                u16::MAX
            };
            let want = mss(&input.bytes).map(|mss| mss.min(most));
            assert_eq!(mss(&out.frame.bytes), want, "MSS");
        }
    }

    /// 2 and 3: a packet of a conversation. `new`: it has begun it.
    fn talk(
        &mut self,
        hook: Hook,
        (a, b): (&Ip, &Ip),
        (x, y): (Line, Line),
        flags: u8,
        new: bool,
    ) -> Ends {
        let mut known = None;
        if !new {
            known = self.talks.went_on(&self.scene, x, y, flags);
            let question = y.back();
            let inwards = matches!(hook, Hook::UplinkIngress | Hook::Xdp);
            if known.is_none() && inwards && self.talks.is_seen_now(&self.scene, &question) {
                // The first that is seen of it is an answer.
                let (kind, parties) = self.permission(Hook::Veth, question, x.back());
                let parties = self.scene.parties(&parties);
                let begun = (question, x.back());
                self.talks.begin(&self.scene, begun, kind, parties, 0);
                known = self.talks.went_on(&self.scene, x, y, flags);
            }
        }
        let (kind, parties, reply) = if let Some((talk, reply)) = known {
            (talk.kind, talk.parties, reply)
        } else {
            assert!(
                new || self.talks.is_seen_now(&self.scene, &x),
                "2: nobody asked for {x:?}, now {y:?}, at {hook:?}"
            );
            let (kind, parties) = self.permission(hook, x, y);
            if new && matches!(kind, Kind::Out(_)) {
                self.check_port(x, y);
            }
            let parties = self.scene.parties(&parties);
            // Nobody knows what the first packet was where that was not seen.
            let first = if new { flags } else { 0 };
            self.talks.begin(&self.scene, (x, y), kind, parties, first);
            if !new {
                // But this one may have closed it.
                self.talks.disturb(&x, flags);
            }
            (kind, parties, false)
        };
        let ends = kind.ends(reply);
        if a.is_head {
            self.heads.head(&self.scene, a, b, parties, ends);
        }
        ends
    }

    /// A container's packet that the stack has to answer or to make smaller may have begun a
    /// conversation all the same.
    fn begin_unseen(&mut self, ip: &Ip, new: bool) {
        let (true, Body::Talk(line, _)) = (new, ip.body) else {
            return;
        };
        let who = self.scene.at(line.src);
        let who = who.unwrap_or_else(|| panic!("2: {line:?} has begun, and went on as it was"));
        assert!(
            !is_private(line.dst) && self.scene.goes_out(who),
            "{line:?}"
        );
        assert!(ip.ttl < 2 || ip.len > 1500, "{line:?} could have been sent");
        let parties = self.scene.parties(&[who, PARTY_UPLINK]);
        self.talks.begin_unseen(&self.scene, line, parties);
    }

    /// 2: who may begin a conversation, and what its first packet becomes. What it depends on.
    fn permission(&self, hook: Hook, x: Line, y: Line) -> (Kind, Vec<usize>) {
        let scene = &self.scene;
        let same_ends = (x.proto, x.icmp_type) == (y.proto, y.icmp_type);
        assert!(same_ends, "{x:?} became {y:?}");
        let asked = scene
            .published(x.proto, x.dport)
            .filter(|_| scene.is_host(x.dst));
        let inside = scene.at(x.src);
        let allowed = scene.lets_in(x.proto, x.src);
        match (hook, inside, asked) {
            (Hook::Veth, Some(c), Some((to, port, rule))) => {
                assert!(allowed, "2: {x:?} is not allowed, and became {y:?}");
                let own = &scene.containers[c];
                let source = if to == c { gateway(own) } else { own.addr };
                let want = (source, scene.containers[to].addr, port);
                assert_eq!((y.src, y.dst, y.dport), want, "{x:?} became {y:?}");
                assert!(scene.is_reachable(to) && scene.is_reachable(c));
                (Kind::Hairpin(c, to), vec![c, to, rule])
            }
            (Hook::UplinkIngress, None, Some((to, port, rule))) => {
                assert!(allowed, "2: {x:?} is not allowed, and became {y:?}");
                let want = (x.src, scene.containers[to].addr, port);
                assert_eq!((y.src, y.dst, y.dport), want, "{x:?} became {y:?}");
                assert!(scene.is_reachable(to) && !is_gateway(x.dst));
                (Kind::In(to), vec![to, PARTY_UPLINK, rule])
            }
            (Hook::Veth | Hook::UplinkEgress, Some(c), None)
            | (Hook::UplinkEgress, Some(c), Some(_)) => {
                assert_eq!((y.src, y.dst), (scene.host, x.dst), "{x:?} became {y:?}");
                assert!(scene.goes_out(c));
                assert!(hook == Hook::UplinkEgress || !is_private(x.dst));
                (Kind::Out(c), vec![c, PARTY_UPLINK])
            }
            (Hook::UplinkEgress, None, _) => {
                let far = x.back();
                assert!(
                    self.talks.may_know(scene, &far),
                    "the host's {x:?} is in nobody's way, and became {y:?}"
                );
                assert_eq!((y.src, y.dst), (x.src, x.dst));
                (Kind::Host, vec![PARTY_UPLINK])
            }
            _ => panic!("2: nobody may begin {x:?}, now {y:?}, at {hook:?}"),
        }
    }

    /// The outside port of a container's conversation is its own where that can be, else one of the
    /// range or class, and never one that is published or listened at.
    fn check_port(&self, x: Line, y: Line) {
        let scene = &self.scene;
        if has_fixed_port(x.proto) {
            assert_eq!((x.sport, x.dport), (y.sport, y.dport), "{x:?} became {y:?}");
            return;
        }
        if x.proto != tuple::ICMP {
            assert_eq!(x.dport, y.dport);
            let may_be_taken = !matches!(y.proto, tuple::TCP | tuple::UDP);
            assert!(
                may_be_taken || !scene.is_taken(y.proto, y.sport),
                "{y:?} has a taken port"
            );
        }
        assert!(scene.may_be_outside(&x, y.sport), "{x:?} became {y:?}");
        let keeps = scene.life.preserve || x.proto == tuple::ICMP;
        let free = keeps
            && scene.may_be_outside(&x, x.sport)
            && !scene.is_taken(x.proto, x.sport)
            && self.talks.is_free(scene, &scene.outside(&x, x.sport));
        assert!(
            !free || x.sport == y.sport,
            "{x:?} became {y:?} for nothing"
        );
    }

    /// Where the host begins on a tuple that a container's conversation has, the host gives way.
    fn check_shadow(&self, ip: &Ip) {
        let Body::Talk(line, flags) = ip.body else {
            return;
        };
        let begins = match line.proto {
            tuple::TCP => flags == SYN,
            tuple::ICMP => matches!(line.icmp_type, 8 | 13),
            _ => true,
        };
        assert!(
            !begins || !self.talks.surely_inside(&self.scene, &line.back()),
            "3: the host and a container share {line:?}"
        );
    }

    /// An ICMP error is about a packet of a conversation, and goes to whom has sent that.
    fn error(&self, hook: Hook, after: &Ip, x: Line, y: Line) -> Ends {
        let candidates = self.talks.quoted(&self.scene, x);
        let found = candidates.iter().find(|(want, ..)| *want == y);
        assert_eq!(after.dst, y.src, "an error about {y:?}");
        if found.is_none() && self.talks.is_unseen(&x.back()) {
            return Kind::Out(self.scene.at(x.dst).unwrap()).ends(false);
        }
        if found.is_none() && self.talks.is_unseen(&y) {
            return Kind::Out(self.scene.at(y.src).unwrap()).ends(true);
        }
        let (_, kind, reply) =
            found.unwrap_or_else(|| panic!("2: an error about {x:?}, now {y:?}: {candidates:?}"));
        let ends = kind.ends(*reply);
        assert!(hook != Hook::UplinkIngress || ends.0.is_none());
        ends
    }

    /// A translated packet comes from whom its conversation says, and goes there.
    fn check_ends(&self, hook: Hook, input: &Frame, a: &Ip, out: &Outcome, ends: Ends) {
        let text = || format!("{} became {}", describe(input), out.text());
        match hook {
            Hook::Veth => assert_eq!(self.sender(input).map(|s| s.0), ends.0, "{}", text()),
            Hook::UplinkEgress if is_private(a.src) => {
                assert_eq!(self.scene.at(a.src), ends.0, "{}", text());
            }
            Hook::UplinkIngress | Hook::Xdp => assert_eq!(ends.0, None, "{}", text()),
            Hook::UplinkEgress | Hook::Bridge | Hook::Loopback => {}
        }
        match (out.result, ends.1) {
            (Ok(Verdict::ToEndpoint { ifindex }), Some(to)) => {
                let c = &self.scene.containers[to];
                assert_eq!(ifindex, c.ifindex, "{}", text());
                assert_eq!(out.frame.bytes[26 + 4..34], c.addr, "{}", text());
                let _ = out.to_container(c);
            }
            (Ok(Verdict::ToUplink { ifindex, .. }), None) => assert_eq!(ifindex, UPLINK_IF),
            (Ok(Verdict::TranslatedToStack), _) => {}
            _ => panic!("{:?}: {}", out.result, text()),
        }
    }

    fn disturb(&mut self, hook: Hook, input: &Frame) {
        if hook != Hook::Xdp
            && let Some(ip) = ip(input)
            && let Body::Talk(line, flags) = ip.body
        {
            self.talks.disturb(&line, flags);
        }
    }
}
