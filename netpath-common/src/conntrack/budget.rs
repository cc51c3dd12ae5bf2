//! How many flows there may be, and how many there are.
//!
//! Owns the numbers of live things that are limited: what each endpoint has begun, what masquerade
//! has given it outside tuples for, and what the outside has begun and nobody has completed. They
//! change only together with the state word or the claim of a record, so they are exact: whoever
//! wins the exchange does the sum.

use super::{
    entry::{STATE_ASSURED, STATE_SEEN_REPLY},
    shared::CtRef,
};
use crate::{
    datapath::Tables, drop_reason::DropReason, maps::MAX_ENDPOINTS, nat::NewFlow, records::Config,
    tuple,
};

/// A number of live flows that is limited: an index of `np_live`.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget(u32);

impl Budget {
    /// Flows that the outside has begun and that are embryonic.
    pub const INBOUND: Self = Self(0);

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
    let established = if proto == tuple::TCP {
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
        let over = spent(Budget::flows(flow.from), config.endpoint_flows)
            || flow.to == 0 && spent(Budget::ports(flow.from), config.endpoint_ports);
        return over.then_some(DropReason::EndpointQuota);
    }
    (is_inbound(flow.from, flow.to) && spent(Budget::INBOUND, config.inbound_embryonic))
        .then_some(DropReason::InboundBudget)
}

/// Counts a flow that has been made (`by` 1), or given back or removed (-1).
#[inline(always)]
fn count<T: Tables>(t: &T, from: u16, to: u16, embryonic: bool, by: i64) {
    if from != 0 {
        t.add_live(Budget::flows(from), by);
        if to == 0 {
            t.add_live(Budget::ports(from), by);
        }
    } else if is_inbound(from, to) && embryonic {
        t.add_live(Budget::INBOUND, by);
    }
}

/// Counts a flow whose record has just been inserted.
#[inline(always)]
pub(crate) fn made<T: Tables>(t: &T, flow: &NewFlow<T::A>) {
    count(t, flow.from, flow.to, true, 1);
}

/// Counts a flow whose record the caller has claimed.
#[inline(always)]
pub(crate) fn removed<T: Tables>(t: &T, proto: u8, record: CtRef<T::A>) {
    let embryonic = is_embryonic(proto, record.state());
    count(t, record.to(), record.from(), embryonic, -1);
}

/// Counts a flow whose state word the caller has exchanged.
#[inline(always)]
pub(super) fn moved<T: Tables>(t: &T, proto: u8, record: CtRef<T::A>, old: u32, new: u32) {
    let (was, is) = (is_embryonic(proto, old), is_embryonic(proto, new));
    if was != is && is_inbound(record.to(), record.from()) {
        t.add_live(Budget::INBOUND, if is { 1 } else { -1 });
    }
}
