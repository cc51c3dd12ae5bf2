//! A packet of a tunnel that is too long to be put behind an Ethernet header.
//!
//! Owns what becomes of it: the host has it, and nobody else. Kernels put nothing before a packet of more
//! than 16 KB that is not to be segmented (`BPF_SKB_MAX_LEN`, `net/core/filter.c`); a container's link is
//! hardly as wide.

use super::{Tables, work::Work};
use crate::{
    addr::Addr,
    drop_reason::DropReason,
    packet::{ETHERTYPE_IPV6, Packet},
    verdict::Action,
};

/// Decides about such a packet.
///
/// # Errors
/// It is a container's: [`DropReason::DirectAccess`], or [`DropReason::RewriteFailed`] where it belongs to a
/// flow. The host's stack would refuse that for the container.
#[inline(always)]
pub fn long_ingress<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
) -> Result<Action, DropReason> {
    w.begin(pkt, t)?;
    if w.eth.ethertype != T::A::ETHERTYPE {
        let is_ipv6 = !T::A::IS_V6 && w.eth.ethertype == ETHERTYPE_IPV6;
        return Ok(if is_ipv6 { Action::Ipv6 } else { Action::Pass });
    }
    w.parse(pkt)?;
    if t.subnet(&w.ip.tuple.dst).is_some() {
        return Err(DropReason::DirectAccess);
    }
    let is_containers = w.ip.is_tracked()
        && t.ct(&w.ip.tuple)
            .is_some_and(|e| e.from() == 0 && e.to() != 0);
    if is_containers {
        return Err(DropReason::RewriteFailed);
    }
    Ok(Action::Pass)
}
