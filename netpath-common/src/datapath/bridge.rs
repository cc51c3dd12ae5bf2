//! Ingress and egress of a bridge: what goes up to the host must have passed an endpoint's own hook, and
//! what the host forwards into a network must have passed one of netpath's.
//!
//! Owns the fail-closed rules: for ports without an endpoint, for isolated networks, and for interfaces
//! that are no uplinks.

use super::{
    Tables,
    uplink::{Origin, other},
    work::Work,
};
use crate::{
    addr::Addr, drop_reason::DropReason, packet::Packet, records::LOOPBACK_IFINDEX, verdict::Action,
};

/// What an endpoint's hook has said about a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vetted {
    /// Nothing.
    No,
    /// Neighbours may have it, the host may not.
    Within,
    /// The host may have it as well.
    Yes,
}

/// Decides about a frame that the bridge hands to the host.
///
/// `vetted`: by the mark that the frame carries and only the endpoint hook sets. A container cannot forge
/// it: the kernel clears marks when a packet changes its network namespace
/// (`net/core/skbuff.c`, `skb_scrub_packet`).
///
/// # Errors
/// [`DropReason::UnknownPort`], [`DropReason::NotRoutable`] of an isolated network: of frames that all
/// its ports get it is the host's copy that is dropped.
#[inline(always)]
pub const fn bridge_ingress(vetted: Vetted) -> Result<Action, DropReason> {
    match vetted {
        Vetted::Yes => Ok(Action::Pass),
        Vetted::Within => Err(DropReason::NotRoutable),
        Vetted::No => Err(DropReason::UnknownPort),
    }
}

/// Decides about a frame that the host sends into a network by its bridge.
///
/// What it has received by an uplink, or from a container, was judged there; its own is its own. Anything
/// else it has received by an interface at which nobody looks, so no container is reached that way.
///
/// # Errors
/// [`DropReason::DirectAccess`]; [`DropReason::NotARouter`] as in [`super::uplink_egress`]; why the packet
/// cannot be read.
#[inline(always)]
pub fn bridge_egress<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
    origin: Origin,
) -> Result<Action, DropReason> {
    let from = pkt.came_by();
    let is_foreign = matches!(origin, Origin::Foreign);
    if !is_foreign && (from == 0 || from == LOOPBACK_IFINDEX || t.iface(from).is_some()) {
        return Ok(Action::Pass);
    }
    w.begin(pkt, t)?;
    if w.eth.ethertype != T::A::ETHERTYPE {
        return other(w.eth.ethertype, false, T::A::IS_V6);
    }
    w.parse(pkt)?;
    if is_foreign {
        return Err(DropReason::NotARouter);
    }
    // An adopted bridge may have others' ports.
    match t.endpoint_by_addr(&w.ip.tuple.dst) {
        Some(_) => Err(DropReason::DirectAccess),
        None => Ok(Action::Pass),
    }
}
