//! What a packet says, field by field, in a second opinion that takes nothing from netpath's parser.
//!
//! Owns reading, of both families. Packets come from the test itself and from engines that keep
//! lengths right; what is shorter than its header says has fewer fields.

use std::net::{IpAddr, Ipv6Addr};

use netpath_common::testing::{Frame, describe, ethernet, verify};

use crate::address::Family;

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const GRE: u8 = 47;
pub(crate) const ESP: u8 = 50;
pub(crate) const UDPLITE: u8 = 136;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;

/// Extension headers of IPv6 in front of the transport header.
const EXTENSIONS: [u8; 5] = [0, 43, FRAGMENT, 51, 60];
const FRAGMENT: u8 = 44;

/// More fragments follow, as IPv4 says it in [`Packet::fragment`].
pub(crate) const MORE: u16 = 0x2000;

/// A packet, or what an ICMP error quotes of one.
#[derive(Clone, Copy)]
pub(crate) struct Packet<'b> {
    bytes: &'b [u8],
    /// Of what follows the headers.
    proto: u8,
    /// Where that begins.
    at: usize,
    /// Where the fragment header of IPv6 begins.
    fragment: Option<usize>,
}

impl<'b> Packet<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        if bytes[0] >> 4 == 4 {
            return Self {
                bytes,
                proto: bytes[9],
                at: usize::from(bytes[0] & 0xf) * 4,
                fragment: None,
            };
        }
        let mut packet = Self {
            bytes,
            proto: bytes[6],
            at: 40,
            fragment: None,
        };
        while EXTENSIONS.contains(&packet.proto) && !packet.is_tail() {
            let Some(header) = bytes.get(packet.at..packet.at + 8) else {
                return packet;
            };
            let words = match packet.proto {
                FRAGMENT => {
                    packet.fragment = Some(packet.at);
                    0
                }
                51 => usize::from(header[1]) / 2,
                _ => usize::from(header[1]),
            };
            packet.proto = header[0];
            packet.at += 8 + words * 8;
        }
        packet
    }

    pub(crate) const fn family(self) -> Family {
        if self.bytes[0] >> 4 == 4 {
            Family::V4
        } else {
            Family::V6
        }
    }

    /// Four bytes or sixteen.
    fn addr_at(self, at: [usize; 2]) -> IpAddr {
        let address = |at: usize, len: usize| &self.bytes[at..at + len];
        match self.family() {
            Family::V4 => IpAddr::from(<[u8; 4]>::try_from(address(at[0], 4)).unwrap()),
            Family::V6 => Ipv6Addr::from(<[u8; 16]>::try_from(address(at[1], 16)).unwrap()).into(),
        }
    }

    pub(crate) fn src(self) -> IpAddr {
        self.addr_at([12, 8])
    }

    pub(crate) fn dst(self) -> IpAddr {
        self.addr_at([16, 24])
    }

    /// The hop limit, of IPv6.
    pub(crate) const fn ttl(self) -> u8 {
        match self.family() {
            Family::V4 => self.bytes[8],
            Family::V6 => self.bytes[7],
        }
    }

    pub(crate) const fn proto(self) -> u8 {
        self.proto
    }

    /// Whether more follow ([`MORE`]), and the offset in units of eight bytes.
    pub(crate) const fn fragment(self) -> u16 {
        match (self.family(), self.fragment) {
            (Family::V4, _) => u16::from_be_bytes([self.bytes[6], self.bytes[7]]) & 0x3fff,
            (Family::V6, None) => 0,
            (Family::V6, Some(at)) => {
                let field = u16::from_be_bytes([self.bytes[at + 2], self.bytes[at + 3]]);
                field >> 3 | (field & 1) << 13
            }
        }
    }

    /// A fragment that is not the first.
    pub(crate) const fn is_tail(self) -> bool {
        self.fragment() & 0x1fff != 0
    }

    /// The identification; whole packets of IPv6 have none.
    pub(crate) fn ip_id(self) -> Option<u32> {
        let number = |at: usize, len: usize| {
            let bytes = &self.bytes[at..at + len];
            bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b))
        };
        match self.family() {
            Family::V4 => Some(number(4, 2)),
            Family::V6 => self.fragment.map(|at| number(at + 4, 4)),
        }
    }

    /// The bytes up to where fragments differ, the fragment header of IPv6 included, and those behind.
    pub(crate) fn parts(self) -> (&'b [u8], &'b [u8]) {
        self.bytes
            .split_at(self.fragment.map_or(self.at, |at| at + 8))
    }

    /// What follows the headers.
    pub(crate) fn l4(self) -> &'b [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn be16(self, at: usize) -> Option<u16> {
        let b = self.l4().get(at..at + 2)?;
        Some(u16::from_be_bytes([b[0], b[1]]))
    }

    fn be32(self, at: usize) -> Option<u32> {
        let b = self.l4().get(at..at + 4)?;
        Some(u32::from_be_bytes(b.try_into().unwrap()))
    }

    fn has_ports(self) -> bool {
        matches!(self.proto, TCP | UDP | 132 | UDPLITE) && !self.is_tail()
    }

    pub(crate) fn sport(self) -> Option<u16> {
        self.has_ports().then(|| self.be16(0))?
    }

    pub(crate) fn dport(self) -> Option<u16> {
        self.has_ports().then(|| self.be16(2))?
    }

    /// Type and code of an ICMP message.
    pub(crate) fn icmp(self) -> Option<(u8, u8)> {
        let l4 = self.l4();
        let is_icmp = self.proto == self.family().icmp() && !self.is_tail();
        (is_icmp && l4.len() >= 8).then(|| (l4[0], l4[1]))
    }

    /// Whether it is an ICMP message of this type and code, by family.
    fn is_message(self, v4: (u8, u8), v6: (u8, u8)) -> bool {
        self.icmp()
            == Some(match self.family() {
                Family::V4 => v4,
                Family::V6 => v6,
            })
    }

    /// The error of whoever uses up the last hop.
    pub(crate) fn is_ttl_error(self) -> bool {
        self.is_message((11, 0), (3, 0))
    }

    /// What netpath tells a container whose flow it refuses.
    pub(crate) fn is_refusal(self) -> bool {
        self.is_message((3, 13), (1, 1))
    }

    /// An ICMP error about the size of packets.
    pub(crate) fn mtu(self) -> Option<u32> {
        self.is_message((3, 4), (2, 0)).then(|| self.be32(4))?
    }

    /// The type by which an ICMP query is answered.
    pub(crate) fn reply_type(self) -> Option<u8> {
        match (self.family(), self.icmp()?.0) {
            (Family::V4, 8) => Some(0),
            (Family::V4, 13) => Some(14),
            (Family::V6, 128) => Some(129),
            _ => None,
        }
    }

    /// The identifier of an ICMP query or answer.
    pub(crate) fn id(self) -> Option<u16> {
        match (self.family(), self.icmp()?.0) {
            (Family::V4, 0 | 8 | 13 | 14) | (Family::V6, 128 | 129) => self.be16(4),
            _ => None,
        }
    }

    /// What an ICMP error quotes.
    pub(crate) fn quoted(self) -> Option<Self> {
        let (is_error, header) = match (self.family(), self.icmp()?.0) {
            (Family::V4, kind) => (matches!(kind, 3 | 4 | 5 | 11 | 12), 20),
            (Family::V6, kind) => (matches!(kind, 1..=4), 40),
        };
        let bytes = self.l4().get(8..)?;
        (is_error && bytes.len() >= header + 8).then(|| Self::new(bytes))
    }

    pub(crate) fn tcp_flags(self) -> Option<u8> {
        (self.proto == TCP && !self.is_tail())
            .then(|| self.l4().get(13).copied())
            .flatten()
    }

    /// Sequence number, acknowledgement number, and the number behind the segment.
    pub(crate) fn numbers(self) -> Option<(u32, u32, u32)> {
        let flags = self.tcp_flags()?;
        let (seq, ack) = (self.be32(4)?, self.be32(8)?);
        let data = self
            .l4()
            .len()
            .saturating_sub(usize::from(self.l4()[12] >> 4) * 4) as u32;
        let extra = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        Some((seq, ack, seq.wrapping_add(data + extra)))
    }

    /// Name and value of every field. The IP identification is left out: `compare` knows when it
    /// counts. So is the IP header checksum, which the oracle recomputes.
    pub(crate) fn fields(self) -> Vec<(String, Vec<u8>)> {
        let mut fields = Vec::new();
        self.put_fields("", &mut fields);
        fields
    }

    fn put_fields(self, prefix: &str, fields: &mut Vec<(String, Vec<u8>)>) {
        let mut put = |name: &str, value: &[u8]| {
            fields.push((format!("{prefix}{name}"), value.to_vec()));
        };
        let header = self.bytes.get(..self.at).unwrap_or(self.bytes);
        match self.family() {
            Family::V4 => {
                put("tos", &header[1..2]);
                put("length", &header[2..4]);
                put("fragment", &header[6..8]);
                put("src", &header[12..16]);
                put("dst", &header[16..20]);
                put("options", &header[20..]);
            }
            Family::V6 => {
                put("class and label", &header[..4]);
                put("length", &header[4..6]);
                put("fragment", &self.fragment().to_be_bytes());
                put("src", &header[8..24]);
                put("dst", &header[24..40]);
                // But for the identification.
                let mut extensions = header[40..].to_vec();
                if let Some(at) = self.fragment {
                    extensions[at - 36..at - 32].fill(0);
                }
                put("extension headers", &extensions);
            }
        }
        put("ttl", &[self.ttl()]);
        put("proto", &[self.proto]);
        let l4 = self.l4();
        if self.is_tail() {
            put("part", l4);
            return;
        }
        match self.proto {
            TCP if l4.len() >= 20 => {
                put("sport", &l4[..2]);
                put("dport", &l4[2..4]);
                put("seq", &l4[4..8]);
                put("ack", &l4[8..12]);
                put("flags", &l4[12..14]);
                put("window", &l4[14..16]);
                put("check", &l4[16..18]);
                put("payload", &l4[18..]);
            }
            TCP if l4.len() >= 8 => {
                put("sport", &l4[..2]);
                put("dport", &l4[2..4]);
                put("payload", &l4[4..]);
            }
            UDP if l4.len() >= 8 => {
                put("sport", &l4[..2]);
                put("dport", &l4[2..4]);
                put("length of UDP", &l4[4..6]);
                put("check", &l4[6..8]);
                put("payload", &l4[8..]);
            }
            proto if proto == self.family().icmp() && l4.len() >= 8 => {
                put("type", &l4[..2]);
                if let Some(quoted) = self.quoted() {
                    put("word", &l4[4..8]);
                    quoted.put_fields(&format!("{prefix}quoted "), fields);
                } else if self.id().is_some() {
                    put("icmp id", &l4[4..6]);
                    put("check", &l4[2..4]);
                    put("payload", &l4[6..]);
                } else {
                    put("payload", &l4[4..]);
                }
            }
            _ => put("payload", l4),
        }
    }

    /// In words.
    pub(crate) fn describe(self) -> String {
        let mut words = describe(&frame(self.bytes));
        if let (Some(flags), Some((seq, ack, end))) = (self.tcp_flags(), self.numbers()) {
            let names = [(SYN, 'S'), (FIN, 'F'), (RST, 'R'), (PSH, 'P'), (ACK, '.')];
            let names = names.iter().filter(|(bit, _)| flags & bit != 0);
            let names: String = names.map(|(_, name)| *name).collect();
            words += &format!(" [{names}] seq {seq}..{end} ack {ack}");
        }
        if self.fragment() != 0 {
            let at = usize::from(self.fragment() & 0x1fff) * 8;
            words += &format!(" fragment at {at}");
        }
        words + &format!(" ttl {} length {}", self.ttl(), self.bytes.len())
    }
}

/// In a frame of no machine's.
fn frame(packet: &[u8]) -> Frame {
    let ethertype = Packet::new(packet).family().ethertype();
    let mut bytes = ethernet([0; 6], [0; 6], ethertype);
    bytes.extend(packet);
    Frame {
        bytes,
        ..Frame::default()
    }
}

/// Every checksum that a packet should carry, in full.
pub(crate) fn checksums(packet: &[u8]) -> Result<(), String> {
    verify(&frame(packet))
}
