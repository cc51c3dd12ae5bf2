//! Bindings: one outside port for all that an inside address and port send (RFC 4787, REQ-1).
//!
//! Owns their keys and the order in which a binding and its flow are made. A binding is a pair of
//! entries of the conntrack table like a flow, of a protocol number that no packet has, so that
//! reservation, generations and removal are those of flows. It counts the flows that use it, and
//! lives as long as the last of them.

use super::{
    create::NO_PORT,
    flow::{BIND, BOUND, NewFlow},
    port::Ports,
};
use crate::{
    addr::Addr,
    conntrack::{STATE_PICKUP, is_over, life_of},
    datapath::Tables,
    drop_reason::DropReason,
    tuple::{self, BINDING, Tuple},
};

/// The key of a binding by its inside: one for each outside address.
#[inline(always)]
#[must_use]
pub fn inside_key<A: Addr>(inside: A, port: u16, outside: A, proto: u8) -> Tuple<A> {
    Tuple {
        src: inside,
        dst: outside,
        sport: port,
        dport: proto as u16,
        proto: BINDING,
        icmp_type: 0,
        zero: 0,
    }
}

/// The key of a binding by its outside.
#[inline(always)]
#[must_use]
pub fn outside_key<A: Addr>(outside: A, port: u16, proto: u8) -> Tuple<A> {
    Tuple {
        src: A::NONE,
        dst: outside,
        sport: proto as u16,
        dport: port,
        proto: BINDING,
        icmp_type: 0,
        zero: 0,
    }
}

/// The answer of [`bind`]: `flow` is the binding now, which is to be made, and `bind` to be asked again.
pub(super) const MAKE: u32 = u32::MAX;

/// Finds the binding of `flow` and gives the flow its port: what [`Tables::bind`] is. The result is that
/// of [`super::reserve_and_index`], or `MAKE`.
///
/// It does not make the binding itself: one call deeper, the kernel's stack would not be enough.
#[inline(always)]
pub fn bind<T: Tables>(t: &T, flow: &mut NewFlow<T::A>) -> u32 {
    if flow.bound == BIND {
        flow.kept = flow.original;
        flow.kept_reply = flow.reply;
        flow.kept_state = flow.state;
        flow.kept_to = flow.to;
        let proto = flow.kept.proto;
        flow.original = inside_key(flow.kept.src, flow.kept.sport, flow.kept_reply.dst, proto);
        flow.reply = outside_key(flow.kept_reply.dst, flow.kept.sport, proto);
        let lives = t
            .ct(&flow.original)
            .is_some_and(|e| !is_over(t, &flow.original, e, flow.now));
        if !lives {
            // What is picked up in the middle has its own port already, or none; also none that a port
            // which is chosen could not be.
            flow.fixed = flow.state & STATE_PICKUP != 0;
            flow.bound = 0;
            flow.state = 0;
            flow.to = 0;
            return MAKE;
        }
    }
    let Some(e) = t.ct(&flow.original) else {
        return DropReason::FlowRace.code();
    };
    let port = e.sport();
    flow.life = life_of(e.generation());
    flow.original = flow.kept;
    flow.reply = flow.kept_reply;
    flow.reply.dport = port;
    flow.state = flow.kept_state;
    flow.to = flow.kept_to;
    flow.ports = Ports::default();
    flow.any_port = false;
    flow.fixed = true;
    flow.bound = BOUND;
    0
}

/// Makes `flow`, and its binding first where that is not there. The result is that of
/// [`super::reserve_and_index`].
#[inline(always)]
pub(super) fn bind_and_make<T: Tables>(t: &T, flow: &mut NewFlow<T::A>) -> u32 {
    let mut code = t.bind(flow);
    if code == MAKE {
        code = t.make(flow);
        if code == NO_PORT && flow.kept_state & STATE_PICKUP != 0 {
            return DropReason::TcpNotSyn.code();
        }
        if code == 0 {
            code = t.bind(flow);
        }
    }
    if code != 0 {
        return code;
    }
    t.make(flow)
}

/// The protocol whose port an outside tuple reserves.
#[inline(always)]
pub(super) const fn real_proto<A: Addr>(reply: &Tuple<A>) -> u8 {
    if reply.proto == tuple::BINDING {
        reply.sport as u8
    } else {
        reply.proto
    }
}
