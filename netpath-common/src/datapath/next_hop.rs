//! The way to the next hop of packets that leave by an uplink: leases.
//!
//! Owns the rule that nothing the kernel said about routes and neighbours is believed for longer
//! than [`LEASE_NS`], so that a changed neighbour, route, address or MTU takes effect without any
//! process of user space. Does not ask the kernel itself: [`Tables::route`] does.

use super::{Tables, work::Work};
use crate::{
    conntrack::{CtRef, FLAG_RECORD},
    drop_reason::DropReason,
    records::NetworkRecord,
    records::UplinkRecord,
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
pub struct NextHop {
    /// The flow's packets towards the uplink, before translation.
    pub tuple: Tuple,
    /// When the lease ends: coarse monotonic clock, nanoseconds.
    pub until: u64,
    /// The interface that the routes lead out of, 0 for none: the stack has to answer.
    pub ifindex: u32,
    /// The address that the kernel would give its own packets on this way; zero where it does not
    /// say (before Linux 6.7).
    pub source: [u8; 4],
    /// MTU of the way in bytes, 0 if not known.
    pub mtu: u32,
    /// MAC address of the next hop; zero if not known.
    pub dst_mac: [u8; 6],
    /// MAC address of the interface.
    pub src_mac: [u8; 6],
    /// Always zero.
    pub zero: [u32; 3],
}

const _: () = assert!(size_of::<NextHop>() == 64);

/// Slots of leases on each CPU; a power of two.
pub const NEXT_HOPS: u32 = 4096;

/// Where the lease of a flow lives. Flows that meet there cost each other the lease, no more.
#[inline(always)]
fn slot(t: &Tuple) -> u32 {
    let addrs = u32::from_ne_bytes(t.src) ^ u32::from_ne_bytes(t.dst).rotate_left(16);
    let ports = (t.sport as u32) << 16 | t.dport as u32;
    // Fibonacci hashing: the upper bits of the product are well mixed.
    let mixed = (addrs ^ ports).wrapping_mul(0x9e37_79b1);
    mixed >> (32 - NEXT_HOPS.trailing_zeros())
}

/// The lease of the packet's flow, if it still holds.
#[inline(always)]
pub(super) fn leased<'t, T: Tables>(t: &'t T, w: &Work) -> Option<&'t NextHop> {
    let hop = t.next_hop(slot(&w.ip.tuple))?;
    (hop.tuple == w.ip.tuple && w.now < hop.until).then_some(&*hop)
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
    w: &Work,
    ifindex: u32,
) -> Result<&'t NextHop, DropReason> {
    let hop = t.next_hop(slot(&w.ip.tuple)).ok_or(DropReason::NoConfig)?;
    t.route(&w.ip, ifindex, hop);
    hop.tuple = w.ip.tuple;
    hop.until = w.now + LEASE_NS;
    Ok(hop)
}

/// What to do with a packet of a live flow that is to leave by an uplink.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// Out, as the flow says.
    Out = 0,
    /// The routes lead nowhere: the stack has to answer.
    Stack = 1,
    /// The routes lead out of another uplink, or the uplink has another address: the flow is over,
    /// as in the kernel (`nf_nat_oif_changed`, `net/netfilter/nf_nat_core.c`).
    Elsewhere = 2,
}

/// Finds the way of a packet of flow `e`, and notes in `w` what is leased of it.
#[inline(always)]
pub(super) fn way<T: Tables>(
    t: &T,
    w: &mut Work,
    e: CtRef,
    network: &NetworkRecord,
) -> Result<Way, DropReason> {
    let uplink = t.uplink(e.uplink()).ok_or(DropReason::NoConfig)?;
    if let Some(hop) = leased(t, w) {
        if hop.ifindex == uplink.ifindex && hop.dst_mac != [0; 6] {
            w.mtu = hop.mtu;
            w.leased = true;
            w.dst_mac = hop.dst_mac;
            w.src_mac = hop.src_mac;
        }
        // Judged when it was renewed.
        return Ok(if hop.ifindex == 0 {
            Way::Stack
        } else {
            Way::Out
        });
    }
    let hop = renew(t, w, network.bridge_ifindex)?;
    if hop.ifindex == uplink.ifindex {
        w.mtu = hop.mtu;
    }
    Ok(judge(hop, e, uplink, network))
}

#[inline(always)]
fn judge(hop: &NextHop, e: CtRef, uplink: &UplinkRecord, network: &NetworkRecord) -> Way {
    if hop.ifindex == 0 {
        return Way::Stack;
    }
    // Answers go back the way the question came, whatever the routes say.
    if e.flags() & FLAG_RECORD == 0
        && (hop.ifindex != uplink.ifindex
            || network.snat == [0; 4] && hop.source != [0; 4] && hop.source != e.src())
    {
        return Way::Elsewhere;
    }
    Way::Out
}
