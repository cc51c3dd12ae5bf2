//! The packets of containers, servers and routers.
//!
//! Owns their bytes: out of the blue, or from what was seen or sent before. When and where they are
//! sent is `play`'s.

use std::net::IpAddr;

use crate::{
    address::{Family, Who, is_hosts},
    datagram::{Datagram, End, bare_udp, icmp, tcp, udp, udplite},
    packet::{ACK, ESP, FIN, GRE, PSH, Packet, RST, SYN, TCP, UDP, UDPLITE},
    site::place_of,
    step::{Complaint, How, L4, Order, What},
};

/// What a protocol without ports carries: a header of GRE without a key.
const OTHER: [u8; 8] = [0, 0, 8, 0, 1, 2, 3, 4];

/// First sequence number of whoever begins, and of whoever answers.
const CLIENT: u32 = 100_000;
const SERVER: u32 = 500_000;

/// A packet out of the blue, if there is such a thing in the family.
pub(crate) fn fresh(from: End, to: End, l4: &L4) -> Option<Datagram> {
    let ((src, sport), (dst, _)) = (from, to);
    let family = Family::of(src);
    let segment = |flags: u8| tcp(from, to, flags, CLIENT, SERVER, b"");
    let query = |kind: u8| {
        let [a, b] = sport.to_be_bytes();
        icmp(src, dst, kind, 0, [a, b, 0, 1], b"abcdefghijklmnop")
    };
    Some(match *l4 {
        L4::Udp { len, bare: false } => udp(from, to, &content(len)),
        L4::Udp { len, bare: true } => bare_udp(from, to, &content(len)),
        L4::Options => udp(from, to, &content(32)).options(),
        L4::Syn => segment(SYN),
        L4::Flags(flags) => segment(flags),
        L4::Echo => query(if family == Family::V4 { 8 } else { 128 }),
        L4::EchoReply => query(if family == Family::V4 { 0 } else { 129 }),
        // The host would say what time it is, which is never the same twice.
        L4::Timestamp if family == Family::V6 || is_hosts(dst) => return None,
        L4::Timestamp => query(13),
        L4::OtherIcmp => {
            // One that asks for nothing known, and one for private experiments (RFC 4443, 2.1).
            let kind = if family == Family::V4 { 42 } else { 200 };
            icmp(src, dst, kind, 0, [0, 1, 0, 0], &[0; 8])
        }
        L4::ShortUdp => {
            let mut packet = bare_udp(from, to, b"");
            packet.l4[5] = 4;
            packet
        }
        L4::WrongUdp => {
            let mut packet = udp(from, to, b"abcd");
            packet.l4[6] ^= 0x55;
            packet
        }
        L4::UdpLite(covered) => udplite(from, to, covered, &content(24)),
        L4::Other(proto) => Datagram::new(src, dst, proto, OTHER.to_vec()),
    })
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| i as u8).collect()
}

/// Sender and receiver of a packet with ports.
fn ends(p: Packet<'_>) -> Option<(End, End)> {
    Some(((p.src(), p.sport()?), (p.dst(), p.dport()?)))
}

/// What the receiver of a packet says.
pub(crate) fn answer(p: Packet<'_>, how: How) -> Option<Datagram> {
    match p.proto() {
        UDP if !p.is_tail() => {
            let len = match how {
                How::Data(len) => len,
                How::Natural | How::Fin | How::Reset(_) | How::ResetZero | How::Odd(..) => 24,
            };
            let (to, from) = ends(p)?;
            Some(udp(from, to, &content(len)))
        }
        UDPLITE if !p.is_tail() => {
            let (to, from) = ends(p)?;
            Some(udplite(from, to, 8, &content(16)))
        }
        GRE | ESP if !p.is_tail() => {
            Some(Datagram::new(p.dst(), p.src(), p.proto(), OTHER.to_vec()))
        }
        TCP => {
            let flags = p.tcp_flags()?;
            let (_, ack, end) = p.numbers()?;
            let seq = if flags & ACK == 0 { SERVER } else { ack };
            let natural = if flags & (SYN | ACK) == SYN {
                SYN | ACK
            } else {
                ACK
            };
            let (to, from) = ends(p)?;
            Some(segment(from, to, how, natural, seq, end))
        }
        _ => {
            let kind = p.reply_type()?;
            let l4 = p.l4();
            let word = l4[4..8].try_into().unwrap();
            Some(icmp(p.dst(), p.src(), kind, 0, word, &l4[8..]))
        }
    }
}

/// What the sender of a packet says next.
pub(crate) fn go_on(p: Packet<'_>, how: How) -> Option<Datagram> {
    match p.proto() {
        UDP if !p.is_tail() => {
            let (from, to) = ends(p)?;
            Some(udp(from, to, b"more"))
        }
        UDPLITE if !p.is_tail() => {
            let (from, to) = ends(p)?;
            Some(udplite(from, to, 0, b"more"))
        }
        GRE | ESP if !p.is_tail() => {
            Some(Datagram::new(p.src(), p.dst(), p.proto(), OTHER.to_vec()))
        }
        TCP => {
            let (_, ack, end) = p.numbers()?;
            let ack = if p.tcp_flags()? & ACK != 0 {
                ack
            } else if end >= SERVER / 2 {
                CLIENT + 1
            } else {
                SERVER + 1
            };
            let (from, to) = ends(p)?;
            Some(segment(from, to, how, ACK, end, ack))
        }
        _ => {
            let kind = p.icmp()?.0;
            let l4 = p.l4();
            matches!(kind, 8 | 128)
                .then(|| icmp(p.src(), p.dst(), kind, 0, [l4[4], l4[5], 0, 2], b"more"))
        }
    }
}

/// A segment with the numbers that are expected next, or as `how` has it.
fn segment(from: End, to: End, how: How, natural: u8, seq: u32, ack: u32) -> Datagram {
    let (flags, seq, ack, len) = match how {
        How::Natural => (natural, seq, ack, 0),
        How::Data(len) => (PSH | ACK, seq, ack, len),
        How::Fin => (FIN | ACK, seq, ack, 0),
        How::Reset(off) => (RST, seq.wrapping_add(off as u32), 0, 0),
        How::ResetZero => (RST | ACK, 0, ack, 0),
        How::Odd(flags, of_seq, of_ack) => {
            let ack = ack.wrapping_add(of_ack as u32);
            (flags, seq.wrapping_add(of_seq as u32), ack, 0)
        }
    };
    tcp(from, to, flags, seq, ack, &content(len))
}

/// Type, code and the word behind the checksum of an ICMP error, if the family has it.
fn error(what: What, family: Family) -> Option<(u8, u8, [u8; 4])> {
    let word = u32::to_be_bytes;
    Some(match (family, what) {
        (Family::V4, What::PortUnreachable) => (3, 3, word(0)),
        (Family::V4, What::HostUnreachable) => (3, 1, word(0)),
        (Family::V4, What::TooBig) => (3, 4, word(1300)),
        // Below what every link takes (RFC 791, 3.2).
        (Family::V4, What::ImpossibleMtu) => (3, 4, word(60)),
        (Family::V4, What::TimeExceeded) => (11, 0, word(0)),
        (Family::V4, What::Parameter) => (12, 0, [20, 0, 0, 0]),
        (Family::V4, What::Redirect) => (5, 1, [198, 51, 100, 9]),
        (Family::V6, What::PortUnreachable) => (1, 4, word(0)),
        (Family::V6, What::HostUnreachable) => (1, 3, word(0)),
        (Family::V6, What::TooBig) => (2, 0, word(1300)),
        // RFC 8200, 5.
        (Family::V6, What::ImpossibleMtu) => (2, 0, word(1200)),
        (Family::V6, What::TimeExceeded) => (3, 0, word(0)),
        (Family::V6, What::Parameter) => (4, 1, word(40)),
        // A message of neighbour discovery, which nobody forwards (RFC 4861, 8.1).
        (Family::V6, What::Redirect) => return None,
    })
}

/// An ICMP error about a packet, as whoever got it or a router before says it.
pub(crate) fn complain(about: &[u8], what: Complaint, router: bool) -> Option<Datagram> {
    let p = Packet::new(about);
    // Nobody complains about a complaint (RFC 1122, 3.2.2; RFC 4443, 2.4), nor about what is no first
    // fragment.
    if p.is_tail() || p.quoted().is_some() {
        return None;
    }
    let family = p.family();
    let header = about.len() - p.l4().len();
    let mut quoted = about.to_vec();
    if what.short {
        quoted.truncate(header + 8);
    }
    quoted.truncate(match family {
        Family::V4 => 576 - 28,
        Family::V6 => 1280 - 48,
    });
    if what.forged {
        // A source port, or an identifier.
        let at = match (p.sport(), p.id()) {
            (Some(_), _) => 1,
            (None, Some(_)) => 5,
            (None, None) => return None,
        };
        *quoted.get_mut(header + at)? ^= 1;
    }
    let src: IpAddr = if router {
        Who::Router.addr(family)
    } else {
        p.dst()
    };
    // A container says nothing in another's name.
    let src = if place_of(p.dst()).is_some() {
        p.dst()
    } else {
        src
    };
    let (kind, code, word) = error(what.what, family)?;
    Some(icmp(src, p.src(), kind, code, word, &quoted))
}

pub(crate) fn in_order(packet: &Datagram, chunk: usize, order: Order) -> Vec<Datagram> {
    let mut parts = packet.fragments(chunk);
    match order {
        Order::Sent => {}
        Order::Reversed => parts.reverse(),
        // Of one alone, nothing.
        Order::Lost => parts.truncate((parts.len() - 1).max(1)),
    }
    parts
}
