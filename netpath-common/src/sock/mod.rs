//! The host's own sockets and published ports: where one that asks for a published port is sent, what
//! it is shown instead, and which ports it may not bind.
//!
//! Owns the decisions, for both families. Does not own the hooks, which read and write the kernel's
//! socket addresses, nor a packet: none is translated on this path.

mod bind;
mod connect;
mod record;
mod six;

pub use bind::{is_taken4, is_taken6};
pub use connect::{Sent6, destination4, destination6, meant4, meant6};
pub use record::{SOCK_UNBOUND, SockKey, SockRecord};
pub use six::{Plain, checksum_to_ipv4, checksum_to_ipv6, is_stand_in, stand_in};

use crate::{
    addr::{Addr, V4, V6},
    publish::{Answer, Lookup, PublishedPorts, Target, find},
    records::{EndpointRecord, NetworkRecord},
    tuple,
};

/// `IPPROTO_MPTCP` of the socket API: to others a TCP connection (RFC 8684).
const MPTCP: u32 = 262;

/// What the decisions need to know of one family.
pub trait HostPorts<A: Addr> {
    /// The published ports.
    type Ports: PublishedPorts<A = A>;

    /// The published ports.
    fn ports(&self) -> &Self::Ports;
    /// Whether an interface of the host has the address; loopback ones need not be known.
    fn is_host_addr(&self, addr: &A) -> bool;
    /// Whether a published port of some address has this number, and nobody may bind it.
    fn is_taken(&self, proto: u8, port: u16) -> bool;
}

/// What the decisions need to know.
pub trait Sockets: HostPorts<V4> + HostPorts<V6> {
    /// What tells this client from others where endpoints share a port, always the same of one socket: it
    /// may ask again with each datagram, and has to be led to the same place.
    fn client(&self) -> u16;
    /// An endpoint by slot.
    fn endpoint(&self, slot: u16) -> Option<&EndpointRecord>;
    /// A network by slot.
    fn network(&self, slot: u16) -> Option<&NetworkRecord>;
    /// Whether a socket of the host would take what is sent to this address of IPv6.
    fn listens6(&self, proto: u8, addr: &V6, port: u16) -> bool;
}

/// The protocol of a published port that a socket of this protocol (`IPPROTO_*`) asks for.
#[inline(always)]
#[must_use]
pub const fn proto_of(protocol: u32) -> Option<u8> {
    const TCP: u32 = tuple::TCP as u32;
    const UDP: u32 = tuple::UDP as u32;
    match protocol {
        TCP | MPTCP => Some(tuple::TCP),
        UDP => Some(tuple::UDP),
        _ => None,
    }
}

/// An IPv4 address as IPv6 sockets name it (RFC 4291, 2.5.5.2).
#[inline(always)]
#[must_use]
pub const fn mapped([a, b, c, d]: V4) -> V6 {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// The IPv4 address that an IPv6 socket names.
#[inline(always)]
#[must_use]
pub const fn unmapped(addr: &V6) -> Option<V4> {
    let [w0, w1, w2, w3] = words(addr);
    if w0 == 0 && w1 == 0 && w2 == 0xffffu32.to_be() {
        Some(w3.to_ne_bytes())
    } else {
        None
    }
}

/// An address as the kernel's socket addresses hold it.
#[inline(always)]
#[must_use]
pub const fn words(a: &V6) -> [u32; 4] {
    [
        u32::from_ne_bytes([a[0], a[1], a[2], a[3]]),
        u32::from_ne_bytes([a[4], a[5], a[6], a[7]]),
        u32::from_ne_bytes([a[8], a[9], a[10], a[11]]),
        u32::from_ne_bytes([a[12], a[13], a[14], a[15]]),
    ]
}

/// Who has a port at an address of the host: whoever published it there, else, unless `exact` is set,
/// whoever published it at any address.
///
/// The host's own clients are on no allow list and need not be: who may enter a host may reach what it
/// publishes. The target is written where there is one.
#[inline(always)]
fn published<A: Addr, S: Sockets + HostPorts<A>>(
    s: &S,
    proto: u8,
    addr: &A,
    port: u16,
    exact: bool,
    target: &mut Target<A>,
) -> bool {
    let ports = u32::from(s.client()) << 16 | u32::from(port);
    let how = if exact { EXACT } else { 0 } | u32::from(proto);
    find_target(HostPorts::<A>::ports(s), addr, ports, how, target) != 0
}

/// Beside the protocol, see [`published`].
const EXACT: u32 = 256;

/// Writes where a port leads; 0 where it is not published. Of `ports` the upper half is the client's.
/// A subprogram: its memory would be too large beside what the socket programs keep on their stack.
#[inline(never)]
fn find_target<T: PublishedPorts>(
    t: &T,
    addr: &T::A,
    ports: u32,
    how: u32,
    target: &mut Target<T::A>,
) -> u32 {
    // In place: a copy would be on the stack as well.
    let mut look = Lookup::default();
    look.asked.dst = *addr;
    look.asked.src = T::A::NONE;
    look.asked.dport = ports as u16;
    look.asked.sport = (ports >> 16) as u16;
    look.asked.proto = how as u8;
    look.asked.exact = how & EXACT != 0;
    match find(t, &mut look) {
        Answer::Found => {
            *target = look.target;
            1
        }
        Answer::Nothing | Answer::NotAllowed => 0,
    }
}

/// The flags of the network of an endpoint, and the endpoint.
#[inline(always)]
fn owner<S: Sockets>(s: &S, endpoint: u16) -> Option<(&EndpointRecord, u32)> {
    let endpoint = s.endpoint(endpoint)?;
    let network = s.network(endpoint.network)?;
    Some((endpoint, network.flags))
}

#[cfg(test)]
mod testing;
