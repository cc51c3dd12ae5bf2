//! All conversations of a family.
//!
//! Owns a plain map from what answers look like when they come to the host to what they must become.
//! It is told by packets that left or entered, never by the conntrack table. What one of them may do is
//! `talk`'s.

use std::collections::HashMap;

use netpath_common::{testing::plain::Line, tuple};

use crate::{
    binding::End,
    scene::{POOL, Parties, Scene, rule_of},
    side::Side,
    talk::{Begun, Kind, SECOND, Talk},
};

/// One that a packet may belong to, what its answers look like, and whether the packet would be one.
type Found<'t, A> = (&'t Talk<A>, Line<A>, bool);

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

    /// What these containers have of the outside has ended, but for what is published.
    pub(crate) fn end_outward(&mut self, theirs: &[usize], is_theirs: impl Fn(&Line<A>) -> bool) {
        self.by_far.retain(|_, talk| {
            let (from, to) = talk.begun.kind.ends(false);
            let involved = [from, to].into_iter().flatten();
            rule_of(&talk.begun.parties).is_some()
                || involved.into_iter().all(|who| !theirs.contains(&who))
        });
        self.by_near.retain(|_, far| self.by_far.contains_key(far));
        self.unseen.retain(|line, _| !is_theirs(line));
    }

    /// Whether a conversation uses a binding, and is there beyond doubt.
    pub(crate) fn surely_uses(&self, scene: &Scene, far: &Line<A>, end: &End<A>) -> bool {
        let talk = self.by_far.get(far);
        talk.is_some_and(|t| t.begun.end.as_ref() == Some(end) && t.is_sure(scene))
    }

    /// Whether a packet belonged to a conversation whose balanced port's container has gone.
    pub(crate) fn has_lost_its_backend(&self, scene: &Scene, line: &Line<A>) -> bool {
        let [_, question] = self.of(line);
        question.is_some_and(|(talk, ..)| {
            let parties = &talk.begun.parties;
            rule_of(parties).is_some_and(|rule| rule >= POOL) && !scene.are_there(parties)
        })
    }

    /// Whether it may still be there.
    pub(crate) fn may_use(&self, scene: &Scene, far: &Line<A>, end: &End<A>) -> bool {
        let talk = self.by_far.get(far);
        talk.is_some_and(|t| t.begun.end.as_ref() == Some(end) && t.is_possible(scene))
    }

    /// An allow list has changed: what it does not let in may be gone when it does again.
    pub(crate) fn doubt(&mut self, scene: &Scene) {
        for talk in self.by_far.values_mut() {
            talk.doubt(scene);
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

    /// Whether a packet has belonged to one, which may be over.
    pub(crate) fn has_known(&self, line: &Line<A>) -> bool {
        self.of(line).iter().flatten().next().is_some()
    }

    /// Whether a packet belongs to one beyond doubt.
    pub(crate) fn is_sure(&self, scene: &Scene, line: &Line<A>) -> bool {
        let known = self.of(line);
        known.iter().flatten().any(|(t, ..)| t.is_sure(scene))
    }

    /// A container's conversation that answers of this look must belong to.
    pub(crate) fn surely_inside(&self, scene: &Scene, far: &Line<A>) -> bool {
        let talk = self.by_far.get(far);
        talk.is_some_and(|t| matches!(t.begun.kind, Kind::Out(_)) && t.is_sure(scene))
    }

    /// Whether an outside tuple may be had beyond doubt: nobody can still be using it, or its key.
    pub(crate) fn is_free(&self, scene: &Scene, far: &Line<A>) -> bool {
        !self.may_know(scene, far)
    }

    /// A conversation has begun, and nobody has seen as what.
    pub(crate) fn begin_unseen(&mut self, scene: &Scene, before: Line<A>, parties: Parties) {
        self.end_over(scene, &before);
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
        let ends = talk.begun.kind.ends(*reply);
        let after = if *reply { talk.near } else { A::back(*far) };
        (sure && ends.0 == from).then_some((after, ends.1))
    }

    /// A packet has gone up to the stack as it was: it may have answered a conversation.
    pub(crate) fn go_up(&mut self, line: &Line<A>) {
        if let Some(talk) = self.by_far.get_mut(line) {
            talk.answer_unseen();
        }
    }

    /// A packet that the host has seen and not sent on translated may still have changed a state.
    pub(crate) fn disturb(&mut self, line: &Line<A>, flags: u8) {
        let far = [Some(*line), self.by_near.get(&A::back(*line)).copied()];
        for far in far.into_iter().flatten() {
            if let Some(talk) = self.by_far.get_mut(&far)
                && line.proto == tuple::TCP
            {
                talk.disturb(flags);
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

    /// 3: a conversation has begun by a key of the table: what had that is gone, and may not have lived.
    fn end_over(&mut self, scene: &Scene, key: &Line<A>) {
        let known = self.of(key).into_iter().flatten();
        let old: Vec<_> = known.map(|(talk, far, _)| (*talk, far)).collect();
        for (old, far) in old {
            assert!(!old.is_sure(scene), "3: {key:?} over the live {old:?}");
            self.by_far.remove(&far);
            self.by_near.remove(&old.near);
        }
    }

    /// 3: a conversation has begun; what it takes may be nobody's.
    pub(crate) fn begin(
        &mut self,
        scene: &Scene,
        (before, after): (Line<A>, Line<A>),
        begun: Begun<A>,
        flags: u8,
    ) {
        let (far, near) = (A::back(after), A::back(before));
        self.unseen.remove(&before);
        for key in [far, before] {
            self.end_over(scene, &key);
        }
        self.by_near.insert(near, far);
        let talk = Talk::new(scene, near, begun, flags);
        self.by_far.insert(far, talk);
    }

    /// What a quoted packet must become, and who takes part in its conversation; the flag: the error
    /// goes the way of answers.
    pub(crate) fn quoted(&self, scene: &Scene, quoted: Line<A>) -> Vec<(Line<A>, Kind, bool)> {
        let mut found = Vec::new();
        if let Some(t) = self.by_far.get(&A::back(quoted))
            && t.is_possible(scene)
        {
            found.push((A::back(t.near), t.begun.kind, true));
        }
        if let Some(far) = self.by_near.get(&quoted)
            && let Some(t) = self.by_far.get(far)
            && t.is_possible(scene)
        {
            found.push((*far, t.begun.kind, false));
        }
        found
    }
}
