//! Flows to published ports, and what of a container's goes to the host.
//!
//! Owns the plan of such a flow, and the source that a container has which asks itself.

use super::{Tables, may_be_published, published, step::Step, work::Work};
use crate::{
    addr::Addr,
    drop_reason::DropReason,
    nat::{NewFlow, initial_state},
    publish::Answer,
    records::{NETWORK_ICC, NETWORK_INTERNAL, NetworkRecord},
};

/// A packet to an address of the host: to a published port, or to the host's own services.
///
/// The source stays, so that the published service sees who asks. It becomes the gateway's where the
/// answer would never arrive: where a container asks itself, and where it asks a neighbour in a network
/// without ICC, whose bridge keeps their ARP and neighbour discovery apart as well.
#[inline(always)]
pub(super) fn to_host<T: Tables>(
    t: &T,
    w: &mut Work<T::A>,
    slot: u16,
    network: &NetworkRecord,
) -> Result<Step<T::A>, DropReason> {
    if !w.ip.has_ports() || network.flags & NETWORK_INTERNAL != 0 {
        return Ok(Step::PASS);
    }
    if !may_be_published(t, w) {
        w.from_endpoint = slot;
        return Ok(Step::BOUND);
    }
    match published(t, w, 0) {
        Answer::Nothing => return Ok(Step::PASS),
        Answer::NotAllowed => return Err(DropReason::NotAllowed),
        Answer::Found => {}
    }
    let source = if w.look.target.endpoint == slot || is_kept_apart(t, w, slot, network) {
        T::A::gateway(network)
    } else {
        T::A::NONE
    };
    to_published(t, w, slot, 0, source)
}

/// Whether the published port in [`Work::look`] is a neighbour's of the endpoint in this slot, and their
/// network keeps neighbours apart.
#[inline(always)]
fn is_kept_apart<T: Tables>(t: &T, w: &Work<T::A>, slot: u16, network: &NetworkRecord) -> bool {
    network.flags & NETWORK_ICC == 0
        && match (t.endpoint(slot), t.endpoint(w.look.target.endpoint)) {
            (Some(from), Some(to)) => from.network == to.network,
            (None, _) | (_, None) => false,
        }
}

/// Plans a flow to the published port in [`Work::look`]; `source` replaces the client's address,
/// unless it is none. (An `Option` would pass an undefined register.)
#[inline(always)]
pub(super) fn to_published<T: Tables>(
    t: &T,
    w: &mut Work<T::A>,
    from: u16,
    uplink: u16,
    source: T::A,
) -> Result<Step<T::A>, DropReason> {
    let p = w.look.target;
    let endpoint = t.endpoint(p.endpoint).ok_or(DropReason::NoConfig)?;
    let network = t.network(endpoint.network).ok_or(DropReason::NoConfig)?;
    if endpoint.ifindex == 0 {
        return Err(DropReason::NoConfig);
    }
    if network.flags & NETWORK_INTERNAL != 0 {
        // Nothing enters an internal network; the host's own stack answers.
        return Ok(Step::PASS);
    }
    let replaced = source != T::A::NONE;
    w.flow = NewFlow {
        from,
        to: p.endpoint,
        uplink,
        rule: p.rule,
        host_address: replaced,
        state: initial_state(&w.ip)?,
        ..NewFlow::default()
    };
    // Field by field: of IPv6 a copy would be too large for the stack.
    w.flow.original = w.ip.tuple;
    let reply = &mut w.flow.reply;
    reply.src = p.addr;
    reply.dst = w.ip.tuple.src;
    if replaced {
        reply.dst = source;
    }
    reply.sport = p.port;
    reply.dport = w.ip.tuple.sport;
    reply.proto = w.ip.tuple.proto;
    Ok(Step::CREATE)
}
