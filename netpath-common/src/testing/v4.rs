//! The words of a test that is the same for both families, in IPv4. [`super::v6`] has them in IPv6.
//!
//! Owns what differs: types and addresses, where the fields of a frame are, the numbers of ICMP.

use std::{net::Ipv4Addr, string::String, vec::Vec};

pub use super::{
    Addr, BRIDGE1_IF, BRIDGE1_MAC, BRIDGE2_IF, BRIDGE2_MAC, C1, C2, C3, Container, Datagram, Frame,
    GW1, GW2, H, Host, Mac, MemTables, NET1, NET2, Offload, Outcome, R, ROUTER_MAC, RULE_DNS,
    RULE_WEB, S, S2, UPLINK, UPLINK_IF, UPLINK_MAC, another, arp, dccp, describe, endpoint_record,
    error, ethernet, icmp, network_record, out_of, query, randomness, reassemble, sctp, tcp,
    tcp_data, udp, udplite, verify,
};
use super::{build::be16, said};
pub use crate::{Tuple, conntrack::CtEntry, tuple::ICMP};
use crate::{
    addr::V4,
    records::{NetworkRecord, UplinkRecord},
};

/// Another address of the host outside.
pub const H2: Addr = [192, 0, 2, 7];
/// One more.
pub const H3: Addr = [192, 0, 2, 77];
/// Addresses that are nobody's here.
pub const STRANGERS: [Addr; 2] = [[8, 8, 8, 8], [10, 0, 0, 1]];
/// Addresses of the first network that no container has, and broadcast.
pub const NOBODYS: [Addr; 2] = [[172, 17, 9, 9], [172, 17, 255, 255]];
/// The network of S.
pub const NET_OF_S: (Addr, u8) = ([198, 51, 100, 0], 24);
/// The MTU that every host takes, below which no MSS is lowered to.
pub const LEAST: usize = 128;
/// Bits of the subnets of the networks.
pub const SUBNET_BITS: u8 = 16;
/// A multicast address.
pub const MULTICAST: Addr = [224, 0, 0, 251];
/// Addresses of no wire.
pub const LOOPBACK: [Addr; 2] = [[127, 0, 0, 1], [127, 255, 0, 9]];
/// Length of the IP header.
pub const HEADER: usize = 20;
/// Where the length field of a frame's IP header is.
pub const LENGTH: usize = 16;
/// Where the transport header of a frame is that has no options.
pub const L4: usize = 14 + HEADER;
/// Number of the family in protocols (RFC 2428).
pub const AF: u8 = 1;
/// Bits of an address.
pub const BITS: u8 = 32;

/// Protocols without ports: IGMP, IPv6 in IPv4, GRE, ESP.
pub const OTHERS: [u8; 4] = [2, 41, 47, 50];

/// EtherType of the family.
pub const ETHERTYPE: [u8; 2] = [8, 0];
/// The DS field of errors that a router sends (RFC 1812, 4.3.2.5).
pub const ROUTER_DS: u8 = 0xc0;

/// Type of echo (RFC 792).
pub const ECHO: u8 = 8;
/// Its answer.
pub const ECHO_REPLY: u8 = 0;
/// Types of queries and of their answers: echo, timestamp.
pub const QUERIES: [(u8, u8); 2] = [(ECHO, ECHO_REPLY), (13, 14)];
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;
/// Types of all errors that are translated, also source quench.
pub const ERRORS: [u8; 4] = [UNREACHABLE, 4, TIME_EXCEEDED, PARAMETER_PROBLEM];
/// Type and code of "fragmentation needed" (RFC 1191).
pub const TOO_BIG: [u8; 2] = [UNREACHABLE, 4];
/// Type and code of "port unreachable".
pub const NO_PORT: [u8; 2] = [UNREACHABLE, 3];
/// Type and code of "administratively prohibited" (RFC 1812, 5.2.7.1).
pub const PROHIBITED: [u8; 2] = [UNREACHABLE, 13];
/// Types of the errors that RFC 4884 extends, and the word that says that 128 bytes are quoted.
pub const EXTENDED: (&[u8], [u8; 4]) = (
    &[UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM],
    [0, 32, 0, 0],
);

/// [`describe`] of a packet: `udp C1:5000 > S:53`.
#[must_use]
pub fn said(text: &str) -> String {
    said::said(text, "icmp", |name| {
        let addr = match name {
            "C1" => C1.addr,
            "C2" => C2.addr,
            "C3" => C3.addr,
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
        Some(Ipv4Addr::from(addr).into())
    })
}

/// What has an address of the family.
pub trait HasIp {
    /// The address.
    fn ip(&self) -> Addr;
}

impl HasIp for Container {
    fn ip(&self) -> Addr {
        self.addr
    }
}

/// Gives a network a fixed outside address.
pub fn set_snat(network: &mut NetworkRecord, addr: V4) {
    network.snat = addr;
}

/// Gives an uplink another address; all zero: none.
pub fn set_uplink(uplink: &mut UplinkRecord, addr: V4) {
    uplink.addr = addr;
}

/// Source address of a frame.
#[must_use]
pub fn source(frame: &Frame) -> Addr {
    frame.bytes[26..30].try_into().unwrap()
}

/// Destination address of a frame.
#[must_use]
pub fn destination(frame: &Frame) -> Addr {
    frame.bytes[30..34].try_into().unwrap()
}

/// Source port of a frame without options.
#[must_use]
pub fn source_port(frame: &Frame) -> u16 {
    be16(&frame.bytes, L4)
}

/// Identifier of an ICMP query without options.
#[must_use]
pub fn query_id(frame: &Frame) -> u16 {
    be16(&frame.bytes, L4 + 4)
}

/// IP identification of a frame.
#[must_use]
pub fn identification(frame: &Frame) -> u32 {
    be16(&frame.bytes, 18).into()
}

/// The payload of a fragment, and where it lies in the datagram, bytes.
#[must_use]
pub fn part(frame: &Frame) -> (usize, Vec<u8>) {
    let at = usize::from(be16(&frame.bytes, 20) & 0x1fff) * 8;
    (at, frame.bytes[L4..].to_vec())
}

/// The DS field of a frame.
#[must_use]
pub fn ds(frame: &Frame) -> u8 {
    frame.bytes[15]
}

/// The frame with another DS field.
#[must_use]
pub fn with_ds(mut frame: Frame, ds: u8) -> Frame {
    frame.bytes[15] = ds;
    frame.bytes[24..26].fill(0);
    let check = crate::checksum::full(&[&frame.bytes[14..34]]);
    frame.bytes[24..26].copy_from_slice(&check);
    frame
}

/// Whether there are rules for ICMP messages of this type: errors, queries, redirects.
#[must_use]
pub fn is_known(kind: u8) -> bool {
    matches!(kind, 0 | 3..=5 | 8 | 11..=14)
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

/// Whether no link is as small as a TOO_BIG says. 0 is what routers before RFC 1191 send.
#[must_use]
pub fn is_bad_mtu(mtu: u16) -> bool {
    (1..68).contains(&mtu)
}

/// UDP datagrams to try: with a checksum, and without.
#[must_use]
pub fn udps(src: Addr, sport: u16, dst: Addr, dport: u16, payload: &[u8]) -> Vec<Datagram> {
    [udp, super::udp_without_checksum]
        .map(|of| of(src, sport, dst, dport, payload))
        .to_vec()
}

/// So many bytes from `at` on, zeros behind the end.
pub(super) fn bytes(of: &[u8], at: usize, len: usize) -> Vec<u8> {
    let mut all = of.to_vec();
    all.resize(at + len, 0);
    all.split_off(at)
}

impl Datagram {
    /// Fragments with this identification that carry at most `chunk` bytes each.
    #[must_use]
    pub fn cut(&self, chunk: usize, id: u16) -> Vec<Self> {
        self.clone().id(id).fragments(chunk)
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
            frag: (at / 8) as u16 | if more { 0x2000 } else { 0 },
            l4: bytes(&self.l4, at, len),
            ..self.clone().id(id)
        }
    }

    /// With the don't-fragment bit.
    #[must_use]
    pub fn unfragmented(self) -> Self {
        self.dont_fragment()
    }

    /// As BIG TCP has a super-packet: [`Datagram::bytes`] says so by itself.
    #[must_use]
    pub fn jumbo(self) -> Self {
        self
    }

    /// With `words` words of padding behind the IP header, 10 at most.
    #[must_use]
    pub fn padded(self, words: u8) -> Self {
        self.options(words.into())
    }

    /// Length of the IP header with its options.
    #[must_use]
    pub fn header_len(&self) -> usize {
        HEADER + self.options.len()
    }
}
