//! A host, the other ends of its packets, and what a step does to them.
//!
//! Owns the playing of packets; what changes between them is `admin`'s. What must hold with each frame is
//! `observe`'s, what the tables must look like `table`'s.

use std::collections::VecDeque;

use netpath_common::{
    Verdict,
    addr::{V4, V6},
    event::Hook,
    records::{EndpointStats, PLACES, Traffic, place},
    testing::{
        plain::{Body, Line},
        *,
    },
};

use crate::{
    Seen,
    binding::Bindings,
    fragment::{Ends as FromTo, Heads},
    life::{Life, Xdp},
    observe::ip,
    packets::packet,
    pool::Choices,
    scene::{Scene, is_first},
    side::{Halves, Name, Side},
    step::{Ends, Lie, Step, What},
    table,
    talks::Talks,
};

/// Packets that somebody may still answer.
const REMEMBERED: usize = 48;
/// The whole table is looked at once in so many steps.
const CHECKED_EVERY: u64 = 64;

/// What a packet looked like where it ended, so that the other end can answer.
pub(crate) struct Sent<A> {
    pub(crate) line: Line<A>,
    /// It was delivered to this container; otherwise it left.
    pub(crate) at: Option<Container>,
}

/// What the model keeps of a family.
#[derive(Default)]
pub(crate) struct Half<A> {
    pub(crate) talks: Talks<A>,
    pub(crate) bindings: Bindings<A>,
    pub(crate) choices: Choices<A>,
    pub(crate) heads: Heads<A>,
    pub(crate) sent: VecDeque<Sent<A>>,
}

/// The host and its surroundings.
pub(crate) struct World {
    pub(crate) host: Host,
    pub(crate) scene: Scene,
    pub(crate) halves: Halves,
    /// Frames that were dropped.
    pub(crate) refused: u64,
    pub(crate) seen: Seen,
    /// What each slot has sent and was given, as the model counts it.
    stats: [EndpointStats; 4],
    /// Identification of the next datagram in parts.
    pub(crate) id: u16,
    steps: u64,
}

impl World {
    pub(crate) fn new(life: Life) -> Self {
        let host = life.host();
        let mut world = Self {
            scene: Scene::new(life, host.tables.now),
            host,
            halves: Halves::default(),
            refused: 0,
            seen: Seen::default(),
            stats: Default::default(),
            id: 1000,
            steps: 0,
        };
        for udp in [false, true] {
            world.place(udp);
        }
        world
    }

    /// Shows a frame to a hook, and what the hook sends to come in once more; what became of each.
    pub(crate) fn run<A: Side>(&mut self, hook: Hook, input: &Frame) -> Vec<Outcome> {
        let before = self.before::<A>(hook, input);
        let out = self.host.run(hook, input);
        self.after(hook, input, &out, &before);
        self.remember::<A>(&out);
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
            all.extend(self.run::<A>(hook, &frame));
        }
        all
    }

    fn remember<A: Side>(&mut self, out: &Outcome) {
        let at = match out.result {
            Ok(Verdict::ToEndpoint { ifindex }) => {
                let all = &self.scene.containers;
                let c = all.iter().find(|c| c.ifindex == ifindex);
                Some(*c.unwrap_or_else(|| panic!("{} to nobody's {ifindex}", out.text())))
            }
            Ok(Verdict::ToUplink { .. } | Verdict::TranslatedToStack) => None,
            _ => return,
        };
        if let Some(line) = line(&out.frame) {
            let sent = &mut A::half_mut(&mut self.halves).sent;
            sent.push_front(Sent { line, at });
            sent.truncate(REMEMBERED);
        }
    }

    /// Counts a translated frame as the endpoints' statistics must.
    pub(crate) fn count<A: Side>(&mut self, ends: FromTo, bytes: u64) {
        let packet = Traffic { packets: 1, bytes };
        let slot = |who: usize| usize::from(self.scene.containers[who].slot);
        if let Some(from) = ends.0 {
            let s = &mut self.stats[slot(from)];
            s.tx[place(A::IS_V6, 0)] = s.tx[place(A::IS_V6, 0)] + packet;
        }
        if let Some(to) = ends.1 {
            let s = &mut self.stats[slot(to)];
            s.rx[place(A::IS_V6, 0)] = s.rx[place(A::IS_V6, 0)] + packet;
        }
    }

    pub(crate) fn send<A: Side>(
        &mut self,
        c: &Container,
        p: &A::Datagram,
        lie: Option<Lie>,
    ) -> Vec<Outcome> {
        let gateway = if is_first(c) {
            BRIDGE1_MAC
        } else {
            BRIDGE2_MAC
        };
        let (src, dst) = match lie {
            Some(Lie::Mac) => (ROUTER_MAC, gateway),
            Some(Lie::To(n)) => (c.mac, self.scene.containers[n].mac),
            _ => (c.mac, gateway),
        };
        let frame = spoilt(A::frame(p, src, dst, c.ifindex), lie);
        self.run::<A>(Hook::Veth, &frame)
    }

    pub(crate) fn arrive<A: Side>(&mut self, p: &A::Datagram, lie: Option<Lie>) -> Vec<Outcome> {
        let frame = spoilt(A::frame(p, ROUTER_MAC, UPLINK_MAC, UPLINK_IF), lie);
        if self.scene.life.xdp != Xdp::Off {
            let early = self.run::<A>(Hook::Xdp, &frame);
            if early[0].result != Ok(Verdict::Pass) {
                return early;
            }
        }
        self.run::<A>(Hook::UplinkIngress, &frame)
    }

    pub(crate) fn egress<A: Side>(&mut self, p: &A::Datagram) -> Vec<Outcome> {
        let frame = A::frame(p, UPLINK_MAC, ROUTER_MAC, UPLINK_IF);
        self.run::<A>(Hook::UplinkEgress, &frame)
    }

    /// Where the stack sends what is for a place. The kernel's routes lead nothing out of the uplink that
    /// is to the host or a container, and what is to an address that the host has lost may still be a
    /// hairpin's.
    fn routed_out<A: Side>(&self, dst: Name) -> A {
        let dst = self.scene.named::<A>(dst);
        if A::HOSTS.contains(&dst) || dst.is_private() {
            self.scene.named(Name::Server2)
        } else {
            dst
        }
    }

    /// Does a step.
    pub(crate) fn take(&mut self, step: &Step) {
        let is_v6 = self.scene.life.is_v6(step.v6);
        match step.what {
            What::Say(say) => self.say(is_v6, say),
            What::Send { .. }
            | What::Arrive { .. }
            | What::Parts { .. }
            | What::Answer { .. }
            | What::Handshake { .. }
            | What::Complain { .. }
            | What::FromStack { .. }
            | What::FromHost { .. } => {
                if is_v6 {
                    self.packets::<V6>(&step.what);
                } else {
                    self.packets::<V4>(&step.what);
                }
            }
            _ => self.change(&step.what),
        }
        self.steps += 1;
        if self.steps.is_multiple_of(CHECKED_EVERY) {
            self.check();
        }
    }

    /// A step of packets.
    fn packets<A: Side>(&mut self, what: &What) {
        let ports = |ends: Ends| (ends.sport, ends.dport);
        match *what {
            What::Send {
                who,
                ends,
                ref shape,
                lie,
            } => {
                let c = self.scene.containers[who];
                let src = match lie {
                    Some(Lie::Address(name)) => self.scene.named(name),
                    _ => A::of(&c),
                };
                let p = packet(src, self.scene.named(ends.dst), ports(ends), shape);
                self.send::<A>(&c, &p, lie);
            }
            What::Arrive {
                src,
                ends,
                ref shape,
                lie,
            } => {
                let (src, dst): (A, A) = (self.scene.named(src), self.scene.named(ends.dst));
                self.arrive::<A>(&packet(src, dst, ports(ends), shape), lie);
            }
            What::Parts {
                who,
                ends,
                tcp,
                len,
                ref order,
            } => self.parts::<A>(who, ends, tcp, len, order),
            What::FromStack {
                who,
                ends,
                ref shape,
            } => {
                let src = A::of(&self.scene.containers[who]);
                let dst = self.routed_out(ends.dst);
                self.egress::<A>(&packet(src, dst, ports(ends), shape));
            }
            What::FromHost { ends, ref shape } => {
                let (src, dst): (A, A) = (self.scene.host(), self.routed_out(ends.dst));
                self.egress::<A>(&packet(src, dst, ports(ends), shape));
            }
            What::Handshake { who, sport } => self.handshake::<A>(who, sport),
            What::Answer { n, flags, seq, ttl } => self.answer::<A>(n, flags, seq, ttl),
            What::Complain {
                n,
                kind,
                mtu,
                quoted,
                dst,
                by_host,
            } => self.complain::<A>(n, (kind, mtu), quoted, dst, by_host),
            _ => unreachable!("{what:?} is no packet"),
        }
    }

    /// What must hold between packets.
    pub(crate) fn check(&self) {
        let (t, life) = (&self.host.tables, &self.scene.life);
        table::check_form(t, life.capacity);
        table::check_form(&self.host.tables6, life.capacity);
        table::check_numbers(&self.host);
        table::check_limits(&self.host, life);
        assert_eq!(self.host.drops.values().sum::<u64>(), self.refused);
        for (slot, want) in self.stats.iter().enumerate().skip(1) {
            let stats = t.stats(slot as u16);
            // Which flows are of published ports is not counted by the model.
            let by_family = |all: [Traffic; PLACES]| [all[0] + all[1], all[2] + all[3]];
            for (counted, want) in [(stats.tx, want.tx), (stats.rx, want.rx)] {
                assert_eq!(
                    by_family(counted),
                    by_family(want),
                    "statistics of slot {slot}"
                );
            }
        }
    }

    /// In the end everything expires and the collector leaves nothing.
    pub(crate) fn drain(&mut self) {
        self.check();
        self.wait(500_000_000);
        for _ in 0..2 {
            self.collect::<V4>(false);
            self.collect::<V6>(false);
            // A binding outlives the last of its conversations a little.
            self.wait(2_000);
        }
        assert!(self.host.tables.entries().is_empty());
        assert!(self.host.tables6.entries().is_empty());
        table::check_numbers(&self.host);
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
        Some(Lie::Address(_) | Lie::Mac | Lie::To(_)) | None => {}
    }
    frame
}

/// The conversation of a frame, if it is a packet of one.
pub(crate) fn line<A: Side>(frame: &Frame) -> Option<Line<A>> {
    match ip(frame)?.body {
        Body::Talk(line, _) => Some(line),
        _ => None,
    }
}
