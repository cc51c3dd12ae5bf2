//! Networks whose containers' own addresses are routed outside.
//!
//! Owns what is open there: the ports that an endpoint publishes, by its own address and port, and
//! echo requests. A flow of such a network is tracked like any other; its translation changes nothing.

use super::{
    FIND_EXACT, Tables,
    hold::{hold, take_back},
    is_martian_source, published,
    step::Step,
    work::Work,
};
use crate::{
    addr::Addr,
    drop_reason::DropReason,
    nat::{NewFlow, initial_state},
    packet::{Kind, Packet},
    publish::Answer,
    records::{NETWORK_INTERNAL, NETWORK_KEEPS, NETWORK_MASQUERADE, NETWORK_ROUTED, NetworkRecord},
    tuple::is_icmp_request,
};

/// What a packet from outside the network asks for, and may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// Slot of the endpoint.
    endpoint: u16,
    /// Slot of the rule that opens the port, 0 for an echo request.
    rule: u16,
}

/// Whether anything leaves the network by an uplink.
#[inline(always)]
pub(super) const fn leaves(network: &NetworkRecord) -> bool {
    network.flags & (NETWORK_MASQUERADE | NETWORK_ROUTED) != 0
}

/// Whether a packet to an address of the network in this slot may begin a flow there.
///
/// # Errors
/// `closed` where nothing is open, or [`DropReason::NotAllowed`].
#[inline(always)]
pub(super) fn open<T: Tables>(
    t: &T,
    w: &mut Work<T::A>,
    network: u16,
    closed: DropReason,
) -> Result<Open, DropReason> {
    let flags = t.network(network).ok_or(closed)?.flags;
    if flags & NETWORK_ROUTED == 0 || flags & NETWORK_INTERNAL != 0 {
        return Err(closed);
    }
    let endpoint = t.endpoint_by_addr(&w.ip.tuple.dst).ok_or(closed)?;
    if matches!(w.ip.kind, Kind::IcmpQuery) && is_icmp_request::<T::A>(w.ip.flags) {
        return Ok(Open { endpoint, rule: 0 });
    }
    if !w.ip.has_ports() {
        return Err(closed);
    }
    match published(t, w, FIND_EXACT) {
        Answer::Found => {}
        Answer::NotAllowed => return Err(DropReason::NotAllowed),
        Answer::Nothing => return Err(closed),
    }
    if w.look.target.endpoint != endpoint {
        return Err(closed);
    }
    let rule = w.look.target.rule;
    Ok(Open { endpoint, rule })
}

/// Plans the flow.
#[inline(always)]
pub(super) fn plan<T: Tables>(
    t: &T,
    w: &mut Work<T::A>,
    open: &Open,
    from: u16,
    uplink: u16,
) -> Result<Step<T::A>, DropReason> {
    if t.endpoint(open.endpoint).is_none_or(|e| e.ifindex == 0) {
        return Err(DropReason::NoConfig);
    }
    w.flow = NewFlow {
        from,
        to: open.endpoint,
        uplink,
        rule: open.rule,
        fixed: true,
        state: initial_state(&w.ip)?,
        ..NewFlow::default()
    };
    // By themselves: of IPv6 a copy would be too large for the stack.
    w.flow.original = w.ip.tuple;
    w.flow.reply = w.ip.tuple.inverse();
    Ok(Step::CREATE)
}

/// Whether packets to the own address of a container of this network may be wanted: where it is routed,
/// or where some answers come to it, later fragments of which have to find their first one.
#[inline(always)]
pub(super) fn may_be_reached<T: Tables>(t: &T, network: u16) -> bool {
    t.network(network)
        .is_some_and(|n| n.flags & (NETWORK_ROUTED | NETWORK_KEEPS) != 0)
}

/// A packet to an address of a network.
#[inline(always)]
pub(super) fn by_own_address<P: Packet, T: Tables>(
    pkt: &mut P,
    t: &T,
    w: &mut Work<T::A>,
    network: u16,
) -> Result<Step<T::A>, DropReason> {
    if !may_be_reached(t, network) {
        return Err(DropReason::DirectAccess);
    }
    if is_martian_source(t, &w.ip.tuple.src) {
        return Err(DropReason::Martian);
    }
    if T::A::IS_V6 && w.ip.tuple.src.is_link_local() {
        // As with published ports: a container could not say on which link it answers, and nobody forwards
        // such a packet (RFC 4291, 2.5.6).
        return Err(DropReason::LinkScope);
    }
    let is_tail = matches!(w.ip.kind, Kind::Tail);
    if is_tail && w.follow_first_fragment(t, 0) {
        return Ok(Step::READY);
    }
    if is_tail && hold(pkt, t, w) {
        return Ok(if w.follow_first_fragment(t, 0) && take_back(t, w) {
            Step::READY
        } else {
            Step::HELD
        });
    }
    let open = open(t, w, network, DropReason::DirectAccess)?;
    let iface = t.iface(pkt.ifindex()).ok_or(DropReason::NoConfig)?;
    plan(t, w, &open, 0, iface.slot as u16)
}
