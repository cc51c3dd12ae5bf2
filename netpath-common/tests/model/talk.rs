//! A conversation: who has asked for what, and what a live one may never do.
//!
//! Owns what it depends on and how far it is. What is known of lifetimes are two bounds: after the one a
//! conversation may be over, after the other it must be.

use netpath_common::{
    testing::plain::{ACK, FIN, Line, RST, SYN},
    tuple,
};

use crate::{
    binding::End,
    scene::{Parties, Scene, rule_of},
    side::Side,
};

pub(crate) const SECOND: u64 = 1_000_000_000;

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

/// What a conversation is by the one that has begun it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun<A> {
    pub(crate) kind: Kind,
    pub(crate) parties: Parties,
    /// Whose binding it uses.
    pub(crate) end: Option<End<A>>,
}

/// A conversation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk<A> {
    /// What answers become.
    pub(crate) near: Line<A>,
    pub(crate) begun: Begun<A>,
    /// How often balanced ports had changed then.
    pub(crate) pool_changes: u32,
    /// The last packet that has kept it alive beyond doubt.
    sure: u64,
    /// The last packet.
    last: u64,
    stage: Stage,
    answered: bool,
    /// An answer has gone up to the stack, which ends it: to the table it may be one, as it is to the
    /// kernel's, which tracks a packet before it counts the hop.
    may_be_answered: bool,
    /// An allow list has not had the client for a while, and any packet may have ended it.
    doubtful: bool,
}

impl<A: Side> Talk<A> {
    /// One that begins now. `flags`: of its first packet.
    pub(crate) fn new(scene: &Scene, near: Line<A>, begun: Begun<A>, flags: u8) -> Self {
        Self {
            near,
            begun,
            pool_changes: scene.pool_changes,
            sure: scene.now(),
            last: scene.now(),
            stage: if flags == SYN {
                Stage::Syn
            } else {
                Stage::Vague
            },
            answered: false,
            may_be_answered: false,
            doubtful: false,
        }
    }

    /// An allow list has changed.
    pub(crate) fn doubt(&mut self, scene: &Scene) {
        self.doubtful |= !self.stands(scene);
    }

    /// An answer to it has gone up as it was.
    pub(crate) fn answer_unseen(&mut self) {
        self.may_be_answered = true;
    }

    /// A packet of it has been seen and not sent on translated.
    pub(crate) fn disturb(&mut self, flags: u8) {
        self.stage = match self.stage {
            Stage::Closing => Stage::Closing,
            _ if flags & (FIN | RST) != 0 => Stage::Closing,
            Stage::Established => Stage::Established,
            Stage::Syn | Stage::SynAck | Stage::Vague => Stage::Vague,
        };
    }

    /// Whether nothing that it depends on has become another one, and its client is let in.
    fn stands(&self, scene: &Scene) -> bool {
        let rule = rule_of(&self.begun.parties);
        let allowed = rule.is_none_or(|rule| scene.lets_in(rule, self.near.dst));
        allowed && scene.are_there(&self.begun.parties)
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
            tuple::UDP if self.answered || self.may_be_answered => 120,
            tuple::UDP => 30,
            icmp if icmp == A::ICMP => 30,
            tuple::DCCP => 43_200,
            _ => 600,
        };
        self.stands(scene) && scene.now() - self.last < most * SECOND
    }

    /// Whether a packet is one that an established conversation must let through.
    pub(crate) fn must_pass(&self, flags: u8) -> bool {
        self.near.proto != tuple::TCP || self.stage == Stage::Established && flags == ACK
    }

    pub(crate) fn advance(&mut self, reply: bool, flags: u8, now: u64) {
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

/// Whether conversations of a protocol keep their port, or have none.
pub(crate) const fn has_fixed_port<A: Side>(proto: u8) -> bool {
    let has_other = matches!(
        proto,
        tuple::TCP | tuple::UDP | tuple::DCCP | tuple::UDPLITE
    );
    !has_other && proto != A::ICMP
}
