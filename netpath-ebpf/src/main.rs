//! The kernel programs of netpath: hook entry points and nothing else.
//!
//! Owns the adaptation of kernel contexts to the traits of netpath-common. Decides nothing.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the program macros make public functions without the comments"
)]

mod collect;
mod counters;
mod ctx;
mod family;
mod fib;
mod finish;
mod global;
mod hooks;
mod maps;
mod measure;
mod memory;
mod published;
mod six;
mod sock;
mod tables;
mod tunnel;

use aya_ebpf::{
    bindings::{
        TC_ACT_SHOT,
        xdp_action::{XDP_DROP, XDP_PASS},
    },
    helpers::generated::bpf_redirect,
    macros::{cgroup_sock_addr, classifier, xdp},
    programs::{SockAddrContext, TcContext, XdpContext},
};
use ctx::{TcPacket, XdpPacket};
use finish::{NEXT, finish, take_translated, take_vetted};
use netpath_common::{
    Action, DropReason, V4, V6,
    datapath::{self, Bucket, Work},
    event::Hook,
};
use sock::PROCEED;
use tables::KernelTables;

/// Ingress of the host side of an endpoint's veth.
///
/// Inlined into the entry point, which would have a stack frame of its own: kernel 6.1 counts 32 bytes
/// for it, and the way to a refusal needs them.
#[classifier]
#[inline(always)]
pub fn np_veth(ctx: TcContext) -> i32 {
    hooks::veth::<V4>(&ctx)
}

/// The same, of IPv6.
#[classifier]
pub fn np_veth6(ctx: TcContext) -> i32 {
    hooks::veth::<V6>(&ctx)
}

/// Ingress of a network's bridge.
#[classifier]
pub fn np_bridge(ctx: TcContext) -> i32 {
    finish::<V4>(
        &ctx,
        Hook::Bridge,
        0,
        datapath::bridge_ingress(take_vetted(&ctx)),
    )
}

/// Ingress of an uplink.
#[classifier]
pub fn np_uplink_in(ctx: TcContext) -> i32 {
    hooks::uplink_in::<V4>(&ctx)
}

/// The same, of IPv6.
#[classifier]
pub fn np_uplink_in6(ctx: TcContext) -> i32 {
    hooks::uplink_in::<V6>(&ctx)
}

/// Egress of an uplink.
#[classifier]
pub fn np_uplink_out(ctx: TcContext) -> i32 {
    if take_translated(&ctx) {
        return NEXT;
    }
    hooks::uplink_out::<V4>(&ctx)
}

/// Ingress of the loopback device: what of the host's own the sockets cannot be sent.
#[classifier]
pub fn np_lo_in(ctx: TcContext) -> i32 {
    if take_translated(&ctx) {
        return six::finish(&ctx, six::np_to_ipv6(ctx.skb.skb));
    }
    if six::is_ipv6(&ctx) && six::np_is_for_ipv4(ctx.skb.skb) != 0 {
        let action = six::np_to_ipv4(ctx.skb.skb);
        if action != NEXT {
            return six::finish(&ctx, action);
        }
    }
    global::np_loopback(ctx.skb.skb)
}

/// The same, of IPv6 that stays IPv6.
#[classifier]
pub fn np_lo_in6(ctx: TcContext) -> i32 {
    hooks::loopback::<V6>(&ctx)
}

/// The same, of IPv6.
#[classifier]
pub fn np_uplink_out6(ctx: TcContext) -> i32 {
    hooks::uplink_out::<V6>(&ctx)
}

/// Ingress of an uplink whose packets have no Ethernet header.
#[classifier]
pub fn np_tunnel_in(ctx: TcContext) -> i32 {
    tunnel::enter(&ctx)
}

/// Egress of such an uplink.
#[classifier]
pub fn np_tunnel_out(ctx: TcContext) -> i32 {
    if take_translated(&ctx) {
        return NEXT;
    }
    hooks::tunnel_out::<V4>(&ctx)
}

/// The same, of IPv6.
#[classifier]
pub fn np_tunnel_out6(ctx: TcContext) -> i32 {
    hooks::tunnel_out::<V6>(&ctx)
}

/// Forwarding without translation from an endpoint's veth: the benchmark's limit. Never attached
/// by netpath.
#[classifier]
pub fn np_forward_out(ctx: TcContext) -> i32 {
    let Some(work) = memory::work::<V4>() else {
        return TC_ACT_SHOT;
    };
    let result = datapath::forward_out(&mut TcPacket::new(&ctx), &KernelTables::new(&ctx), work);
    finish::<V4>(&ctx, Hook::Veth, work.to_ifindex, result)
}

/// Forwarding without translation from an uplink: the benchmark's limit. Never attached by netpath.
#[classifier]
pub fn np_forward_in(ctx: TcContext) -> i32 {
    let Some(work) = memory::work::<V4>() else {
        return TC_ACT_SHOT;
    };
    let result = datapath::forward_in(&mut TcPacket::new(&ctx), &KernelTables::new(&ctx), work);
    finish::<V4>(&ctx, Hook::UplinkIngress, work.to_ifindex, result)
}

/// The driver of an uplink: drops early what nobody wants.
#[xdp(frags)]
pub fn np_uplink_xdp(ctx: XdpContext) -> u32 {
    early(&ctx, |pkt, t, w, refused| {
        datapath::uplink_xdp(pkt, t, w, refused)
    })
}

/// The same, and translates and delivers what belongs to flows into containers.
#[xdp(frags)]
pub fn np_uplink_xdp_nat(ctx: XdpContext) -> u32 {
    early(&ctx, datapath::uplink_xdp_nat)
}

#[inline(always)]
fn early<'c>(
    ctx: &'c XdpContext,
    decide: impl FnOnce(
        &mut XdpPacket<'c>,
        &KernelTables<'c, XdpContext>,
        &mut Work,
        &mut Bucket,
    ) -> Result<Action, DropReason>,
) -> u32 {
    let (mut pkt, tables) = (XdpPacket::new(ctx), KernelTables::new(ctx));
    if datapath::is_known_nobodys(&pkt, &tables) {
        counters::dropped_again(DropReason::UnpublishedFlood);
        return XDP_DROP;
    }
    let (Some(work), Some(refused)) = (memory::work::<V4>(), memory::refused()) else {
        return XDP_PASS;
    };
    match decide(&mut pkt, &tables, work, refused) {
        // Into the ring of the container's interface (`veth_xdp_xmit`), which takes frames from
        // others only while it is polled (NAPI).
        // SAFETY: the helper has no preconditions.
        Ok(Action::ToEndpoint) => unsafe { bpf_redirect(work.to_ifindex, 0) as u32 },
        Ok(_) => XDP_PASS,
        Err(reason) => {
            counters::dropped_early(ctx, reason);
            XDP_DROP
        }
    }
}

/// Removes flows; run by user space through BPF_PROG_TEST_RUN, never attached. See [`collect`].
#[classifier]
pub fn np_collect(ctx: TcContext) -> i32 {
    collect::collect::<V4>(&ctx)
}

/// The same, of IPv6.
#[classifier]
pub fn np_collect6(ctx: TcContext) -> i32 {
    collect::collect::<V6>(&ctx)
}

/// connect(2) on IPv4 sockets.
#[cgroup_sock_addr(connect4)]
pub fn np_connect4(ctx: SockAddrContext) -> i32 {
    sock::send4(&ctx);
    PROCEED
}

/// connect(2) on IPv6 sockets.
#[cgroup_sock_addr(connect6)]
pub fn np_connect6(ctx: SockAddrContext) -> i32 {
    sock::connect6(&ctx)
}

/// sendto(2) and sendmsg(2) on unconnected UDP sockets, to an IPv4 address.
#[cgroup_sock_addr(sendmsg4)]
pub fn np_sendmsg4(ctx: SockAddrContext) -> i32 {
    sock::send4(&ctx);
    PROCEED
}

/// sendto(2) and sendmsg(2) on unconnected UDP sockets, to an IPv6 address.
#[cgroup_sock_addr(sendmsg6)]
pub fn np_sendmsg6(ctx: SockAddrContext) -> i32 {
    sock::sendmsg6(&ctx)
}

/// recvfrom(2) and recvmsg(2) on IPv4 UDP sockets.
#[cgroup_sock_addr(recvmsg4)]
pub fn np_recvmsg4(ctx: SockAddrContext) -> i32 {
    sock::receive4(&ctx);
    PROCEED
}

/// recvfrom(2) and recvmsg(2) on IPv6 UDP sockets.
#[cgroup_sock_addr(recvmsg6)]
pub fn np_recvmsg6(ctx: SockAddrContext) -> i32 {
    sock::receive6(&ctx);
    PROCEED
}

/// getpeername(2) on IPv4 sockets.
#[cgroup_sock_addr(getpeername4)]
pub fn np_peername4(ctx: SockAddrContext) -> i32 {
    sock::receive4(&ctx);
    PROCEED
}

/// getpeername(2) on IPv6 sockets.
#[cgroup_sock_addr(getpeername6)]
pub fn np_peername6(ctx: SockAddrContext) -> i32 {
    sock::receive6(&ctx);
    PROCEED
}

/// getsockname(2) on IPv4 sockets.
#[cgroup_sock_addr(getsockname4)]
pub fn np_sockname4(ctx: SockAddrContext) -> i32 {
    sock::name4(&ctx);
    PROCEED
}

/// getsockname(2) on IPv6 sockets.
#[cgroup_sock_addr(getsockname6)]
pub fn np_sockname6(ctx: SockAddrContext) -> i32 {
    sock::name6(&ctx);
    PROCEED
}

/// bind(2) on IPv4 sockets.
#[cgroup_sock_addr(bind4)]
pub fn np_bind4(ctx: SockAddrContext) -> i32 {
    sock::bind4(&ctx)
}

/// bind(2) on IPv6 sockets.
#[cgroup_sock_addr(bind6)]
pub fn np_bind6(ctx: SockAddrContext) -> i32 {
    sock::bind6(&ctx)
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The licence that the kernel sees: GPL-compatible, because some helpers ask for it.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
