//! Ingress of the loopback device: what the host sends to itself.
//!
//! Owns the host's way to published ports where its sockets cannot be translated. The device stands
//! for an uplink, so that the answers find their way by their flow: back into the device, with a route
//! to the host itself, which is what the stack asks of a packet to 127.0.0.1 that comes in.

use super::{
    FIND_FOR_HOST, Tables, published,
    step::{Step, Word},
    to_published::to_published,
    veth::admitted,
    work::Work,
};
use crate::{
    addr::{Addr, V4},
    conntrack::tcp,
    drop_reason::DropReason,
    event::Hook,
    packet::{ETHERTYPE_IPV6, Kind, Packet},
    publish::Answer,
    records::{LOOPBACK_IFINDEX, LOOPBACK_UPLINK, NETWORK_INTERNAL, NETWORK_ROUTED, UplinkRecord},
    sock::is_stand_in,
    verdict::Action,
};

/// Decides about a frame that the host has sent to itself. What the datapath has sent there does not
/// come here.
///
/// # Errors
/// Why it is dropped.
#[inline(always)]
pub fn loopback_ingress<P: Packet, T: Tables>(
    pkt: &mut P,
    t: &T,
    w: &mut Work<T::A>,
) -> Result<Action, DropReason> {
    w.begin(pkt, t)?;
    if w.eth.ethertype != T::A::ETHERTYPE {
        return Ok(if !T::A::IS_V6 && w.eth.ethertype == ETHERTYPE_IPV6 {
            Action::Ipv6
        } else {
            Action::Pass
        });
    }
    if !T::A::IS_V6
        && !is_on::<T::A>(t.uplink(LOOPBACK_UPLINK))
        && !pkt
            .read_fixed::<30, 4>()
            .is_some_and(|dst| is_stand_in(&dst))
    {
        // Nearly everything, where sockets are translated.
        return Ok(Action::Pass);
    }
    // What the host sends itself is the business of its own stack.
    if w.parse(pkt).is_err() || !matches!(w.ip.kind, Kind::Tcp | Kind::Udp) {
        return Ok(Action::Pass);
    }
    // Published ports are reserved, so this bit spares everything else the hash tables.
    if !t.is_reserved(w.ip.tuple.proto, w.ip.tuple.dport) {
        return Ok(Action::Pass);
    }
    let mut entry = None;
    if let Some(e) = t.ct(&w.ip.tuple)
        && e.from() == 0
        && e.uplink() == LOOPBACK_UPLINK
    {
        entry = admitted(t, w, e)?;
    }
    let step = match entry {
        Some(e) => Step::flow(e),
        None if T::A::IS_V6 => begin_in_one_word(t, w).step()?,
        None => begin(t, w)?,
    };
    let verdict = w.conclude(pkt, t, step, Hook::Loopback)?;
    if matches!(verdict, Action::TranslatedToStack) {
        // It does not fit; up the stack it would only find that nobody listens at a container's address.
        return Err(DropReason::TooLarge);
    }
    Ok(verdict)
}

/// [`begin`] as a subprogram: of IPv6 its memory would be too large beside what follows.
#[inline(never)]
fn begin_in_one_word<T: Tables>(t: &T, w: &mut Work<T::A>) -> Word {
    Word::of(begin(t, w))
}

/// A packet that belongs to no flow.
#[inline(always)]
fn begin<T: Tables>(t: &T, w: &mut Work<T::A>) -> Result<Step<T::A>, DropReason> {
    let dst = w.ip.tuple.dst;
    let is_on = is_on::<T::A>(t.uplink(LOOPBACK_UPLINK)) || stands_in(&dst);
    if !is_on || !dst.is_loopback() && !t.is_host_addr(&dst) {
        return Ok(Step::PASS);
    }
    // A connection that stands is the host's with itself, of a time before the port was published.
    if matches!(w.ip.kind, Kind::Tcp) && w.ip.flags & (tcp::SYN | tcp::ACK) != tcp::SYN {
        return Ok(Step::PASS);
    }
    match published(t, w, FIND_FOR_HOST) {
        Answer::Nothing => return Ok(Step::PASS),
        Answer::NotAllowed => return Err(DropReason::NotAllowed),
        Answer::Found => {}
    }
    let Some(network) = t
        .endpoint(w.look.target.endpoint)
        .and_then(|e| t.network(e.network))
    else {
        return Ok(Step::PASS);
    };
    // The ports of such networks are not at the host's addresses.
    if network.flags & (NETWORK_INTERNAL | NETWORK_ROUTED) != 0 {
        return Ok(Step::PASS);
    }
    // No container can answer to loopback.
    let source = if w.ip.tuple.src.is_loopback() {
        T::A::gateway(network)
    } else {
        T::A::NONE
    };
    if w.ip.tuple.src.is_loopback() && source == T::A::NONE {
        return Ok(Step::PASS);
    }
    to_published(t, w, 0, LOOPBACK_UPLINK, source)
}

/// Whether everything is translated here: the uplink that the device stands for has an address.
#[inline(always)]
fn is_on<A: Addr>(uplink: Option<&UplinkRecord>) -> bool {
    uplink.is_some_and(|u| u.ifindex == LOOPBACK_IFINDEX && A::of_uplink(u) != A::NONE)
}

/// Whether an address stands for one of IPv6, whose packets come whatever the sockets.
#[inline(always)]
fn stands_in<A: Addr>(addr: &A) -> bool {
    !A::IS_V6 && is_stand_in(&V4::from_slice(bytemuck::bytes_of(addr)))
}
