//! Ingress of the host side of an endpoint's veth: the container sent the packet.
//!
//! Owns the checks of its source, the original direction of masqueraded flows, the translation of
//! hairpin flows, and isolation between containers and networks.

use super::{
    Tables,
    arp::not_ipv4,
    bound,
    dhcp::{is_question, is_rogue},
    hold::{hold, take_back},
    icmp_error,
    masquerade::masquerade,
    next_hop::{Way, renew, way, way_back},
    routed,
    step::{Next, Step, Word},
    to_published::to_host,
    visible,
    work::Work,
};
use crate::{
    addr::Addr,
    conntrack::{Admission, CtRef, admit, forget},
    drop_reason::DropReason,
    event::Hook,
    packet::{Family, Kind, Packet},
    records::{
        ENDPOINT_ISOLATED, ENDPOINT_SHAPED, ENDPOINT_VISIBLE, EndpointRecord, IFACE_ENDPOINT,
        NETWORK_DIRECT, NETWORK_ICC, NETWORK_INTERNAL, NetworkRecord,
    },
    verdict::Action,
};

/// Decides about a frame that a container sent.
///
/// # Errors
/// Why it is dropped.
#[inline(always)]
pub fn veth_ingress<P: Packet, T: Tables>(
    pkt: &mut P,
    t: &T,
    w: &mut Work<T::A>,
) -> Result<Action, DropReason> {
    let action = from_container(pkt, t, w)?;
    if matches!(action, Action::Pass) && w.isolated != 0 {
        return Ok(Action::Within);
    }
    Ok(action)
}

#[inline(always)]
fn from_container<P: Packet, T: Tables>(
    pkt: &mut P,
    t: &T,
    w: &mut Work<T::A>,
) -> Result<Action, DropReason> {
    w.begin(pkt, t)?;
    if w.eth.ethertype != T::A::ETHERTYPE || pkt.is_tagged() {
        return not_ipv4(pkt, t, w);
    }
    w.parse(pkt)?;
    if w.visible != 0 && visible::is_leased(pkt, t, w) {
        return Ok(Action::Visible);
    }
    let mut step = if matches!(w.ip.kind, Kind::IcmpError) {
        own_error(pkt, t, w)?
    } else {
        own_flow(pkt, t, w)?
    };
    if matches!(step.next, Next::Undecided) {
        step = if T::A::IS_V6 {
            no_flow_in_one_word(pkt, t, w).step()?
        } else {
            no_flow(pkt, t, w)?
        };
    }
    if matches!(step.next, Next::Bound) {
        // Here, and not where it was found: the stack would not hold both.
        step = bound::from_inside(t, w)?;
    }
    if matches!(step.next, Next::Leave) {
        step = if T::A::IS_V6 {
            leave_in_one_word(t, w).step()?
        } else {
            leave(t, w)?
        };
    }
    w.conclude(pkt, t, step, Hook::Veth)
}

/// What to do by the live flow that the packet belongs to, if the container behind this interface
/// takes part.
#[inline(always)]
fn own_flow<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
) -> Result<Step<T::A>, DropReason> {
    if !w.ip.is_tracked() {
        return Ok(Step::UNDECIDED);
    }
    let Some(e) = t.ct(&w.ip.tuple) else {
        return Ok(Step::UNDECIDED);
    };
    // The flow names its endpoint, so a packet that comes from there with that address (part of
    // the key) and MAC is the endpoint's own.
    let Some(ep) = t.endpoint(e.from()) else {
        return Ok(Step::UNDECIDED);
    };
    if e.from() == 0 || ep.ifindex != pkt.ifindex() || ep.mac != w.eth.src {
        return Ok(Step::UNDECIDED);
    }
    if ep.flags & ENDPOINT_VISIBLE != 0 && visible::leaves_by_stack(e) {
        let network = t.network(ep.network).ok_or(DropReason::NoConfig)?;
        return visible::of_flow(pkt, t, w, e, network).step();
    }
    let Some(e) = admitted(t, w, e)? else {
        return Ok(Step::UNDECIDED);
    };
    if e.to() != 0 {
        return Ok(Step::flow(e));
    }
    let salt = e.salt();
    let network = t.network(ep.network).ok_or(DropReason::NoConfig)?;
    Ok(match way(t, w, e, network)? {
        Way::Out => Step::flow(e),
        Way::Stack => Step::PASS,
        Way::Elsewhere => {
            forget(t, &w.ip.tuple, e, salt);
            Step::UNDECIDED
        }
    })
}

/// The entry if the packet may use it.
#[inline(always)]
pub(super) fn admitted<T: Tables>(
    t: &T,
    w: &mut Work<T::A>,
    e: CtRef<T::A>,
) -> Result<Option<CtRef<T::A>>, DropReason> {
    match admit(t, &w.ip, e, w.now) {
        Admission::Live => Ok(Some(e)),
        Admission::Ignored => {
            w.refresh = false;
            Ok(Some(e))
        }
        Admission::Miss => Ok(None),
        // The host's own, of which only the tuple is held.
        Admission::Invalid if w.ip.has_fixed_port() && e.from() == 0 && e.to() == 0 => Ok(None),
        Admission::Invalid => Err(DropReason::TcpInvalid),
    }
}

/// The endpoint behind the interface, if the frame carries its MAC address.
#[inline(always)]
pub(super) fn sender<'t, P: Packet, T: Tables>(
    pkt: &P,
    t: &'t T,
    w: &mut Work<T::A>,
) -> Result<(u16, &'t EndpointRecord), DropReason> {
    let iface = t.iface(pkt.ifindex()).ok_or(DropReason::NoConfig)?;
    if iface.kind != IFACE_ENDPOINT {
        return Err(DropReason::NoConfig);
    }
    let slot = iface.slot as u16;
    let ep = t.endpoint(slot).ok_or(DropReason::NoConfig)?;
    if ep.ifindex != pkt.ifindex() {
        return Err(DropReason::NoConfig);
    }
    if ep.mac != w.eth.src {
        return Err(DropReason::SpoofedMac);
    }
    w.isolated = ep.flags & ENDPOINT_ISOLATED;
    Ok((slot, ep))
}

/// [`no_flow`] as a subprogram: of IPv6 its memory would be too large beside what follows.
#[inline(never)]
fn no_flow_in_one_word<P: Packet, T: Tables>(pkt: &mut P, t: &T, w: &mut Work<T::A>) -> Word {
    Word::of(no_flow(pkt, t, w))
}

/// A packet that belongs to no flow yet.
#[inline(always)]
fn no_flow<P: Packet, T: Tables>(
    pkt: &mut P,
    t: &T,
    w: &mut Work<T::A>,
) -> Result<Step<T::A>, DropReason> {
    let (slot, ep) = sender(pkt, t, w)?;
    let network = t.network(ep.network).ok_or(DropReason::NoConfig)?;
    if T::A::on_link(pkt, &w.ip, &w.eth, ep, network)? {
        return Ok(Step::PASS);
    }
    if w.ip.tuple.src != T::A::of_endpoint(ep) {
        return if is_question(pkt, &w.ip, ep) {
            Ok(Step::PASS)
        } else {
            Err(DropReason::SpoofedAddress)
        };
    }
    if is_rogue(t, &w.ip, network) {
        return Err(DropReason::RogueDhcp);
    }
    if w.ip.tuple.dst.is_multicast() {
        return Ok(Step::PASS);
    }
    if w.ip.tuple.dst.is_never_a_destination() {
        return Err(DropReason::Martian);
    }
    let is_visible = ep.flags & ENDPOINT_VISIBLE != 0;
    if matches!(w.ip.kind, Kind::Tail) && w.follow_first_fragment(t, slot) {
        return Ok(followed(w, is_visible));
    }
    if w.ip.tuple.dst.is_in_subnet(network) && w.ip.tuple.dst != T::A::gateway(network) {
        if network.flags & NETWORK_ICC == 0 && !w.ip.tuple.dst.is_broadcast(network) {
            return Err(DropReason::IccDisabled);
        }
        // The bridge switches it, where that is not shorter.
        return Ok(neighbour(pkt, t, w, ep.network, network).map_or(Step::PASS, Step::neighbour));
    }
    if t.is_host_addr(&w.ip.tuple.dst) {
        return to_host(t, w, slot, network);
    }
    if let Some(other) = t.subnet(&w.ip.tuple.dst) {
        if network.flags & NETWORK_INTERNAL != 0 {
            return Err(DropReason::OtherNetwork);
        }
        let open = routed::open(t, w, other, DropReason::OtherNetwork)?;
        return routed::plan(t, w, &open, slot, 0);
    }
    if network.flags & NETWORK_INTERNAL != 0 {
        return Err(DropReason::NotRoutable);
    }
    // Without masquerade too: its first one may be of the answer of a published port.
    if matches!(w.ip.kind, Kind::Tail) && hold(pkt, t, w) {
        // Its first one may have come on another processor meanwhile.
        return Ok(if w.follow_first_fragment(t, slot) && take_back(t, w) {
            followed(w, is_visible)
        } else {
            Step::HELD
        });
    }
    if !routed::leaves(network) {
        return Err(DropReason::NotRoutable);
    }
    if !w.ip.is_tracked() {
        return Err(w.ip.fault());
    }
    w.from_endpoint = slot;
    if is_visible {
        return visible::begin(t, w, network);
    }
    Ok(Step::LEAVE)
}

/// What to do with a fragment that follows its first one.
#[inline(always)]
fn followed<A: Addr>(w: &Work<A>, is_visible: bool) -> Step<A> {
    if is_visible && visible::follows_up(w) {
        Step::VISIBLE
    } else {
        Step::READY
    }
}

/// [`leave`] as a subprogram, as [`no_flow_in_one_word`].
#[inline(never)]
fn leave_in_one_word<T: Tables>(t: &T, w: &mut Work<T::A>) -> Word {
    Word::of(leave(t, w))
}

/// Plans a flow of the endpoint [`Work::from_endpoint`] to the outside, by the kernel's route.
#[inline(always)]
fn leave<T: Tables>(t: &T, w: &mut Work<T::A>) -> Result<Step<T::A>, DropReason> {
    let slot = w.from_endpoint;
    let ep = t.endpoint(slot).ok_or(DropReason::NoConfig)?;
    let network = t.network(ep.network).ok_or(DropReason::NoConfig)?;
    let hop = renew(t, w, network.bridge_ifindex)?;
    if hop.ifindex == 0 {
        return Ok(Step::PASS);
    }
    w.gateway = hop.gateway;
    w.mtu = hop.mtu;
    masquerade(t, w, slot, network, hop.ifindex, hop.source)
}

/// What to do with an ICMP error about a live flow of the container behind this interface.
#[inline(always)]
fn own_error<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
) -> Result<Step<T::A>, DropReason> {
    let (slot, ep) = sender(pkt, t, w)?;
    if w.ip.tuple.src != T::A::of_endpoint(ep)
        || w.ip.tuple.dst.is_never_a_destination()
        || w.ip.tuple.dst.is_multicast()
        || !icmp_error::plan(pkt, t, w, u32::from(slot))
    {
        return Ok(Step::UNDECIDED);
    }
    let network = t.network(ep.network).ok_or(DropReason::NoConfig)?;
    if ep.flags & ENDPOINT_VISIBLE != 0 && visible::follows_up(w) {
        return Ok(Step::VISIBLE);
    }
    error_out(t, w, network)
}

/// The way of an ICMP error whose translation is planned.
#[inline(always)]
fn error_out<T: Tables>(
    t: &T,
    w: &mut Work<T::A>,
    network: &NetworkRecord,
) -> Result<Step<T::A>, DropReason> {
    if w.to_endpoint != 0 {
        return Ok(Step::READY);
    }
    let back = t.uplink(w.uplink).ok_or(DropReason::NoConfig)?.ifindex;
    w.translated = w.ip.tuple;
    w.translated.src = w.to.src;
    Ok(match way_back(t, w, back, network)? {
        Way::Out => Step::READY,
        Way::Stack | Way::Elsewhere => Step::PASS,
    })
}

/// The interface behind which the frame's destination is a container of the same network.
///
/// What the bridge would do differently is left to it: another MAC address than the container's
/// (an address that moved by ARP), a packet that the other side would be too small for.
#[inline(always)]
fn neighbour<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &Work<T::A>,
    slot: u16,
    network: &NetworkRecord,
) -> Option<u32> {
    if network.flags & NETWORK_DIRECT == 0 {
        return None;
    }
    let ep = t.endpoint(t.endpoint_by_addr(&w.ip.tuple.dst)?)?;
    // The bridge sends by the queue that keeps its rate.
    let there = ep.network == slot && ep.mac == w.eth.dst && ep.flags & ENDPOINT_SHAPED == 0;
    (there && w.ip.wire_len(pkt.gso_size()) <= ep.mtu).then_some(ep.ifindex)
}
