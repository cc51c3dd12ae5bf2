//! Conversations: who has asked for what, and what a live one may never do.
//!
//! Owns a plain map from what answers look like when they come to the host to what they must become.
//! It is told by packets that left or entered, never by the conntrack table. What it knows of
//! lifetimes are two bounds: after the one a conversation may be over, after the other it must be.

use std::collections::HashMap;

use netpath_common::testing::plain::{ACK, FIN, Line, RST, SYN};
use netpath_common::tuple;

use crate::{
    scene::{Parties, Scene},
    side::Side,
};

const SECOND: u64 = 1_000_000_000;

/// Who takes part: the one that began, then the other one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A container with the outside.
    Out(usize),
    /// The outside with a published port.
    In(usize),
    /// A container with a published port.
    Hairpin(usize, usize),
    /// The host with the outside, by another port than its own.
    Host,
}

impl Kind {
    /// The containers that packets of a direction come from and go to.
    pub(crate) const fn ends(self, reply: bool) -> (Option<usize>, Option<usize>) {
        let (a, b) = match self {
            Self::Out(c) => (Some(c), None),
            Self::In(c) => (None, Some(c)),
            Self::Hairpin(c, d) => (Some(c), Some(d)),
            Self::Host => (None, None),
        };
        if reply { (b, a) } else { (a, b) }
    }
}

/// How far a TCP connection is, where that is beyond doubt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Syn,
    SynAck,
    Established,
    /// Somewhere before a FIN or RST.
    Vague,
    /// There was one.
    Closing,
}

/// A conversation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk<A> {
    /// What answers become.
    pub(crate) near: Line<A>,
    pub(crate) kind: Kind,
    pub(crate) parties: Parties,
    /// The last packet that has kept it alive beyond doubt.
    sure: u64,
    /// The last packet.
    last: u64,
    stage: Stage,
    answered: bool,
    /// An allow list has not had the client for a while, and any packet may have ended it.
    doubtful: bool,
}

/// One that a packet may belong to, what its answers look like, and whether the packet would be one.
type Found<'t, A> = (&'t Talk<A>, Line<A>, bool);

impl<A: Side> Talk<A> {
    /// Whether nothing that it depends on has become another one, and its client is let in.
    fn stands(&self, scene: &Scene) -> bool {
        let is_published = matches!(self.kind, Kind::In(_) | Kind::Hairpin(..));
        let allowed = !is_published || scene.lets_in(self.near.proto, self.near.dst);
        allowed && scene.are_there(&self.parties)
    }

    /// Whether it must still be there.
    pub(crate) fn is_sure(&self, scene: &Scene) -> bool {
        let silent = scene.now() - self.sure;
        let kept = self.answered || !scene.life.is_tight();
        let alive = match self.near.proto {
            tuple::TCP => match self.stage {
                Stage::Established => silent < 432_000 * SECOND,
                // Of the states before a FIN or RST, SYN_RECV is the shortest.
                Stage::Syn | Stage::SynAck | Stage::Vague => {
                    !scene.life.is_tight() && silent < 60 * SECOND
                }
                Stage::Closing => false,
            },
            // They have states, too, some of them of three seconds.
            tuple::SCTP | tuple::DCCP => false,
            _ => kept && silent < 30 * SECOND,
        };
        alive && !self.doubtful && self.stands(scene)
    }

    /// Whether it may still be there.
    pub(crate) fn is_possible(&self, scene: &Scene) -> bool {
        let most = match self.near.proto {
            tuple::TCP => 432_000,
            tuple::UDP if self.answered => 120,
            tuple::UDP => 30,
            icmp if icmp == A::ICMP => 30,
            tuple::DCCP => 43_200,
            _ => 600,
        };
        self.stands(scene) && scene.now() - self.last < most * SECOND
    }

    /// Whether a packet is one that an established conversation must let through.
    fn must_pass(&self, flags: u8) -> bool {
        self.near.proto != tuple::TCP || self.stage == Stage::Established && flags == ACK
    }

    fn advance(&mut self, reply: bool, flags: u8, now: u64) {
        self.last = now;
        self.doubtful = false;
        self.answered |= reply;
        if self.near.proto != tuple::TCP {
            self.sure = now;
            return;
        }
        let (stage, kept) = match (self.stage, reply, flags) {
            (Stage::Closing, ..) => (Stage::Closing, false),
            (_, _, f) if f & (FIN | RST) != 0 => (Stage::Closing, false),
            (Stage::Syn, false, SYN) => (Stage::Syn, true),
            (Stage::Syn, true, f) if f == SYN | ACK => (Stage::SynAck, true),
            (Stage::SynAck, false, ACK) => (Stage::Established, true),
            (Stage::Established, _, f) => (Stage::Established, f == ACK),
            _ => (Stage::Vague, false),
        };
        self.stage = stage;
        if kept {
            self.sure = now;
        }
    }
}

/// All conversations, by what their answers look like.
#[derive(Debug, Default)]
pub(crate) struct Talks<A> {
    by_far: HashMap<Line<A>, Talk<A>>,
    /// What answers look like, by what they become.
    by_near: HashMap<Line<A>, Line<A>>,
    /// Conversations that have begun with a packet which the stack was left to deal with, so that
    /// nobody has seen what theirs become.
    unseen: HashMap<Line<A>, (Parties, u64)>,
}

impl<A: Side> Talks<A> {
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// An allow list has changed: what it does not let in may be gone when it does again.
    pub(crate) fn doubt(&mut self, scene: &Scene) {
        for talk in self.by_far.values_mut() {
            talk.doubtful |= !talk.stands(scene);
        }
    }

    /// The conversation that a packet would belong to, and whether it would be an answer.
    fn of(&self, line: &Line<A>) -> [Option<Found<'_, A>>; 2] {
        let answer = self.by_far.get(line).map(|t| (t, *line, true));
        let far = self.by_near.get(&A::back(*line));
        let question = far.and_then(|far| Some((self.by_far.get(far)?, *far, false)));
        [answer, question]
    }

    /// Whether a packet may belong to one.
    pub(crate) fn may_know(&self, scene: &Scene, line: &Line<A>) -> bool {
        let known = self.of(line);
        known.iter().flatten().any(|(t, ..)| t.is_possible(scene))
            || self.is_unseen(line)
            || self.has_unseen(line)
    }

    /// Whether a packet may answer one that nobody has seen yet.
    fn has_unseen(&self, answer: &Line<A>) -> bool {
        self.unseen.keys().any(|line| {
            (line.proto, line.dst) == (answer.proto, answer.src)
                && (line.dport == answer.sport || line.proto == A::ICMP)
        })
    }

    /// Whether a packet belongs to one beyond doubt.
    pub(crate) fn is_sure(&self, scene: &Scene, line: &Line<A>) -> bool {
        let known = self.of(line);
        known.iter().flatten().any(|(t, ..)| t.is_sure(scene))
    }

    /// A container's conversation that answers of this look must belong to.
    pub(crate) fn surely_inside(&self, scene: &Scene, far: &Line<A>) -> bool {
        let talk = self.by_far.get(far);
        talk.is_some_and(|t| matches!(t.kind, Kind::Out(_)) && t.is_sure(scene))
    }

    /// Whether an outside tuple may be had beyond doubt: nobody can still be using it, or its key.
    pub(crate) fn is_free(&self, scene: &Scene, far: &Line<A>) -> bool {
        !self.may_know(scene, far)
    }

    /// A conversation has begun, and nobody has seen as what.
    pub(crate) fn begin_unseen(&mut self, scene: &Scene, before: Line<A>, parties: Parties) {
        self.unseen.insert(before, (parties, scene.now()));
    }

    /// Whether this is the first direction of one of those.
    pub(crate) fn is_unseen(&self, line: &Line<A>) -> bool {
        self.unseen.contains_key(line)
    }

    /// Whether a packet belongs to one of those, which is seen now.
    pub(crate) fn is_seen_now(&mut self, scene: &Scene, before: &Line<A>) -> bool {
        let most = if before.proto == tuple::TCP {
            432_000
        } else if before.proto == tuple::UDP || before.proto == A::ICMP {
            30
        } else {
            43_200
        };
        self.unseen.remove(before).is_some_and(|(parties, at)| {
            scene.are_there(&parties) && scene.now() - at < most * SECOND
        })
    }

    /// What a packet must become and whose it is then, if that is beyond doubt. `from`: the container
    /// that sends it.
    pub(crate) fn wanted(
        &self,
        scene: &Scene,
        line: &Line<A>,
        flags: u8,
        from: Option<usize>,
    ) -> Option<(Line<A>, Option<usize>)> {
        let known = self.of(line);
        // Where a line may be one of two conversations, the table knows which.
        let mut possible = known
            .iter()
            .flatten()
            .filter(|(t, ..)| t.is_possible(scene));
        let (talk, far, reply) = possible.next()?;
        let sure = talk.is_sure(scene) && talk.must_pass(flags) && possible.next().is_none();
        let ends = talk.kind.ends(*reply);
        let after = if *reply { talk.near } else { A::back(*far) };
        (sure && ends.0 == from).then_some((after, ends.1))
    }

    /// A packet that the host has seen and not sent on translated may still have changed a state.
    pub(crate) fn disturb(&mut self, line: &Line<A>, flags: u8) {
        let far = [Some(*line), self.by_near.get(&A::back(*line)).copied()];
        for far in far.into_iter().flatten() {
            if let Some(talk) = self.by_far.get_mut(&far)
                && line.proto == tuple::TCP
            {
                talk.stage = match talk.stage {
                    Stage::Closing => Stage::Closing,
                    _ if flags & (FIN | RST) != 0 => Stage::Closing,
                    Stage::Established => Stage::Established,
                    Stage::Syn | Stage::SynAck | Stage::Vague => Stage::Vague,
                };
            }
        }
    }

    /// A packet of a conversation that has been there: who takes part, and whether it is an answer.
    pub(crate) fn went_on(
        &mut self,
        scene: &Scene,
        before: Line<A>,
        after: Line<A>,
        flags: u8,
    ) -> Option<(Talk<A>, bool)> {
        let answer = self.by_far.get(&before);
        let reply = answer.is_some_and(|t| t.near == after && t.is_possible(scene));
        let far = if reply { before } else { A::back(after) };
        let talk = self.by_far.get_mut(&far)?;
        if !reply && talk.near != A::back(before) || !talk.is_possible(scene) {
            return None;
        }
        talk.advance(reply, flags, scene.now());
        Some((*talk, reply))
    }

    /// 3: a conversation has begun; what it takes may be nobody's.
    pub(crate) fn begin(
        &mut self,
        scene: &Scene,
        (before, after): (Line<A>, Line<A>),
        kind: Kind,
        parties: Parties,
        flags: u8,
    ) {
        let (far, near) = (A::back(after), A::back(before));
        self.unseen.remove(&before);
        for key in [far, before] {
            for (old, ..) in self.of(&key).into_iter().flatten() {
                assert!(
                    !old.is_sure(scene),
                    "3: {before:?} became {after:?} over the live {old:?}"
                );
            }
        }
        if let Some(old) = self.by_near.insert(near, far) {
            self.by_far.remove(&old);
        }
        let talk = Talk {
            near,
            kind,
            parties,
            sure: scene.now(),
            last: scene.now(),
            stage: if flags == SYN {
                Stage::Syn
            } else {
                Stage::Vague
            },
            answered: false,
            doubtful: false,
        };
        if let Some(old) = self.by_far.insert(far, talk)
            && old.near != near
        {
            self.by_near.remove(&old.near);
        }
    }

    /// What a quoted packet must become, and who takes part in its conversation; the flag: the error
    /// goes the way of answers.
    pub(crate) fn quoted(&self, scene: &Scene, quoted: Line<A>) -> Vec<(Line<A>, Kind, bool)> {
        let mut found = Vec::new();
        if let Some(t) = self.by_far.get(&A::back(quoted))
            && t.is_possible(scene)
        {
            found.push((A::back(t.near), t.kind, true));
        }
        if let Some(far) = self.by_near.get(&quoted)
            && let Some(t) = self.by_far.get(far)
            && t.is_possible(scene)
        {
            found.push((*far, t.kind, false));
        }
        found
    }
}

/// Whether conversations of a protocol keep their port, or have none.
pub(crate) const fn has_fixed_port<A: Side>(proto: u8) -> bool {
    let has_other = matches!(
        proto,
        tuple::TCP | tuple::UDP | tuple::DCCP | tuple::UDPLITE
    );
    !has_other && proto != A::ICMP
}
