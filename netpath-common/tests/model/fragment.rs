//! Datagrams in parts: which first fragments were sent on, and what may follow them.
//!
//! Owns the model's memory of them. Whether a whole one arrives whole is `world`'s question.

use std::collections::HashMap;

use netpath_common::testing::plain::Ip;

use crate::{
    scene::{Parties, Scene},
    side::Side,
};

/// Containers that a packet comes from and goes to.
pub(crate) type Ends = (Option<usize>, Option<usize>);

/// Pieces that the datapath remembers of a datagram.
const PIECES: usize = 8;

#[derive(Debug)]
struct Head<A> {
    after: (A, A),
    parties: Parties,
    ends: Ends,
    at: u64,
    parts: Vec<(u16, u16)>,
}

/// A datagram: addresses and identification, and of IPv4 the protocol, as they came.
type Key<A> = (A, A, u32, u8);

/// First fragments by their datagram.
#[derive(Debug, Default)]
pub(crate) struct Heads<A>(HashMap<Key<A>, Head<A>>);

const fn key<A: Side>(ip: &Ip<A>) -> Key<A> {
    // RFC 8200, 4.5: fragments of IPv6 may differ in the number of the next header.
    (ip.src, ip.dst, ip.id, if A::IS_V6 { 0 } else { ip.proto })
}

impl<A: Side> Heads<A> {
    /// A first fragment has been sent on.
    pub(crate) fn head(
        &mut self,
        scene: &Scene,
        before: &Ip<A>,
        after: &Ip<A>,
        parties: Parties,
        ends: Ends,
    ) {
        let head = Head {
            after: (after.src, after.dst),
            parties,
            ends,
            at: scene.now(),
            parts: vec![before.part],
        };
        self.0.insert(key(before), head);
    }

    /// A later fragment has been sent on: as its first one, and no byte twice.
    pub(crate) fn tail(&mut self, scene: &Scene, before: &Ip<A>, after: &Ip<A>) -> Ends {
        let head = self.0.get_mut(&key(before));
        let head = head.unwrap_or_else(|| panic!("a tail without its head: {before:?}"));
        assert!(
            scene.are_there(&head.parties) && scene.now() - head.at < 30_000_000_000,
            "a tail long after its head: {before:?}, {head:?}"
        );
        assert_eq!((after.src, after.dst), head.after, "of {before:?}");
        assert!(
            head.parts.len() >= PIECES || !overlaps(&head.parts, before.part),
            "{before:?} after {:?}",
            head.parts
        );
        head.parts.push(before.part);
        head.ends
    }

    /// Whether a fragment repeats what has been sent on.
    pub(crate) fn repeats(&self, ip: &Ip<A>) -> bool {
        let head = self.0.get(&key(ip));
        head.is_some_and(|head| overlaps(&head.parts, ip.part))
    }
}

fn overlaps(parts: &[(u16, u16)], (from, to): (u16, u16)) -> bool {
    parts.iter().any(|(a, b)| from < *b && *a < to)
}
