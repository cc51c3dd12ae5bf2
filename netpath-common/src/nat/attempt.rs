//! One attempt to reserve an outside tuple.
//!
//! Owns what makes a port another's: the host, its sockets, a binding, a live flow. Which port is tried
//! next is [`super::create`]'s.

use super::{
    binding::{outside_key, real_proto},
    create::fill_entry,
    flow::{BOUND, NewFlow},
};
use crate::{
    addr::Addr,
    conntrack::{FLAG_RECORD, forget, is_of, is_over},
    datapath::{InsertError, Tables},
    records::CONFIG_BINDINGS,
    tuple,
};

/// What became of one candidate port.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Try {
    Reserved = 0,
    /// Another processor is making this very flow.
    Same = 1,
    Taken = 2,
    Full = 3,
}

impl Try {
    #[inline(always)]
    pub(super) const fn from_u32(value: u32) -> Self {
        match value {
            0 => Self::Reserved,
            1 => Self::Same,
            3 => Self::Full,
            _ => Self::Taken,
        }
    }
}

/// Tries to reserve the tuple `flow.reply` as it stands.
#[inline(never)]
pub(super) fn try_port<T: Tables>(t: &T, flow: &mut NewFlow<T::A>) -> Try {
    if flow.host_address && flow.reply.proto != T::A::ICMP && is_elsewhere(t, flow) {
        return Try::Taken;
    }
    fill_entry(t, flow, true);
    match t.ct_insert(&flow.reply, &flow.entry) {
        Ok(()) => return Try::Reserved,
        Err(InsertError::Full) => return Try::Full,
        Err(InsertError::Exists) => {}
    }
    let Some(holder) = t.ct(&flow.reply) else {
        return Try::Taken;
    };
    let salt = holder.salt();
    if is_over(t, &flow.reply, holder, flow.now) {
        // Expired but not collected yet: its port is free.
        forget(t, &flow.reply, holder, salt);
        return match t.ct_insert(&flow.reply, &flow.entry) {
            Ok(()) => Try::Reserved,
            Err(InsertError::Full) => Try::Full,
            Err(InsertError::Exists) => Try::Taken,
        };
    }
    if holder.flags() & FLAG_RECORD != 0 && is_of(holder, &flow.original) {
        return Try::Same;
    }
    Try::Taken
}

/// Whether the outside port belongs to somebody else: it is reserved, a socket's of the host, or that of a
/// binding which is not this flow's; for a binding, that of another flow towards the same peer.
#[inline(always)]
fn is_elsewhere<T: Tables>(t: &T, flow: &mut NewFlow<T::A>) -> bool {
    let proto = real_proto(&flow.reply);
    if t.is_reserved(proto, flow.reply.dport) {
        return true;
    }
    flow.asked = flow.reply;
    if flow.reply.proto == tuple::BINDING {
        // A socket that takes packets from everybody; one that has a peer is found by each flow.
        flow.asked.proto = proto;
        flow.asked.sport = 0;
    }
    // The kernel looks for sockets of other protocols among those of UDP.
    if matches!(proto, tuple::TCP | tuple::UDP) && t.host_socket(&flow.asked) {
        return true;
    }
    if flow.bound == BOUND {
        return false;
    }
    if flow.reply.proto == tuple::BINDING {
        // A flow without a binding may have the port towards the same peer: the binding's first flow
        // would not find it free.
        flow.asked = flow.kept_reply;
        flow.asked.dport = flow.reply.dport;
        return t.ct(&flow.asked).is_some_and(|e| {
            // Its own, which another processor makes this moment, is no other one.
            let own = e.flags() & FLAG_RECORD != 0 && is_of(e, &flow.kept);
            !own && !is_over(t, &flow.asked, e, flow.now)
        });
    }
    let Some(config) = t.config() else {
        return false;
    };
    if config.flags & CONFIG_BINDINGS == 0 {
        return false;
    }
    flow.asked = outside_key(flow.reply.dst, flow.reply.dport, proto);
    t.ct(&flow.asked)
        .is_some_and(|e| !is_over(t, &flow.asked, e, flow.now))
}
