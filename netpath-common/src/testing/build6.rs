//! Packets for tests: IPv6 with extension headers and fragments, TCP, UDP, ICMPv6, neighbour
//! discovery.
//!
//! Owns the bytes, with every checksum right. Does not say where a frame is seen.

use std::{vec, vec::Vec};

use super::{
    build::ethernet, frame::Frame, oracle::internet_checksum, oracle6::pseudo_header6,
    topology::Mac,
};
use crate::tuple;

/// An IPv6 address.
pub type Addr6 = [u8; 16];

/// Numbers of extension headers (RFC 8200, 4; RFC 4302).
pub mod header {
    /// Hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing.
    pub const ROUTING: u8 = 43;
    /// Fragment.
    pub const FRAGMENT: u8 = 44;
    /// Encapsulating security payload.
    pub const ESP: u8 = 50;
    /// Authentication.
    pub const AUTHENTICATION: u8 = 51;
    /// Nothing follows.
    pub const NONE: u8 = 59;
    /// Destination options.
    pub const DESTINATION: u8 = 60;
}

/// An IPv6 packet, or a fragment of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram6 {
    /// Source address.
    pub src: Addr6,
    /// Destination address.
    pub dst: Addr6,
    /// Protocol number of what follows the extension headers.
    pub proto: u8,
    /// Hop limit.
    pub hops: u8,
    /// Traffic class and flow label: the lower 28 bits.
    pub flow: u32,
    /// Extension headers, in order: the number of each and its bytes, of which the first is written
    /// over by the number of the next.
    pub headers: Vec<(u8, Vec<u8>)>,
    /// Transport header and payload.
    pub l4: Vec<u8>,
}

impl Datagram6 {
    /// A packet of any protocol.
    #[must_use]
    pub fn new(src: Addr6, dst: Addr6, proto: u8, l4: Vec<u8>) -> Self {
        Self {
            src,
            dst,
            proto,
            hops: 64,
            flow: 0x000b_ee15,
            headers: Vec::new(),
            l4,
        }
    }

    /// With this hop limit.
    #[must_use]
    pub fn hops(mut self, hops: u8) -> Self {
        self.hops = hops;
        self
    }

    /// With one more extension header behind the others; of `bytes` the first is written over.
    #[must_use]
    pub fn header(mut self, number: u8, bytes: &[u8]) -> Self {
        self.headers.push((number, bytes.to_vec()));
        self
    }

    /// With one more header of options, `words` of eight bytes, all padding (`PadN`, RFC 8200, 4.2).
    #[must_use]
    pub fn options(self, number: u8, words: u8) -> Self {
        let mut bytes = vec![0; usize::from(words) * 8];
        bytes[1] = words - 1;
        let mut left = bytes.len() - 2;
        let mut at = 2;
        while left > 0 {
            let data = (left - 2).min(254);
            bytes[at] = 1;
            bytes[at + 1] = data as u8;
            at += 2 + data;
            left -= 2 + data;
        }
        self.header(number, &bytes)
    }

    /// With one more routing header, without addresses.
    #[must_use]
    pub fn routing(self, kind: u8, segments_left: u8) -> Self {
        self.header(header::ROUTING, &[0, 0, kind, segments_left, 0, 0, 0, 0])
    }

    /// With one more fragment header. `at`: offset, a multiple of 8 bytes.
    #[must_use]
    pub fn fragment(self, at: usize, more: bool, id: u32) -> Self {
        let mut bytes = vec![0, 0];
        bytes.extend((at as u16 | u16::from(more)).to_be_bytes());
        bytes.extend(id.to_be_bytes());
        self.header(header::FRAGMENT, &bytes)
    }

    /// As BIG TCP has a super-packet: payload length 0 and the hop-by-hop option (RFC 2675).
    #[must_use]
    pub fn jumbo(mut self) -> Self {
        let len = self.l4.len() as u32 + 8;
        let mut bytes = vec![0, 0, 0xc2, 4];
        bytes.extend(len.to_be_bytes());
        self.headers.insert(0, (header::HOP_BY_HOP, bytes));
        self
    }

    /// The number of the first header behind the IPv6 header.
    #[must_use]
    pub fn first(&self) -> u8 {
        self.headers.first().map_or(self.proto, |(n, _)| *n)
    }

    /// The extension headers, each with the number of the next.
    #[must_use]
    pub fn chain(&self) -> Vec<u8> {
        let numbers = self.headers.iter().map(|(n, _)| *n).skip(1);
        let mut b = Vec::new();
        for ((_, bytes), next) in self.headers.iter().zip(numbers.chain([self.proto])) {
            b.push(next);
            b.extend(&bytes[1..]);
        }
        b
    }

    /// The bytes from the IPv6 header on. The payload length is 0 where it does not fit its field.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let chain = self.chain();
        let len = u16::try_from(chain.len() + self.l4.len()).unwrap_or(0);
        let mut b = (0x6000_0000 | self.flow & 0x0fff_ffff)
            .to_be_bytes()
            .to_vec();
        b.extend(len.to_be_bytes());
        b.extend([self.first(), self.hops]);
        b.extend(self.src);
        b.extend(self.dst);
        b.extend(chain);
        b.extend(&self.l4);
        b
    }

    /// In an Ethernet frame.
    #[must_use]
    pub fn frame(&self, src: Mac, dst: Mac, ifindex: u32) -> Frame {
        let mut bytes = ethernet(src, dst, 0x86dd);
        bytes.extend(self.bytes());
        Frame {
            bytes,
            ifindex,
            ..Frame::default()
        }
    }

    /// Split into fragments that carry at most `chunk` bytes (a multiple of 8) each, in order. The
    /// extension headers are repeated in front of each (RFC 8200, 4.5: those a router looks at).
    #[must_use]
    pub fn fragments(&self, chunk: usize, id: u32) -> Vec<Self> {
        assert!(
            chunk.is_multiple_of(8),
            "fragments begin at multiples of 8 bytes"
        );
        let count = self.l4.len().div_ceil(chunk);
        self.l4
            .chunks(chunk)
            .enumerate()
            .map(|(i, part)| {
                Self {
                    l4: part.to_vec(),
                    ..self.clone()
                }
                .fragment(i * chunk, i + 1 < count, id)
            })
            .collect()
    }

    /// With the transport checksum made anew. `at`: where it is in the transport header.
    ///
    /// # Panics
    /// Where the transport header ends before.
    #[must_use]
    pub fn summed(mut self, at: usize) -> Self {
        self.l4[at..at + 2].fill(0);
        let pseudo = pseudo_header6(self.src, self.dst, self.proto, self.l4.len());
        let check = match internet_checksum(&[&pseudo, &self.l4]) {
            [0, 0] => [0xff, 0xff],
            check => check,
        };
        self.l4[at..at + 2].copy_from_slice(&check);
        self
    }
}

/// A TCP segment with a payload.
#[must_use]
pub fn tcp_data6(
    src: Addr6,
    sport: u16,
    dst: Addr6,
    dport: u16,
    flags: u8,
    payload: &[u8],
) -> Datagram6 {
    let mut l4 = Vec::new();
    l4.extend(sport.to_be_bytes());
    l4.extend(dport.to_be_bytes());
    l4.extend(1000u32.to_be_bytes());
    l4.extend(if flags & 0x10 == 0 { 0u32 } else { 2000 }.to_be_bytes());
    l4.extend([0x50, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
    l4.extend(payload);
    Datagram6::new(src, dst, tuple::TCP, l4).summed(16)
}

/// A TCP segment.
#[must_use]
pub fn tcp6(src: Addr6, sport: u16, dst: Addr6, dport: u16, flags: u8) -> Datagram6 {
    tcp_data6(src, sport, dst, dport, flags, b"")
}

/// A UDP datagram.
#[must_use]
pub fn udp6(src: Addr6, sport: u16, dst: Addr6, dport: u16, payload: &[u8]) -> Datagram6 {
    let mut l4 = Vec::new();
    l4.extend(sport.to_be_bytes());
    l4.extend(dport.to_be_bytes());
    l4.extend((8 + payload.len() as u16).to_be_bytes());
    l4.extend([0, 0]);
    l4.extend(payload);
    Datagram6::new(src, dst, tuple::UDP, l4).summed(6)
}

/// An ICMPv6 message: the four bytes after the checksum, then the rest.
#[must_use]
pub fn icmp6(src: Addr6, dst: Addr6, kind: u8, code: u8, word: [u8; 4], rest: &[u8]) -> Datagram6 {
    let mut l4 = vec![kind, code, 0, 0];
    l4.extend(word);
    l4.extend(rest);
    Datagram6::new(src, dst, tuple::ICMPV6, l4).summed(2)
}

/// An echo request (128) or reply (129).
#[must_use]
pub fn query6(src: Addr6, dst: Addr6, kind: u8, id: u16) -> Datagram6 {
    let [a, b] = id.to_be_bytes();
    icmp6(src, dst, kind, 0, [a, b, 0, 1], b"abcdefghijklmnop")
}

/// An ICMPv6 error that quotes the first `quoted_l4` bytes behind the headers of `about`. `word`: the
/// MTU or the pointer, else 0.
#[must_use]
pub fn error6(
    src: Addr6,
    dst: Addr6,
    kind: u8,
    code: u8,
    word: u32,
    about: &Datagram6,
    quoted_l4: usize,
) -> Datagram6 {
    let quoted = about.bytes();
    let end = (40 + about.chain().len() + quoted_l4).min(quoted.len());
    icmp6(src, dst, kind, code, word.to_be_bytes(), &quoted[..end])
}

/// An option of neighbour discovery with a MAC address: 1 the source's, 2 the target's (RFC 4861,
/// 4.6.1).
#[must_use]
pub fn mac_option(kind: u8, mac: Mac) -> Vec<u8> {
    let mut b = vec![kind, 1];
    b.extend(mac);
    b
}

/// A neighbour solicitation (135, RFC 4861, 4.3) or advertisement (136, 4.4) about `target`.
#[must_use]
pub fn neighbour(src: Addr6, dst: Addr6, kind: u8, target: Addr6, options: &[u8]) -> Datagram6 {
    let word = if kind == 136 { [0x60, 0, 0, 0] } else { [0; 4] };
    let mut rest = target.to_vec();
    rest.extend(options);
    icmp6(src, dst, kind, 0, word, &rest).hops(255)
}

/// A router solicitation (RFC 4861, 4.1).
#[must_use]
pub fn router_solicitation(src: Addr6, dst: Addr6, options: &[u8]) -> Datagram6 {
    icmp6(src, dst, 133, 0, [0; 4], options).hops(255)
}

/// A router advertisement (RFC 4861, 4.2).
#[must_use]
pub fn router_advertisement(src: Addr6, dst: Addr6, options: &[u8]) -> Datagram6 {
    let mut rest = vec![0; 8];
    rest.extend(options);
    icmp6(src, dst, 134, 0, [64, 0, 7, 8], &rest).hops(255)
}
