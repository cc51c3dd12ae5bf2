//! The datapath: what happens to a packet at each hook.
//!
//! Owns the order of decisions and the [`Tables`] trait through which they reach the maps and the
//! kernel. Hooks of the kernel programs call exactly one function of this module each.

mod arp;
mod bound;
mod bridge;
mod collect;
mod conclude;
mod dhcp;
mod forward;
mod fragment;
mod hold;
mod icmp_error;
mod long;
mod loopback;
mod masquerade;
pub mod mss;
mod neighbour6;
mod next_hop;
mod own;
mod refuse;
mod refuse6;
mod routed;
mod step;
mod to_published;
mod uplink;
mod veth;
mod visible;
mod work;
mod xdp;
mod xdp_nat;

pub use bound::plan_bound;
pub use bridge::{Vetted, bridge_ingress};
pub use collect::collect;
pub use forward::{FORWARD_NETWORK, FORWARD_UPLINK, forward_in, forward_out};
pub use fragment::{Part, note_part};
pub use hold::{HELD, HELD_BYTES, HOLD_NS, Held, HeldRef, release};
pub use long::long_ingress;
pub use loopback::loopback_ingress;
pub use neighbour6::{link_local, on_link};
pub use next_hop::{LEASE_NS, NEXT_HOPS, NextHop};
pub use own::hold_tuple;
pub use refuse::{TOLD_AT_ONCE, TOLD_PER_SECOND, is_told, refuse};
pub use refuse6::refuse6;
pub use uplink::{uplink_egress, uplink_ingress};
pub use veth::veth_ingress;
pub use work::{READ_FRAME, READ_NOTHING, READ_PACKET, Work};
pub use xdp::{
    Bucket, PortUse, REFUSED_AT_ONCE, REFUSED_PER_SECOND, is_known_nobodys, note_sender, uplink_xdp,
};
pub(crate) use xdp::{mark_translated, mark_used};
pub use xdp_nat::uplink_xdp_nat;

use crate::{
    addr::Addr,
    conntrack::{Budget, CtEntry, CtRef, consult},
    counters::Counter,
    drop_reason::DropReason,
    nat::{NewFlow, bind, reserve_and_index},
    packet::{Family, Ip, Kind},
    publish::{Answer, Asked, PublishedPorts, find},
    records::{Config, FragKey, FragRecord, IfaceRecord, UplinkRecord},
    tuple::Tuple,
};

/// Why an entry could not be inserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InsertError {
    /// The key is taken.
    Exists,
    /// The table is full.
    Full,
}

/// Everything that the datapath asks of the world besides the packet.
///
/// Getters by slot answer `None` for slots out of range; a free slot answers a zero record.
pub trait Tables: PublishedPorts<A: Family> {
    /// The coarse monotonic clock in nanoseconds.
    fn now(&self) -> u64;
    /// 32 random bits.
    fn random(&self) -> u32;
    /// The configuration.
    fn config(&self) -> Option<&Config>;
    /// The conntrack entry of this tuple, expired or not.
    fn ct(&self, key: &Tuple<Self::A>) -> Option<CtRef<Self::A>>;
    /// Inserts an entry if the key is free: one atomic step.
    ///
    /// # Errors
    /// [`InsertError`].
    fn ct_insert(&self, key: &Tuple<Self::A>, entry: &CtEntry<Self::A>) -> Result<(), InsertError>;
    /// Deletes an entry.
    fn ct_delete(&self, key: &Tuple<Self::A>);
    /// An uplink by slot.
    fn uplink(&self, slot: u16) -> Option<&UplinkRecord>;
    /// What an interface is.
    fn iface(&self, ifindex: u32) -> Option<IfaceRecord>;
    /// The endpoint that has this address.
    fn endpoint_by_addr(&self, addr: &Self::A) -> Option<u16>;
    /// The network whose subnet holds this address.
    fn subnet(&self, addr: &Self::A) -> Option<u16>;
    /// Whether the address is one of the host's (without loopback).
    fn is_host_addr(&self, addr: &Self::A) -> bool;
    /// Whether masquerade must not choose this port.
    fn is_reserved(&self, proto: u8, port: u16) -> bool;
    /// The record of a fragmented datagram. Other processors may change it.
    #[expect(
        clippy::mut_from_ref,
        reason = "fragments of one datagram that meet on two processors may miss an overlap"
    )]
    fn frag(&self, key: &FragKey<Self::A>) -> Option<&mut FragRecord<Self::A>>;
    /// Remembers a fragmented datagram.
    fn frag_insert(&self, key: &FragKey<Self::A>, record: &FragRecord<Self::A>);
    /// A place for a fragment that waits for its first one; `None` from [`HELD`] on.
    fn held(&self, index: u32) -> Option<HeldRef<Self::A>>;
    /// This CPU's memory for the first one, meanwhile.
    #[expect(
        clippy::mut_from_ref,
        reason = "each CPU has memory of its own, used by one packet at a time"
    )]
    fn saved(&self) -> Option<&mut [u8; HELD_BYTES]>;
    /// The bucket of answers to an endpoint whose flows are refused. Processors that meet in it may
    /// give one more.
    #[expect(
        clippy::mut_from_ref,
        reason = "a race about a token costs one answer more"
    )]
    fn told(&self, endpoint: u16) -> Option<&mut Bucket>;
    /// Counts a drop that no hook decides about.
    fn count_drop(&self, reason: DropReason);
    /// Remembers the record key of a flow that may be removed where room is needed; where the queue
    /// is full the oldest is forgotten.
    ///
    /// `inbound`: the outside has begun it, and it is not established yet.
    fn reclaim_push(&self, key: &Tuple<Self::A>, inbound: bool);
    /// Takes the oldest remembered key of that kind; false where there is none.
    fn reclaim_pop(&self, inbound: bool, key: &mut Tuple<Self::A>) -> bool;
    /// How many live flows count towards a limit. Below zero for a moment where a flow is removed by
    /// another processor while it is being made.
    fn live(&self, budget: Budget) -> i64;
    /// Changes that number.
    fn add_live(&self, budget: Budget, by: i64);
    /// This CPU's lease in `slot`, which is below [`NEXT_HOPS`].
    #[expect(
        clippy::mut_from_ref,
        reason = "each CPU has leases of its own, used one at a time"
    )]
    fn next_hop(&self, slot: u32) -> Option<&mut NextHop<Self::A>>;
    /// Writes the kernel's route for a packet that came in by `ifindex` into `hop`: everything but
    /// `tuple`, `back` and `until`.
    fn route(&self, tuple: &Tuple<Self::A>, ifindex: u32, hop: &mut NextHop<Self::A>);
    /// The same for a packet that is to go out of `ifindex`, whatever other routes there are.
    fn route_out(&self, tuple: &Tuple<Self::A>, ifindex: u32, hop: &mut NextHop<Self::A>);
    /// Whether the kernel itself takes packets to this address: slow, and right at any moment.
    fn is_local(&self, ip: &Ip<Self::A>, ifindex: u32) -> bool;
    /// Whether a socket of the host would receive `tuple`, a packet from the outside.
    fn host_socket(&self, tuple: &Tuple<Self::A>) -> bool;
    /// The kernel's own clock, one to ten milliseconds a tick: coarser than [`Tables::now`] and free.
    fn tick(&self) -> u64;
    /// What is known about a port of the host; `None` for protocols without ports.
    fn port(&self, proto: u8, port: u16) -> Option<PortUse>;
    /// Remembers that nobody wants what comes to a port, see [`PortUse::nobody`].
    fn set_nobody(&self, proto: u8, port: u16, nobody: u64);
    /// Remembers that packets have been sent from a port, see [`PortUse::used`].
    fn set_used(&self, proto: u8, port: u16);
    /// Remembers that a translated flow has had a port, see [`PortUse::translated`].
    fn set_translated(&self, proto: u8, port: u16);
    /// [`consult`] about the packet in the working memory, which `ip` is, at its time `now`.
    ///
    /// Not called directly, as with [`Tables::make`].
    #[inline(always)]
    fn consult(&self, ip: &Ip<Self::A>, now: u64) -> u32
    where
        Self: Sized,
    {
        consult(self, ip, now)
    }
    /// [`reserve_and_index`] of the flow in the working memory, which `flow` is.
    ///
    /// Not called directly, so that the kernel's verifier can look at it by itself: once a program
    /// rather than once for each way that leads there.
    #[inline(always)]
    fn make(&self, flow: &mut NewFlow<Self::A>) -> u32
    where
        Self: Sized,
    {
        reserve_and_index(self, flow)
    }
    /// [`bind`] of the flow in the working memory, which `flow` is.
    ///
    /// Not called directly, as with [`Tables::make`].
    #[inline(always)]
    fn bind(&self, flow: &mut NewFlow<Self::A>) -> u32
    where
        Self: Sized,
    {
        bind(self, flow)
    }
    /// [`note_part`] of the packet in the working memory, which `w` is: 0, or 1 for an overlap.
    ///
    /// Not called directly, as with [`Tables::make`].
    #[inline(always)]
    fn note(&self, w: &mut Work<Self::A>) -> u32
    where
        Self: Sized,
    {
        note_part(self, w)
    }
    /// [`plan_bound`] of the packet in the working memory, which `w` is.
    ///
    /// Not called directly, as with [`Tables::make`].
    #[inline(always)]
    fn plan_bound(&self, w: &mut Work<Self::A>, from: u16, uplink: u16, as_bound: bool) -> u32
    where
        Self: Sized,
    {
        plan_bound(self, w, from, uplink, as_bound)
    }
    /// [`hold_tuple`] of the packet in the working memory, which `w` is.
    ///
    /// Not called directly, as with [`Tables::make`].
    #[inline(always)]
    fn hold_tuple(&self, w: &mut Work<Self::A>, ifindex: u32) -> u32
    where
        Self: Sized,
    {
        hold_tuple(self, w, ifindex)
    }
    /// [`find_port`] of the packet in the working memory, which `w` is: an [`Answer`].
    ///
    /// Not called directly, as with [`Tables::make`].
    #[inline(always)]
    fn find(&self, w: &mut Work<Self::A>, how: u32) -> u32
    where
        Self: Sized,
    {
        find_port(self, w, how)
    }
    /// Adds one to a counter.
    fn count(&self, counter: Counter);
    /// Counts a translated packet that an endpoint sent; `rule`: of its published port, 0 for none.
    fn count_tx(&self, endpoint: u16, rule: u16, bytes: u64);
    /// Counts a translated packet that an endpoint was given, likewise.
    fn count_rx(&self, endpoint: u16, rule: u16, bytes: u64);
    /// Counts a translated packet of a flow that a publishing rule made.
    fn count_rule(&self, rule: u16, bytes: u64);
    /// Counts a flow that an endpoint takes part in.
    fn count_flow(&self, endpoint: u16);
}

/// The sum of the generations that a flow depends on. Each only grows, so any change changes it.
#[inline(always)]
pub(crate) fn generation<T: Tables>(t: &T, from: u16, to: u16, uplink: u16, rule: u16) -> u32 {
    let mut sum = 0u32;
    if from != 0 {
        sum = sum.wrapping_add(t.endpoint(from).map_or(0, |e| e.generation));
    }
    if to != 0 {
        sum = sum.wrapping_add(t.endpoint(to).map_or(0, |e| e.generation));
    }
    if uplink != 0 {
        sum = sum.wrapping_add(t.uplink(uplink).map_or(0, |u| u.generation));
    }
    if rule != 0 {
        sum = sum.wrapping_add(t.rule(rule).map_or(0, |r| r.generation));
    }
    sum
}

/// Whether a packet's destination port may be a published one: those of TCP and UDP are reserved, and
/// one bit spares everything else two hash lookups.
#[inline(always)]
pub(crate) fn may_be_published<T: Tables>(t: &T, w: &Work<T::A>) -> bool {
    t.is_reserved(w.ip.tuple.proto, w.ip.tuple.dport) || matches!(w.ip.kind, Kind::Sctp)
}

/// How [`find_port`] looks: published at this very address, not at any of the host.
pub(crate) const FIND_EXACT: u32 = 1;
/// The same: the host itself asks, which every allow list lets in.
pub(crate) const FIND_FOR_HOST: u32 = 2;

/// Looks for the published port that the packet asks for, into [`Work::look`]: what
/// [`Tables::find`] is. `how`: `FIND_*`.
#[inline(always)]
pub fn find_port<T: Tables>(t: &T, w: &mut Work<T::A>, how: u32) -> u32 {
    let tuple = &w.ip.tuple;
    w.look.asked = Asked {
        dst: tuple.dst,
        src: if how & FIND_FOR_HOST != 0 {
            T::A::NONE
        } else {
            tuple.src
        },
        dport: tuple.dport,
        sport: tuple.sport,
        proto: tuple.proto,
        exact: how & FIND_EXACT != 0,
    };
    find(t, &mut w.look) as u32
}

/// The answer to the packet in the working memory. `how`: `FIND_*`.
#[inline(always)]
pub(crate) fn published<T: Tables>(t: &T, w: &mut Work<T::A>, how: u32) -> Answer {
    Answer::from_u32(t.find(w, how))
}

/// Whether no packet of the outside can have this source: loopback, multicast, limited broadcast
/// (RFC 1812, 5.3.7), an address of a container network, or one of the host's own.
///
/// The kernel's stack drops the same (`ip_route_input_slow`, `fib_validate_source`), but for two:
/// loopback where `route_localnet` is set, and a container's source where `rp_filter` is off; the
/// answer to either would never reach who has sent it.
#[inline(always)]
pub(crate) fn is_martian_source<T: Tables>(t: &T, src: &T::A) -> bool {
    src.is_never_a_source() || t.is_host_addr(src) || t.subnet(src).is_some()
}
