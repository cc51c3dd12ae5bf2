//! ICMP errors: translated like the flow that their quoted packet belongs to.
//!
//! Owns the search for that flow (RFC 5508, REQ-3 to 7); the rewrite is in `work`. An error never
//! creates, refreshes or ends a flow.

use super::{Tables, generation, work::Work};
use crate::{
    conntrack::{is_useless, snapshot},
    packet::{Family, Packet, Rewrite},
};

/// Any sender; larger than every slot. An `Option` would pass an undefined register.
pub(super) const ANYONE: u32 = u32::MAX;

/// Plans the translation of an ICMP error; false where its quoted packet belongs to no flow of
/// this origin.
///
/// `from_endpoint`: who sent it, 0 for the outside. At uplink egress the host may have made the
/// error itself, on behalf of any container: [`ANYONE`] there. A subprogram, so that what it did
/// on the way to its answer is forgotten with its frame.
#[inline(never)]
pub(super) fn plan<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
    from_endpoint: u32,
) -> bool {
    if T::A::quoted(pkt, &w.ip, &mut w.quoted).is_none() {
        return false;
    }
    // A packet of the flow that goes the way of the error carries the inverse of the quoted tuple.
    // Kept where the translation will be: on the stack it would be too large beside the caller's.
    w.quoted_to = w.quoted.tuple.inverse();
    let Some(e) = t.ct(&w.quoted_to) else {
        return false;
    };
    if generation(t, e.from(), e.to(), e.uplink(), e.rule()) != e.generation()
        || (from_endpoint != ANYONE && from_endpoint != u32::from(e.from()))
        || w.ip.tuple.dst != w.quoted_to.dst
        || is_useless(t, &w.quoted_to, e, w.now)
    {
        return false;
    }
    let new = snapshot(e, &w.quoted_to);
    w.to = Rewrite {
        // The other end itself complains, or a router on the way, which keeps its address.
        src: if w.ip.tuple.src == w.quoted_to.src {
            new.src
        } else {
            w.ip.tuple.src
        },
        dst: new.dst,
        sport: 0,
        dport: 0,
        hop: false,
    };
    w.from_endpoint = e.from();
    w.to_endpoint = e.to();
    w.uplink = e.uplink();
    w.rule = e.rule();
    w.quoted_to = new.inverse();
    w.is_error = true;
    true
}
