//! How the differences are told that fragments make.
//!
//! Owns the predicates of those entries of `table`, as `told` does of the others.

use super::Seen;
use crate::{
    compare::IDENTIFICATION,
    fragments::{BOUNDARIES, HEADER, ORDER},
    packet::{MORE, Packet},
    site::Place,
};

pub(super) fn fragment_boundaries(s: &Seen<'_>) -> bool {
    s.has(BOUNDARIES) && s.only(&[BOUNDARIES])
}

pub(super) fn fragment_order(s: &Seen<'_>) -> bool {
    s.has(ORDER) && s.only(&[ORDER])
}

pub(super) fn incomplete_datagram(s: &Seen<'_>) -> bool {
    s.sent().fragment() != 0 && s.netpath_alone().is_some_and(|n| n.fragment() & MORE != 0)
}

pub(super) fn atomic_fragment(s: &Seen<'_>) -> bool {
    // As much of it as an error has room for.
    const QUOTED: [&str; 3] = [
        "quoted length",
        "quoted extension headers",
        "quoted payload",
    ];
    let (own, here) = (s.sent().ip_id(), s.place() == s.sent.place);
    let taken_off = |[k, n]: [Packet<'_>; 2]| k.ip_id().is_none() && n.ip_id() == own;
    let quoted = |both: [Packet<'_>; 2]| match both.map(Packet::quoted) {
        [Some(k), Some(n)] => here && taken_off([k, n]),
        _ => false,
    };
    own.is_some()
        && s.sent().fragment() == 0
        && s.both().is_some_and(|both| {
            s.only(&[HEADER]) && taken_off(both) || s.only(&QUOTED) && quoted(both)
        })
}

pub(super) fn fragment_identification(s: &Seen<'_>) -> bool {
    let own = s.sent().ip_id();
    s.only(&[IDENTIFICATION])
        && s.both()
            .is_some_and(|[k, n]| n.ip_id() == own && k.ip_id() != own && k.ip_id().is_some())
}

pub(super) fn hairpin_fragments_out_of_order(s: &Seen<'_>) -> bool {
    let broken = |[k, n]: [Packet<'_>; 2]| k.fragment() == 0 && n.fragment() != 0;
    let more = |n: Packet<'_>| n.fragment() != 0;
    s.place() != Place::Outside
        && s.sent.place != Place::Outside
        && s.sent.bytes[0].len() > 1100
        && (s.both().is_some_and(broken) || s.netpath_alone().is_some_and(more))
}
