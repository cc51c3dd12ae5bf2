//! From bytes to what the datapath decides on.
//!
//! Owns every bounds and sanity check of IPv4, TCP, UDP and ICMP headers; `other` has those of other
//! protocols. Reads only; decides nothing about flows. Sources: RFC 791, 768, 9293, 792.

use super::{ETH_LEN, Packet, be16, four, other::other_at, parse6};
use crate::{
    addr::{Addr, V4},
    conntrack::tcp,
    drop_reason::DropReason,
    tuple::{self, Tuple},
};

/// The Ethernet header.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Eth {
    /// Destination MAC address.
    pub dst: [u8; 6],
    /// Source MAC address.
    pub src: [u8; 6],
    /// EtherType, host order.
    pub ethertype: u16,
}

/// What the transport header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Kind {
    /// A TCP segment.
    Tcp,
    /// A datagram of UDP or UDP-Lite.
    Udp,
    /// A packet of SCTP: ports that cannot change, since the checksum is a CRC of all of it.
    Sctp,
    /// A packet of DCCP.
    Dccp,
    /// An ICMP request or reply with an identifier (echo, timestamp).
    IcmpQuery,
    /// An ICMP error that quotes a packet: destination unreachable, source quench or packet too big,
    /// time exceeded, parameter problem.
    IcmpError,
    /// An ICMP redirect.
    IcmpRedirect,
    /// Another ICMP message.
    IcmpOther,
    /// A fragment other than the first: no transport header.
    Tail,
    /// A protocol without ports: its addresses may change.
    #[default]
    Other,
    /// A protocol whose addresses cannot change, or an extension header of IPv6 that the parser does
    /// not look behind: its number is the tuple's protocol.
    Unsupported,
    /// The transport header is not all there.
    Truncated,
    /// The transport header contradicts itself.
    BadL4,
    /// A first fragment that does not hold its transport header.
    Tiny,
}

/// A parsed IP packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Ip<A = V4> {
    /// Addresses, ports and protocol; ports are 0 where `kind` has none.
    pub tuple: Tuple<A>,
    /// What follows the IP header.
    pub kind: Kind,
    /// TCP flags (of SCTP and DCCP those that mean the same), or the ICMP type.
    pub flags: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// More fragments follow, and this is the first.
    pub first_fragment: bool,
    /// Fragment offset in units of 8 bytes.
    pub frag_at: u16,
    /// Header checksum as in memory; IPv6 has none.
    pub check: [u8; 2],
    /// Offset of the transport header from the start of the frame, bytes.
    pub l4: u16,
    /// Identification of the datagram that the fragment is of.
    pub id: u32,
    /// Offset of what a fragment carries, from the start of the frame, bytes: behind the fragment
    /// header of IPv6, else that of the transport header.
    pub frag_data: u16,
    /// Total length of the packet, bytes; more than its header can say for a super-packet of BIG
    /// TCP.
    pub total_len: u32,
    /// Length of the header that says so, bytes, which no packet on the wire has (IPv6).
    pub jumbo_len: u8,
    /// TCP: length of the TCP header in bytes.
    pub tcp_len: u8,
    /// TCP: sequence number.
    pub seq: u32,
    /// TCP: acknowledgement number, meaningful with the flag ACK.
    pub ack: u32,
}

/// Parses the Ethernet header.
///
/// # Errors
/// [`DropReason::Truncated`].
#[inline(always)]
pub fn parse_eth<P: Packet>(pkt: &P, eth: &mut Eth) -> Result<(), DropReason> {
    let b = pkt
        .read_fixed::<0, ETH_LEN>()
        .ok_or(DropReason::Truncated)?;
    eth.dst = [b[0], b[1], b[2], b[3], b[4], b[5]];
    eth.src = [b[6], b[7], b[8], b[9], b[10], b[11]];
    eth.ethertype = u16::from_be_bytes([b[12], b[13]]);
    Ok(())
}

/// Parses the IPv4 header behind the Ethernet header, and the transport header.
///
/// What is wrong with the transport header is reported in [`Ip::kind`], since it depends on the
/// packet's way whether that matters.
///
/// # Errors
/// [`DropReason::Truncated`], [`DropReason::BadIpHeader`].
#[inline(always)]
pub fn parse_ipv4<P: Packet>(pkt: &P, p: &mut Ip) -> Result<(), DropReason> {
    let h = pkt
        .read_fixed::<ETH_LEN, 20>()
        .ok_or(DropReason::Truncated)?;
    let header_len = usize::from(h[0] & 0x0f) * 4;
    let total_len = total_len(pkt, be16(&h, 2), h[9]);
    if h[0] >> 4 != 4 || header_len < 20 || total_len < header_len {
        return Err(DropReason::BadIpHeader);
    }
    if !pkt.holds(ETH_LEN + total_len) {
        return Err(DropReason::BadIpHeader);
    }
    let frag = be16(&h, 6);
    *p = Ip {
        tuple: Tuple {
            src: four(&h, 12),
            dst: four(&h, 16),
            proto: h[9],
            ..Tuple::default()
        },
        kind: Kind::Other,
        flags: 0,
        ttl: h[8],
        first_fragment: frag & 0x3fff == 0x2000,
        frag_at: frag & 0x1fff,
        check: [h[10], h[11]],
        l4: (ETH_LEN + header_len) as u16,
        id: u32::from(be16(&h, 4)),
        frag_data: (ETH_LEN + header_len) as u16,
        total_len: total_len as u32,
        jumbo_len: 0,
        tcp_len: 0,
        seq: 0,
        ack: 0,
    };
    if frag & 0x1fff != 0 {
        // RFC 3128: a second fragment at offset 8 could overwrite the TCP flags.
        p.kind = if p.tuple.proto == tuple::TCP && frag & 0x1fff == 1 {
            Kind::Tiny
        } else {
            Kind::Tail
        };
        return Ok(());
    }
    let room = total_len - header_len;
    p.kind = match p.tuple.proto {
        tuple::TCP if room < 20 => short(p),
        tuple::UDP | tuple::ICMP if room < 8 => short(p),
        tuple::TCP if header_len == 20 => tcp_at(p, room, pkt.read_fixed::<34, 20>()),
        tuple::TCP => tcp_at(p, room, pkt.read(ETH_LEN + header_len)),
        tuple::UDP if header_len == 20 => udp_at(p, room, pkt.read_fixed::<34, 8>()),
        tuple::UDP => udp_at(p, room, pkt.read(ETH_LEN + header_len)),
        tuple::ICMP if header_len == 20 => icmp_at(p, pkt.read_fixed::<34, 8>()),
        tuple::ICMP => icmp_at(p, pkt.read(ETH_LEN + header_len)),
        _ => other_at(pkt, p, room),
    };
    Ok(())
}

/// The length of the packet, bytes. The kernel's BIG TCP leaves 0 in the header of a super-packet
/// that is longer than the field can say (`iph_set_totlen`); anywhere else 0 is a lie.
#[inline(always)]
fn total_len<P: Packet>(pkt: &P, field: u16, proto: u8) -> usize {
    if field == 0 && proto == tuple::TCP {
        let by_frame = pkt.len().saturating_sub(ETH_LEN);
        if by_frame > usize::from(u16::MAX) && pkt.gso_size() != 0 {
            return by_frame;
        }
    }
    usize::from(field)
}

#[inline(always)]
pub(super) fn short<A>(p: &Ip<A>) -> Kind {
    if p.first_fragment {
        Kind::Tiny
    } else {
        Kind::Truncated
    }
}

#[inline(always)]
pub(super) fn tcp_at<A>(p: &mut Ip<A>, room: usize, header: Option<[u8; 20]>) -> Kind {
    let Some(h) = header else {
        return Kind::Truncated;
    };
    let data_offset = usize::from(h[12] >> 4) * 4;
    p.tuple.sport = be16(&h, 0);
    p.tuple.dport = be16(&h, 2);
    p.seq = u32::from_be_bytes(four(&h, 4));
    p.ack = u32::from_be_bytes(four(&h, 8));
    p.flags = h[13];
    p.tcp_len = data_offset as u8;
    if data_offset > room && p.first_fragment {
        return Kind::Tiny;
    }
    // nf_conntrack_proto_tcp.c tcp_error(): a segment with none of SYN, FIN, RST, ACK is invalid,
    // and so are the combinations that no stack sends.
    let f = h[13] & (tcp::SYN | tcp::FIN | tcp::RST | tcp::ACK);
    let bad = f == 0
        || f & (tcp::SYN | tcp::FIN) == tcp::SYN | tcp::FIN
        || f & (tcp::SYN | tcp::RST) == tcp::SYN | tcp::RST
        || f & (tcp::FIN | tcp::ACK) == tcp::FIN
        || f & (tcp::FIN | tcp::RST) == tcp::FIN | tcp::RST;
    if data_offset < 20 || data_offset > room || bad {
        return Kind::BadL4;
    }
    Kind::Tcp
}

#[inline(always)]
pub(super) fn udp_at<A>(p: &mut Ip<A>, room: usize, header: Option<[u8; 8]>) -> Kind {
    let Some(h) = header else {
        return Kind::Truncated;
    };
    p.tuple.sport = be16(&h, 0);
    p.tuple.dport = be16(&h, 2);
    let len = usize::from(be16(&h, 4));
    // A fragmented datagram is longer than its first fragment.
    if len < 8 || (len > room && !p.first_fragment) {
        return Kind::BadL4;
    }
    Kind::Udp
}

#[inline(always)]
fn icmp_at(p: &mut Ip, header: Option<[u8; 8]>) -> Kind {
    let Some(h) = header else {
        return Kind::Truncated;
    };
    p.flags = h[0];
    match h[0] {
        tuple::ICMP_ECHO
        | tuple::ICMP_ECHO_REPLY
        | tuple::ICMP_TIMESTAMP
        | tuple::ICMP_TIMESTAMP_REPLY => {
            let id = be16(&h, 4);
            p.tuple.sport = id;
            p.tuple.dport = id;
            p.tuple.icmp_type = h[0];
            Kind::IcmpQuery
        }
        3 | 4 | 11 | 12 => Kind::IcmpError,
        5 => Kind::IcmpRedirect,
        _ => Kind::IcmpOther,
    }
}

impl<A: Addr> Ip<A> {
    /// Whether the packet belongs to a protocol and message that is tracked.
    #[inline(always)]
    #[must_use]
    pub const fn is_tracked(&self) -> bool {
        matches!(
            self.kind,
            Kind::Tcp | Kind::Udp | Kind::IcmpQuery | Kind::Sctp | Kind::Dccp | Kind::Other
        )
    }

    /// Whether the packet has a port that may lead somewhere.
    #[inline(always)]
    #[must_use]
    pub const fn has_ports(&self) -> bool {
        matches!(self.kind, Kind::Tcp | Kind::Udp | Kind::Sctp | Kind::Dccp)
    }

    /// Whether its flow keeps its own port or has none.
    #[inline(always)]
    #[must_use]
    pub const fn has_fixed_port(&self) -> bool {
        matches!(self.kind, Kind::Sctp | Kind::Other)
    }

    /// TCP: the sequence number that follows the segment (RFC 9293, 3.4: SYN and FIN count).
    #[inline(always)]
    #[must_use]
    pub fn segment_end(&self) -> u32 {
        let headers = u32::from(self.l4) - ETH_LEN as u32 + u32::from(self.tcp_len);
        let syn = u32::from(self.flags & tcp::SYN != 0);
        let fin = u32::from(self.flags & tcp::FIN != 0);
        let payload = self.total_len.wrapping_sub(headers);
        self.seq.wrapping_add(payload).wrapping_add(syn + fin)
    }

    /// Where the fragment lies in its datagram: from and to, in units of 8 bytes.
    #[inline(always)]
    #[must_use]
    pub fn part(&self) -> (u16, u16) {
        let bytes = self
            .total_len
            .saturating_sub(u32::from(self.frag_data) - ETH_LEN as u32);
        (
            self.frag_at,
            self.frag_at.wrapping_add(bytes.div_ceil(8) as u16),
        )
    }

    /// What the fragments of a datagram have in common besides addresses and identification: its
    /// protocol (RFC 791, 3.2), of IPv6 nothing (RFC 8200, 4.5).
    #[inline(always)]
    #[must_use]
    pub const fn datagram_proto(&self) -> u8 {
        if A::IS_V6 { 0 } else { self.tuple.proto }
    }

    /// Offset of the packet's end from the start of the frame, bytes. Padding may follow.
    #[inline(always)]
    #[must_use]
    pub fn end(&self) -> usize {
        ETH_LEN + self.total_len as usize
    }

    /// Length of the largest IP packet that this one becomes on the wire, bytes: of a super-packet,
    /// one segment.
    #[inline(always)]
    #[must_use]
    pub fn wire_len(&self, gso_size: u32) -> u32 {
        if gso_size == 0 {
            return self.total_len;
        }
        let l4_header = if matches!(self.kind, Kind::Tcp) {
            u32::from(self.tcp_len)
        } else {
            8
        };
        let ip_headers = u32::from(self.l4) - ETH_LEN as u32 - u32::from(self.jumbo_len);
        ip_headers + l4_header + gso_size
    }

    /// Why the packet cannot be translated, for kinds that never can.
    #[inline(always)]
    #[must_use]
    pub const fn fault(&self) -> DropReason {
        match self.kind {
            Kind::Truncated => DropReason::Truncated,
            Kind::BadL4 => DropReason::BadL4Header,
            Kind::Tiny => DropReason::FragmentTiny,
            Kind::Tail => DropReason::FragmentUnmatched,
            Kind::IcmpRedirect => DropReason::IcmpRedirect,
            Kind::IcmpError => DropReason::IcmpErrorUnmatched,
            Kind::IcmpOther | Kind::IcmpQuery => DropReason::IcmpUnmatched,
            Kind::Unsupported if A::IS_V6 => parse6::unsupported(self.tuple.proto),
            Kind::Unsupported | Kind::Other | Kind::Tcp | Kind::Udp | Kind::Sctp | Kind::Dccp => {
                DropReason::UnsupportedProtocol
            }
        }
    }
}
