//! The kernel programs of netpath: hook entry points and nothing else.
//!
//! Owns the adaptation of kernel contexts to the traits of netpath-common. Decides nothing.

#![no_std]
#![no_main]

mod maps;

use aya_ebpf::{
    macros::{cgroup_sock_addr, classifier},
    programs::{SockAddrContext, TcContext},
};

/// Ingress of the host side of an endpoint's veth.
#[classifier]
pub fn np_veth(_ctx: TcContext) -> i32 { -1 }
/// Ingress of a network's bridge.
#[classifier]
pub fn np_bridge(_ctx: TcContext) -> i32 { -1 }
/// Ingress of an uplink.
#[classifier]
pub fn np_uplink_in(_ctx: TcContext) -> i32 { -1 }
/// Egress of an uplink.
#[classifier]
pub fn np_uplink_out(_ctx: TcContext) -> i32 { -1 }
/// Removes flows; run by user space, never attached.
#[classifier]
pub fn np_collect(_ctx: TcContext) -> i32 { 0 }
/// connect(2) on IPv4 sockets.
#[cgroup_sock_addr(connect4)]
pub fn np_connect4(_ctx: SockAddrContext) -> i32 { 1 }
/// connect(2) on IPv6 sockets, for v4-mapped addresses.
#[cgroup_sock_addr(connect6)]
pub fn np_connect6(_ctx: SockAddrContext) -> i32 { 1 }
/// sendto(2) and sendmsg(2) on unconnected IPv4 UDP sockets.
#[cgroup_sock_addr(sendmsg4)]
pub fn np_sendmsg4(_ctx: SockAddrContext) -> i32 { 1 }
/// recvfrom(2) and recvmsg(2) on IPv4 UDP sockets.
#[cgroup_sock_addr(recvmsg4)]
pub fn np_recvmsg4(_ctx: SockAddrContext) -> i32 { 1 }
/// getpeername(2) on IPv4 sockets.
#[cgroup_sock_addr(getpeername4)]
pub fn np_peername4(_ctx: SockAddrContext) -> i32 { 1 }

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The licence that the kernel sees: GPL-compatible, because some helpers ask for it.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
