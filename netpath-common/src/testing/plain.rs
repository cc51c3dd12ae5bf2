//! Frames read by plain offsets.
//!
//! Owns the tests' own view of bytes, from the RFCs; nothing is taken from the datapath's parser. Owns
//! no expectation.

use super::{build::Addr, plain_other::other};
use crate::tuple;

/// TCP flag FIN.
pub const FIN: u8 = 0x01;
/// TCP flag SYN.
pub const SYN: u8 = 0x02;
/// TCP flag RST.
pub const RST: u8 = 0x04;
/// TCP flag ACK.
pub const ACK: u8 = 0x10;
pub(super) const JUDGED: u8 = FIN | SYN | RST | ACK;

/// What segments a stack sends, of the flags that matter.
pub(super) const SENSIBLE: [u8; 6] = [SYN, SYN | ACK, ACK, FIN | ACK, RST, RST | ACK];

/// Four bytes.
#[must_use]
pub fn addr(b: &[u8], at: usize) -> Addr {
    [b[at], b[at + 1], b[at + 2], b[at + 3]]
}

/// Two bytes in network order.
#[must_use]
pub fn be(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

/// An address of a container network, gateways included.
#[must_use]
pub const fn is_private(a: Addr) -> bool {
    a[0] == 172 && (a[1] == 17 || a[1] == 18)
}

/// Protocol, addresses, ports (twice the identifier) and ICMP type: one direction of a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Line<A = Addr> {
    /// IP protocol number.
    pub proto: u8,
    /// Source address.
    pub src: A,
    /// Source port, or identifier.
    pub sport: u16,
    /// Destination address.
    pub dst: A,
    /// Destination port, or identifier.
    pub dport: u16,
    /// Of an ICMP query, else 0.
    pub icmp_type: u8,
}

impl Line {
    /// Of the packets that answer.
    #[must_use]
    pub fn back(self) -> Self {
        Self {
            proto: self.proto,
            src: self.dst,
            sport: self.dport,
            dst: self.src,
            dport: self.sport,
            icmp_type: match self.icmp_type {
                _ if self.proto != tuple::ICMP => 0,
                8 => 0,
                0 => 8,
                13 => 14,
                14 => 13,
                other => other,
            },
        }
    }
}

/// What is behind the IP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body<A = Addr> {
    /// TCP (with its flags), UDP, an ICMP query, or another protocol: what conversations are made of.
    Talk(Line<A>, u8),
    /// An ICMP error, and the packet that it quotes.
    Error(Option<Line<A>>),
    /// An ICMP redirect.
    Redirect,
    /// Another ICMP message, of this type.
    OtherIcmp(u8),
    /// A fragment after the first.
    Tail,
    /// A fragment that is too short, or lies in the header of another one.
    Tiny,
    /// The transport header is not all there.
    Truncated,
    /// The transport header contradicts itself.
    Bad,
    /// A protocol that cannot be translated.
    Other,
}

/// An IP packet.
#[derive(Clone, Copy, Debug)]
pub struct Ip<A = Addr> {
    /// Source address.
    pub src: A,
    /// Destination address.
    pub dst: A,
    /// IP protocol number.
    pub proto: u8,
    /// Identification.
    pub id: u32,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Total length, bytes.
    pub len: usize,
    /// Where what is behind the headers begins in the frame.
    pub at: usize,
    /// The first of several fragments.
    pub is_head: bool,
    /// Where it lies in its datagram, units of 8 bytes.
    pub part: (u16, u16),
    /// What is behind the header, with IPv6 behind the last extension header.
    pub body: Body<A>,
}

/// A frame.
#[derive(Clone, Copy, Debug)]
pub enum Looks<A = Addr> {
    /// It ends in the Ethernet or IP header.
    Short,
    /// Not of the family that is looked for.
    Foreign,
    /// The IP header contradicts itself or the frame.
    BadIp,
    /// A packet.
    Ip(Ip<A>),
}

/// Reads a frame.
#[must_use]
pub fn look(b: &[u8]) -> Looks {
    if b.len() < 14 {
        return Looks::Short;
    }
    if b[12..14] != [8, 0] {
        return Looks::Foreign;
    }
    if b.len() < 34 {
        return Looks::Short;
    }
    let (header, len) = (usize::from(b[14] & 15) * 4, usize::from(be(b, 16)));
    if b[14] >> 4 != 4 || header < 20 || len < header || 14 + len > b.len() {
        return Looks::BadIp;
    }
    let field = be(b, 20);
    let (at, more) = (field & 0x1fff, field & 0x2000 != 0);
    let bytes = len - header;
    let mut ip = Ip {
        src: addr(b, 26),
        dst: addr(b, 30),
        proto: b[23],
        id: u32::from(be(b, 18)),
        ttl: b[22],
        len,
        at: 14 + header,
        is_head: more && at == 0,
        part: (at, at + bytes.div_ceil(8) as u16),
        body: Body::Other,
    };
    ip.body = if at == 1 && ip.proto == tuple::TCP {
        Body::Tiny
    } else if at != 0 {
        Body::Tail
    } else {
        body(&ip, &b[14 + header..14 + len])
    };
    Looks::Ip(ip)
}

fn body(ip: &Ip, b: &[u8]) -> Body {
    let short = if ip.is_head {
        Body::Tiny
    } else {
        Body::Truncated
    };
    let line = |sport, dport, icmp_type| Line {
        proto: ip.proto,
        src: ip.src,
        sport,
        dst: ip.dst,
        dport,
        icmp_type,
    };
    match ip.proto {
        tuple::TCP if b.len() < 20 => short,
        tuple::UDP | tuple::ICMP if b.len() < 8 => short,
        tuple::TCP => {
            let header = usize::from(b[12] >> 4) * 4;
            if header > b.len() && ip.is_head {
                return Body::Tiny;
            }
            if header < 20 || header > b.len() || !SENSIBLE.contains(&(b[13] & JUDGED)) {
                return Body::Bad;
            }
            Body::Talk(line(be(b, 0), be(b, 2), 0), b[13] & JUDGED)
        }
        tuple::UDP => {
            let len = usize::from(be(b, 4));
            if len < 8 || len > b.len() && !ip.is_head {
                return Body::Bad;
            }
            Body::Talk(line(be(b, 0), be(b, 2), 0), 0)
        }
        tuple::ICMP => match b[0] {
            0 | 8 | 13 | 14 => Body::Talk(line(be(b, 4), be(b, 4), b[0]), 0),
            3 | 4 | 11 | 12 => Body::Error(quoted(&b[8..])),
            5 => Body::Redirect,
            other => Body::OtherIcmp(other),
        },
        _ => other(ip, b, line),
    }
}

/// The packet that an ICMP error quotes, where enough of it is there.
fn quoted(b: &[u8]) -> Option<Line> {
    let header = usize::from(b.first()? & 15) * 4;
    if b.len() < 20 || b[0] >> 4 != 4 || header < 20 || be(b, 6) & 0x1fff != 0 {
        return None;
    }
    let l4 = b.get(header..header + 8)?;
    let (sport, dport, icmp_type) = match b[9] {
        6 | 17 | 33 | 132 | 136 => (be(l4, 0), be(l4, 2), 0),
        tuple::ICMP => (be(l4, 4), be(l4, 4), l4[0]),
        _ => (0, 0, 0),
    };
    Some(Line {
        proto: b[9],
        src: addr(b, 12),
        sport,
        dst: addr(b, 16),
        dport,
        icmp_type,
    })
}

/// The conversation of a frame, if it is a packet of one.
#[must_use]
pub fn line(b: &[u8]) -> Option<Line> {
    if let Looks::Ip(ip) = look(b)
        && let Body::Talk(line, _) = ip.body
    {
        Some(line)
    } else {
        None
    }
}
