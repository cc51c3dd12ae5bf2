//! Transport headers besides those of TCP, UDP and ICMP.
//!
//! Owns what is read of SCTP, DCCP and UDP-Lite, and which protocols are left alone. What opens and
//! closes a connection is told in flags of TCP, so that one table of states serves all. Sources: RFC
//! 9260, 4340, 3828.

use super::{Ip, Kind, Packet, be16, parse::short};
use crate::{
    addr::Addr,
    conntrack::tcp::{ACK, FIN, RST, SYN},
    tuple,
};

/// Reads the header behind `ip`, `room` bytes of it are there.
///
/// A subprogram of the kernel: few packets have one.
#[inline(never)]
pub(super) fn other_at<A: Addr, P: Packet>(pkt: &P, ip: &mut Ip<A>, room: usize) -> Kind {
    let proto = ip.tuple.proto;
    // ICMP of the other family is nobody's.
    if matches!(proto, tuple::ICMP | tuple::ICMPV6) || tuple::is_bound_to_addresses(proto) {
        return Kind::Unsupported;
    }
    if !matches!(proto, tuple::SCTP | tuple::DCCP | tuple::UDPLITE) {
        return Kind::Other;
    }
    let least = match proto {
        tuple::SCTP => 16,
        tuple::DCCP => 12,
        _ => 8,
    };
    if room < least {
        return short(ip);
    }
    let Some(h) = pkt.read::<8>(usize::from(ip.l4)) else {
        return Kind::Truncated;
    };
    ip.tuple.sport = be16(&h, 0);
    ip.tuple.dport = be16(&h, 2);
    if proto == tuple::UDPLITE {
        let covered = usize::from(be16(&h, 4));
        // RFC 3828, 3.1: the header at least, or 0 for everything; and there is always a checksum.
        let bad = covered != 0 && (covered < 8 || covered > room && !ip.first_fragment);
        return if bad || be16(&h, 6) == 0 {
            Kind::BadL4
        } else {
            Kind::Udp
        };
    }
    // The type of the first chunk behind SCTP's common header, or that of the packet.
    let at = usize::from(ip.l4) + if proto == tuple::SCTP { 12 } else { 8 };
    let Some([kind]) = pkt.read::<1>(at) else {
        return Kind::Truncated;
    };
    if proto == tuple::SCTP {
        ip.flags = chunk(kind);
        return Kind::Sctp;
    }
    let header = usize::from(h[4]) * 4;
    let kind = kind >> 1 & 0x0f;
    if header > room && ip.first_fragment {
        return Kind::Tiny;
    }
    // nf_conntrack_proto_dccp.c, dccp_error()
    if header < 12 || header > room || kind > 9 {
        return Kind::BadL4;
    }
    ip.flags = dccp(kind);
    Kind::Dccp
}

/// What a chunk means, by its type (RFC 9260, 3.2). INIT, INIT ACK and SHUTDOWN COMPLETE are alone in
/// their packet, and COOKIE ECHO is the first of it (6.10).
#[inline(always)]
const fn chunk(kind: u8) -> u8 {
    match kind {
        1 => SYN,
        2 => SYN | ACK,
        6 => RST,
        7 | 8 => FIN | ACK,
        _ => ACK,
    }
}

/// What a packet means, by its type (RFC 4340, 5.1).
#[inline(always)]
const fn dccp(kind: u8) -> u8 {
    match kind {
        0 => SYN,
        1 => SYN | ACK,
        6 => FIN | ACK,
        7 => RST,
        _ => ACK,
    }
}
