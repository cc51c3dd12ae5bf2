//! How many flows there may be, and how many there are.
//!
//! Owns the numbers of live things that are limited: what each endpoint has begun, what masquerade
//! has given it outside tuples for, and what the outside has begun and nobody has completed. They
//! change only together with the state word or the claim of a record, so they are exact: whoever
//! wins the exchange does the sum.

use super::{
    entry::{FLAG_BOUND, FLAG_LIFE_MASK, STATE_ASSURED, STATE_SEEN_REPLY, life_of},
    shared::CtRef,
};
use crate::{
    addr::Addr,
    datapath::Tables,
    drop_reason::DropReason,
    maps::MAX_ENDPOINTS,
    nat::{BOUND, NewFlow, inside_key},
    records::Config,
    tuple::{self, Tuple},
};

/// A number of live flows that is limited: an index of `np_live`.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget(u32);

impl Budget {
    /// Flows that the outside has begun over a family and that are embryonic. Each family has as many: what
    /// makes room is of the same table, and a flood over one would keep the other out.
    #[inline(always)]
    #[must_use]
    pub const fn inbound<A: Addr>() -> Self {
        let behind_all = 2 * MAX_ENDPOINTS as u32;
        Self(if A::IS_V6 { behind_all } else { 0 })
    }

    /// Fragments that wait for their first one. (Slot 0 is no endpoint.)
    pub const HELD: Self = Self(MAX_ENDPOINTS as u32);

    /// Flows that an endpoint has begun.
    #[inline(always)]
    #[must_use]
    pub const fn flows(endpoint: u16) -> Self {
        Self(endpoint as u32)
    }

    /// Outside tuples that masquerade has given to an endpoint.
    #[inline(always)]
    #[must_use]
    pub const fn ports(endpoint: u16) -> Self {
        Self(MAX_ENDPOINTS as u32 + endpoint as u32)
    }

    /// The index in `np_live`.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }
}

/// Whether a flow with this state word has not been established yet: what a flood of spoofed packets
/// can make. TCP: the handshake is not complete; else: nobody has answered.
#[inline(always)]
#[must_use]
pub const fn is_embryonic(proto: u8, state: u32) -> bool {
    let established = if tuple::has_connections(proto) {
        STATE_ASSURED
    } else {
        STATE_SEEN_REPLY
    };
    state & established == 0
}

/// Whether the outside has begun a flow to an endpoint. `from` and `to` are those of the original
/// direction.
#[inline(always)]
const fn is_inbound(from: u16, to: u16) -> bool {
    from == 0 && to != 0
}

/// Why a flow may not be made now, if it may not.
#[inline(always)]
pub(crate) fn refusal<T: Tables>(
    t: &T,
    config: &Config,
    flow: &NewFlow<T::A>,
) -> Option<DropReason> {
    let spent = |budget, limit: u32| limit != 0 && t.live(budget) >= i64::from(limit);
    if flow.from != 0 {
        let (counts_flow, counts_port) = counts(flow.reply.proto, flow.bound == BOUND, flow.to);
        let over = counts_flow && spent(Budget::flows(flow.from), config.endpoint_flows)
            || counts_port && spent(Budget::ports(flow.from), config.endpoint_ports);
        return over.then_some(DropReason::EndpointQuota);
    }
    (is_inbound(flow.from, flow.to) && spent(Budget::inbound::<T::A>(), config.inbound_embryonic))
        .then_some(DropReason::InboundBudget)
}

/// Whether what an endpoint begins counts as a flow and as an outside tuple: a binding has the tuple of
/// all its flows.
#[inline(always)]
const fn counts(proto: u8, bound: bool, to: u16) -> (bool, bool) {
    (proto != tuple::BINDING, to == 0 && !bound)
}

/// Counts a flow that has been made (`by` 1), or given back or removed (-1).
#[inline(always)]
fn count<T: Tables>(
    t: &T,
    (from, to): (u16, u16),
    (counts_flow, counts_port): (bool, bool),
    embryonic: bool,
    by: i64,
) {
    if from != 0 {
        if counts_flow {
            t.add_live(Budget::flows(from), by);
        }
        if counts_port {
            t.add_live(Budget::ports(from), by);
        }
    } else if is_inbound(from, to) && embryonic {
        t.add_live(Budget::inbound::<T::A>(), by);
    }
}

/// Counts a flow whose record has just been inserted.
#[inline(always)]
pub(crate) fn made<T: Tables>(t: &T, flow: &NewFlow<T::A>) {
    let bound = flow.bound == BOUND;
    let counted = counts(flow.reply.proto, bound, flow.to);
    count(t, (flow.from, flow.to), counted, true, 1);
    if bound {
        let (o, r) = (&flow.original, &flow.reply);
        let key = if flow.from != 0 {
            inside_key(o.src, o.sport, r.dst, o.proto)
        } else {
            inside_key(r.src, r.sport, o.dst, o.proto)
        };
        count_at_binding(t, &key, flow.life, 1);
    }
}

/// Counts a flow at its binding. One that has been made anew since is another, which did not count it. (In
/// one case of 32 it is taken for the same, and counts too few: it is never kept for longer than its flows.)
#[inline(always)]
fn count_at_binding<T: Tables>(t: &T, key: &Tuple<T::A>, life: u8, by: i64) {
    if let Some(e) = t.ct(key)
        && life_of(e.generation()) == life
    {
        e.add_flows(by, t.now());
    }
}

/// What the record of a removed flow knew of its binding.
#[derive(Clone, Copy)]
pub(crate) struct Unbound<A: Addr> {
    /// The flags of the record: whether it has one, and of which life.
    flags: u8,
    /// An endpoint has begun it.
    from_inside: bool,
    port: u16,
    addr: A,
}

/// Counts a flow whose record the caller has claimed. When that is deleted, [`unbind`] is told the result.
#[inline(always)]
pub(crate) fn removed<T: Tables>(t: &T, proto: u8, record: CtRef<T::A>) -> Unbound<T::A> {
    let embryonic = is_embryonic(proto, record.state());
    let flags = record.flags();
    let counted = counts(proto, flags & FLAG_BOUND != 0, record.from());
    count(t, (record.to(), record.from()), counted, embryonic, -1);
    let from_inside = record.to() != 0;
    Unbound {
        flags,
        from_inside,
        port: record.dport(),
        addr: if from_inside {
            record.dst()
        } else {
            record.src()
        },
    }
}

/// Takes a removed flow off its binding. `key`: that of its record, which becomes that of the binding: of
/// IPv6 the stack has no room for both.
#[inline(always)]
pub(crate) fn unbind<T: Tables>(t: &T, key: &mut Tuple<T::A>, was: &Unbound<T::A>) {
    if was.flags & FLAG_BOUND == 0 {
        return;
    }
    let proto = key.proto;
    *key = if was.from_inside {
        inside_key(was.addr, was.port, key.dst, proto)
    } else {
        inside_key(key.src, key.sport, was.addr, proto)
    };
    count_at_binding(t, key, was.flags & FLAG_LIFE_MASK, -1);
}

/// Counts a flow whose state word the caller has exchanged.
#[inline(always)]
pub(super) fn moved<T: Tables>(t: &T, proto: u8, record: CtRef<T::A>, old: u32, new: u32) {
    let (was, is) = (is_embryonic(proto, old), is_embryonic(proto, new));
    if was != is && is_inbound(record.to(), record.from()) {
        t.add_live(Budget::inbound::<T::A>(), if is { 1 } else { -1 });
    }
}
