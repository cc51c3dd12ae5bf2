//! The maps and the kernel behind the traits of `netpath_common::sock`.
//!
//! Owns the look-ups of the socket programs. Decides nothing.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_sock_tuple,
    helpers::{bpf_get_socket_cookie, bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
};
use netpath_common::{
    V4, V6,
    maps::taken_word,
    records::{EndpointRecord, NetworkRecord},
    sock::{HostPorts, Sockets, words},
    tuple,
};

use crate::{maps, published};

/// The tables as seen from one program run.
pub(crate) struct SocketTables<'c, C> {
    ctx: &'c C,
    /// Who asks, where that is known.
    src: Option<(V6, u16)>,
}

impl<'c, C: EbpfContext> SocketTables<'c, C> {
    /// For a system call.
    #[inline(always)]
    pub(super) const fn new(ctx: &'c C) -> Self {
        Self { ctx, src: None }
    }

    /// For a packet of IPv6, which also belongs to whoever has accepted its connection.
    #[inline(always)]
    pub(crate) const fn of_packet(ctx: &'c C, src: V6, sport: u16) -> Self {
        let src = Some((src, sport));
        Self { ctx, src }
    }
}

impl<C> HostPorts<V4> for SocketTables<'_, C> {
    type Ports = published::SocketTables<V4>;

    #[inline(always)]
    fn ports(&self) -> &Self::Ports {
        &const { published::SocketTables::new() }
    }

    #[inline(always)]
    fn is_host_addr(&self, addr: &V4) -> bool {
        maps::HOST_ADDRS4.get_ptr(addr).is_some()
    }

    #[inline(always)]
    fn is_taken(&self, proto: u8, port: u16) -> bool {
        has_bit(taken_word::<V4>(proto, port))
    }
}

impl<C> HostPorts<V6> for SocketTables<'_, C> {
    type Ports = published::SocketTables<V6>;

    #[inline(always)]
    fn ports(&self) -> &Self::Ports {
        &const { published::SocketTables::new() }
    }

    #[inline(always)]
    fn is_host_addr(&self, addr: &V6) -> bool {
        maps::HOST_ADDRS6.get_ptr(addr).is_some()
    }

    #[inline(always)]
    fn is_taken(&self, proto: u8, port: u16) -> bool {
        has_bit(taken_word::<V6>(proto, port))
    }
}

impl<C: EbpfContext> Sockets for SocketTables<'_, C> {
    #[inline(always)]
    fn client(&self) -> u16 {
        match &self.src {
            Some((_, sport)) => *sport,
            // SAFETY: the context is valid for the whole program.
            None => unsafe { bpf_get_socket_cookie(self.ctx.as_ptr()) as u16 },
        }
    }

    #[inline(always)]
    fn endpoint(&self, slot: u16) -> Option<&EndpointRecord> {
        maps::ENDPOINTS.get(u32::from(slot))
    }

    #[inline(always)]
    fn network(&self, slot: u16) -> Option<&NetworkRecord> {
        maps::NETWORKS.get(u32::from(slot))
    }

    #[inline(always)]
    fn listens6(&self, proto: u8, addr: &V6, port: u16) -> bool {
        let (src, sport) = match &self.src {
            Some((src, sport)) => (src, *sport),
            None => (addr, 0),
        };
        let ports = u32::from(sport) << 16 | u32::from(port);
        has_socket6(self.ctx.as_ptr(), proto, src, addr, ports) != 0
    }
}

/// Whether a socket takes what comes from `src` to `addr`; of `ports` the upper half is the source's.
/// A subprogram, for the sake of the stack.
#[inline(never)]
fn has_socket6(ctx: *mut c_void, proto: u8, src: &V6, addr: &V6, ports: u32) -> u32 {
    // SAFETY: all zero is a valid value of this C union.
    let mut key: bpf_sock_tuple = unsafe { core::mem::zeroed() };
    let (sport, port) = ((ports >> 16) as u16, ports as u16);
    key.__bindgen_anon_1.ipv6.saddr = words(src);
    key.__bindgen_anon_1.ipv6.sport = sport.to_be();
    key.__bindgen_anon_1.ipv6.daddr = words(addr);
    key.__bindgen_anon_1.ipv6.dport = port.to_be();
    const IPV6_LEN: u32 = 36;
    const THIS_NETNS: u64 = u64::MAX;
    // SAFETY: the tuple is initialised; a socket that is found is released at once.
    unsafe {
        if proto == tuple::TCP {
            let sk = bpf_skc_lookup_tcp(ctx, &raw mut key, IPV6_LEN, THIS_NETNS, 0);
            if !sk.is_null() {
                bpf_sk_release(sk.cast());
                return 1;
            }
        } else {
            let sk = bpf_sk_lookup_udp(ctx, &raw mut key, IPV6_LEN, THIS_NETNS, 0);
            if !sk.is_null() {
                bpf_sk_release(sk.cast());
                return 1;
            }
        }
    }
    0
}

#[inline(always)]
fn has_bit(place: Option<(u32, u64)>) -> bool {
    match place {
        Some((word, bit)) => maps::TAKEN.get(word).is_some_and(|w| w & bit != 0),
        None => false,
    }
}
