//! The socket address that a system call names, and the socket, as the kernel shows them.
//!
//! Owns the reading and writing of `bpf_sock_addr`. Each word is read and written by itself, as the
//! verifier asks.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    bindings::{bpf_sock, bpf_sock_addr},
    helpers::generated::bpf_probe_read_kernel,
    programs::SockAddrContext,
};
use netpath_common::{V4, V6, sock};

/// Where `IPV6_V6ONLY` is in the kernel's `struct sock`: the byte's offset, times 256, and its bit.
/// User space finds it in the kernel's type information; 0 where that does not tell.
#[unsafe(no_mangle)]
static NP_SK_V6ONLY: Global<u32> = Global::new(0);

/// Bytes of `struct sock` that are looked at.
const SOCK_BYTES: usize = 32;

/// The address in a context.
pub(super) struct Address {
    sa: *mut bpf_sock_addr,
}

/// Reads a field of a kernel structure.
macro_rules! read {
    ($place:expr) => {
        // SAFETY: the structure is valid for the whole program, and nobody else writes it.
        unsafe { (&raw const $place).read_volatile() }
    };
}

/// Writes a field of a kernel structure.
macro_rules! write {
    ($place:expr, $value:expr) => {
        // SAFETY: as above.
        unsafe { (&raw mut $place).write_volatile($value) }
    };
}

/// Four words as an address.
macro_rules! address {
    ($words:expr) => {
        join([
            read!($words[0]),
            read!($words[1]),
            read!($words[2]),
            read!($words[3]),
        ])
    };
}

impl Address {
    #[inline(always)]
    pub(super) const fn new(ctx: &SockAddrContext) -> Self {
        Self { sa: ctx.sock_addr }
    }

    /// The protocol, where it has published ports.
    #[inline(always)]
    pub(super) fn proto(&self) -> Option<u8> {
        sock::proto_of(read!((*self.sa).protocol))
    }

    /// The port.
    #[inline(always)]
    pub(super) fn port(&self) -> u16 {
        u16::from_be(read!((*self.sa).user_port) as u16)
    }

    /// The address of a call on an IPv4 socket.
    #[inline(always)]
    pub(super) fn addr4(&self) -> V4 {
        read!((*self.sa).user_ip4).to_ne_bytes()
    }

    /// The address of a call on an IPv6 socket.
    #[inline(always)]
    pub(super) fn addr6(&self) -> V6 {
        address!((*self.sa).user_ip6)
    }

    #[inline(always)]
    pub(super) fn set4(&self, addr: V4, port: u16) {
        write!((*self.sa).user_ip4, u32::from_ne_bytes(addr));
        self.set_port(port);
    }

    #[inline(always)]
    pub(super) fn set6(&self, addr: &V6, port: u16) {
        let [a, b, c, d] = sock::words(addr);
        write!((*self.sa).user_ip6[0], a);
        write!((*self.sa).user_ip6[1], b);
        write!((*self.sa).user_ip6[2], c);
        write!((*self.sa).user_ip6[3], d);
        self.set_port(port);
    }

    #[inline(always)]
    fn set_port(&self, port: u16) {
        write!((*self.sa).user_port, u32::from(port.to_be()));
    }

    /// The address that an IPv4 socket is bound to, or zero.
    #[inline(always)]
    pub(super) fn bound4(&self) -> V4 {
        read!((*self.socket()).src_ip4).to_ne_bytes()
    }

    /// The address that an IPv6 socket is bound to, or zero.
    #[inline(always)]
    pub(super) fn bound6(&self) -> V6 {
        address!((*self.socket()).src_ip6)
    }

    /// What an IPv4 socket is connected to; port 0 where it is not.
    #[inline(always)]
    pub(super) fn peer4(&self) -> (V4, u16) {
        (
            read!((*self.socket()).dst_ip4).to_ne_bytes(),
            self.peer_port(),
        )
    }

    /// What an IPv6 socket is connected to.
    #[inline(always)]
    pub(super) fn peer6(&self) -> (V6, u16) {
        (address!((*self.socket()).dst_ip6), self.peer_port())
    }

    #[inline(always)]
    fn peer_port(&self) -> u16 {
        u16::from_be(read!((*self.socket()).dst_port))
    }

    /// Whether an IPv6 socket is of IPv6 alone; `false` where this kernel does not show it.
    #[inline(always)]
    pub(super) fn is_v6only(&self) -> bool {
        let place = NP_SK_V6ONLY.load();
        if place == 0 {
            return false;
        }
        let mut bytes = [0u8; SOCK_BYTES];
        // The pointer cannot be moved: the verifier takes it as it is or not at all.
        // SAFETY: the buffer has as many bytes; the kernel copies them only if they can be read.
        let copied = unsafe {
            bpf_probe_read_kernel(
                bytes.as_mut_ptr().cast::<c_void>(),
                SOCK_BYTES as u32,
                self.socket().cast::<c_void>().cast_const(),
            )
        };
        let byte = bytes.get((place >> 8) as usize & (SOCK_BYTES - 1));
        copied == 0 && byte.is_some_and(|byte| u32::from(*byte) & place & 0xff != 0)
    }

    #[inline(always)]
    fn socket(&self) -> *mut bpf_sock {
        read!((*self.sa).__bindgen_anon_1.sk)
    }
}

#[inline(always)]
const fn join([a, b, c, d]: [u32; 4]) -> V6 {
    let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (a.to_ne_bytes(), b.to_ne_bytes());
    let ([c0, c1, c2, c3], [d0, d1, d2, d3]) = (c.to_ne_bytes(), d.to_ne_bytes());
    [
        a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3,
    ]
}
