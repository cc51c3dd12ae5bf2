//! Flows from a container to the outside.
//!
//! Owns the choice of the outside address, which destinations are left alone, and what is asked of the
//! port. Does not search for a free one: [`crate::nat`] does.

use super::{Tables, step::Step, work::Work};
use crate::{
    addr::Addr,
    drop_reason::DropReason,
    nat::{BIND, NewFlow, Ports, initial_state},
    packet::Kind,
    records::{
        CONFIG_PRESERVE_PORTS, Config, IFACE_UPLINK, NETWORK_BINDINGS, NETWORK_KEEPS,
        NETWORK_ROUTED, NetworkRecord, kept_key,
    },
};

/// Whether the outside port of a network's flows does not depend on their destination.
#[inline(always)]
pub(super) const fn binds(network: &NetworkRecord) -> bool {
    network.flags & (NETWORK_BINDINGS | NETWORK_ROUTED) == NETWORK_BINDINGS
}

/// Among which ports one is chosen, and whether also where its own could be kept.
#[inline(always)]
pub(super) const fn ports_of(config: &Config) -> (Ports, bool) {
    let ranged = config.port_min != 0;
    (
        if ranged {
            Ports::range(config.port_min, config.port_max)
        } else {
            Ports { min: 0, count: 0 }
        },
        config.flags & CONFIG_PRESERVE_PORTS == 0,
    )
}

/// Whether a container keeps its address to the packet's destination, in a network that masquerades.
#[inline(always)]
fn keeps_address<T: Tables>(t: &T, w: &mut Work<T::A>, slot: u16, network: &NetworkRecord) -> bool {
    if network.flags & NETWORK_KEEPS == 0 {
        return false;
    }
    let Some(endpoint) = t.endpoint(slot) else {
        return false;
    };
    // In memory: of IPv6 a key would be too large for the stack.
    w.look.source = kept_key(endpoint.network, w.ip.tuple.dst);
    t.is_listed(&w.look.source)
}

/// Plans a flow from a container to the outside.
///
/// `source`: the address that the kernel would use, zero where it does not say. It is newer than
/// what user space wrote if that is late or dead.
#[inline(always)]
pub(super) fn masquerade<T: Tables>(
    t: &T,
    w: &mut Work<T::A>,
    slot: u16,
    network: &NetworkRecord,
    out_ifindex: u32,
    source: T::A,
) -> Result<Step<T::A>, DropReason> {
    let dst = w.ip.tuple.dst;
    let is_routed = network.flags & NETWORK_ROUTED != 0;
    if dst.is_link_local() || dst.is_never_a_destination() || !is_routed && dst.is_multicast() {
        return Err(DropReason::LinkScope);
    }
    let iface = t.iface(out_ifindex).ok_or(DropReason::NoUplink)?;
    if iface.kind != IFACE_UPLINK {
        return Err(DropReason::NoUplink);
    }
    let uplink = iface.slot as u16;
    let record = t.uplink(uplink).ok_or(DropReason::NoConfig)?;
    let keeps = is_routed || keeps_address(t, w, slot, network);
    let (snat, of_uplink) = (T::A::snat(network), T::A::of_uplink(record));
    let addr = if keeps {
        w.ip.tuple.src
    } else if snat != T::A::NONE {
        snat
    } else if source == T::A::NONE || source == of_uplink {
        of_uplink
    } else if t.subnet(&source).is_some() {
        // The uplink has lost its address, and the kernel would lend it a bridge's.
        return Err(DropReason::NoUplink);
    } else {
        source
    };
    if addr == T::A::NONE {
        return Err(DropReason::NoUplink);
    }
    let config = t.config().ok_or(DropReason::NoConfig)?;
    let fixed = keeps || w.ip.has_fixed_port();
    let (ports, any_port) = if fixed || !w.ip.has_ports() {
        // Its own; or identifiers, which nobody can guess a way in by.
        (Ports::default(), false)
    } else {
        ports_of(config)
    };
    w.flow = NewFlow {
        from: slot,
        to: 0,
        uplink,
        rule: 0,
        host_address: !keeps,
        ports,
        any_port,
        fixed,
        bound: if !keeps && binds(network) && matches!(w.ip.kind, Kind::Tcp | Kind::Udp) {
            BIND
        } else {
            0
        },
        state: initial_state(&w.ip)?,
        ..NewFlow::default()
    };
    // By themselves: of IPv6 copies would be too large for the stack.
    w.flow.original = w.ip.tuple;
    w.flow.reply = w.ip.tuple.inverse();
    w.flow.reply.dst = addr;
    Ok(Step::CREATE)
}
