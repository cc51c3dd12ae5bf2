//! IPv6 frames read by plain offsets.
//!
//! Owns the tests' own view of bytes, from the RFCs, as `plain` does for IPv4; nothing is taken from
//! the datapath's parser. Owns no expectation.

use super::{
    build6::{Addr6, header},
    plain::{Body, Ip, JUDGED, Line, Looks, SENSIBLE, be},
    plain_other::other,
};
use crate::tuple;

/// How many extension headers are looked behind.
const CHAIN: usize = 6;

/// Sixteen bytes.
#[must_use]
pub fn addr6(b: &[u8], at: usize) -> Addr6 {
    b[at..at + 16].try_into().unwrap()
}

/// An address of a container network, gateways included.
#[must_use]
pub const fn is_private6(a: Addr6) -> bool {
    matches!(a, [0xfd, 0, 0, 0x17 | 0x18, 0, 0, 0, 0, ..])
}

impl Line<Addr6> {
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
                _ if self.proto != tuple::ICMPV6 => 0,
                128 => 129,
                129 => 128,
                other => other,
            },
        }
    }
}

/// What is behind an IPv6 header, or behind the one that an error quotes.
struct Chain {
    proto: u8,
    /// Where that begins.
    at: usize,
    /// It, or a header in front of it, is not all there.
    short: bool,
    /// Offset in units of 8 bytes, whether more follow, identification, and where the part begins.
    fragment: Option<(u16, bool, u32, usize)>,
}

/// Follows the headers in `b`, a packet from its IPv6 header on.
fn chain(b: &[u8]) -> Chain {
    let mut c = Chain {
        proto: b[6],
        at: 40,
        short: false,
        fragment: None,
    };
    for i in 0..CHAIN {
        let is_option = matches!(c.proto, header::HOP_BY_HOP | header::DESTINATION);
        let is_known = is_option
            || matches!(
                c.proto,
                header::ROUTING | header::FRAGMENT | header::AUTHENTICATION
            );
        // Hop-by-hop options are first, and a fragment is not one of another.
        if !is_known
            || c.proto == header::HOP_BY_HOP && i > 0
            || c.proto == header::FRAGMENT && c.at + 8 <= b.len() && c.fragment.is_some()
        {
            return c;
        }
        let Some(h) = b.get(c.at..c.at + 8) else {
            c.short = true;
            return c;
        };
        if c.proto == header::ROUTING && (h[2] == 0 || h[3] > 0) {
            return c;
        }
        let len = match c.proto {
            header::FRAGMENT => 8,
            header::AUTHENTICATION => 4 * (2 + usize::from(h[1])),
            _ => 8 * (1 + usize::from(h[1])),
        };
        let is_fragment = c.proto == header::FRAGMENT;
        c.proto = h[0];
        c.at += len;
        if is_fragment {
            let field = be(h, 2);
            let id = u32::from_be_bytes([h[4], h[5], h[6], h[7]]);
            c.fragment = Some((field / 8, field & 1 == 1, id, c.at));
            if field / 8 > 0 {
                return c;
            }
        }
        if c.at > b.len() {
            c.short = true;
            return c;
        }
    }
    c
}

/// Reads a frame. One that is longer than its header can say is not looked at.
#[must_use]
pub fn look6(b: &[u8]) -> Looks<Addr6> {
    if b.len() < 14 {
        return Looks::Short;
    }
    if b[12..14] != [0x86, 0xdd] {
        return Looks::Foreign;
    }
    if b.len() < 54 {
        return Looks::Short;
    }
    let len = 40 + usize::from(be(b, 18));
    if b[14] >> 4 != 6 || 14 + len > b.len() {
        return Looks::BadIp;
    }
    let b = &b[14..14 + len];
    let c = chain(b);
    let (at, more, id, from) = c.fragment.unwrap_or((0, false, 0, c.at));
    let mut ip = Ip {
        src: addr6(b, 8),
        dst: addr6(b, 24),
        proto: c.proto,
        id,
        ttl: b[7],
        len,
        at: 14 + c.at,
        is_head: more && at == 0,
        part: (
            at,
            at.wrapping_add((len.saturating_sub(from)).div_ceil(8) as u16),
        ),
        body: Body::Other,
    };
    ip.body = if at == 1 && ip.proto == tuple::TCP {
        Body::Tiny
    } else if at != 0 {
        Body::Tail
    } else if c.short {
        short(&ip)
    } else {
        body(&ip, &b[c.at..])
    };
    Looks::Ip(ip)
}

fn short(ip: &Ip<Addr6>) -> Body<Addr6> {
    if ip.is_head {
        Body::Tiny
    } else {
        Body::Truncated
    }
}

fn body(ip: &Ip<Addr6>, b: &[u8]) -> Body<Addr6> {
    let line = |sport, dport, icmp_type| Line {
        proto: ip.proto,
        src: ip.src,
        sport,
        dst: ip.dst,
        dport,
        icmp_type,
    };
    match ip.proto {
        tuple::TCP if b.len() < 20 => short(ip),
        tuple::UDP | tuple::ICMPV6 if b.len() < 8 => short(ip),
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
            if len < 8 || len > b.len() && !ip.is_head || be(b, 6) == 0 {
                return Body::Bad;
            }
            Body::Talk(line(be(b, 0), be(b, 2), 0), 0)
        }
        tuple::ICMPV6 => match b[0] {
            128 | 129 => Body::Talk(line(be(b, 4), be(b, 4), b[0]), 0),
            1..=4 => Body::Error(quoted(&b[8..])),
            137 => Body::Redirect,
            other => Body::OtherIcmp(other),
        },
        // Extension headers that cannot be looked behind.
        0 | 43 | 44 | 60 => Body::Other,
        _ => other(ip, b, line),
    }
}

/// The packet that an ICMPv6 error quotes, where enough of it is there.
fn quoted(b: &[u8]) -> Option<Line<Addr6>> {
    if b.len() < 40 || b[0] >> 4 != 6 {
        return None;
    }
    let c = chain(b);
    if c.short || matches!(c.fragment, Some((1.., ..))) {
        return None;
    }
    let l4 = b.get(c.at..c.at + 8)?;
    let (sport, dport, icmp_type) = match c.proto {
        6 | 17 | 33 | 132 | 136 => (be(l4, 0), be(l4, 2), 0),
        tuple::ICMPV6 => (be(l4, 4), be(l4, 4), l4[0]),
        _ => (0, 0, 0),
    };
    Some(Line {
        proto: c.proto,
        src: addr6(b, 8),
        sport,
        dst: addr6(b, 24),
        dport,
        icmp_type,
    })
}

/// The conversation of a frame, if it is a packet of one.
#[must_use]
pub fn line6(b: &[u8]) -> Option<Line<Addr6>> {
    if let Looks::Ip(ip) = look6(b)
        && let Body::Talk(line, _) = ip.body
    {
        Some(line)
    } else {
        None
    }
}
