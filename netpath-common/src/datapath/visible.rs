//! Networks whose packets the host's own firewall sees (`firewall = "visible"`).
//!
//! Owns the way of a container's packet up the stack: it is judged at the container's veth, goes on as
//! it is, and is translated where it leaves the host ([`super::uplink_egress`]), where its flow is made
//! too: of what the firewall drops nothing remains. In the other direction [`Work::apply`] leaves to the
//! stack what is translated. What does not pass an uplink goes as ever: an answer to a neighbour or to
//! the host itself would enter the bridge with the host's own address as its source.

use super::{
    Tables,
    fragment::VIA_STACK,
    next_hop::{is_masqueraded_by_uplink, renew, slot},
    step::{Step, Word},
    work::Work,
};
use crate::{
    addr::Addr,
    conntrack::{CtRef, FLAG_RECORD, forget, is_current},
    drop_reason::DropReason,
    packet::{Packet, Rewrite},
    records::{ENDPOINT_VISIBLE, IFACE_UPLINK, LOOPBACK_UPLINK, NetworkRecord},
};

/// Whether packets of this flow go up the stack, to be translated at an uplink.
#[inline(always)]
pub(super) fn leaves_by_stack<A: Addr>(e: CtRef<A>) -> bool {
    e.to() == 0 && e.uplink() != LOOPBACK_UPLINK
}

/// Whether the packet's flow was judged within the last second: then it is looked up once a packet, at
/// the uplink.
///
/// The same container, by its interface and MAC address, has sent a packet with this tuple then.
#[inline(always)]
pub(super) fn is_leased<P: Packet, T: Tables>(pkt: &P, t: &T, w: &Work<T::A>) -> bool {
    if !w.ip.is_tracked() || w.ip.first_fragment {
        return false;
    }
    t.next_hop(slot(&w.ip.tuple)).is_some_and(|hop| {
        hop.passes == pkt.ifindex()
            && hop.tuple == w.ip.tuple
            && hop.src_mac == w.eth.src
            && w.now < hop.until
    })
}

/// A packet of the flow `e`, of which the sender is known. Whether the flow is over, and what the packet
/// does to it, is judged at the uplink.
///
/// A subprogram, as [`super::veth_ingress`] has others.
#[inline(never)]
pub(super) fn of_flow<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
    e: CtRef<T::A>,
    network: &NetworkRecord,
) -> Word {
    Word::of(lease(pkt, t, w, e, network))
}

#[inline(always)]
fn lease<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
    e: CtRef<T::A>,
    network: &NetworkRecord,
) -> Result<Step<T::A>, DropReason> {
    if !is_current(t, &w.ip.tuple, e) {
        return Ok(Step::UNDECIDED);
    }
    let salt = e.salt();
    let hop = renew(t, w, network.bridge_ifindex)?;
    let uplink = t.uplink(e.uplink()).ok_or(DropReason::NoConfig)?;
    // Of another uplink the stack may know better; the one it chooses looks.
    let lost_its_address = e.flags() & FLAG_RECORD == 0
        && hop.ifindex == uplink.ifindex
        && is_masqueraded_by_uplink::<T::A>(network)
        && hop.source != T::A::NONE
        && hop.source != e.src()
        && e.src() != w.ip.tuple.src;
    if lost_its_address {
        forget(t, &w.ip.tuple, e, salt);
        return Ok(Step::UNDECIDED);
    }
    hop.passes = pkt.ifindex();
    hop.src_mac = w.eth.src;
    // Nothing is sent by this lease.
    hop.dst_mac = [0; 6];
    w.from_endpoint = e.from();
    Ok(pass(t, w))
}

/// A packet of the endpoint [`Work::from_endpoint`] to the outside that belongs to no flow, and may
/// begin one.
///
/// # Errors
/// [`DropReason::NoUplink`] where it would leave by an interface at which nothing is translated.
#[inline(always)]
pub(super) fn begin<T: Tables>(
    t: &T,
    w: &mut Work<T::A>,
    network: &NetworkRecord,
) -> Result<Step<T::A>, DropReason> {
    let hop = renew(t, w, network.bridge_ifindex)?;
    let out = hop.ifindex;
    // Without a route the stack answers.
    if out != 0 && t.iface(out).is_none_or(|i| i.kind != IFACE_UPLINK) {
        return Err(DropReason::NoUplink);
    }
    Ok(pass(t, w))
}

/// Lets the packet up the stack.
///
/// Later fragments find the record and follow, until that of the uplink takes its place: where the
/// stack reassembles, they come before.
#[inline(always)]
fn pass<T: Tables>(t: &T, w: &mut Work<T::A>) -> Step<T::A> {
    if w.ip.first_fragment {
        w.to = Rewrite::default();
        w.to_endpoint = 0;
        w.uplink = 0;
        w.rule = 0;
        w.remember(t, VIA_STACK);
    }
    Step::VISIBLE
}

/// Whether a fragment that follows its first one goes up the stack, as that has.
#[inline(always)]
pub(super) fn follows_up<A: Addr>(w: &Work<A>) -> bool {
    w.to_endpoint == 0 && w.uplink != LOOPBACK_UPLINK
}

/// Whether the stack sends a packet of a flow that a container has begun out of another uplink than the
/// flow's, whose address would be wrong there: then the flow is over (`nf_nat_oif_changed`). Answers to
/// the outside keep their address, whatever way the stack takes.
#[inline(always)]
pub(super) fn left_its_uplink<P: Packet, T: Tables>(pkt: &P, t: &T, e: CtRef<T::A>) -> bool {
    let is_visible = t
        .endpoint(e.from())
        .is_some_and(|ep| ep.flags & ENDPOINT_VISIBLE != 0);
    is_visible
        && e.flags() & FLAG_RECORD == 0
        && t.uplink(e.uplink())
            .is_some_and(|u| u.ifindex != pkt.ifindex())
}
