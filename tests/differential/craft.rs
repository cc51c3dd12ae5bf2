//! The packets of containers, servers and routers.
//!
//! Owns their bytes: out of the blue, or from what was seen or sent before. When and where they are
//! sent is `play`'s.

use netpath_common::testing::{
    Addr, Datagram, icmp, query, tcp_data, udp, udp_without_checksum, udplite,
};

use crate::{
    packet::{ACK, ESP, FIN, GRE, ICMP, PSH, Packet, RST, SYN, TCP, UDP, UDPLITE},
    site::{CONTAINERS, HOST, place_of},
    step::{Complaint, How, L4, Order, ROUTER},
};

/// What a protocol without ports carries: a header of GRE without a key.
const OTHER: [u8; 8] = [0, 0, 8, 0, 1, 2, 3, 4];

/// First sequence number of whoever begins, and of whoever answers.
const CLIENT: u32 = 100_000;
const SERVER: u32 = 500_000;

/// A packet out of the blue.
pub(crate) fn fresh(src: Addr, sport: u16, (dst, dport): (Addr, u16), l4: &L4) -> Datagram {
    let segment = |flags: u8| {
        let ack = if flags & ACK == 0 { 0 } else { SERVER };
        tcp_data(src, sport, dst, dport, flags, b"").numbered(CLIENT, ack)
    };
    match *l4 {
        L4::Udp { len, bare: false } => udp(src, sport, dst, dport, &content(len)),
        L4::Udp { len, bare: true } => udp_without_checksum(src, sport, dst, dport, &content(len)),
        L4::Syn => segment(SYN),
        L4::Flags(flags) => segment(flags),
        L4::Echo => query(src, dst, 8, sport),
        L4::EchoReply => query(src, dst, 0, sport),
        L4::Timestamp => {
            let [a, b] = sport.to_be_bytes();
            icmp(src, dst, 13, 0, [a, b, 0, 1], &[0; 12])
        }
        L4::OtherIcmp => icmp(src, dst, 42, 0, [0, 1, 0, 0], &[0; 8]),
        L4::ShortUdp => {
            let mut packet = udp_without_checksum(src, sport, dst, dport, b"");
            packet.l4[5] = 4;
            packet
        }
        L4::WrongUdp => {
            let mut packet = udp(src, sport, dst, dport, b"abcd");
            packet.l4[6] ^= 0x55;
            packet
        }
        L4::UdpLite(covered) => udplite(src, sport, dst, dport, covered, &content(24)),
        L4::Other(proto) => Datagram::new(src, dst, proto, OTHER.to_vec()),
    }
}

/// The host would say what time it is, which is never the same twice.
pub(crate) fn is_hosts(addr: Addr) -> bool {
    addr == HOST || CONTAINERS.iter().any(|c| c.gateway == addr)
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| i as u8).collect()
}

/// What the receiver of a packet says.
pub(crate) fn answer(p: Packet<'_>, how: How) -> Option<Datagram> {
    match p.proto() {
        UDP if !p.is_tail() => {
            let len = match how {
                How::Data(len) => len,
                How::Natural | How::Fin | How::Reset(_) | How::ResetZero | How::Odd(..) => 24,
            };
            Some(udp(p.dst(), p.dport()?, p.src(), p.sport()?, &content(len)))
        }
        UDPLITE if !p.is_tail() => {
            let (from, to) = ((p.dst(), p.dport()?), (p.src(), p.sport()?));
            Some(udplite(from.0, from.1, to.0, to.1, 8, &content(16)))
        }
        GRE | ESP if !p.is_tail() => {
            Some(Datagram::new(p.dst(), p.src(), p.proto(), OTHER.to_vec()))
        }
        ICMP => {
            let kind = match p.icmp()?.0 {
                8 => 0,
                13 => 14,
                _ => return None,
            };
            let l4 = p.l4();
            let word = l4[4..8].try_into().unwrap();
            Some(icmp(p.dst(), p.src(), kind, 0, word, &l4[8..]))
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
            let from = (p.dst(), p.dport()?);
            Some(segment(from, (p.src(), p.sport()?), how, natural, seq, end))
        }
        _ => None,
    }
}

/// What the sender of a packet says next.
pub(crate) fn go_on(p: Packet<'_>, how: How) -> Option<Datagram> {
    match p.proto() {
        UDP if !p.is_tail() => Some(udp(p.src(), p.sport()?, p.dst(), p.dport()?, b"more")),
        UDPLITE if !p.is_tail() => {
            let (from, to) = ((p.src(), p.sport()?), (p.dst(), p.dport()?));
            Some(udplite(from.0, from.1, to.0, to.1, 0, b"more"))
        }
        GRE | ESP if !p.is_tail() => {
            Some(Datagram::new(p.src(), p.dst(), p.proto(), OTHER.to_vec()))
        }

        ICMP => {
            let (kind, _) = p.icmp()?;
            let l4 = p.l4();
            (kind == 8).then(|| icmp(p.src(), p.dst(), 8, 0, [l4[4], l4[5], 0, 2], b"more"))
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
            let to = (p.dst(), p.dport()?);
            Some(segment((p.src(), p.sport()?), to, how, ACK, end, ack))
        }
        _ => None,
    }
}

/// A segment with the numbers that are expected next, or as `how` has it.
fn segment(
    from: (Addr, u16),
    to: (Addr, u16),
    how: How,
    natural: u8,
    seq: u32,
    ack: u32,
) -> Datagram {
    let (flags, seq, ack, len) = match how {
        How::Natural => (natural, seq, ack, 0),
        How::Data(len) => (PSH | ACK, seq, ack, len),
        How::Fin => (FIN | ACK, seq, ack, 0),
        How::Reset(off) => (RST, seq.wrapping_add(off as u32), 0, 0),
        How::ResetZero => (RST | ACK, 0, ack, 0),
        How::Odd(flags, of_seq, of_ack) => {
            let ack = ack.wrapping_add(of_ack as u32);
            let ack = if flags & ACK == 0 { 0 } else { ack };
            (flags, seq.wrapping_add(of_seq as u32), ack, 0)
        }
    };
    tcp_data(from.0, from.1, to.0, to.1, flags, &content(len)).numbered(seq, ack)
}

/// An ICMP error about a packet, as whoever got it or a router before says it.
pub(crate) fn complain(about: &[u8], what: Complaint, router: bool) -> Option<Datagram> {
    let p = Packet::new(about);
    // Nobody complains about a complaint (RFC 1122, 3.2.2), nor about what is no first fragment.
    if p.is_tail() || p.quoted().is_some() {
        return None;
    }
    let header = about.len() - p.l4().len();
    let mut quoted = about.to_vec();
    if what.short {
        quoted.truncate(header + 8);
    }
    quoted.truncate(576 - 28);
    if what.forged {
        // A source port, or an identifier.
        let at = if p.proto() == ICMP { 5 } else { 1 };
        *quoted.get_mut(header + at)? ^= 1;
    }
    let src = if router { ROUTER } else { p.dst() };
    // A container says nothing in another's name.
    let src = if place_of(p.dst()).is_some() {
        p.dst()
    } else {
        src
    };
    Some(icmp(src, p.src(), what.kind, what.code, what.word, &quoted))
}

pub(crate) fn in_order(packet: &Datagram, order: Order) -> Vec<Datagram> {
    let mut parts = packet.fragments(1024);
    match order {
        Order::Sent => {}
        Order::Reversed => parts.reverse(),
        Order::Lost => {
            parts.pop();
        }
    }
    parts
}
