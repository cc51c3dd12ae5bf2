//! The way to the next hop of packets that leave by an uplink: leases.
//!
//! Owns the rule that nothing the kernel said about routes and neighbours is believed for longer
//! than [`LEASE_NS`], so that a changed neighbour, route, address or MTU takes effect without any
//! process of user space. Does not ask the kernel itself: [`Tables::route`] does.

use super::{Tables, work::Work};
use crate::{
    addr::{Addr, V4, V6},
    conntrack::{CtRef, FLAG_RECORD, snapshot},
    drop_reason::DropReason,
    records::{LOOPBACK_IFINDEX, NETWORK_ROUTED, NetworkRecord},
    tuple::Tuple,
};

/// How long an answer of the kernel is used, nanoseconds.
pub const LEASE_NS: u64 = 1_000_000_000;

/// Where the kernel's routes lead a flow, and the next hop's MAC address: one cache line.
///
/// Kept per CPU, so that no reader meets a half-written one. The packet that renews a lease goes
/// through the kernel's own output (`bpf_redirect_neigh`), which keeps the neighbour entry in use.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NextHop<A = V4> {
    /// The flow's packets towards the uplink, before translation.
    pub tuple: Tuple<A>,
    /// When the lease ends: coarse monotonic clock, nanoseconds.
    pub until: u64,
    /// The interface that the routes lead out of, 0 for none.
    pub ifindex: u32,
    /// The address that the kernel would give its own packets on this way; zero where it does not
    /// say (before Linux 6.7).
    pub source: A,
    /// MTU of the way in bytes, 0 if not known.
    pub mtu: u32,
    /// Address of the next hop, the gateway or the destination itself: not to be asked for once more by
    /// what leaves, for which other routes may hold (`ip rule from`). Zero where the kernel is to ask.
    pub gateway: A,
    /// MAC address of the next hop; zero if not known.
    pub dst_mac: [u8; 6],
    /// MAC address of the interface.
    pub src_mac: [u8; 6],
    /// The uplink that the flow came in by, which is asked for first; 0 for flows from inside.
    pub back: u32,
    /// Not zero: the routes lead nowhere. Zero without an interface: the stack may know more.
    pub no_route: u32,
    /// The veth whose packets of the flow go up the stack as they are, 0 for none; `src_mac` is then the
    /// container's. See `visible.rs`.
    pub passes: u32,
}

const _: () = assert!(size_of::<NextHop>() == 64);
const _: () = assert!(size_of::<NextHop<V6>>() == 112);

/// Slots of leases on each CPU; a power of two.
pub const NEXT_HOPS: u32 = 4096;

/// Where the lease of a flow lives. Flows that meet there cost each other the lease, no more.
#[inline(always)]
pub(super) fn slot<A: Addr>(t: &Tuple<A>) -> u32 {
    let addrs = t.src.mixed() ^ t.dst.mixed().rotate_left(16);
    let ports = (t.sport as u32) << 16 | t.dport as u32;
    // Fibonacci hashing: the upper bits of the product are well mixed.
    let mixed = (addrs ^ ports).wrapping_mul(0x9e37_79b1);
    mixed >> (32 - NEXT_HOPS.trailing_zeros())
}

/// The lease of the packet's flow, if it still holds.
///
/// `back`: see [`NextHop::back`]. Clients may use a port again by another uplink.
#[inline(always)]
pub(super) fn leased<'t, T: Tables>(
    t: &'t T,
    w: &Work<T::A>,
    back: u32,
) -> Option<&'t NextHop<T::A>> {
    let hop = t.next_hop(slot(&w.ip.tuple))?;
    (hop.tuple == w.ip.tuple && hop.back == back && w.now < hop.until).then_some(&*hop)
}

/// Asks the kernel, and leases its answer.
///
/// `ifindex`: the interface that the stack would say the packet came in by.
///
/// # Errors
/// [`DropReason::NoConfig`] where the tables have no such slot (they have).
#[inline(always)]
pub(super) fn renew<'t, T: Tables>(
    t: &'t T,
    w: &Work<T::A>,
    ifindex: u32,
) -> Result<&'t mut NextHop<T::A>, DropReason> {
    let hop = t.next_hop(slot(&w.ip.tuple)).ok_or(DropReason::NoConfig)?;
    t.route(&w.ip.tuple, ifindex, hop);
    hop.tuple = w.ip.tuple;
    hop.back = 0;
    hop.passes = 0;
    hop.until = w.now + LEASE_NS;
    Ok(hop)
}

/// What to do with a packet of a live flow that is to leave by an uplink.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// Out, as the flow says.
    Out = 0,
    /// The routes lead nowhere, or not simply out of an interface: the stack has to answer.
    Stack = 1,
    /// The routes lead out of another uplink, or the uplink has another address: the flow is over,
    /// as in the kernel (`nf_nat_oif_changed`, `net/netfilter/nf_nat_core.c`).
    Elsewhere = 2,
}

/// Finds the way of a packet of flow `e`, and notes in `w` what is leased of it.
///
/// # Errors
/// [`DropReason::NoRoute`] for answers to the outside, [`DropReason::NoConfig`].
#[inline(always)]
pub(super) fn way<T: Tables>(
    t: &T,
    w: &mut Work<T::A>,
    e: CtRef<T::A>,
    network: &NetworkRecord,
) -> Result<Way, DropReason> {
    let uplink = t.uplink(e.uplink()).ok_or(DropReason::NoConfig)?;
    // The record's direction leads to the outside where the outside has begun the flow.
    let back = if e.flags() & FLAG_RECORD == 0 {
        0
    } else {
        uplink.ifindex
    };
    if let Some(hop) = leased(t, w, back) {
        // The rest was judged when it was renewed.
        if hop.ifindex == 0 {
            return nowhere(hop);
        }
        w.out = uplink.ifindex;
        if back != 0 || hop.ifindex == uplink.ifindex {
            w.out = hop.ifindex;
            w.gateway = hop.gateway;
            w.mtu = hop.mtu;
            w.leased = hop.dst_mac != [0; 6];
            w.dst_mac = hop.dst_mac;
            w.src_mac = hop.src_mac;
        }
        return Ok(Way::Out);
    }
    if back != 0 {
        w.translated = snapshot(e, &w.ip.tuple);
        return way_back(t, w, back, network);
    }
    let hop = renew(t, w, network.bridge_ifindex)?;
    if hop.ifindex == 0 {
        return Ok(Way::Stack);
    }
    let elsewhere = hop.ifindex != uplink.ifindex
        || is_masqueraded_by_uplink::<T::A>(network)
            && hop.source != T::A::NONE
            && hop.source != e.src()
            && e.src() != w.ip.tuple.src;
    if elsewhere {
        return Ok(Way::Elsewhere);
    }
    w.gateway = hop.gateway;
    w.mtu = hop.mtu;
    Ok(Way::Out)
}

/// Whether the network's flows have the address of the uplink that they leave by.
#[inline(always)]
pub(super) fn is_masqueraded_by_uplink<A: Addr>(network: &NetworkRecord) -> bool {
    A::snat(network) == A::NONE && network.flags & NETWORK_ROUTED == 0
}

/// Finds the way of an answer to what came in by the uplink `back`, without a look at leases.
///
/// [`Work::translated`] is the packet as it will leave, which is what routes by source are made for.
///
/// # Errors
/// As [`way`].
#[inline(always)]
pub(super) fn way_back<T: Tables>(
    t: &T,
    w: &mut Work<T::A>,
    back: u32,
    network: &NetworkRecord,
) -> Result<Way, DropReason> {
    ask_back(t, w, back, network.bridge_ifindex);
    let hop = t.next_hop(slot(&w.ip.tuple)).ok_or(DropReason::NoConfig)?;
    if hop.ifindex == 0 {
        return nowhere(hop);
    }
    w.out = hop.ifindex;
    w.gateway = hop.gateway;
    w.mtu = hop.mtu;
    Ok(Way::Out)
}

/// Asks the kernel twice, and leases its answer: answers go back the way the question came where
/// any route leads there, and else as the kernel would send them, by its routes for what comes from
/// the container. Forced out of an uplink without a route they would be lost: the kernel then looks
/// for a neighbour that has the client's address.
///
/// A subprogram, so that the ways through it meet again.
#[inline(never)]
fn ask_back<T: Tables>(t: &T, w: &Work<T::A>, back: u32, ifindex: u32) {
    let Some(hop) = t.next_hop(slot(&w.ip.tuple)) else {
        return;
    };
    if back == LOOPBACK_IFINDEX {
        // To the host itself, and by no other way: routes say nothing about it.
        hop.ifindex = back;
        hop.source = T::A::NONE;
        hop.gateway = T::A::NONE;
        hop.mtu = 0;
        hop.dst_mac = [0; 6];
        hop.no_route = 0;
    } else {
        t.route_out(&w.translated, back, hop);
    }
    if hop.ifindex == 0 {
        t.route(&w.ip.tuple, ifindex, hop);
        if hop.mtu == 0
            && let Some(iface) = t.iface(hop.ifindex)
            && iface.is_uplink()
            && let Some(other) = t.uplink(iface.slot as u16)
        {
            // The kernel says it only where it knows the neighbour.
            hop.mtu = other.mtu;
        }
    }
    hop.tuple = w.ip.tuple;
    hop.back = back;
    hop.passes = 0;
    hop.until = w.now + LEASE_NS;
}

/// No interface: the drop is counted here if the kernel would only drop the answer, too.
#[inline(always)]
const fn nowhere<A: Addr>(hop: &NextHop<A>) -> Result<Way, DropReason> {
    if hop.back != 0 && hop.no_route != 0 {
        Err(DropReason::NoRoute)
    } else {
        Ok(Way::Stack)
    }
}
