//! Host-local access to published ports, at the socket.
//!
//! Owns the translation of connect, sendmsg, recvmsg and getpeername for processes of the managed
//! network namespace; every other process is left alone, so a container's own 127.0.0.1 stays its
//! own. No packet is translated on this path and no process stands in it.

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_sock_addr,
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    programs::SockAddrContext,
};
use netpath_common::{
    Addr as _, V4,
    counters::Counter,
    publish::{Answer, Asked, Lookup, Target, find},
    records::{NETWORK_INTERNAL, SockKey, SockRecord},
    tuple,
};

use crate::{counters, maps, published::SocketTables};

/// SOCK_STREAM of the socket API.
const STREAM: u32 = 1;
/// SOCK_DGRAM of the socket API.
const DGRAM: u32 = 2;

/// Whether the calling process lives in the managed network namespace.
#[inline(always)]
fn is_ours(ctx: &SockAddrContext) -> bool {
    // SAFETY: the context is valid for the whole program.
    let cookie = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    maps::CONFIG
        .get(0)
        .is_some_and(|c| c.netns_cookie == cookie)
}

#[inline(always)]
fn proto(sa: &bpf_sock_addr) -> Option<u8> {
    match sa.type_ {
        STREAM => Some(tuple::TCP),
        DGRAM => Some(tuple::UDP),
        _ => None,
    }
}

/// Where a published port of the host leads, if `addr` is the host's. `sport` tells sockets apart.
#[inline(always)]
fn lookup(proto: u8, addr: V4, port: u16, sport: u16) -> Option<Target<V4>> {
    if addr[0] != 127 && maps::HOST_ADDRS4.get_ptr(addr).is_none() {
        return None;
    }
    let asked = Asked {
        dst: addr,
        // The host itself: every list has it. So that a service of several endpoints is spread, each
        // socket is a client of its own.
        src: V4::NONE,
        dport: port,
        sport,
        proto,
        exact: false,
    };
    let mut look = Lookup::new(asked);
    if find(&SocketTables::<V4>::new(), &mut look) != Answer::Found {
        return None;
    }
    let found = look.target;
    let endpoint = maps::ENDPOINTS.get(u32::from(found.endpoint))?;
    let network = maps::NETWORKS.get(u32::from(endpoint.network))?;
    (network.flags & NETWORK_INTERNAL == 0).then_some(found)
}

/// Sends a socket to the container instead, and remembers what was asked for.
#[inline(always)]
fn translate(ctx: &SockAddrContext, addr: V4, port: u16) -> Option<Target<V4>> {
    // SAFETY: the context is valid for the whole program.
    let proto = proto(unsafe { &*ctx.sock_addr })?;
    // SAFETY: the context is valid for the whole program.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // A datagram socket asks again with each datagram, and has to be led to the same place.
    let p = lookup(proto, addr, port, cookie as u16)?;
    let key = SockKey {
        cookie,
        addr: p.addr,
        port: p.port,
        zero: 0,
    };
    let record = SockRecord {
        addr,
        port,
        rule: p.rule,
    };
    maps::SOCKS4.insert(key, record, 0).ok()?;
    counters::count(Counter::HostConnect);
    Some(p)
}

#[inline(always)]
fn port_of(sa: &bpf_sock_addr) -> u16 {
    u16::from_be(sa.user_port as u16)
}

/// connect(2) and sendmsg(2) on IPv4 sockets.
#[inline(always)]
pub(crate) fn send4(ctx: &SockAddrContext) {
    if !is_ours(ctx) {
        return;
    }
    // SAFETY: the context is valid for the whole program, and nobody else writes it.
    let (addr, port) = unsafe {
        let sa = &*ctx.sock_addr;
        (sa.user_ip4.to_ne_bytes(), port_of(sa))
    };
    if let Some(p) = translate(ctx, addr, port) {
        // SAFETY: as above.
        unsafe {
            (*ctx.sock_addr).user_ip4 = u32::from_ne_bytes(p.addr);
            (*ctx.sock_addr).user_port = u32::from(p.port.to_be());
        }
    }
}

/// connect(2) on IPv6 sockets: only v4-mapped addresses (`::ffff:a.b.c.d`).
#[inline(always)]
pub(crate) fn connect6(ctx: &SockAddrContext) {
    if !is_ours(ctx) {
        return;
    }
    // SAFETY: the context is valid for the whole program, and nobody else writes it. Each word is
    // read by itself, as the verifier asks.
    let (w0, w1, w2, w3, port) = unsafe {
        let sa = &*ctx.sock_addr;
        (
            (&raw const sa.user_ip6[0]).read_volatile(),
            (&raw const sa.user_ip6[1]).read_volatile(),
            (&raw const sa.user_ip6[2]).read_volatile(),
            (&raw const sa.user_ip6[3]).read_volatile(),
            port_of(sa),
        )
    };
    if w0 != 0 || w1 != 0 || w2 != 0xffffu32.to_be() {
        return;
    }
    if let Some(p) = translate(ctx, w3.to_ne_bytes(), port) {
        // SAFETY: as above.
        unsafe {
            (&raw mut (*ctx.sock_addr).user_ip6[3]).write_volatile(u32::from_ne_bytes(p.addr));
            (*ctx.sock_addr).user_port = u32::from(p.port.to_be());
        }
    }
}

/// recvmsg(2) and getpeername(2) on IPv4 sockets: shows what the application asked for.
#[inline(always)]
pub(crate) fn receive4(ctx: &SockAddrContext) {
    if !is_ours(ctx) {
        return;
    }
    // SAFETY: the context is valid for the whole program, and nobody else writes it.
    let (key, cookie) = unsafe {
        let sa = &*ctx.sock_addr;
        (
            SockKey {
                cookie: 0,
                addr: sa.user_ip4.to_ne_bytes(),
                port: port_of(sa),
                zero: 0,
            },
            bpf_get_socket_cookie(ctx.as_ptr()),
        )
    };
    let key = SockKey { cookie, ..key };
    // SAFETY: a copy is made at once.
    if let Some(asked) = unsafe { maps::SOCKS4.get(key) }.copied() {
        // SAFETY: as above.
        unsafe {
            (*ctx.sock_addr).user_ip4 = u32::from_ne_bytes(asked.addr);
            (*ctx.sock_addr).user_port = u32::from(asked.port.to_be());
        }
    }
}
