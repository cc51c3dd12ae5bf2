//! The words of a test that is the same for both families, in IPv6. [`super::v4`] has them in IPv4.
//!
//! Owns what differs: types and addresses, where the fields of a frame are, the numbers of ICMP.

use std::{net::Ipv6Addr, string::String, vec::Vec};

pub use super::{
    Addr6 as Addr, BRIDGE1_IF, BRIDGE1_MAC, BRIDGE2_IF, BRIDGE2_MAC, C1, C2, C3, Container,
    Datagram6 as Datagram, Frame, GW1_6 as GW1, GW2_6 as GW2, H6 as H, Host6 as Host, Mac, NET1,
    NET2, Offload, Outcome, R6 as R, ROUTER_MAC, RULE_DNS, RULE_WEB, S2_6 as S2, S6 as S, UPLINK,
    UPLINK_IF, UPLINK_MAC, another, describe, endpoint_record, ethernet, icmp6 as icmp,
    network_record, out_of, query6 as query, randomness, reassemble6 as reassemble,
    tcp_data6 as tcp_data, tcp6 as tcp, udp6 as udp, verify,
};
use super::{
    build::{be16, dccp_l4, not_zero, number, sctp_l4, udplite_l4},
    build6::{error6, header},
    oracle::internet_checksum,
    oracle6::pseudo_header6,
    said,
    v4::bytes,
};
pub use crate::tuple::ICMPV6 as ICMP;
use crate::{
    addr::V6,
    records::{NetworkRecord, UplinkRecord},
    tuple,
};

/// Tuples of the family.
pub type Tuple = crate::Tuple<V6>;
/// Conntrack entries of the family.
pub type CtEntry = crate::conntrack::CtEntry<V6>;
/// Tables of the family.
pub type MemTables = super::MemTables<V6>;

/// Another address of the host outside.
pub const H2: Addr = *b"\x20\x01\x0d\xb8\0\x01\0\0\0\0\0\0\0\0\0\x07";
/// One more.
pub const H3: Addr = *b"\x20\x01\x0d\xb8\0\x01\0\0\0\0\0\0\0\0\0\x77";
/// Addresses that are nobody's here.
pub const STRANGERS: [Addr; 2] = [
    *b"\x20\x01\x48\x60\x48\x60\0\0\0\0\0\0\0\0\x88\x88",
    *b"\xfd\0\0\x99\0\0\0\0\0\0\0\0\0\0\0\x01",
];
/// Addresses of the first network that no container has.
pub const NOBODYS: [Addr; 1] = [*b"\xfd\0\0\x17\0\0\0\0\0\0\0\0\0\x09\0\x09"];
/// The network of S.
pub const NET_OF_S: (Addr, u8) = (*b"\x20\x01\x0d\xb8\0\x02\0\0\0\0\0\0\0\0\0\0", 48);
/// The MTU that every host takes, below which no MSS is lowered to.
pub const LEAST: usize = 1280;
/// Bits of the subnets of the networks.
pub const SUBNET_BITS: u8 = 64;
/// A multicast address.
pub const MULTICAST: Addr = *b"\xff\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\xfb";
/// Addresses of no wire.
pub const LOOPBACK: [Addr; 1] = [*b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"];
/// Length of the IP header.
pub const HEADER: usize = 40;
/// Where the length field of a frame's IP header is.
pub const LENGTH: usize = 18;
/// Where the transport header of a frame is that has no extension headers.
pub const L4: usize = 14 + HEADER;
/// Number of the family in protocols (RFC 2428).
pub const AF: u8 = 2;
/// Bits of an address.
pub const BITS: u8 = 128;

/// Protocols without ports: IPv4 in IPv6, IPv6 in IPv6, GRE, ESP.
pub const OTHERS: [u8; 4] = [4, 41, 47, 50];

/// EtherType of the family.
pub const ETHERTYPE: [u8; 2] = [0x86, 0xdd];
/// The DS field of errors that a router sends.
pub const ROUTER_DS: u8 = 0;

/// Type of echo (RFC 4443).
pub const ECHO: u8 = 128;
/// Its answer.
pub const ECHO_REPLY: u8 = 129;
/// Types of queries and of their answers.
pub const QUERIES: [(u8, u8); 1] = [(ECHO, ECHO_REPLY)];
/// Destination unreachable.
pub const UNREACHABLE: u8 = 1;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Types of all errors.
pub const ERRORS: [u8; 4] = [UNREACHABLE, TOO_BIG[0], TIME_EXCEEDED, PARAMETER_PROBLEM];
/// Type and code of "packet too big".
pub const TOO_BIG: [u8; 2] = [2, 0];
/// Type and code of "port unreachable".
pub const NO_PORT: [u8; 2] = [UNREACHABLE, 4];
/// Type and code of "administratively prohibited".
pub const PROHIBITED: [u8; 2] = [UNREACHABLE, 1];
/// Types of the errors that RFC 4884 extends, and the word that says that 128 bytes are quoted.
pub const EXTENDED: (&[u8], [u8; 4]) = (&[UNREACHABLE, TIME_EXCEEDED], [16, 0, 0, 0]);

/// [`describe`] of a packet: `udp C1:5000 > S:53`.
#[must_use]
pub fn said(text: &str) -> String {
    said::said(text, "icmpv6", |name| {
        let addr = match name {
            "C1" => C1.addr6,
            "C2" => C2.addr6,
            "C3" => C3.addr6,
            "GW1" => GW1,
            "H" => H,
            "LO" => LOOPBACK[0],
            "H2" => H2,
            "H3" => H3,
            "S" => S,
            "S2" => S2,
            "R" => R,
            _ => return None,
        };
        Some(Ipv6Addr::from(addr).into())
    })
}

/// What has an address of the family.
pub trait HasIp {
    /// The address.
    fn ip(&self) -> Addr;
}

impl HasIp for Container {
    fn ip(&self) -> Addr {
        self.addr6
    }
}

/// Gives a network a fixed outside address.
pub fn set_snat(network: &mut NetworkRecord, addr: V6) {
    network.snat6 = addr;
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
    // The MTU of "packet too big", harmless in the others.
    error6(src, dst, kind, code, 1300, about, quoted_l4)
}

/// Gives an uplink another address; all zero: none.
pub fn set_uplink(uplink: &mut UplinkRecord, addr: V6) {
    uplink.addr6 = addr;
}

/// A packet of SCTP with one chunk of this type.
#[must_use]
pub fn sctp(src: Addr, sport: u16, dst: Addr, dport: u16, chunk: u8) -> Datagram {
    Datagram::new(src, dst, tuple::SCTP, sctp_l4(sport, dport, chunk))
}

/// A packet of DCCP of this type, the checksum of which covers `words` words of the payload.
#[must_use]
pub fn dccp(src: Addr, sport: u16, dst: Addr, dport: u16, kind: u8, words: u8) -> Datagram {
    let of = dccp_l4(sport, dport, kind, words);
    partly_summed(src, dst, tuple::DCCP, of)
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
    let of = udplite_l4(sport, dport, covered, payload);
    partly_summed(src, dst, tuple::UDPLITE, of)
}

/// A packet whose checksum covers the first `end` bytes behind the IP header.
fn partly_summed(src: Addr, dst: Addr, proto: u8, (mut l4, end): (Vec<u8>, usize)) -> Datagram {
    let pseudo = pseudo_header6(src, dst, proto, l4.len());
    let check = not_zero(internet_checksum(&[&pseudo, &l4[..end]]));
    l4[6..8].copy_from_slice(&check);
    Datagram::new(src, dst, proto, l4)
}

/// Source address of a frame.
#[must_use]
pub fn source(frame: &Frame) -> Addr {
    frame.bytes[22..38].try_into().unwrap()
}

/// Destination address of a frame.
#[must_use]
pub fn destination(frame: &Frame) -> Addr {
    frame.bytes[38..54].try_into().unwrap()
}

/// Source port of a frame without extension headers.
#[must_use]
pub fn source_port(frame: &Frame) -> u16 {
    be16(&frame.bytes, L4)
}

/// Identifier of an ICMP query without extension headers.
#[must_use]
pub fn query_id(frame: &Frame) -> u16 {
    be16(&frame.bytes, L4 + 4)
}

/// Identification in the fragment header of a frame that has no other.
#[must_use]
pub fn identification(frame: &Frame) -> u32 {
    u32::from(be16(&frame.bytes, L4 + 4)) << 16 | u32::from(be16(&frame.bytes, L4 + 6))
}

/// The payload of a fragment, and where it lies in the datagram, bytes.
#[must_use]
pub fn part(frame: &Frame) -> (usize, Vec<u8>) {
    let at = usize::from(be16(&frame.bytes, L4 + 2) & 0xfff8);
    (at, frame.bytes[L4 + 8..].to_vec())
}

/// The DS field of a frame.
#[must_use]
pub fn ds(frame: &Frame) -> u8 {
    (be16(&frame.bytes, 14) >> 4) as u8
}

/// The frame with another DS field.
#[must_use]
pub fn with_ds(mut frame: Frame, ds: u8) -> Frame {
    let word = be16(&frame.bytes, 14) & 0xf00f | u16::from(ds) << 4;
    frame.bytes[14..16].copy_from_slice(&word.to_be_bytes());
    frame
}

/// Whether there are rules for ICMP messages of this type: errors, queries, neighbour discovery.
#[must_use]
pub fn is_known(kind: u8) -> bool {
    matches!(kind, 1..=4 | 128 | 129 | 133..=137)
}

/// Says that `about` was larger than some link takes.
#[must_use]
pub fn too_big(src: Addr, dst: Addr, about: &Datagram) -> Datagram {
    error(src, dst, TOO_BIG[0], TOO_BIG[1], about, 8)
}

/// "Port unreachable" about a packet.
#[must_use]
pub fn no_port(src: Addr, dst: Addr, about: &Datagram) -> Datagram {
    error(src, dst, NO_PORT[0], NO_PORT[1], about, 8)
}

/// Whether no link is as small as a TOO_BIG says (RFC 8200, 5).
#[must_use]
pub fn is_bad_mtu(mtu: u16) -> bool {
    mtu < 1280
}

/// UDP datagrams to try: there are none without a checksum (RFC 8200, 8.1).
#[must_use]
pub fn udps(src: Addr, sport: u16, dst: Addr, dport: u16, payload: &[u8]) -> Vec<Datagram> {
    [udp(src, sport, dst, dport, payload)].to_vec()
}

impl Datagram {
    /// [`Datagram::hops`].
    #[must_use]
    pub fn ttl(self, ttl: u8) -> Self {
        self.hops(ttl)
    }

    /// With this identification: whole, in a fragment header of its own (RFC 6946).
    #[must_use]
    pub fn id(self, id: u16) -> Self {
        self.fragment(0, false, id.into())
    }

    /// A TCP segment with these sequence and acknowledgement numbers.
    #[must_use]
    pub fn numbered(mut self, seq: u32, ack: u32) -> Self {
        number(&mut self.l4, seq, ack);
        self.summed(16)
    }

    /// Fragments with this identification that carry at most `chunk` bytes each.
    #[must_use]
    pub fn cut(&self, chunk: usize, id: u16) -> Vec<Self> {
        self.fragments(chunk, id.into())
    }

    /// Fragments with this identification that fit every link here.
    #[must_use]
    pub fn parts(&self, id: u16) -> Vec<Self> {
        self.cut(1440, id)
    }

    /// A fragment with this identification: `len` bytes from `at` on, and whether more follow.
    #[must_use]
    pub fn piece(&self, at: usize, len: usize, more: bool, id: u16) -> Self {
        Self {
            l4: bytes(&self.l4, at, len),
            ..self.clone()
        }
        .fragment(at, more, id.into())
    }

    /// No router fragments it (RFC 8200, 5).
    #[must_use]
    pub fn unfragmented(self) -> Self {
        self
    }

    /// With `words` words of padding behind the IP header: destination options.
    #[must_use]
    pub fn padded(self, words: u8) -> Self {
        if words == 0 {
            return self;
        }
        self.options(header::DESTINATION, words)
    }

    /// Length of the IP header with its extension headers.
    #[must_use]
    pub fn header_len(&self) -> usize {
        HEADER + self.chain().len()
    }
}
