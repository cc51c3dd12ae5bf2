//! What comes to the outside port of a binding from whoever the container has not asked.
//!
//! Owns endpoint-independent filtering (RFC 4787, REQ-8) and hairpinning between bindings (REQ-9).
//! Bindings are made by [`crate::nat`]. Published ports and sockets of the host come first.

use super::{
    Tables, is_martian_source,
    masquerade::{binds, ports_of},
    step::Step,
    work::Work,
};
use crate::{
    addr::Addr,
    conntrack::{CtRef, is_over, life_of, tcp},
    drop_reason::DropReason,
    nat::{BIND, BOUND, NewFlow, initial_state, outside_key},
    packet::{Kind, Packet},
    records::CONFIG_BINDINGS,
    tuple::Tuple,
};

/// The binding that a packet is sent to, if it may begin a flow of it.
#[inline(always)]
fn target<T: Tables>(t: &T, w: &mut Work<T::A>) -> Option<CtRef<T::A>> {
    let begins = match w.ip.kind {
        Kind::Udp => true,
        Kind::Tcp => w.ip.flags & (tcp::SYN | tcp::ACK) == tcp::SYN,
        Kind::Sctp
        | Kind::Dccp
        | Kind::IcmpQuery
        | Kind::IcmpError
        | Kind::IcmpRedirect
        | Kind::IcmpOther
        | Kind::Tail
        | Kind::Other
        | Kind::Unsupported
        | Kind::Truncated
        | Kind::BadL4
        | Kind::Tiny => false,
    };
    if !begins || t.config()?.flags & CONFIG_BINDINGS == 0 {
        return None;
    }
    // Where the flow will be planned: of IPv6 a key would be too large for the stack.
    let key = &mut w.flow.asked;
    *key = outside_key(w.ip.tuple.dst, w.ip.tuple.dport, w.ip.tuple.proto);
    let e = t.ct(key)?;
    if is_over(t, key, e, w.now) || t.host_socket(&w.ip.tuple) {
        return None;
    }
    Some(e)
}

/// Whether a packet to the host is for a binding. For hooks that only look.
#[inline(always)]
pub(super) fn is_bound<T: Tables>(t: &T, tuple: &Tuple<T::A>) -> bool {
    t.config().is_some_and(|c| c.flags & CONFIG_BINDINGS != 0)
        && t.ct(&outside_key(tuple.dst, tuple.dport, tuple.proto))
            .is_some()
}

/// Plans the flow of a packet from `from` (0 for the outside) to a binding: what
/// [`Tables::plan_bound`] is. 0 where there is none, else 1.
///
/// `as_bound`: the sender's own binding becomes the source (REQ-9 a).
#[inline(always)]
pub fn plan_bound<T: Tables>(
    t: &T,
    w: &mut Work<T::A>,
    from: u16,
    uplink: u16,
    as_bound: bool,
) -> u32 {
    let Some(e) = target(t, w) else { return 0 };
    let Ok(state) = initial_state(&w.ip) else {
        return 0;
    };
    // Its own question would be its answer: as with its published ports, the gateway asks instead.
    let itself = e.to() == from && e.dport() == w.ip.tuple.sport;
    let bound = match (itself, as_bound, from) {
        (true, ..) => 0,
        (_, true, _) => BIND,
        (_, _, 0) => BOUND,
        _ => 0,
    };
    w.flow = NewFlow {
        from,
        to: e.to(),
        uplink: if from == 0 { uplink } else { e.uplink() },
        host_address: itself || as_bound,
        bound,
        life: life_of(e.generation()),
        state,
        ..NewFlow::default()
    };
    if bound == BIND
        && let Some(config) = t.config()
    {
        // As for what it sends outwards: it is the same binding.
        (w.flow.ports, w.flow.any_port) = ports_of(config);
    }
    // Field by field: of IPv6 copies would be too large for the stack.
    w.flow.original = w.ip.tuple;
    let reply = &mut w.flow.reply;
    *reply = w.ip.tuple.inverse();
    reply.src = e.dst();
    reply.sport = e.dport();
    if itself {
        let network = t.endpoint(from).and_then(|ep| t.network(ep.network));
        reply.dst = network.map_or(T::A::NONE, T::A::gateway);
    } else if as_bound {
        reply.dst = w.ip.tuple.dst;
    }
    1
}

/// A packet from the outside to a port of the host that is not published.
#[inline(always)]
pub(super) fn from_outside<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
) -> Result<Step<T::A>, DropReason> {
    let Some(iface) = t.iface(pkt.ifindex()) else {
        return Ok(Step::PASS);
    };
    if T::A::IS_V6 && w.ip.tuple.src.is_link_local() {
        // As with published ports: a container could not say on which link it answers.
        return Ok(Step::PASS);
    }
    if t.plan_bound(w, 0, iface.slot as u16, false) == 0 {
        return Ok(Step::PASS);
    }
    if is_martian_source(t, &w.ip.tuple.src) {
        return Err(DropReason::Martian);
    }
    Ok(Step::CREATE)
}

/// A packet of the endpoint [`Work::from_endpoint`] to a port of the host that is not published.
#[inline(always)]
pub(super) fn from_inside<T: Tables>(t: &T, w: &mut Work<T::A>) -> Result<Step<T::A>, DropReason> {
    let slot = w.from_endpoint;
    let ep = t.endpoint(slot).ok_or(DropReason::NoConfig)?;
    let network = t.network(ep.network).ok_or(DropReason::NoConfig)?;
    Ok(if t.plan_bound(w, slot, 0, binds(network)) == 0 {
        Step::PASS
    } else {
        Step::CREATE
    })
}
