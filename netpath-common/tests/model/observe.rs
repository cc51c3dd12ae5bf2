//! What a hook did with a frame, held against the conversations that the model knows.
//!
//! Owns the invariants: 1 nothing private leaves, 2 nothing enters uninvited, 3 one outside tuple for
//! one conversation, which keeps it while it lives. (Who may begin one is `begin`'s; 8 is `account`'s; 4
//! and 7, checksums and TTL, the host's.)

use netpath_common::{
    DropReason, Verdict,
    counters::Counter,
    event::Hook,
    testing::{
        plain::{Body, Ip, Line, Looks, SYN},
        *,
    },
};

use crate::{
    binding::End,
    fragment::Ends,
    met::Shape,
    scene::{POOL, UPLINK as PARTY_UPLINK, is_first, rule_of},
    side::Side,
    talk::Kind,
    talks::Talks,
    world::World,
};

/// Counters before a frame.
pub(crate) struct Before<A> {
    counters: Vec<u64>,
    wanted: Option<Line<A>>,
    /// The outside begins what it may begin: it has to get in.
    due: bool,
}

pub(crate) fn ip<A: Side>(frame: &Frame) -> Option<Ip<A>> {
    match A::look(&frame.bytes) {
        Looks::Ip(ip) => Some(ip),
        Looks::Short | Looks::Foreign | Looks::BadIp => None,
    }
}

impl World {
    /// To be called before a frame meets its hook.
    pub(crate) fn before<A: Side>(&self, hook: Hook, input: &Frame) -> Before<A> {
        Before {
            counters: self.host.tables.counters(),
            wanted: self.wanted(hook, input),
            due: hook == Hook::UplinkIngress && self.is_due::<A>(input),
        }
    }

    /// The conversations of a family.
    pub(crate) fn talks<A: Side>(&self) -> &Talks<A> {
        &A::half(&self.halves).talks
    }

    /// What the frame must become, if it belongs to a conversation that is there beyond doubt.
    fn wanted<A: Side>(&self, hook: Hook, input: &Frame) -> Option<Line<A>> {
        let ip = ip::<A>(input)?;
        let Body::Talk(line, flags) = ip.body else {
            return None;
        };
        if ip.ttl < 2 || ip.len > 576 {
            return None;
        }
        let from = match hook {
            Hook::Veth => Some(self.sender(input).filter(|(_, honest)| *honest)?.0),
            Hook::UplinkEgress => self.scene.at(ip.src),
            Hook::UplinkIngress if ip.src == self.scene.host() => return None,
            Hook::UplinkIngress
            | Hook::Xdp
            | Hook::Bridge
            | Hook::Loopback
            | Hook::BridgeEgress => None,
        };
        let (after, to) = self.talks().wanted(&self.scene, &line, flags, from)?;
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
    pub(crate) fn after<A: Side>(
        &mut self,
        hook: Hook,
        input: &Frame,
        out: &Outcome,
        before: &Before<A>,
    ) {
        let grown: Vec<u64> = self
            .host
            .tables
            .counters()
            .iter()
            .zip(&before.counters)
            .map(|(now, then)| now - then)
            .collect();
        self.judge_drop::<A>(hook, input, out);
        let verdict = match out.result {
            Err(reason) => {
                self.refused += 1;
                self.seen.reasons[usize::from(A::IS_V6)].insert(reason.as_str());
                let excused = hook == Hook::Xdp;
                assert!(
                    before.wanted.is_none() || excused,
                    "{reason:?} for a packet of a live conversation: {}",
                    describe(input)
                );
                self.check_counters::<A>(hook, input, out, &grown, false);
                self.check_answer::<A>(input, out);
                assert!(
                    !before.due
                        || matches!(
                            reason,
                            DropReason::ConntrackFull | DropReason::InboundBudget
                        ),
                    "2: {reason:?} for what is open: {}",
                    describe(input)
                );
                self.may_have_bound::<A>(hook, input);
                return self.disturb::<A>(hook, input);
            }
            Ok(verdict) => verdict,
        };
        let translated = matches!(
            verdict,
            Verdict::ToUplink { .. } | Verdict::ToEndpoint { .. } | Verdict::TranslatedToStack
        );
        self.check_counters::<A>(hook, input, out, &grown, translated);
        if hook == Hook::Xdp && !translated {
            return;
        }
        let (Some(a), Some(b)) = (ip::<A>(input), ip::<A>(&out.frame)) else {
            assert!(!translated, "translated without being IP: {}", out.text());
            return;
        };
        // 1: also what the stack sends as it is.
        if hook == Hook::UplinkEgress || matches!(verdict, Verdict::ToUplink { .. }) {
            let stays = self.scene.stays(b.src);
            assert!(!b.src.is_private() || stays, "1: {} left", out.text());
            if stays {
                self.met::<A>(Shape::RoutedOut);
            }
        }
        if let Verdict::ToNeighbour { ifindex } = verdict {
            self.check_neighbour(&a, ifindex);
        }
        if !translated {
            assert_eq!(before.wanted, None, "not translated: {}", describe(input));
            assert!(!before.due, "2: left out: {}", describe(input));
            self.may_have_bound::<A>(hook, input);
            if hook == Hook::UplinkEgress {
                self.check_shadow(&a);
            }
            self.disturb::<A>(hook, input);
            if let Body::Talk(line, _) = a.body {
                A::half_mut(&mut self.halves).talks.go_up(&line);
            }
            return self.begin_unseen(&a, grown[Counter::FlowNew as usize] == 1);
        }
        let new = grown[Counter::FlowNew as usize] == 1;
        let moved = grown[Counter::PortChanged as usize] == 1;
        let ends = match (a.body, b.body) {
            (Body::Talk(x, flags), Body::Talk(y, _)) => {
                if let Some(wanted) = before.wanted {
                    assert_eq!(y, wanted, "3: {x:?} of a live conversation");
                }
                self.check_mss::<A>(input, out, flags);
                // Of a binding's port that is counted once, when it is chosen.
                let is_bound = End::of(&self.scene, &x).is_some();
                let changes = x.sport != y.sport;
                let counts = moved == changes || is_bound && changes;
                assert!(!new || counts, "{x:?} became {y:?}");
                self.talk(hook, (&a, &b), (x, y), flags, new)
            }
            (Body::Error(Some(x)), Body::Error(Some(y))) => {
                let is_tiny = A::has_tiny_mtu(&input.bytes[a.at..]);
                assert!(!is_tiny, "an MTU that no link has: {}", describe(input));
                self.error(hook, &b, x, y)
            }
            (Body::Tail, Body::Tail) => {
                A::half_mut(&mut self.halves)
                    .heads
                    .tail(&self.scene, &a, &b)
            }
            _ => panic!("{} became {}", describe(input), out.text()),
        };
        self.check_ends(hook, input, &a, out, ends);
        self.count::<A>(ends, input.bytes.len() as u64);
    }

    /// What a container is told whose packet was refused is its own, from its gateway.
    fn check_answer<A: Side>(&self, input: &Frame, out: &Outcome) {
        let Some(answer) = &out.answer else {
            return;
        };
        let (told, sent) = (ip::<A>(answer).unwrap(), ip::<A>(input).unwrap());
        let who = self.sender(input).unwrap().0;
        let network = self.scene.containers[who].network;
        assert_eq!((told.src, told.dst), (A::gateway_of(network), sent.src));
        let Body::Talk(line, _) = sent.body else {
            panic!("told of {}", describe(input));
        };
        // Long headers end the quote before the ports.
        let is_all = sent.at + 8 <= 14 + 96;
        assert!(
            told.body == Body::Error(Some(line)) || !is_all && told.body == Body::Error(None),
            "{} was told of {}",
            describe(answer),
            describe(input)
        );
    }

    /// The MSS of a SYN is lowered where that is wanted, to what 1500 bytes hold.
    fn check_mss<A: Side>(&self, input: &Frame, out: &Outcome, flags: u8) {
        if flags & SYN != 0 && mss(&input.bytes).is_some() {
            let most = if self.scene.life.clamp {
                A::MOST_MSS
            } else {
                u16::MAX
            };
            let want = mss(&input.bytes).map(|mss| mss.min(most));
            assert_eq!(mss(&out.frame.bytes), want, "MSS");
        }
    }

    /// 2 and 3: a packet of a conversation. `new`: it has begun it.
    fn talk<A: Side>(
        &mut self,
        hook: Hook,
        (a, b): (&Ip<A>, &Ip<A>),
        (x, y): (Line<A>, Line<A>),
        flags: u8,
        new: bool,
    ) -> Ends {
        let mut known = None;
        if !new {
            known = A::half_mut(&mut self.halves)
                .talks
                .went_on(&self.scene, x, y, flags);
            let question = A::back(y);
            let inwards = matches!(hook, Hook::UplinkIngress | Hook::Xdp);
            if known.is_none()
                && inwards
                && A::half_mut(&mut self.halves)
                    .talks
                    .is_seen_now(&self.scene, &question)
            {
                // The first that is seen of it is an answer.
                self.begin(Hook::Veth, (question, A::back(x)), None);
                known = A::half_mut(&mut self.halves)
                    .talks
                    .went_on(&self.scene, x, y, flags);
            }
        }
        let (begun, reply) = if let Some((talk, reply)) = known {
            if talk.pool_changes != self.scene.pool_changes
                && rule_of(&talk.begun.parties).is_some_and(|rule| rule >= POOL)
            {
                self.met::<A>(Shape::BalancedStays);
            }
            (talk.begun, reply)
        } else {
            assert!(
                new || A::half_mut(&mut self.halves)
                    .talks
                    .is_seen_now(&self.scene, &x),
                "2: nobody asked for {x:?}, now {y:?}, at {hook:?}"
            );
            if self.talks().has_lost_its_backend(&self.scene, &x) {
                self.met::<A>(Shape::BalancedMoves);
            }
            // Nobody knows what the first packet was where that was not seen.
            let begun = self.begin(hook, (x, y), new.then_some(flags));
            if !new {
                // But this one may have closed it.
                A::half_mut(&mut self.halves).talks.disturb(&x, flags);
            }
            (begun, false)
        };
        let ends = begun.kind.ends(reply);
        if a.is_head {
            A::half_mut(&mut self.halves)
                .heads
                .head(&self.scene, a, b, begun.parties, ends);
        }
        ends
    }

    /// A container's packet that the stack has to answer or to make smaller may have begun a
    /// conversation all the same.
    fn begin_unseen<A: Side>(&mut self, ip: &Ip<A>, new: bool) {
        let (true, Body::Talk(line, _)) = (new, ip.body) else {
            return;
        };
        let who = self.scene.at(line.src);
        let who = who.unwrap_or_else(|| panic!("2: {line:?} has begun, and went on as it was"));
        assert!(
            !line.dst.is_private() && self.scene.goes_out(who),
            "{line:?}"
        );
        assert!(ip.ttl < 2 || ip.len > 1500, "{line:?} could have been sent");
        let parties = self.scene.parties(&[who, PARTY_UPLINK]);
        let half = A::half_mut(&mut self.halves);
        half.talks.begin_unseen(&self.scene, line, parties);
    }

    /// An ICMP error is about a packet of a conversation, and goes to whom has sent that.
    fn error<A: Side>(&self, hook: Hook, after: &Ip<A>, x: Line<A>, y: Line<A>) -> Ends {
        let candidates = self.talks().quoted(&self.scene, x);
        let found = candidates.iter().find(|(want, ..)| *want == y);
        assert_eq!(after.dst, y.src, "an error about {y:?}");
        if found.is_none() && self.talks().is_unseen(&A::back(x)) {
            return Kind::Out(self.scene.at(x.dst).unwrap()).ends(false);
        }
        if found.is_none() && self.talks().is_unseen(&y) {
            return Kind::Out(self.scene.at(y.src).unwrap()).ends(true);
        }
        let (_, kind, reply) =
            found.unwrap_or_else(|| panic!("2: an error about {x:?}, now {y:?}: {candidates:?}"));
        let ends = kind.ends(*reply);
        assert!(hook != Hook::UplinkIngress || ends.0.is_none());
        ends
    }

    /// What passes the bridge by goes to the container of the same network that has its address.
    fn check_neighbour<A: Side>(&self, ip: &Ip<A>, ifindex: u32) {
        let (from, to) = (self.scene.at(ip.src), self.scene.at(ip.dst));
        let (from, to) = (from.unwrap(), to.unwrap());
        let all = &self.scene.containers;
        assert_eq!(all[to].ifindex, ifindex, "{ip:?}");
        assert_eq!(all[from].network, all[to].network, "{ip:?}");
        assert!(
            self.scene.life.direct && is_first(&all[to]) && ip.len <= 1500,
            "{ip:?}"
        );
    }

    /// A translated packet comes from whom its conversation says, and goes there.
    fn check_ends<A: Side>(&self, hook: Hook, input: &Frame, a: &Ip<A>, out: &Outcome, ends: Ends) {
        let text = || format!("{} became {}", describe(input), out.text());
        match hook {
            Hook::Veth => assert_eq!(self.sender(input).map(|s| s.0), ends.0, "{}", text()),
            Hook::UplinkEgress if a.src.is_private() => {
                assert_eq!(self.scene.at(a.src), ends.0, "{}", text());
            }
            Hook::UplinkIngress | Hook::Xdp => assert_eq!(ends.0, None, "{}", text()),
            Hook::UplinkEgress | Hook::Bridge | Hook::Loopback | Hook::BridgeEgress => {}
        }
        match (out.result, ends.1) {
            (Ok(Verdict::ToEndpoint { ifindex }), Some(to)) => {
                let c = &self.scene.containers[to];
                assert_eq!(ifindex, c.ifindex, "{}", text());
                assert_eq!(ip::<A>(&out.frame).unwrap().dst, A::of(c), "{}", text());
                let _ = out.to_container(c);
            }
            (Ok(Verdict::ToUplink { ifindex, .. }), None) => assert_eq!(ifindex, UPLINK_IF),
            (Ok(Verdict::TranslatedToStack), _) => {}
            _ => panic!("{:?}: {}", out.result, text()),
        }
    }

    fn disturb<A: Side>(&mut self, hook: Hook, input: &Frame) {
        if hook != Hook::Xdp
            && let Some(ip) = ip::<A>(input)
            && let Body::Talk(line, flags) = ip.body
        {
            A::half_mut(&mut self.halves).talks.disturb(&line, flags);
        }
    }
}
