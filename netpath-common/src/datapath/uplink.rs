//! Ingress and egress of an uplink.
//!
//! Owns the way in (replies, ICMP errors, published ports, and nothing else) and the last check on
//! the way out: what the fast path left to the stack is translated here, or dropped.

use super::{
    Tables, bound,
    hold::{hold, take_back},
    icmp_error, is_martian_source,
    masquerade::masquerade,
    may_be_published,
    next_hop::renew,
    own::own,
    published, routed,
    step::{Step, Word},
    to_published::to_published,
    veth::admitted,
    visible,
    work::Work,
};
use crate::{
    addr::Addr,
    conntrack::{CtRef, forget},
    drop_reason::DropReason,
    event::Hook,
    packet::{ETHERTYPE_IPV6, Kind, Packet},
    publish::Answer,
    records::{NETWORK_INTERNAL, NetworkRecord},
    verdict::Action,
};

/// Decides about a frame that came in by an uplink.
///
/// # Errors
/// Why it is dropped.
#[inline(always)]
pub fn uplink_ingress<P: Packet, T: Tables>(
    pkt: &mut P,
    t: &T,
    w: &mut Work<T::A>,
) -> Result<Action, DropReason> {
    w.begin(pkt, t)?;
    // Of a VLAN: another interface's, whose hook meets it there if that is an uplink.
    if w.eth.ethertype != T::A::ETHERTYPE || pkt.is_tagged() {
        return other(w.eth.ethertype, pkt.is_tagged(), T::A::IS_V6);
    }
    w.parse(pkt)?;
    let mut entry = None;
    if w.ip.is_tracked()
        && let Some(e) = t.ct(&w.ip.tuple)
        && e.from() == 0
    {
        entry = admitted(t, w, e)?;
    }
    let step = match entry {
        Some(e) => Step::flow(e),
        // Its destination is that of a live flow's answers: the host's address, or a container's own.
        None if matches!(w.ip.kind, Kind::IcmpError)
            && !w.ip.tuple.dst.is_loopback()
            && icmp_error::plan(pkt, t, w, 0) =>
        {
            Step::READY
        }
        None if T::A::IS_V6 => inbound_in_one_word(pkt, t, w).step()?,
        None => inbound(pkt, t, w)?,
    };
    w.conclude(pkt, t, step, Hook::UplinkIngress)
}

/// A frame that is not of the program's family, or of a VLAN.
#[inline(always)]
pub(super) const fn other(ethertype: u16, tagged: bool, is_v6: bool) -> Result<Action, DropReason> {
    Ok(if !is_v6 && !tagged && ethertype == ETHERTYPE_IPV6 {
        Action::Ipv6
    } else {
        Action::Pass
    })
}

/// [`inbound`] as a subprogram: of IPv6 its memory would be too large beside what follows.
#[inline(never)]
fn inbound_in_one_word<P: Packet, T: Tables>(pkt: &mut P, t: &T, w: &mut Work<T::A>) -> Word {
    Word::of(inbound(pkt, t, w))
}

/// A packet from the outside that belongs to no flow.
#[inline(always)]
fn inbound<P: Packet, T: Tables>(
    pkt: &mut P,
    t: &T,
    w: &mut Work<T::A>,
) -> Result<Step<T::A>, DropReason> {
    if w.ip.tuple.dst.is_loopback() {
        return Err(DropReason::Martian);
    }
    if !is_ours(pkt, t, w) {
        // The outside reaches a container by its own address where that is routed, else never.
        return match t.subnet(&w.ip.tuple.dst) {
            Some(network) => routed::by_own_address(pkt, t, w, network),
            None => foreign(pkt, t, w),
        };
    }
    let kind = w.ip.kind;
    match kind {
        Kind::Tcp | Kind::Udp | Kind::Sctp | Kind::Dccp => to_port(pkt, t, w),
        Kind::Tail if w.follow_first_fragment(t, 0) => Ok(Step::READY),
        // Whose it is nobody knows yet: the host's stack has it, a copy waits for the case that it
        // is a container's.
        Kind::Tail
            if !is_martian_source(t, &w.ip.tuple.src)
                && hold(pkt, t, w)
                && w.follow_first_fragment(t, 0)
                && take_back(t, w) =>
        {
            Ok(Step::READY)
        }
        // The host's own; its stack judges them.
        Kind::IcmpError
        | Kind::Tail
        | Kind::IcmpQuery
        | Kind::IcmpRedirect
        | Kind::IcmpOther
        | Kind::Other
        | Kind::Unsupported
        | Kind::Truncated
        | Kind::BadL4
        | Kind::Tiny => Ok(Step::PASS),
    }
}

/// A packet that is neither for the host nor for a container.
///
/// Where the interface forwards for containers alone it goes no further than the host: that may still make
/// it its own (TPROXY, REDIRECT), so it is left to its stack with a mark at which the programs of the ways
/// out drop it. A way out that has none is closed here.
#[inline(always)]
fn foreign<P: Packet, T: Tables>(pkt: &P, t: &T, w: &Work<T::A>) -> Result<Step<T::A>, DropReason> {
    let dst = &w.ip.tuple.dst;
    let is_closed = t
        .iface(pkt.ifindex())
        .is_some_and(|i| i.is_closed::<T::A>());
    // Multicast is forwarded for whoever has asked the kernel for it, and by its own settings.
    if !is_closed || dst.is_multicast() || dst.is_link_local() {
        return Ok(Step::PASS);
    }
    let out = renew(t, w, pkt.ifindex())?.ifindex;
    if out != 0 && t.iface(out).is_none() {
        return Err(DropReason::NotARouter);
    }
    Ok(Step::FOREIGN)
}

/// Whether the packet's destination is an address of the host, as far as that matters.
///
/// The table is written by user space. Where that is late or dead the kernel is asked, for the
/// few packets that could concern netpath.
#[inline(always)]
fn is_ours<P: Packet, T: Tables>(pkt: &P, t: &T, w: &Work<T::A>) -> bool {
    if t.is_host_addr(&w.ip.tuple.dst) {
        return true;
    }
    let matters = match w.ip.kind {
        Kind::Tcp | Kind::Udp | Kind::Sctp | Kind::Dccp => may_be_published(t, w),
        Kind::IcmpError => true,
        Kind::Tail
        | Kind::IcmpQuery
        | Kind::IcmpRedirect
        | Kind::IcmpOther
        | Kind::Other
        | Kind::Unsupported
        | Kind::Truncated
        | Kind::BadL4
        | Kind::Tiny => false,
    };
    matters && t.is_local(&w.ip, pkt.ifindex())
}

/// A packet to the host that belongs to no flow: to a published port, or the host's own.
#[inline(always)]
fn to_port<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
) -> Result<Step<T::A>, DropReason> {
    if !may_be_published(t, w) {
        return bound::from_outside(pkt, t, w);
    }
    let answer = published(t, w, 0);
    if matches!(answer, Answer::Nothing) {
        return Ok(Step::PASS);
    }
    if is_martian_source(t, &w.ip.tuple.src) {
        return Err(DropReason::Martian);
    }
    if T::A::IS_V6 && w.ip.tuple.src.is_link_local() {
        // A container could not tell on which link to answer; the host's stack refuses it.
        return Ok(Step::PASS);
    }
    if t.subnet(&w.ip.tuple.dst).is_some() {
        // A gateway: an address of the host, but not one of the outside. The answers would leave
        // with a private source.
        return Err(DropReason::DirectAccess);
    }
    let iface = t.iface(pkt.ifindex()).ok_or(DropReason::NoConfig)?;
    if !iface.is_uplink() {
        return Err(DropReason::NoConfig);
    }
    if matches!(answer, Answer::NotAllowed) {
        return Err(DropReason::NotAllowed);
    }
    to_published(t, w, 0, iface.slot as u16, T::A::NONE)
}

/// What a hook on the way in has told those of the ways out about a packet that it left to the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Origin {
    /// Nothing.
    #[default]
    Unknown,
    /// An endpoint's hook has let it pass for a flow to be found here. A hint, which spares two look-ups.
    Container,
    /// It is for nobody beyond the host.
    Foreign,
}

/// Decides about a frame that the host's stack sends out of an uplink. What the fast path sent
/// has been translated and does not come here.
///
/// `origin`: what another hook has said about it.
///
/// # Errors
/// Why it is dropped.
#[inline(always)]
pub fn uplink_egress<P: Packet, T: Tables>(
    pkt: &mut P,
    t: &T,
    w: &mut Work<T::A>,
    origin: Origin,
) -> Result<Action, DropReason> {
    w.begin(pkt, t)?;
    if w.eth.ethertype != T::A::ETHERTYPE {
        return other(w.eth.ethertype, false, T::A::IS_V6);
    }
    w.parse(pkt)?;
    if matches!(origin, Origin::Foreign) {
        return Err(DropReason::NotARouter);
    }
    let mut known = None;
    if matches!(origin, Origin::Container) && !pkt.is_tagged() {
        known = containers_flow(pkt, t, w, 0)?;
    }
    let step = match known {
        Some(e) => Step::flow(e),
        None => of_stack(pkt, t, w)?,
    };
    w.conclude(pkt, t, step, Hook::UplinkEgress)
}

/// What the stack sends, a container's or its own.
#[inline(always)]
fn of_stack<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
) -> Result<Step<T::A>, DropReason> {
    let network = t.subnet(&w.ip.tuple.src);
    let sender = match network {
        Some(_) => Some(
            t.endpoint_by_addr(&w.ip.tuple.src)
                .ok_or(DropReason::UntranslatedSource)?,
        ),
        None => None,
    };
    if pkt.is_tagged() {
        // Of an interface on top of this one, whose hook has translated it if that is an uplink.
        return match sender {
            Some(_) => Err(DropReason::UntranslatedSource),
            None => Ok(Step::PASS),
        };
    }
    if matches!(w.ip.kind, Kind::IcmpError)
        && icmp_error::plan(pkt, t, w, sender.map_or(icmp_error::ANYONE, u32::from))
    {
        Ok(Step::READY)
    } else if let (Some(network), Some(slot)) = (network, sender) {
        from_container(pkt, t, w, network, slot)
    } else {
        // The host's own; it also sends errors on behalf of containers, planned above.
        own(pkt, t, w)
    }
}

/// A packet with a container's source.
#[inline(always)]
fn from_container<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
    network: u16,
    slot: u16,
) -> Result<Step<T::A>, DropReason> {
    let network = t.network(network).ok_or(DropReason::NoConfig)?;
    if let Some(e) = containers_flow(pkt, t, w, slot)? {
        return Ok(Step::flow(e));
    }
    if T::A::IS_V6 {
        outbound_in_one_word(pkt, t, w, network, slot).step()
    } else {
        outbound(pkt, t, w, network, slot)
    }
}

/// The flow of a container to the outside that the packet belongs to; `slot`: the container's, 0 for any.
#[inline(always)]
fn containers_flow<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
    slot: u16,
) -> Result<Option<CtRef<T::A>>, DropReason> {
    if !w.ip.is_tracked() {
        return Ok(None);
    }
    let Some(e) = t.ct(&w.ip.tuple) else {
        return Ok(None);
    };
    if e.from() == 0 || slot != 0 && e.from() != slot || e.to() != 0 {
        return Ok(None);
    }
    if visible::left_its_uplink(pkt, t, e) {
        forget(t, &w.ip.tuple, e, e.salt());
        return Ok(None);
    }
    admitted(t, w, e)
}

/// [`outbound`] as a subprogram, as [`inbound_in_one_word`].
#[inline(never)]
fn outbound_in_one_word<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
    network: &NetworkRecord,
    slot: u16,
) -> Word {
    Word::of(outbound(pkt, t, w, network, slot))
}

/// A packet with a container's source that belongs to no flow. It is translated or dropped.
#[inline(always)]
fn outbound<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
    network: &NetworkRecord,
    slot: u16,
) -> Result<Step<T::A>, DropReason> {
    if matches!(w.ip.kind, Kind::Tail) && w.follow_first_fragment(t, slot) {
        return Ok(Step::READY);
    }
    if network.flags & NETWORK_INTERNAL != 0 || !routed::leaves(network) {
        return Err(DropReason::NotRoutable);
    }
    if !w.ip.is_tracked() {
        return Err(w.ip.fault());
    }
    let hop = renew(t, w, network.bridge_ifindex)?;
    // The stack may know better than the routes; then user space's word on the address counts.
    let source = if hop.ifindex == pkt.ifindex() {
        hop.source
    } else {
        T::A::NONE
    };
    masquerade(t, w, slot, network, pkt.ifindex(), source)
}
