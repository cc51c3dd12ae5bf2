//! What the host itself sends out of an uplink.
//!
//! Owns the rule that the host's flows and the containers' never share a tuple there, and which of the two
//! gets another port.

use super::{Tables, step::Step, veth::admitted, work::Work};
use crate::{
    addr::Addr,
    conntrack::{CtRef, forget, is_over, tcp},
    drop_reason::DropReason,
    nat::{self, NewFlow, initial_state},
    packet::{Kind, Packet},
};

/// A packet of the host itself. It passes as it is, unless a container's flow has the tuple that its
/// answers would carry: then the host's flow is the one that gets another port, as in the kernel,
/// where every flow is tracked (CVE-2021-3773 in the order container, host).
#[inline(always)]
pub(super) fn own<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
) -> Result<Step<T::A>, DropReason> {
    // One look at a record that is looked at in any case spares most packets the hash table.
    let at_risk = match w.ip.kind {
        Kind::Tcp | Kind::Udp => t
            .port(w.ip.tuple.proto, w.ip.tuple.sport)
            .is_none_or(|p| p.translated != 0),
        Kind::IcmpQuery | Kind::Sctp | Kind::Dccp | Kind::Other => true,
        Kind::IcmpError
        | Kind::Tail
        | Kind::IcmpRedirect
        | Kind::IcmpOther
        | Kind::Unsupported
        | Kind::Truncated
        | Kind::BadL4
        | Kind::Tiny => false,
    };
    if !at_risk {
        return Ok(Step::PASS);
    }
    if let Some(e) = t.ct(&w.ip.tuple)
        && is_hosts(e)
        && let Some(e) = admitted(t, w, e)?
    {
        return Ok(Step::flow(e));
    }
    if w.ip.has_fixed_port() {
        if t.hold_tuple(w, pkt.ifindex()) != 0 {
            let _ = nat::hold(t, &mut w.flow);
        }
        return Ok(Step::PASS);
    }
    let begins = !matches!(w.ip.kind, Kind::Tcp) || w.ip.flags & (tcp::SYN | tcp::ACK) == tcp::SYN;
    if !begins || !is_shadowed(t, w) {
        return Ok(Step::PASS);
    }
    let Ok(state) = initial_state(&w.ip) else {
        return Ok(Step::PASS);
    };
    let Some(iface) = t.iface(pkt.ifindex()) else {
        return Ok(Step::PASS);
    };
    w.flow = NewFlow {
        uplink: iface.slot as u16,
        host_address: true,
        state,
        ..NewFlow::default()
    };
    // By themselves: of IPv6 copies would be too large for the stack.
    w.flow.original = w.ip.tuple;
    w.flow.reply = w.ip.tuple.inverse();
    Ok(Step::CREATE)
}

/// Notes that the host itself uses a tuple whose port cannot be another one, so that no container is
/// given it. A container that has it loses it: the host was told nothing of translation. Where the
/// table is full the packet goes all the same. Multicast, and what the host sends to itself, nobody answers.
///
/// What [`Tables::hold_tuple`] is: 1 where [`Work::flow`] is to be made for it, else 0.
#[inline(always)]
pub fn hold_tuple<T: Tables>(t: &T, w: &mut Work<T::A>, ifindex: u32) -> u32 {
    let (Ok(state), Some(iface)) = (initial_state(&w.ip), t.iface(ifindex)) else {
        return 0;
    };
    let key = w.ip.tuple.inverse();
    if key.src.is_multicast() || key.src == key.dst {
        return 0;
    }
    if let Some(e) = t.ct(&key)
        && e.from() == 0
        && e.to() != 0
    {
        forget(t, &key, e, e.salt());
    }
    w.flow = NewFlow {
        original: w.ip.tuple,
        reply: key,
        uplink: iface.slot as u16,
        fixed: true,
        state,
        ..NewFlow::default()
    };
    1
}

/// Whether an entry is of a flow that the host itself has begun.
#[inline(always)]
fn is_hosts<A: Addr>(e: CtRef<A>) -> bool {
    e.from() == 0 && e.to() == 0
}

/// Whether the answers to a packet of the host would be taken for those to a container.
#[inline(always)]
fn is_shadowed<T: Tables>(t: &T, w: &mut Work<T::A>) -> bool {
    w.translated = w.ip.tuple.inverse();
    t.ct(&w.translated)
        .is_some_and(|e| e.from() == 0 && e.to() != 0 && !is_over(t, &w.translated, e, w.now))
}
