//! IPv6 to a container without IPv6, for the host's own sockets that cannot be sent to IPv4.
//!
//! Owns what becomes of the headers at the loopback device: a packet of the host to itself is one of
//! IPv4 between two addresses of loopback that stand for those of IPv6, which the engine then
//! translates like any other; the answer is turned back. Remembers nothing of flows.

use crate::{
    addr::{Addr, V4, V6},
    checksum::{Diff, Sum},
    tuple,
};

/// Bytes of an IPv4 header without options.
const HEADER4: u16 = 20;

/// The first two bytes of the addresses that stand for others: of loopback, and nobody's.
const STAND_IN: [u8; 2] = [127, 6];

/// The IPv4 address that stands for an IPv6 one of the host. Two of the host's may share one: whoever
/// writes them down finds out.
#[inline(always)]
#[must_use]
pub fn stand_in(addr: &V6) -> V4 {
    let mixed = addr.mixed();
    let [a, b] = ((mixed ^ mixed >> 16) as u16).to_ne_bytes();
    [STAND_IN[0], STAND_IN[1], a, b]
}

/// Whether an address stands for another.
#[inline(always)]
#[must_use]
pub const fn is_stand_in(addr: &V4) -> bool {
    addr[0] == STAND_IN[0] && addr[1] == STAND_IN[1]
}

/// A packet of TCP or UDP without options or extension headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plain<A> {
    /// Source address.
    pub src: A,
    /// Destination address.
    pub dst: A,
    /// IP protocol number.
    pub proto: u8,
    /// Hop limit, or time to live.
    pub ttl: u8,
    /// Bytes behind the IP header.
    pub len: u16,
}

impl Plain<V6> {
    /// Reads an IPv6 header (RFC 8200, 3). `None` for what is not plain.
    #[inline(always)]
    #[must_use]
    pub fn parse6(h: &[u8; 40]) -> Option<Self> {
        let len = u16::from_be_bytes([h[4], h[5]]);
        // A larger one does not fit an IPv4 header, and a length of 0 says that it is a jumbogram.
        let plain = h[0] >> 4 == 6 && is_plain(h[6]) && len != 0 && len <= u16::MAX - HEADER4;
        plain.then(|| Self {
            src: V6::from_slice(&h[8..24]),
            dst: V6::from_slice(&h[24..40]),
            proto: h[6],
            ttl: h[7],
            len,
        })
    }

    /// Writes it.
    #[inline(always)]
    #[must_use]
    pub fn header6(&self) -> [u8; 40] {
        let mut h = [0; 40];
        h[0] = 0x60;
        h[4..6].copy_from_slice(&self.len.to_be_bytes());
        h[6] = self.proto;
        h[7] = self.ttl;
        h[8..24].copy_from_slice(&self.src);
        h[24..40].copy_from_slice(&self.dst);
        h
    }

    /// The same packet between other addresses.
    #[inline(always)]
    #[must_use]
    pub const fn over_ipv4(&self, src: V4, dst: V4) -> Plain<V4> {
        Plain {
            src,
            dst,
            proto: self.proto,
            ttl: self.ttl,
            len: self.len,
        }
    }
}

impl Plain<V4> {
    /// Reads an IPv4 header (RFC 791, 3.1). `None` for what is not plain, as a fragment.
    #[inline(always)]
    #[must_use]
    pub fn parse4(h: &[u8; 20]) -> Option<Self> {
        let total = u16::from_be_bytes([h[2], h[3]]);
        let is_fragment = u16::from_be_bytes([h[6], h[7]]) & 0x3fff != 0;
        let plain = h[0] == 0x45 && is_plain(h[9]) && !is_fragment && total > HEADER4;
        plain.then(|| Self {
            src: V4::from_slice(&h[12..16]),
            dst: V4::from_slice(&h[16..20]),
            proto: h[9],
            ttl: h[8],
            len: total - HEADER4,
        })
    }

    /// Writes it, not to be fragmented: IPv6 is not on its way.
    #[inline(always)]
    #[must_use]
    pub fn header4(&self) -> [u8; 20] {
        let mut h = [0; 20];
        h[0] = 0x45;
        h[2..4].copy_from_slice(&(self.len + HEADER4).to_be_bytes());
        h[6] = 0x40;
        h[8] = self.ttl;
        h[9] = self.proto;
        h[12..16].copy_from_slice(&self.src);
        h[16..20].copy_from_slice(&self.dst);
        let sum = Sum::new()
            .word([h[0], h[1], h[2], h[3]])
            .word([h[4], h[5], h[6], h[7]])
            .word([h[8], h[9], 0, 0])
            .word(self.src)
            .word(self.dst);
        h[10..12].copy_from_slice(&sum.check());
        h
    }

    /// The same packet between other addresses.
    #[inline(always)]
    #[must_use]
    pub const fn over_ipv6(&self, src: V6, dst: V6) -> Plain<V6> {
        Plain {
            src,
            dst,
            proto: self.proto,
            ttl: self.ttl,
            len: self.len,
        }
    }
}

#[inline(always)]
const fn is_plain(proto: u8) -> bool {
    matches!(proto, tuple::TCP | tuple::UDP)
}

/// What the transport checksum changes by from IPv6 to IPv4: the addresses of the pseudo header, whose
/// other words have the same sum in both (RFC 8200, 8.1).
#[inline(always)]
#[must_use]
pub fn checksum_to_ipv4(from: &Plain<V6>, to: &Plain<V4>) -> u32 {
    Diff::new()
        .bytes16(from.src, long(to.src))
        .bytes16(from.dst, long(to.dst))
        .wsum()
}

/// The same the other way.
#[inline(always)]
#[must_use]
pub fn checksum_to_ipv6(from: &Plain<V4>, to: &Plain<V6>) -> u32 {
    Diff::new()
        .bytes16(long(from.src), to.src)
        .bytes16(long(from.dst), to.dst)
        .wsum()
}

/// An address of the same sum.
#[inline(always)]
const fn long([a, b, c, d]: V4) -> V6 {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::{checksum::fold, sock::testing::*};

    /// One's complement sum of bytes.
    fn sum(bytes: &[u8]) -> u32 {
        let words = bytes.chunks(2).map(|w| {
            let w = [w[0], w.get(1).copied().unwrap_or(0)];
            u32::from(u16::from_ne_bytes(w))
        });
        words.sum()
    }

    fn pseudo(src: &[u8], dst: &[u8], proto: u8, len: u16) -> Vec<u8> {
        let mut all = [src, dst].concat();
        all.extend([0, proto]);
        all.extend(len.to_be_bytes());
        all
    }

    const SIX: Plain<V6> = Plain {
        src: LOCAL6,
        dst: HOST6,
        proto: tuple::UDP,
        ttl: 64,
        len: 1280,
    };

    #[test]
    fn headers_survive_the_way_there_and_back() {
        let four = SIX.over_ipv4(stand_in(&SIX.src), stand_in(&SIX.dst));
        let header = four.header4();
        assert_eq!(fold(sum(&header)), 0xffff, "the header's checksum");
        assert_eq!(Plain::parse4(&header), Some(four));
        let six = four.over_ipv6(LOCAL6, HOST6);
        assert_eq!(six, SIX);
        assert_eq!(Plain::parse6(&six.header6()), Some(SIX));
    }

    #[test]
    fn the_transport_checksum_follows_the_addresses() {
        let four = SIX.over_ipv4([127, 6, 1, 2], [127, 6, 255, 255]);
        let data = b"the rest of the datagram".as_slice();
        let check = |pseudo: &[u8]| !fold(sum(pseudo) + sum(data));
        let over6 = check(&pseudo(&SIX.src, &SIX.dst, SIX.proto, SIX.len));
        let over4 = check(&pseudo(&four.src, &four.dst, four.proto, four.len));
        let apply = |check: u16, diff: u32| !fold(u32::from(!check) + u32::from(fold(diff)));
        assert_eq!(apply(over6, checksum_to_ipv4(&SIX, &four)), over4);
        assert_eq!(apply(over4, checksum_to_ipv6(&four, &SIX)), over6);
    }

    #[test]
    fn what_is_not_plain_is_left() {
        let mut h = SIX.header6();
        h[6] = 0;
        assert_eq!(Plain::parse6(&h), None, "an extension header");
        h = SIX.header6();
        h[4..6].copy_from_slice(&65_516u16.to_be_bytes());
        assert_eq!(Plain::parse6(&h), None, "too long for IPv4");
        h[4..6].copy_from_slice(&[0, 0]);
        assert_eq!(Plain::parse6(&h), None, "a jumbogram");
        let four = SIX.over_ipv4([127, 6, 1, 2], [127, 6, 3, 4]).header4();
        for (at, value) in [(0, 0x46), (6, 0x20), (7, 1), (9, 1), (2, 0), (0, 0x65)] {
            let mut h = four;
            h[at] = value;
            if at == 2 {
                h[3] = 20;
            }
            assert_eq!(Plain::parse4(&h), None, "byte {at} is {value}");
        }
    }

    #[test]
    fn stand_ins_are_loopback_and_known_as_such() {
        for addr in [LOCAL6, HOST6, [0xfd; 16]] {
            let four = stand_in(&addr);
            assert!(is_stand_in(&four) && four.is_loopback(), "{four:?}");
        }
        assert_ne!(stand_in(&LOCAL6), stand_in(&HOST6));
        assert!(!is_stand_in(&[127, 0, 0, 1]) && !is_stand_in(&[172, 6, 0, 1]));
    }
}
