//! What the tc hooks do with a frame, for either family.
//!
//! Owns the order of steps around a decision. Decides nothing.

use aya_ebpf::{bindings::TC_ACT_SHOT, programs::TcContext};
use netpath_common::{
    Action, DropReason,
    datapath::{self, Work},
    event::Hook,
    packet::Packet,
};

use crate::{
    ctx::TcPacket,
    family::Maps,
    finish::{NEXT, finish, is_of_container},
    memory,
    tables::KernelTables,
    tunnel,
};

/// Ethernet, IP and TCP without options: what is read at constant offsets, bytes.
pub(crate) const fn fixed<A: Maps>() -> u32 {
    14 + A::HEADER as u32 + 20
}

/// Ingress of the host side of an endpoint's veth.
#[inline(always)]
pub(crate) fn veth<A: Maps>(ctx: &TcContext) -> i32 {
    let Some(work) = memory::work::<A>() else {
        return TC_ACT_SHOT;
    };
    let (mut pkt, tables) = (
        TcPacket::with(ctx, fixed::<A>()),
        KernelTables::<_, A>::new(ctx),
    );
    let result = datapath::veth_ingress(&mut pkt, &tables, work);
    datapath::release(&mut pkt, &tables, work, &result);
    finish::<A>(ctx, Hook::Veth, work.to_ifindex, result)
}

/// Ingress of an uplink.
#[inline(always)]
pub(crate) fn uplink_in<A: Maps>(ctx: &TcContext) -> i32 {
    let Some(work) = memory::work::<A>() else {
        return TC_ACT_SHOT;
    };
    let (mut pkt, tables) = (
        TcPacket::with(ctx, fixed::<A>()),
        KernelTables::<_, A>::new(ctx),
    );
    let result = datapath::uplink_ingress(&mut pkt, &tables, work);
    datapath::release(&mut pkt, &tables, work, &result);
    finish::<A>(ctx, Hook::UplinkIngress, work.to_ifindex, result)
}

/// Egress of an uplink, of what has not been translated yet.
#[inline(always)]
pub(crate) fn uplink_out<A: Maps>(ctx: &TcContext) -> i32 {
    let Some(work) = memory::work::<A>() else {
        return TC_ACT_SHOT;
    };
    let result = out::<A, _>(ctx, TcPacket::with(ctx, fixed::<A>()), work);
    finish::<A>(ctx, Hook::UplinkEgress, work.to_ifindex, result)
}

/// The same of an uplink whose packets have no Ethernet header.
#[inline(always)]
pub(crate) fn tunnel_out<A: Maps>(ctx: &TcContext) -> i32 {
    let Some(work) = memory::work::<A>() else {
        return TC_ACT_SHOT;
    };
    match out::<A, _>(ctx, TcPacket::bare(ctx, fixed::<A>()), work) {
        Ok(Action::Ipv6) => tunnel::to_ipv6(ctx),
        Err(reason) => tunnel::dropped::<A>(ctx, reason),
        result => finish::<A>(ctx, Hook::UplinkEgress, work.to_ifindex, result),
    }
}

#[inline(always)]
fn out<A: Maps, P: Packet>(
    ctx: &TcContext,
    mut pkt: P,
    work: &mut Work<A>,
) -> Result<Action, DropReason> {
    let tables = KernelTables::<_, A>::new(ctx);
    let result = datapath::uplink_egress(&mut pkt, &tables, work, is_of_container(ctx));
    if matches!(result, Ok(Action::Pass)) {
        datapath::note_sender(&tables, work);
    }
    result
}

/// Ingress of the loopback device, of what the host has sent to itself.
#[inline(always)]
pub(crate) fn loopback<A: Maps>(ctx: &TcContext) -> i32 {
    let Some(work) = memory::work::<A>() else {
        return TC_ACT_SHOT;
    };
    let tables = KernelTables::<_, A>::new(ctx);
    let mut pkt = TcPacket::with(ctx, fixed::<A>());
    let result = datapath::loopback_ingress(&mut pkt, &tables, work);
    if matches!(result, Ok(Action::Pass)) {
        // The host's own, and not worth counting.
        return NEXT;
    }
    finish::<A>(ctx, Hook::Loopback, work.to_ifindex, result)
}
