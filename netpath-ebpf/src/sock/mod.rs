//! Host-local access to published ports, at the socket.
//!
//! Owns what the hooks of connect, sendmsg, recvmsg, getpeername, getsockname and bind do for
//! processes of the managed network namespace; every other process is left alone, so a container's
//! own 127.0.0.1 stays its own. Decides nothing: that is netpath-common's. No packet is translated
//! on this path and no process stands in it.

mod address;
mod tables;

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie, generated::bpf_set_retval},
    programs::SockAddrContext,
};
use netpath_common::{
    V6,
    counters::Counter,
    publish::Target,
    sock::{self, SOCK_UNBOUND, Sent6, SockKey, SockRecord, mapped, meant4, meant6, unmapped},
};

use crate::{counters, maps, six};
use address::Address;
pub(crate) use tables::SocketTables;

/// Lets the system call go on.
pub(crate) const PROCEED: i32 = 1;
/// Ends it with an error.
const REFUSE: i32 = 0;

const EADDRINUSE: i32 = 98;
const ECONNREFUSED: i32 = 111;

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
fn cookie(ctx: &SockAddrContext) -> u64 {
    // SAFETY: the context is valid for the whole program.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}

#[inline(always)]
fn refuse(error: i32) -> i32 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_set_retval(-error) };
    REFUSE
}

/// Remembers what the socket has asked for, before it is sent elsewhere. Without that nothing is
/// translated: what comes back would not be recognised.
#[inline(always)]
fn remember(ctx: &SockAddrContext, to: &Target<V6>, asked: &V6, port: u16, unbound: bool) -> bool {
    let flags = if unbound { SOCK_UNBOUND } else { 0 };
    write_down(cookie(ctx), to, asked, port, flags) != 0
}

/// Whether it could be. A subprogram, for the sake of the stack.
#[inline(never)]
fn write_down(cookie: u64, to: &Target<V6>, asked: &V6, port: u16, flags: u32) -> u32 {
    let key = SockKey {
        cookie,
        addr: to.addr,
        port: to.port,
        zero: [0; 3],
    };
    let record = SockRecord {
        addr: *asked,
        port,
        rule: to.rule,
        flags,
    };
    if maps::SOCKS.insert(key, record, 0).is_err() {
        return 0;
    }
    counters::count(Counter::HostConnect);
    1
}

/// connect(2) and sendmsg(2) on IPv4 sockets.
#[inline(always)]
pub(crate) fn send4(ctx: &SockAddrContext) {
    if !is_ours(ctx) {
        return;
    }
    let at = Address::new(ctx);
    let (Some(proto), addr, port) = (at.proto(), meant4(at.addr4()), at.port()) else {
        return;
    };
    let mut p = Target::default();
    if !sock::destination4(&SocketTables::new(ctx), proto, &addr, port, &mut p) {
        return;
    }
    let to = Target {
        addr: mapped(p.addr),
        port: p.port,
        endpoint: p.endpoint,
        rule: p.rule,
    };
    if remember(ctx, &to, &mapped(addr), port, at.bound4() == [0; 4]) {
        at.set4(p.addr, p.port);
    }
}

/// connect(2) on IPv6 sockets.
#[inline(always)]
pub(crate) fn connect6(ctx: &SockAddrContext) -> i32 {
    send6(ctx, true)
}

/// sendmsg(2) on unconnected IPv6 sockets. Those that name an IPv4 address come by the hook of IPv4.
#[inline(always)]
pub(crate) fn sendmsg6(ctx: &SockAddrContext) -> i32 {
    send6(ctx, false)
}

#[inline(always)]
fn send6(ctx: &SockAddrContext, connect: bool) -> i32 {
    if !is_ours(ctx) {
        return PROCEED;
    }
    let at = Address::new(ctx);
    let (Some(proto), addr, port) = (at.proto(), meant6(at.addr6()), at.port()) else {
        return PROCEED;
    };
    let bound = at.bound6();
    let unbound = bound == [0; 16];
    // The kernel takes a v4-mapped address from connect alone.
    let four = connect && (unbound || unmapped(&bound).is_some()) && !at.is_v6only();
    let mut to = Target::default();
    match sock::destination6(&SocketTables::new(ctx), proto, &addr, port, four, &mut to) {
        Sent6::Leave => return PROCEED,
        Sent6::Six | Sent6::Four => {}
        // By packets. Where the loopback device does not carry them nobody listens: a connection is
        // refused by the stack itself, and a datagram without one would be lost in silence.
        Sent6::Unable if connect || six::is_carried() => return PROCEED,
        Sent6::Unable => return refuse(ECONNREFUSED),
    }
    if remember(ctx, &to, &addr, port, unbound) {
        at.set6(&to.addr, to.port);
    }
    PROCEED
}

/// What the socket has asked for where the kernel says `addr` and `port`.
#[inline(always)]
fn asked(ctx: &SockAddrContext, addr: V6, port: u16) -> Option<SockRecord> {
    let key = SockKey {
        cookie: cookie(ctx),
        addr,
        port,
        zero: [0; 3],
    };
    // SAFETY: a copy is made at once.
    unsafe { maps::SOCKS.get(key) }.copied()
}

/// recvmsg(2) and getpeername(2) on IPv4 sockets: shows what the application asked for.
#[inline(always)]
pub(crate) fn receive4(ctx: &SockAddrContext) {
    if !is_ours(ctx) {
        return;
    }
    let at = Address::new(ctx);
    if let Some(asked) = asked(ctx, mapped(at.addr4()), at.port())
        && let Some(addr) = unmapped(&asked.addr)
    {
        at.set4(addr, asked.port);
    }
}

/// The same on IPv6 sockets.
#[inline(always)]
pub(crate) fn receive6(ctx: &SockAddrContext) {
    if !is_ours(ctx) {
        return;
    }
    let at = Address::new(ctx);
    if let Some(asked) = asked(ctx, at.addr6(), at.port()) {
        at.set6(&asked.addr, asked.port);
    }
}

/// getsockname(2) on connected IPv4 sockets: who asks for an address of the host is at that address,
/// as without translation, unless it chose another one.
#[inline(always)]
pub(crate) fn name4(ctx: &SockAddrContext) {
    if !is_ours(ctx) {
        return;
    }
    let at = Address::new(ctx);
    let (addr, port) = at.peer4();
    if port != 0
        && let Some(asked) = asked(ctx, mapped(addr), port)
        && asked.flags & SOCK_UNBOUND != 0
        && let Some(addr) = unmapped(&asked.addr)
    {
        at.set4(addr, at.port());
    }
}

/// The same on IPv6 sockets.
#[inline(always)]
pub(crate) fn name6(ctx: &SockAddrContext) {
    if !is_ours(ctx) {
        return;
    }
    let at = Address::new(ctx);
    let (addr, port) = at.peer6();
    if port != 0
        && let Some(asked) = asked(ctx, addr, port)
        && asked.flags & SOCK_UNBOUND != 0
    {
        at.set6(&asked.addr, at.port());
    }
}

/// bind(2) on IPv4 sockets.
#[inline(always)]
pub(crate) fn bind4(ctx: &SockAddrContext) -> i32 {
    if !is_ours(ctx) {
        return PROCEED;
    }
    let at = Address::new(ctx);
    let taken = at.proto().is_some_and(|proto| {
        sock::is_taken4(&SocketTables::new(ctx), proto, at.addr4(), at.port())
    });
    bound(taken)
}

/// bind(2) on IPv6 sockets.
#[inline(always)]
pub(crate) fn bind6(ctx: &SockAddrContext) -> i32 {
    if !is_ours(ctx) {
        return PROCEED;
    }
    let at = Address::new(ctx);
    let taken = at.proto().is_some_and(|proto| {
        let (tables, only6) = (SocketTables::new(ctx), at.is_v6only());
        sock::is_taken6(&tables, proto, at.addr6(), at.port(), only6)
    });
    bound(taken)
}

#[inline(always)]
fn bound(taken: bool) -> i32 {
    if !taken {
        return PROCEED;
    }
    counters::count(Counter::BindRefused);
    refuse(EADDRINUSE)
}
