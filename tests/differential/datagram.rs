//! Packets of either family to be put on a wire.
//!
//! Owns what the transport of both has in common, checksums included. The bytes of the IP headers are
//! netpath-common's test builders'.

use std::net::IpAddr;

use netpath_common::testing::{self, Datagram6};

use crate::{
    address::Family,
    packet::{ACK, TCP, UDP, UDPLITE},
};

/// A packet, or a fragment of one.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    proto: u8,
    ttl: u8,
    id: u16,
    /// Where it begins in bytes, and whether more follow.
    part: Option<(usize, bool)>,
    has_options: bool,
    pub(crate) l4: Vec<u8>,
}

/// Numbers of option headers of IPv6.
const HOP_BY_HOP: u8 = 0;
const DESTINATION: u8 = 60;

impl Datagram {
    pub(crate) const fn new(src: IpAddr, dst: IpAddr, proto: u8, l4: Vec<u8>) -> Self {
        Self {
            src,
            dst,
            proto,
            ttl: 64,
            id: 0,
            part: None,
            has_options: false,
            l4,
        }
    }

    pub(crate) const fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// With this identification, which whole packets of IPv6 have none of.
    pub(crate) const fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// With options that say nothing.
    pub(crate) const fn options(mut self) -> Self {
        self.has_options = true;
        self
    }

    /// Split into fragments that carry at most `chunk` bytes (a multiple of 8) each, in order.
    pub(crate) fn fragments(&self, chunk: usize) -> Vec<Self> {
        let count = self.l4.len().div_ceil(chunk);
        let parts = self.l4.chunks(chunk).enumerate();
        parts
            .map(|(i, part)| Self {
                part: Some((i * chunk, i + 1 < count)),
                l4: part.to_vec(),
                ..self.clone()
            })
            .collect()
    }

    /// With the checksum at this place of the transport header, over so many bytes of it.
    fn summed(mut self, at: usize, covered: usize) -> Self {
        self.l4[at..at + 2].fill(0);
        let mut sum = 0;
        // ICMP of IPv4 has no pseudo header (RFC 792).
        if self.proto != Family::V4.icmp() {
            sum += add(&octets(self.src)) + add(&octets(self.dst));
            sum += u64::from(self.proto) + self.l4.len() as u64;
        }
        sum += add(&self.l4[..covered]);
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let sum = match !sum as u16 {
            // No checksum, to UDP (RFC 768).
            0 if matches!(self.proto, UDP | UDPLITE) => 0xffff,
            sum => sum,
        };
        self.l4[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        self
    }

    fn all_summed(self, at: usize) -> Self {
        let all = self.l4.len();
        self.summed(at, all)
    }

    /// From the IP header on.
    pub(crate) fn bytes(self) -> Vec<u8> {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mut d = testing::Datagram::new(src.octets(), dst.octets(), self.proto, self.l4)
                    .ttl(self.ttl)
                    .id(self.id);
                if self.has_options {
                    d = d.options(2);
                }
                if let Some((at, more)) = self.part {
                    d.frag = (at / 8) as u16 | u16::from(more) << 13;
                }
                d.bytes()
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let mut d =
                    Datagram6::new(src.octets(), dst.octets(), self.proto, self.l4).hops(self.ttl);
                if self.has_options {
                    d = d.options(HOP_BY_HOP, 1).options(DESTINATION, 2);
                }
                if let Some((at, more)) = self.part {
                    d = d.fragment(at, more, self.id.into());
                }
                d.bytes()
            }
            (src, dst) => panic!("from {src} to {dst}"),
        }
    }
}

fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    }
}

/// The sum of 16-bit words (RFC 1071).
fn add(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2);
    words
        .map(|word| u64::from(word[0]) << 8 | word.get(1).copied().map_or(0, u64::from))
        .sum()
}

/// An address and a port.
pub(crate) type End = (IpAddr, u16);

fn ports((src, sport): End, (dst, dport): End, proto: u8, rest: &[&[u8]]) -> Datagram {
    let mut l4 = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
    rest.iter().for_each(|part| l4.extend_from_slice(part));
    Datagram::new(src, dst, proto, l4)
}

pub(crate) fn tcp(from: End, to: End, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Datagram {
    let ack = if flags & ACK == 0 { 0 } else { ack };
    let header = [0x50, flags, 0xfa, 0xf0, 0, 0, 0, 0];
    let rest: [&[u8]; 4] = [&seq.to_be_bytes(), &ack.to_be_bytes(), &header, payload];
    ports(from, to, TCP, &rest).all_summed(16)
}

/// UDP without a checksum.
pub(crate) fn bare_udp(from: End, to: End, payload: &[u8]) -> Datagram {
    let len = (8 + payload.len() as u16).to_be_bytes();
    ports(from, to, UDP, &[&len, &[0, 0], payload])
}

pub(crate) fn udp(from: End, to: End, payload: &[u8]) -> Datagram {
    bare_udp(from, to, payload).all_summed(6)
}

/// UDP-Lite, the checksum of which covers `covered` bytes (0 for all).
pub(crate) fn udplite(from: End, to: End, covered: u16, payload: &[u8]) -> Datagram {
    let d = ports(
        from,
        to,
        UDPLITE,
        &[&covered.to_be_bytes(), &[0, 0], payload],
    );
    match usize::from(covered) {
        0 => d.all_summed(6),
        n => d.summed(6, n),
    }
}

/// ICMP of the family: the four bytes after the checksum, then the rest.
pub(crate) fn icmp(
    src: IpAddr,
    dst: IpAddr,
    kind: u8,
    code: u8,
    word: [u8; 4],
    rest: &[u8],
) -> Datagram {
    let l4 = [&[kind, code, 0, 0], &word[..], rest].concat();
    Datagram::new(src, dst, Family::of(src).icmp(), l4).all_summed(2)
}
