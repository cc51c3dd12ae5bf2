//! Per-CPU counters and drop events.
//!
//! Owns the rule that every drop is counted under its reason, and reported where anyone listens.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, TC_ACT_SHOT},
    helpers::{bpf_ktime_get_ns, generated::bpf_ringbuf_query},
    programs::{TcContext, XdpContext},
};
use netpath_common::{
    DropReason, V4,
    counters::Counter,
    datapath::{READ_NOTHING, READ_PACKET},
    event::{DropEvent, Hook},
    maps::EVENT_BYTES,
    packet::Packet,
    records::IFACE_ENDPOINT,
};

use crate::{
    ctx::{TcPacket, XdpPacket},
    family::Maps,
    maps, memory,
};

/// Adds one to a counter.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(c) = maps::COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the value belongs to this CPU.
        unsafe { *c += 1 };
    }
}

/// Counts a dropped packet and reports it. What becomes of it as an action: a container may be told.
#[inline(never)]
pub(crate) fn dropped<A: Maps>(ctx: &TcContext, reason: DropReason, hook: Hook) -> i32 {
    count_drop(reason);
    report::<A, _>(&TcPacket::new(ctx), reason, hook);
    // Whether to tell is asked there: a branch here the verifier would walk for each reason.
    if matches!(hook, Hook::Veth | Hook::UplinkEgress) {
        A::refuse(ctx.skb.skb.cast(), reason as u32) as i32
    } else {
        TC_ACT_SHOT
    }
}

/// Counts a dropped packet that only repeats one that was reported.
#[inline(always)]
pub(crate) fn dropped_again(reason: DropReason) {
    count_drop(reason);
    count(Counter::EventLost);
}

/// As [`dropped`] at the XDP hook, where a flood must not cost what nobody reads: with the ring
/// full the event is lost without being made.
#[inline(always)]
pub(crate) fn dropped_early(ctx: &XdpContext, reason: DropReason) {
    /// An event with the ring's own header.
    const EVENT: u64 = (size_of::<DropEvent>() + 8) as u64;
    count_drop(reason);
    let ring = (&raw const maps::EVENTS).cast_mut().cast();
    // SAFETY: the address is that of a ring buffer map.
    let unread = unsafe { bpf_ringbuf_query(ring, u64::from(BPF_RB_AVAIL_DATA)) };
    if unread + EVENT > EVENT_BYTES as u64 {
        count(Counter::EventLost);
    } else {
        reported_early(ctx, reason);
    }
}

#[inline(never)]
fn reported_early(ctx: &XdpContext, reason: DropReason) {
    let pkt = XdpPacket::new(ctx);
    if let Some(work) = memory::work::<V4>() {
        // What that hook has read stays in registers.
        work.read_again(&pkt);
    }
    report::<V4, _>(&pkt, reason, Hook::Xdp);
}

#[inline(always)]
pub(crate) fn count_drop(reason: DropReason) {
    if let Some(c) = maps::DROPS.get_ptr_mut(reason as u32) {
        // SAFETY: the value belongs to this CPU.
        unsafe { *c += 1 };
    }
}

/// Reports what the working memory has of the packet: to read it once more would take the stack that
/// the deepest program has left on Linux 6.1.
#[inline(always)]
pub(crate) fn report<A: Maps, P: Packet>(pkt: &P, reason: DropReason, hook: Hook) {
    let mut endpoint = 0;
    if matches!(hook, Hook::Veth) {
        // SAFETY: user space replaces values whole; a copy is made at once.
        let iface = unsafe { maps::IFACES.get(pkt.ifindex()) }.copied();
        if let Some(iface) = iface
            && iface.kind == IFACE_ENDPOINT
        {
            endpoint = iface.slot as u16;
            if let Some(s) = maps::ENDPOINT_STATS.get_ptr_mut(iface.slot) {
                // SAFETY: the value belongs to this CPU.
                unsafe { (*s).drops += 1 };
            }
        }
    }
    let Some(work) = memory::work::<A>() else {
        return;
    };
    // Written where it is read: on the stack it would be too large beside the packet's own.
    let Some(mut place) = maps::EVENTS.reserve(0) else {
        count(Counter::EventLost);
        return;
    };
    let event: &mut DropEvent = place.write(DropEvent::default());
    // SAFETY: the helper has no preconditions.
    event.time_ns = unsafe { bpf_ktime_get_ns() };
    event.reason = reason as u32;
    event.ifindex = pkt.ifindex();
    event.len = pkt.len() as u32;
    event.hook = hook as u8;
    event.endpoint = endpoint;
    if work.read != READ_NOTHING {
        event.ethertype = work.eth.ethertype;
        event.src_mac = work.eth.src;
    }
    if work.read == READ_PACKET {
        A::show(&work.ip.tuple, event);
    }
    place.submit(0);
}
