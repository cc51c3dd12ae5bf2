//! From the bytes of an IPv6 packet to what the datapath decides on.
//!
//! Owns every bounds and sanity check of IPv6 and its extension headers, and of ICMPv6. What follows
//! them is read as behind an IPv4 header. Reads only; decides nothing about flows. Sources: RFC 8200,
//! 4443, 2675, 5095, 6946, 7045, 7112.

use super::{
    ETH_LEN, Ip, Kind, Packet, be16,
    parse::{short, tcp_at, udp_at},
    sixteen,
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
    let h = pkt
        .read_fixed::<ETH_LEN, HEADER>()
        .ok_or(DropReason::Truncated)?;
    let payload = payload_len(pkt, be16(&h, 4));
    let total_len = HEADER + payload;
    if h[0] >> 4 != 6 || !pkt.holds(ETH_LEN + total_len) {
        return Err(DropReason::BadIpHeader);
    }
    *p = Ip {
        tuple: Tuple {
            src: sixteen(&h, 8),
            dst: sixteen(&h, 24),
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
        _ => {}
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
const fn is_extension(proto: u8) -> bool {
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
    let walk = walk(pkt, p.tuple.proto, L4 as u32, end as u32);
    p.tuple.proto = walk.proto();
    p.l4 = walk.l4();
    p.frag_data = p.l4;
    if walk.fragment() != 0 {
        p.frag_data = walk.fragment() + 8;
        let Some(h) = pkt.read::<8>(usize::from(walk.fragment())) else {
            p.kind = Kind::Truncated;
            return;
        };
        let field = be16(&h, 2);
        p.frag_at = field >> 3;
        p.first_fragment = field & 0xfff9 == 1;
        p.id = u32::from_be_bytes([h[4], h[5], h[6], h[7]]);
    }
    if walk.is_short() {
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
        _ => Kind::Other,
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

/// What a walk through extension headers came to, in one word: what a subprogram of the kernel
/// returns.
#[derive(Clone, Copy)]
pub(super) struct Walk(u64);

impl Walk {
    const SHORT: u64 = 1 << 40;

    /// The number of the header where it ended.
    #[inline(always)]
    pub(super) const fn proto(self) -> u8 {
        self.0 as u8
    }

    /// Offset of that header.
    #[inline(always)]
    pub(super) const fn l4(self) -> u16 {
        (self.0 >> 8) as u16
    }

    /// Offset of the fragment header, 0 where there is none.
    #[inline(always)]
    pub(super) const fn fragment(self) -> u16 {
        (self.0 >> 24) as u16
    }

    /// Whether a header is not all there.
    #[inline(always)]
    pub(super) const fn is_short(self) -> bool {
        self.0 & Self::SHORT != 0
    }
}

/// Goes through extension headers: the first has the number `first` and begins at `at`, the packet
/// ends at `end`. Offsets are from the start of the frame, bytes.
///
/// Ends in front of what is no extension header, of one that is at a place where it cannot be, of a
/// routing header that still leads elsewhere or is of type 0 (RFC 5095), of what a later fragment
/// carries, and after [`HEADERS`].
#[inline(always)]
pub(super) fn walk<P: Packet>(pkt: &P, first: u8, at: u32, end: u32) -> Walk {
    Walk(step(pkt, first, at, end))
}

#[inline(never)]
fn step<P: Packet>(pkt: &P, first: u8, at: u32, end: u32) -> u64 {
    let (mut proto, mut at, mut fragment) = (first, at, 0);
    let result = |proto: u8, at: u32, fragment: u32, flag: u64| {
        u64::from(proto) | u64::from(at) << 8 | u64::from(fragment) << 24 | flag
    };
    for turn in 0..HEADERS {
        if !is_extension(proto) || proto == HOP_BY_HOP && turn != 0 {
            break;
        }
        if at + 8 > end {
            return result(proto, at, fragment, Walk::SHORT);
        }
        let Some(h) = pkt.read::<8>(at as usize) else {
            return result(proto, at, fragment, Walk::SHORT);
        };
        let mut len = (u32::from(h[1]) + 1) * 8;
        match proto {
            ROUTING if h[2] == 0 || h[3] != 0 => break,
            FRAGMENT if fragment != 0 => break,
            FRAGMENT => {
                fragment = at;
                len = 8;
            }
            // RFC 4302, 2.2: in words of four bytes, less two.
            AUTHENTICATION => len = (u32::from(h[1]) + 2) * 4,
            _ => {}
        }
        let is_tail = proto == FRAGMENT && be16(&h, 2) >> 3 != 0;
        proto = h[0];
        at += len;
        if at > end {
            return result(proto, at, fragment, Walk::SHORT);
        }
        if is_tail {
            break;
        }
    }
    result(proto, at, fragment, 0)
}
