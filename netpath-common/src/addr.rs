//! Addresses of either family, as far as the datapath tells them apart.
//!
//! Owns what the engine needs to know of a family: the kinds of addresses, and where a record that
//! serves both families keeps its address of this one. Does not parse or write packets.

use core::{fmt::Debug, hash::Hash};

use bytemuck::Pod;

use crate::records::{EndpointRecord, NetworkRecord, UplinkRecord};

/// An IPv4 address in network order.
pub type V4 = [u8; 4];
/// An IPv6 address in network order.
pub type V6 = [u8; 16];

/// An address of one family. All zero means none.
pub trait Addr: Pod + Eq + Hash + Default + Debug + Send + Sync + 'static {
    /// IPv6.
    const IS_V6: bool;
    /// No address.
    const NONE: Self;
    /// EtherType of the family.
    const ETHERTYPE: u16;
    /// IP protocol number of the family's ICMP.
    const ICMP: u8;
    /// Length of the IP header without options or extension headers, bytes.
    const HEADER: usize;
    /// Fills a conntrack entry up to whole cache lines.
    type Pad: Pod + Eq + Default + Debug + Send + Sync;

    /// From a slice of the address's length; [`Addr::NONE`] for any other.
    #[must_use]
    fn from_slice(bytes: &[u8]) -> Self;
    /// Never on a wire: 127.0.0.0/8 (RFC 1122, 3.2.1.3), `::1` (RFC 4291, 2.5.3).
    #[must_use]
    fn is_loopback(&self) -> bool;
    /// Never forwarded: multicast, limited broadcast and reserved addresses.
    #[must_use]
    fn is_multicast(&self) -> bool;
    /// Valid on one link only: `fe80::/10` (RFC 4291, 2.5.6). 169.254.0.0/16 too (RFC 3927, 7).
    #[must_use]
    fn is_link_local(&self) -> bool;
    /// Whether no packet can have it as its source, whoever sends it: loopback, multicast (RFC 1812,
    /// 5.3.7; RFC 4291, 2.7), an embedded IPv4 address (RFC 4291, 2.5.5).
    #[must_use]
    fn is_never_a_source(&self) -> bool;
    /// Whether no packet can have it as its destination, whoever sends it: loopback, `0.0.0.0/8` (RFC 1122,
    /// 3.2.1.3; `ip_route_input_slow` drops it too), an embedded IPv4 address.
    #[must_use]
    fn is_never_a_destination(&self) -> bool;
    /// Reads an address that other processors may write, by whole words.
    ///
    /// # Safety
    /// `p` must be readable, and aligned as `u64` is, of IPv4 as `u32`.
    #[must_use]
    unsafe fn read_words(p: *const Self) -> Self;
    /// The words of the address, mixed.
    #[must_use]
    fn mixed(&self) -> u32;

    /// The endpoint's address.
    #[must_use]
    fn of_endpoint(e: &EndpointRecord) -> Self;
    /// The uplink's.
    #[must_use]
    fn of_uplink(u: &UplinkRecord) -> Self;
    /// The network's gateway.
    #[must_use]
    fn gateway(n: &NetworkRecord) -> Self;
    /// The network's fixed outside address.
    #[must_use]
    fn snat(n: &NetworkRecord) -> Self;
    /// Whether the network's subnet has the address.
    #[must_use]
    fn is_in_subnet(&self, n: &NetworkRecord) -> bool;
    /// Whether it is the broadcast address of the network's subnet. IPv6 has none.
    #[must_use]
    fn is_broadcast(&self, n: &NetworkRecord) -> bool;
}

impl Addr for V4 {
    const IS_V6: bool = false;
    const NONE: Self = [0; 4];
    const ETHERTYPE: u16 = 0x0800;
    const ICMP: u8 = crate::tuple::ICMP;
    const HEADER: usize = 20;
    type Pad = [u8; 0];

    #[inline(always)]
    fn from_slice(bytes: &[u8]) -> Self {
        bytes.try_into().unwrap_or(Self::NONE)
    }

    #[inline(always)]
    fn is_loopback(&self) -> bool {
        self[0] == 127
    }

    #[inline(always)]
    fn is_multicast(&self) -> bool {
        self[0] >= 224
    }

    #[inline(always)]
    fn is_link_local(&self) -> bool {
        self[0] == 169 && self[1] == 254
    }

    #[inline(always)]
    fn is_never_a_source(&self) -> bool {
        self.is_loopback() || self[0] & 0xf0 == 224 || *self == [255; 4]
    }

    #[inline(always)]
    fn is_never_a_destination(&self) -> bool {
        self.is_loopback() || self[0] == 0
    }

    #[inline(always)]
    unsafe fn read_words(p: *const Self) -> Self {
        // SAFETY: the caller's.
        unsafe { p.cast::<u32>().read_volatile() }.to_ne_bytes()
    }

    #[inline(always)]
    fn mixed(&self) -> u32 {
        u32::from_ne_bytes(*self)
    }

    #[inline(always)]
    fn of_endpoint(e: &EndpointRecord) -> Self {
        e.addr
    }

    #[inline(always)]
    fn of_uplink(u: &UplinkRecord) -> Self {
        u.addr
    }

    #[inline(always)]
    fn gateway(n: &NetworkRecord) -> Self {
        n.gateway
    }

    #[inline(always)]
    fn snat(n: &NetworkRecord) -> Self {
        n.snat
    }

    #[inline(always)]
    fn is_in_subnet(&self, n: &NetworkRecord) -> bool {
        u32::from_ne_bytes(*self) & u32::from_ne_bytes(n.mask) == u32::from_ne_bytes(n.subnet)
    }

    #[inline(always)]
    fn is_broadcast(&self, n: &NetworkRecord) -> bool {
        let host = !u32::from_ne_bytes(n.mask);
        u32::from_ne_bytes(*self) == u32::from_ne_bytes(n.subnet) | host
    }
}

/// An IPv6 address as two words in memory order.
#[inline(always)]
const fn words(a: &V6) -> [u64; 2] {
    let a = u128::from_ne_bytes(*a);
    let [low, high] = if cfg!(target_endian = "little") {
        [a as u64, (a >> 64) as u64]
    } else {
        [(a >> 64) as u64, a as u64]
    };
    [low, high]
}

impl Addr for V6 {
    const IS_V6: bool = true;
    const NONE: Self = [0; 16];
    const ETHERTYPE: u16 = 0x86dd;
    const ICMP: u8 = crate::tuple::ICMPV6;
    const HEADER: usize = 40;
    type Pad = [u8; 16];

    #[inline(always)]
    fn from_slice(bytes: &[u8]) -> Self {
        bytes.try_into().unwrap_or(Self::NONE)
    }

    #[inline(always)]
    fn is_loopback(&self) -> bool {
        words(self) == [0, 1u64.to_be()]
    }

    #[inline(always)]
    fn is_multicast(&self) -> bool {
        self[0] == 0xff
    }

    #[inline(always)]
    fn is_link_local(&self) -> bool {
        self[0] == 0xfe && self[1] & 0xc0 == 0x80
    }

    #[inline(always)]
    fn is_never_a_source(&self) -> bool {
        self.is_multicast() || self.is_never_a_destination()
    }

    #[inline(always)]
    fn is_never_a_destination(&self) -> bool {
        let [upper, lower] = words(self);
        // `::/96` with the unspecified address and loopback in it, and `::ffff:0:0/96`.
        let prefix = (u64::from_be(lower) >> 32) as u32;
        upper == 0 && (prefix == 0 || prefix == 0xffff)
    }

    #[inline(always)]
    unsafe fn read_words(p: *const Self) -> Self {
        let p = p.cast::<u64>();
        // SAFETY: the caller's.
        let [a, b] = unsafe { [p.read_volatile(), p.add(1).read_volatile()] };
        let both = if cfg!(target_endian = "little") {
            u128::from(a) | u128::from(b) << 64
        } else {
            u128::from(b) | u128::from(a) << 64
        };
        both.to_ne_bytes()
    }

    #[inline(always)]
    fn mixed(&self) -> u32 {
        let [a, b] = words(self);
        let x = a ^ b.rotate_left(16);
        x as u32 ^ (x >> 32) as u32
    }

    #[inline(always)]
    fn of_endpoint(e: &EndpointRecord) -> Self {
        e.addr6
    }

    #[inline(always)]
    fn of_uplink(u: &UplinkRecord) -> Self {
        u.addr6
    }

    #[inline(always)]
    fn gateway(n: &NetworkRecord) -> Self {
        n.gateway6
    }

    #[inline(always)]
    fn snat(n: &NetworkRecord) -> Self {
        n.snat6
    }

    #[inline(always)]
    fn is_in_subnet(&self, n: &NetworkRecord) -> bool {
        let ([a, b], [m, k]) = (words(self), words(&n.mask6));
        m != 0 && [a & m, b & k] == words(&n.subnet6)
    }

    #[inline(always)]
    fn is_broadcast(&self, _: &NetworkRecord) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn six(s: &str) -> V6 {
        s.parse::<Ipv6Addr>().unwrap().octets()
    }

    #[test]
    fn kinds_of_ipv6_addresses() {
        assert!(six("::1").is_loopback());
        assert!(!six("::2").is_loopback());
        assert!(!six("100::1").is_loopback());
        for never in ["::", "::1", "ff02::1", "::ffff:192.0.2.1", "::192.0.2.1"] {
            assert!(six(never).is_never_a_source(), "{never}");
        }
        for may in ["2001:db8::1", "fe80::1", "fd00:17::2", "64:ff9b::192.0.2.1"] {
            assert!(!six(may).is_never_a_source(), "{may}");
        }
        assert!(six("fe80::1").is_link_local() && six("febf::1").is_link_local());
        assert!(!six("fec0::1").is_link_local());
    }

    #[test]
    fn a_network_has_the_addresses_of_its_subnet() {
        let n = NetworkRecord {
            subnet6: six("fd00:17::"),
            mask6: six("ffff:ffff:ffff:ffff::"),
            ..NetworkRecord::default()
        };
        assert!(six("fd00:17::ffff").is_in_subnet(&n));
        assert!(!six("fd00:17:0:1::1").is_in_subnet(&n));
        assert!(!six("fd00:17::1").is_in_subnet(&NetworkRecord::default()));
        let n = NetworkRecord {
            subnet6: six("fd00:17::10"),
            mask6: six("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0"),
            ..NetworkRecord::default()
        };
        assert!(six("fd00:17::1f").is_in_subnet(&n));
        assert!(!six("fd00:17::20").is_in_subnet(&n));
    }
}
