//! Packets for tests: IPv4 with options and fragments, TCP, UDP, ICMP, ARP.
//!
//! Owns the bytes, with every checksum right. Does not say where a frame is seen.

use std::{vec, vec::Vec};

use super::{
    frame::Frame,
    oracle::{internet_checksum, pseudo_header},
    topology::Mac,
};
use crate::tuple;

/// An IPv4 address.
pub type Addr = [u8; 4];

/// An IPv4 packet, or a fragment of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// IP protocol number.
    pub proto: u8,
    /// Time to live.
    pub ttl: u8,
    /// IP identification.
    pub id: u16,
    /// Flags and fragment offset as in the header.
    pub frag: u16,
    /// IP options; a multiple of four bytes.
    pub options: Vec<u8>,
    /// Transport header and payload.
    pub l4: Vec<u8>,
}

impl Datagram {
    /// A packet of any protocol.
    #[must_use]
    pub fn new(src: Addr, dst: Addr, proto: u8, l4: Vec<u8>) -> Self {
        Self {
            src,
            dst,
            proto,
            ttl: 64,
            id: 0x1234,
            frag: 0,
            options: Vec::new(),
            l4,
        }
    }

    /// With this time to live.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// With this IP identification.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// With `words` four-byte words of IP options (no operation, RFC 791).
    #[must_use]
    pub fn options(mut self, words: usize) -> Self {
        self.options = vec![1; words * 4];
        self
    }

    /// With the don't-fragment bit.
    #[must_use]
    pub fn dont_fragment(mut self) -> Self {
        self.frag |= 0x4000;
        self
    }

    /// A TCP segment with these sequence and acknowledgement numbers.
    #[must_use]
    pub fn numbered(mut self, seq: u32, ack: u32) -> Self {
        number(&mut self.l4, seq, ack);
        self.l4[16..18].fill(0);
        let pseudo = pseudo_header(self.src, self.dst, self.proto, self.l4.len());
        let check = internet_checksum(&[&pseudo, &self.l4]);
        self.l4[16..18].copy_from_slice(&check);
        self
    }

    /// The bytes from the IPv4 header on. The total length is 0 where it does not fit its field,
    /// as the kernel's BIG TCP has it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let total = u16::try_from(header_len + self.l4.len()).unwrap_or(0);
        let mut b = vec![0x40 | (header_len / 4) as u8, 0];
        b.extend(total.to_be_bytes());
        b.extend(self.id.to_be_bytes());
        b.extend(self.frag.to_be_bytes());
        b.extend([self.ttl, self.proto, 0, 0]);
        b.extend(self.src);
        b.extend(self.dst);
        b.extend(&self.options);
        let check = internet_checksum(&[&b]);
        b[10..12].copy_from_slice(&check);
        b.extend(&self.l4);
        b
    }

    /// In an Ethernet frame.
    #[must_use]
    pub fn frame(&self, src: Mac, dst: Mac, ifindex: u32) -> Frame {
        let mut bytes = ethernet(src, dst, 0x0800);
        bytes.extend(self.bytes());
        Frame {
            bytes,
            ifindex,
            ..Frame::default()
        }
    }

    /// Split into fragments that carry at most `chunk` bytes (a multiple of 8) each, in order.
    #[must_use]
    pub fn fragments(&self, chunk: usize) -> Vec<Self> {
        assert!(
            chunk.is_multiple_of(8),
            "fragments begin at multiples of 8 bytes"
        );
        let count = self.l4.len().div_ceil(chunk);
        self.l4
            .chunks(chunk)
            .enumerate()
            .map(|(i, part)| Self {
                frag: (i * chunk / 8) as u16 | if i + 1 < count { 0x2000 } else { 0 },
                l4: part.to_vec(),
                ..self.clone()
            })
            .collect()
    }
}

/// Writes sequence and acknowledgement numbers into a TCP header.
pub(super) fn number(l4: &mut [u8], seq: u32, ack: u32) {
    l4[4..8].copy_from_slice(&seq.to_be_bytes());
    l4[8..12].copy_from_slice(&ack.to_be_bytes());
}

/// The 16 bits at `at`.
pub(super) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// An Ethernet header.
#[must_use]
pub fn ethernet(src: Mac, dst: Mac, ethertype: u16) -> Vec<u8> {
    let mut b = dst.to_vec();
    b.extend(src);
    b.extend(ethertype.to_be_bytes());
    b
}

/// A TCP segment with a payload.
#[must_use]
pub fn tcp_data(
    src: Addr,
    sport: u16,
    dst: Addr,
    dport: u16,
    flags: u8,
    payload: &[u8],
) -> Datagram {
    let mut l4 = Vec::new();
    l4.extend(sport.to_be_bytes());
    l4.extend(dport.to_be_bytes());
    l4.extend(1000u32.to_be_bytes());
    l4.extend(if flags & 0x10 == 0 { 0u32 } else { 2000 }.to_be_bytes());
    l4.extend([0x50, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
    l4.extend(payload);
    let check = internet_checksum(&[&pseudo_header(src, dst, tuple::TCP, l4.len()), &l4]);
    l4[16..18].copy_from_slice(&check);
    Datagram::new(src, dst, tuple::TCP, l4)
}

/// A TCP segment.
#[must_use]
pub fn tcp(src: Addr, sport: u16, dst: Addr, dport: u16, flags: u8) -> Datagram {
    tcp_data(src, sport, dst, dport, flags, b"")
}

/// A UDP datagram.
#[must_use]
pub fn udp(src: Addr, sport: u16, dst: Addr, dport: u16, payload: &[u8]) -> Datagram {
    let mut d = udp_without_checksum(src, sport, dst, dport, payload);
    let check = match internet_checksum(&[&pseudo_header(src, dst, tuple::UDP, d.l4.len()), &d.l4])
    {
        [0, 0] => [0xff, 0xff],
        check => check,
    };
    d.l4[6..8].copy_from_slice(&check);
    d
}

/// A UDP datagram whose sender made no checksum.
#[must_use]
pub fn udp_without_checksum(
    src: Addr,
    sport: u16,
    dst: Addr,
    dport: u16,
    payload: &[u8],
) -> Datagram {
    let mut l4 = Vec::new();
    l4.extend(sport.to_be_bytes());
    l4.extend(dport.to_be_bytes());
    l4.extend((8 + payload.len() as u16).to_be_bytes());
    l4.extend([0, 0]);
    l4.extend(payload);
    Datagram::new(src, dst, tuple::UDP, l4)
}

/// An ICMP message: the four bytes after the checksum, then the rest.
#[must_use]
pub fn icmp(src: Addr, dst: Addr, kind: u8, code: u8, word: [u8; 4], rest: &[u8]) -> Datagram {
    let mut l4 = vec![kind, code, 0, 0];
    l4.extend(word);
    l4.extend(rest);
    let check = internet_checksum(&[&l4]);
    l4[2..4].copy_from_slice(&check);
    Datagram::new(src, dst, tuple::ICMP, l4)
}

/// An ICMP query or answer with an identifier (echo, timestamp).
#[must_use]
pub fn query(src: Addr, dst: Addr, kind: u8, id: u16) -> Datagram {
    let [a, b] = id.to_be_bytes();
    icmp(src, dst, kind, 0, [a, b, 0, 1], b"abcdefghijklmnop")
}

/// An ICMP error that quotes the first `quoted_l4` bytes behind the IP header of `about`.
#[must_use]
pub fn error(
    src: Addr,
    dst: Addr,
    kind: u8,
    code: u8,
    about: &Datagram,
    quoted_l4: usize,
) -> Datagram {
    let quoted = about.bytes();
    let end = (20 + about.options.len() + quoted_l4).min(quoted.len());
    // The MTU of "fragmentation needed" (RFC 1191), harmless in the others.
    icmp(src, dst, kind, code, [0, 0, 0x05, 0x14], &quoted[..end])
}

/// A packet of SCTP with one chunk of this type. Its CRC is a number of its own: nothing may change it.
#[must_use]
pub fn sctp(src: Addr, sport: u16, dst: Addr, dport: u16, chunk: u8) -> Datagram {
    Datagram::new(src, dst, tuple::SCTP, sctp_l4(sport, dport, chunk))
}

pub(super) fn sctp_l4(sport: u16, dport: u16, chunk: u8) -> Vec<u8> {
    let mut l4 = ports(sport, dport);
    // Verification tag, CRC32c, then type, flags, length.
    l4.extend([0, 0, 0, 9, 0xde, 0xad, 0xbe, 0xef, chunk, 0, 0, 16]);
    l4.extend([7; 12]);
    l4
}

/// A packet of DCCP of this type, the checksum of which covers `words` words of the payload (RFC 4340,
/// 9.2: one more than those, 0 for all).
#[must_use]
pub fn dccp(src: Addr, sport: u16, dst: Addr, dport: u16, kind: u8, words: u8) -> Datagram {
    let (mut l4, covered) = dccp_l4(sport, dport, kind, words);
    let pseudo = pseudo_header(src, dst, tuple::DCCP, l4.len());
    let check = internet_checksum(&[&pseudo, &l4[..covered]]);
    l4[6..8].copy_from_slice(&check);
    Datagram::new(src, dst, tuple::DCCP, l4)
}

/// Without its checksum, and how many bytes that covers.
pub(super) fn dccp_l4(sport: u16, dport: u16, kind: u8, words: u8) -> (Vec<u8>, usize) {
    let mut l4 = ports(sport, dport);
    l4.extend([6, words, 0, 0, kind << 1 | 1, 0, 0, 0, 0, 0, 0, 1]);
    l4.extend([5; 24]);
    let covered = match usize::from(words) {
        0 => l4.len(),
        n => 24 + (n - 1) * 4,
    };
    (l4, covered)
}

/// A datagram of UDP-Lite, the checksum of which covers `covered` bytes (0 for all).
#[must_use]
pub fn udplite(
    src: Addr,
    sport: u16,
    dst: Addr,
    dport: u16,
    covered: u16,
    payload: &[u8],
) -> Datagram {
    let (mut l4, end) = udplite_l4(sport, dport, covered, payload);
    let pseudo = pseudo_header(src, dst, tuple::UDPLITE, l4.len());
    let check = not_zero(internet_checksum(&[&pseudo, &l4[..end]]));
    l4[6..8].copy_from_slice(&check);
    Datagram::new(src, dst, tuple::UDPLITE, l4)
}

/// Without its checksum, and how many bytes that covers.
pub(super) fn udplite_l4(sport: u16, dport: u16, covered: u16, payload: &[u8]) -> (Vec<u8>, usize) {
    let mut l4 = ports(sport, dport);
    l4.extend(covered.to_be_bytes());
    l4.extend([0, 0]);
    l4.extend(payload);
    let end = match usize::from(covered) {
        0 => l4.len(),
        n => n.min(l4.len()),
    };
    (l4, end)
}

fn ports(sport: u16, dport: u16) -> Vec<u8> {
    [sport.to_be_bytes(), dport.to_be_bytes()].concat()
}

/// A checksum of zero as it is sent.
pub(super) fn not_zero(check: [u8; 2]) -> [u8; 2] {
    if check == [0, 0] { [0xff, 0xff] } else { check }
}

/// An ARP message in a frame: operation 1 asks, 2 answers.
#[must_use]
pub fn arp(eth_src: Mac, operation: u8, mac: Mac, addr: Addr, target: Addr, ifindex: u32) -> Frame {
    let mut bytes = ethernet(eth_src, [0xff; 6], 0x0806);
    bytes.extend([0, 1, 8, 0, 6, 4, 0, operation]);
    bytes.extend(mac);
    bytes.extend(addr);
    bytes.extend([0; 6]);
    bytes.extend(target);
    Frame {
        bytes,
        ifindex,
        ..Frame::default()
    }
}
