//! Uplinks whose packets have no Ethernet header: tunnels and dialled lines.
//!
//! Owns the header that their packets are given, so that one datapath serves all uplinks. Decides nothing.

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_SHOT, bpf_hdr_start_off::BPF_HDR_START_NET},
    helpers::generated::{bpf_skb_change_head, bpf_skb_load_bytes_relative},
    programs::TcContext,
};
use netpath_common::{
    Action, DropReason, V4, V6,
    datapath::{self, READ_NOTHING},
    event::Hook,
    maps::{TUNNEL_IN, TUNNEL_OUT6},
    packet::ETH_LEN,
};

use crate::{
    counters,
    ctx::TcPacket,
    family::Maps,
    finish::{NEXT, finish},
    hooks::fixed,
    maps, memory,
    tables::KernelTables,
};

/// Headers at constant offsets: of a report nothing is read.
const NOTHING: u32 = ETH_LEN as u32;

/// Gives a packet that comes in an Ethernet header, and hands it to the uplinks' program. The kernel takes
/// off the header of whatever goes up the stack (`skb->mac_len`, which the helper sets).
#[inline(always)]
pub(crate) fn enter(ctx: &TcContext) -> i32 {
    let skb = ctx.skb.skb;
    if begins_by(skb, 0) {
        if !give_header(skb) {
            return match long::<V4>(ctx) {
                Ok(Action::Ipv6) => finish_long::<V6>(ctx, long::<V6>(ctx)),
                result => finish_long::<V4>(ctx, result),
            };
        }
    } else if !begins_by(skb, ETH_LEN) || begins_by(skb, ETH_LEN - 1) {
        // Since Linux 5.14 no such device leaves anything else there.
        return refused(ctx);
    }
    // Otherwise the header is that of the frame that the packet came out of (VTI, XFRM interfaces).
    // SAFETY: the context is valid for the whole program.
    let ethertype = unsafe { (*skb).protocol } as u16;
    if ctx.store(ETH_LEN - 2, &ethertype, 0).is_err() {
        return refused(ctx);
    }
    // SAFETY: the context is the program's own; programs of the array have the same type.
    unsafe { maps::TUNNEL.tail_call(ctx, TUNNEL_IN) };
    refused(ctx)
}

/// Decides about a packet that is too long for a header.
#[inline(always)]
fn long<A: Maps>(ctx: &TcContext) -> Result<Action, DropReason> {
    let work = memory::work::<A>().ok_or(DropReason::NoConfig)?;
    let pkt = TcPacket::bare(ctx, fixed::<A>());
    datapath::long_ingress(&pkt, &KernelTables::<_, A>::new(ctx), work)
}

#[inline(always)]
fn finish_long<A: Maps>(ctx: &TcContext, result: Result<Action, DropReason>) -> i32 {
    finish::<A>(ctx, Hook::UplinkIngress, 0, result)
}

/// Puts fourteen zero bytes before the packet.
#[inline(always)]
fn give_header(skb: *mut __sk_buff) -> bool {
    // SAFETY: the context is valid for the whole program.
    unsafe { bpf_skb_change_head(skb, ETH_LEN as u32, 0) == 0 }
}

/// Whether the IP header begins within the first `len` bytes of the packet, or right behind them. Nobody
/// tells where; but a byte of the linear part is read from there on only as far as that part goes.
#[inline(always)]
fn begins_by(skb: *mut __sk_buff, len: usize) -> bool {
    let ctx = TcContext::new(skb);
    // The verifier takes no sum of a pointer into the packet but a difference of two.
    let linear = core::hint::black_box(ctx.data_end() - ctx.data());
    let mut byte = [0u8; 1];
    // SAFETY: the buffer is writable and of the length given.
    unsafe {
        bpf_skb_load_bytes_relative(
            skb.cast(),
            linear.wrapping_sub(len + 1) as u32,
            byte.as_mut_ptr().cast(),
            1,
            BPF_HDR_START_NET,
        ) == 0
    }
}

/// Drops a packet that could not be given a header. Nobody has read it.
#[inline(never)]
fn refused(ctx: &TcContext) -> i32 {
    if let Some(work) = memory::work::<V4>() {
        work.read = READ_NOTHING;
    }
    counters::dropped::<V4>(ctx, DropReason::RewriteFailed, Hook::UplinkIngress)
}

/// Goes on in the egress program for IPv6, and does not come back.
#[inline(always)]
pub(crate) fn to_ipv6(ctx: &TcContext) -> i32 {
    // SAFETY: the context is the program's own; programs of the array have the same type.
    unsafe { maps::TUNNEL.tail_call(ctx, TUNNEL_OUT6) };
    NEXT
}

/// As [`counters::dropped`], of a packet on its way out. It is given a header, since the answer to a
/// container is a frame that is written over it.
#[inline(never)]
pub(crate) fn dropped<A: Maps>(ctx: &TcContext, reason: DropReason) -> i32 {
    counters::count_drop(reason);
    counters::report::<A, _>(&TcPacket::bare(ctx, NOTHING), reason, Hook::UplinkEgress);
    if give_header(ctx.skb.skb) {
        A::refuse(ctx.skb.skb.cast(), reason as u32) as i32
    } else {
        TC_ACT_SHOT
    }
}
