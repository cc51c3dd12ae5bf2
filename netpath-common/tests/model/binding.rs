//! Bindings: the outside port of an inside address and port, whatever the destination.
//!
//! Owns the model's memory of them (RFC 4787, REQ-1 and REQ-8). One is there beyond doubt as long as a
//! conversation that uses it is; how long it may be there after that is nobody's promise, but it ends with
//! its container and its uplink.

use std::collections::HashMap;

use netpath_common::{testing::plain::Line, tuple};

use crate::{
    scene::{Parties, Scene, UPLINK},
    side::Side,
    talks::Talks,
};

/// An inside address and port, and the outside address that it is seen by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct End<A> {
    pub(crate) addr: A,
    pub(crate) port: u16,
    pub(crate) outside: A,
    pub(crate) proto: u8,
}

impl<A: Side> End<A> {
    /// Of what a container sends, if that has a binding.
    pub(crate) fn of(scene: &Scene, line: &Line<A>) -> Option<Self> {
        let who = scene.at(line.src)?;
        let has = scene.is_bound(who) && matches!(line.proto, tuple::TCP | tuple::UDP);
        has.then(|| Self {
            addr: line.src,
            port: line.sport,
            outside: scene.host(),
            proto: line.proto,
        })
    }
}

#[derive(Debug)]
struct Bound<A> {
    who: usize,
    /// None: packets that nobody has seen leave may have made it anew.
    port: Option<u16>,
    parties: Parties,
    /// What answers to its conversations look like.
    flows: Vec<Line<A>>,
}

impl<A: Side> Bound<A> {
    fn is_sure(&self, scene: &Scene, talks: &Talks<A>, end: &End<A>) -> bool {
        let mut flows = self.flows.iter();
        flows.any(|far| talks.surely_uses(scene, far, end))
    }
}

/// All bindings of a family.
#[derive(Debug, Default)]
pub(crate) struct Bindings<A>(HashMap<End<A>, Bound<A>>);

impl<A: Side> Bindings<A> {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Those of these containers have ended.
    pub(crate) fn end(&mut self, theirs: &[usize]) {
        self.0.retain(|_, bound| !theirs.contains(&bound.who));
    }

    /// A packet that nobody has seen leave may have made one.
    pub(crate) fn may_be_made(&mut self, scene: &Scene, talks: &Talks<A>, end: End<A>) {
        let parties = Self::parties(scene, &end);
        let who = scene.at(end.addr).unwrap();
        let bound = self.0.entry(end).or_insert(Bound {
            who,
            port: None,
            parties,
            flows: Vec::new(),
        });
        if bound.parties != parties || !bound.is_sure(scene, talks, &end) {
            bound.parties = parties;
            bound.port = None;
        }
    }

    fn parties(scene: &Scene, end: &End<A>) -> Parties {
        scene.parties(&[scene.at(end.addr).unwrap(), UPLINK])
    }

    /// The outside port, if that is beyond doubt.
    pub(crate) fn sure_port(&self, scene: &Scene, talks: &Talks<A>, end: &End<A>) -> Option<u16> {
        let bound = self.0.get(end)?;
        bound.port.filter(|_| bound.is_sure(scene, talks, end))
    }

    /// Whether there may be a binding of this inside, and its port if that can be only one.
    pub(crate) fn possible(&self, scene: &Scene, end: &End<A>) -> Option<Option<u16>> {
        let bound = self.0.get(end)?;
        scene.are_there(&bound.parties).then_some(bound.port)
    }

    /// Insides that may have this outside port.
    pub(crate) fn owners(
        &self,
        scene: &Scene,
        outside: A,
        port: u16,
        proto: u8,
    ) -> impl Iterator<Item = &End<A>> {
        let has = move |(end, bound): &(&End<A>, &Bound<A>)| {
            (end.outside, end.proto) == (outside, proto)
                && bound.port.is_none_or(|p| p == port)
                && scene.are_there(&bound.parties)
        };
        self.0.iter().filter(has).map(|(end, _)| end)
    }

    /// The inside that has it beyond doubt.
    pub(crate) fn owner(
        &self,
        scene: &Scene,
        talks: &Talks<A>,
        (outside, port, proto): (A, u16, u8),
    ) -> Option<End<A>> {
        let mut owners = self.owners(scene, outside, port, proto);
        owners
            .find(|end| self.sure_port(scene, talks, end) == Some(port))
            .copied()
    }

    /// 3, REQ-1: a conversation whose answers look like `far` has begun by this port: that of all others,
    /// and of nobody else. Whether others were there.
    pub(crate) fn used(
        &mut self,
        scene: &Scene,
        talks: &Talks<A>,
        end: End<A>,
        (far, port): (Line<A>, u16),
    ) -> bool {
        let sure = self.sure_port(scene, talks, &end);
        assert!(
            sure.is_none_or(|sure| sure == port),
            "REQ-1: {end:?} is seen by {sure:?}, and by {port} in {far:?}"
        );
        let owner = self.owner(scene, talks, (end.outside, port, end.proto));
        assert!(
            owner.is_none_or(|owner| owner == end),
            "3: {end:?} was given {port}, which is {owner:?}'s"
        );
        let parties = Self::parties(scene, &end);
        let who = scene.at(end.addr).unwrap();
        let bound = self.0.entry(end).or_insert(Bound {
            who,
            port: None,
            parties,
            flows: Vec::new(),
        });
        if (bound.port, bound.parties) != (Some(port), parties) {
            bound.flows.clear();
        }
        (bound.port, bound.parties) = (Some(port), parties);
        bound.flows.retain(|far| talks.may_use(scene, far, &end));
        bound.flows.push(far);
        sure.is_some()
    }
}
