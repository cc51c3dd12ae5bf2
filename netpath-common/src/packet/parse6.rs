//! From the bytes of an IPv6 packet to what the datapath decides on.
//!
//! Owns every bounds and sanity check of IPv6 and its extension headers, and of ICMPv6. What follows
//! them is read as behind an IPv4 header. Reads only; decides nothing about flows. Sources: RFC 8200,
//! 4443, 2675, 5095, 6946, 7045, 7112.

use super::{
    ETH_LEN, Ip, Kind, Packet, be16,
    other::other_at,
    parse::{short, tcp_at, udp_at},
};
use crate::{
    addr::V6,
    drop_reason::DropReason,
    tuple::{self, Tuple},
};

/// Length of an IPv6 header, bytes.
pub(super) const HEADER: usize = 40;
/// Where the transport header is in a packet without extension headers.
pub(super) const L4: usize = ETH_LEN + HEADER;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// How many extension headers the parser looks behind: those that RFC 8200, 4.1, recommends, each
/// once, without the one that encrypts what follows.
const HEADERS: u32 = 6;

/// The hop-by-hop option of a super-packet (RFC 2675): type and length.
const JUMBO: [u8; 2] = [0xc2, 4];

/// Parses the IPv6 header behind the Ethernet header, its extension headers, and the transport header.
///
/// What is wrong behind the IPv6 header is reported in [`Ip::kind`], since it depends on the packet's
/// way whether that matters.
///
/// # Errors
/// [`DropReason::Truncated`], [`DropReason::BadIpHeader`].
#[inline(always)]
pub fn parse_ipv6<P: Packet>(pkt: &P, p: &mut Ip<V6>) -> Result<(), DropReason> {
    if !pkt.read_addr6::<{ ETH_LEN + 8 }>(&mut p.tuple.src)
        || !pkt.read_addr6::<{ ETH_LEN + 24 }>(&mut p.tuple.dst)
    {
        return Err(DropReason::Truncated);
    }
    let h = pkt
        .read_fixed::<ETH_LEN, 8>()
        .ok_or(DropReason::Truncated)?;
    let payload = payload_len(pkt, be16(&h, 4));
    let total_len = HEADER + payload;
    if h[0] >> 4 != 6 || !pkt.holds(ETH_LEN + total_len) {
        return Err(DropReason::BadIpHeader);
    }
    *p = Ip {
        tuple: Tuple {
            src: p.tuple.src,
            dst: p.tuple.dst,
            proto: h[6],
            ..Tuple::default()
        },
        kind: Kind::Other,
        flags: 0,
        ttl: h[7],
        first_fragment: false,
        frag_at: 0,
        check: [0; 2],
        l4: L4 as u16,
        id: 0,
        frag_data: L4 as u16,
        total_len: total_len as u32,
        jumbo_len: 0,
        tcp_len: 0,
        seq: 0,
        ack: 0,
    };
    match h[6] {
        tuple::TCP | tuple::UDP | tuple::ICMPV6 if payload < least(h[6]) => {
            p.kind = Kind::Truncated;
        }
        tuple::TCP => p.kind = tcp_at(p, payload, pkt.read_fixed::<L4, 20>()),
        tuple::UDP => p.kind = udp6_at(p, payload, pkt.read_fixed::<L4, 8>()),
        tuple::ICMPV6 => p.kind = icmp6_at(p, pkt.read_fixed::<L4, 8>()),
        proto if is_extension(proto) => extended(pkt, p),
        _ => p.kind = other_at(pkt, p, payload),
    }
    if payload > usize::from(u16::MAX) && !matches!(p.kind, Kind::Tcp | Kind::BadL4) {
        return Err(DropReason::BadIpHeader);
    }
    Ok(())
}

/// Length of what follows the IPv6 header, bytes. A super-packet of BIG TCP that is longer than the
/// field can say has 0 there, with the hop-by-hop option of RFC 2675 or without it; any other packet
/// with 0 has nothing behind its header.
#[inline(always)]
fn payload_len<P: Packet>(pkt: &P, field: u16) -> usize {
    if field == 0 {
        let by_frame = pkt.len().saturating_sub(L4);
        if by_frame > usize::from(u16::MAX) && pkt.gso_size() != 0 {
            return by_frame;
        }
    }
    usize::from(field)
}

/// The shortest header of a protocol that is translated, bytes.
#[inline(always)]
const fn least(proto: u8) -> usize {
    if proto == tuple::TCP { 20 } else { 8 }
}

/// Whether the number is that of an extension header that the parser knows the length of. What follows
/// one that it does not know (ESP, or one that has yet to be invented: RFC 6564) nobody can tell.
#[inline(always)]
pub(super) const fn is_extension(proto: u8) -> bool {
    matches!(
        proto,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION
    )
}

/// Why a packet cannot be translated whose headers end with this number.
#[inline(always)]
pub(super) const fn unsupported(proto: u8) -> DropReason {
    match proto {
        ROUTING => DropReason::RoutingHeader,
        HOP_BY_HOP | FRAGMENT | AUTHENTICATION | DESTINATION => DropReason::HeaderChain,
        _ => DropReason::UnsupportedProtocol,
    }
}

/// Parses what follows an IPv6 header that an extension header follows. A subprogram of the kernel:
/// few packets have one.
#[inline(never)]
fn extended<P: Packet>(pkt: &P, p: &mut Ip<V6>) {
    let end = p.end();
    p.frag_data = 0;
    let is_short = walk(
        pkt,
        end as u32,
        &mut p.tuple.proto,
        &mut p.l4,
        &mut p.frag_data,
    ) != 0;
    if p.frag_data == 0 {
        p.frag_data = p.l4;
    } else {
        let Some(h) = pkt.read::<8>(usize::from(p.frag_data)) else {
            p.kind = Kind::Truncated;
            return;
        };
        let field = be16(&h, 2);
        p.frag_at = field >> 3;
        p.first_fragment = field & 0xfff9 == 1;
        p.id = u32::from_be_bytes([h[4], h[5], h[6], h[7]]);
        p.frag_data += 8;
    }
    if is_short {
        // RFC 7112: the first fragment has the whole chain of headers.
        p.kind = short(p);
        return;
    }
    if p.frag_at != 0 {
        // RFC 3128, as of IPv4.
        p.kind = if p.tuple.proto == tuple::TCP && p.frag_at == 1 {
            Kind::Tiny
        } else {
            Kind::Tail
        };
        return;
    }
    let at = usize::from(p.l4);
    let room = end - at;
    if end - L4 > usize::from(u16::MAX) {
        p.jumbo_len = jumbo_len(pkt, room);
    }
    p.kind = match p.tuple.proto {
        tuple::TCP | tuple::UDP | tuple::ICMPV6 if room < least(p.tuple.proto) => short(p),
        tuple::TCP => tcp_at(p, room, pkt.read(at)),
        tuple::UDP => udp6_at(p, room, pkt.read(at)),
        tuple::ICMPV6 => icmp6_at(p, pkt.read(at)),
        // In a place where it cannot be, or beyond what is looked at.
        proto if is_extension(proto) => Kind::Unsupported,
        _ => other_at(pkt, p, room),
    };
}

/// Length of the header that only a super-packet has: the kernel takes it away from each segment
/// (`ipv6_hopopt_jumbo_remove`, `include/net/ipv6.h`). 0 where it is another one.
#[inline(always)]
fn jumbo_len<P: Packet>(pkt: &P, room: usize) -> u8 {
    let Some(h) = pkt.read::<8>(L4) else {
        return 0;
    };
    let says = u32::from_be_bytes([h[4], h[5], h[6], h[7]]);
    let is_jumbo = h[0] == tuple::TCP && h[1] == 0 && [h[2], h[3]] == JUMBO;
    if is_jumbo && says as usize == room + 8 {
        8
    } else {
        0
    }
}

#[inline(always)]
fn udp6_at(p: &mut Ip<V6>, room: usize, header: Option<[u8; 8]>) -> Kind {
    // RFC 8200, 8.1: there is no UDP without a checksum. (RFC 6935 allows it for tunnels, which
    // end at a host and are not translated.)
    let kind = udp_at(p, room, header);
    if header.is_some_and(|h| be16(&h, 6) == 0) {
        return Kind::BadL4;
    }
    kind
}

#[inline(always)]
fn icmp6_at(p: &mut Ip<V6>, header: Option<[u8; 8]>) -> Kind {
    let Some(h) = header else {
        return Kind::Truncated;
    };
    p.flags = h[0];
    match h[0] {
        tuple::ICMPV6_ECHO | tuple::ICMPV6_ECHO_REPLY => {
            let id = be16(&h, 4);
            p.tuple.sport = id;
            p.tuple.dport = id;
            p.tuple.icmp_type = h[0];
            Kind::IcmpQuery
        }
        1..=4 => Kind::IcmpError,
        137 => Kind::IcmpRedirect,
        _ => Kind::IcmpOther,
    }
}

/// Goes through extension headers: the first has the number `proto` and begins at `at`, the packet ends
/// at `end`. Then `proto` is the number of the header where it ended, `at` that header's offset, and
/// `fragment` that of the fragment header, where there is one: 0 before. Offsets are from the start of
/// the frame, bytes. 1 where a header is not all there, else 0.
///
/// Ends in front of what is no extension header, of one that is at a place where it cannot be, of a
/// routing header that still leads elsewhere or is of type 0 (RFC 5095), of what a later fragment
/// carries, and after [`HEADERS`].
///
/// A subprogram of the kernel, whose verifier walks each turn once as long as nothing that differs is
/// in registers: what it finds is in memory.
#[inline(never)]
pub(super) fn walk<P: Packet>(
    pkt: &P,
    end: u32,
    proto: &mut u8,
    at: &mut u16,
    fragment: &mut u16,
) -> u32 {
    const SHORT: u32 = 1;
    // Read and written as what others may change: nothing of it stays in a register.
    let (proto, at, fragment) = (
        core::ptr::from_mut(proto),
        core::ptr::from_mut(at),
        core::ptr::from_mut(fragment),
    );
    for turn in 0..HEADERS {
        // SAFETY: they are what the references above lead to.
        let (number, from) = unsafe { (proto.read_volatile(), u32::from(at.read_volatile())) };
        if !is_extension(number) || number == HOP_BY_HOP && turn != 0 {
            return 0;
        }
        if from + 8 > end {
            return SHORT;
        }
        let Some(h) = pkt.read::<8>(from as usize) else {
            return SHORT;
        };
        let mut len = (u32::from(h[1]) + 1) * 8;
        if number == ROUTING && (h[2] == 0 || h[3] != 0) {
            return 0;
        }
        if number == AUTHENTICATION {
            // RFC 4302, 2.2: in words of four bytes, less two.
            len = (u32::from(h[1]) + 2) * 4;
        }
        if number == FRAGMENT {
            // SAFETY: as above.
            unsafe {
                if fragment.read_volatile() != 0 {
                    return 0;
                }
                fragment.write_volatile(from as u16);
            }
            len = 8;
        }
        // SAFETY: as above.
        unsafe {
            proto.write_volatile(h[0]);
            at.write_volatile((from + len) as u16);
        }
        if from + len > end {
            return SHORT;
        }
        if number == FRAGMENT && be16(&h, 2) >> 3 != 0 {
            return 0;
        }
    }
    0
}
