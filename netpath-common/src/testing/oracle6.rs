//! The checksum oracle for IPv6, and packets in words.
//!
//! Owns a second, plain opinion about bytes, as `oracle` does for IPv4: every checksum is computed in
//! full, nothing is taken from the datapath's parser.

use std::{
    format,
    net::Ipv6Addr,
    string::{String, ToString},
    vec::Vec,
};

use super::{build6::Addr6, frame::Offload, oracle::internet_checksum};
use crate::tuple;

/// The pseudo header of TCP, UDP and ICMPv6 (RFC 8200, 8.1).
pub(super) fn pseudo_header6(src: Addr6, dst: Addr6, proto: u8, len: usize) -> [u8; 40] {
    let mut b = [0; 40];
    b[..16].copy_from_slice(&src);
    b[16..32].copy_from_slice(&dst);
    b[32..36].copy_from_slice(&(len as u32).to_be_bytes());
    b[39] = proto;
    b
}

/// The parts of an IPv6 packet in `b`; the payload ends where header or bytes end.
pub(super) struct View6<'b> {
    pub(super) l4: &'b [u8],
    /// Where that begins in `b`.
    pub(super) at: usize,
    pub(super) src: Addr6,
    pub(super) dst: Addr6,
    pub(super) proto: u8,
    /// Offset in bytes, whether more follow, identification, and where it begins in `b`.
    pub(super) fragment: Option<(u16, bool, u32, usize)>,
    /// All bytes that the header announces are there.
    pub(super) whole: bool,
}

impl View6<'_> {
    /// A part of a datagram that is in more than one.
    pub(super) fn is_part(&self) -> bool {
        matches!(self.fragment, Some((at, more, ..)) if at != 0 || more)
    }

    /// A part other than the first.
    pub(super) fn is_tail(&self) -> bool {
        matches!(self.fragment, Some((at, ..)) if at != 0)
    }
}

pub(super) fn view6(b: &[u8]) -> Option<View6<'_>> {
    view_to(b, false)
}

/// The parts of a quoted packet, whose bytes end where the quote does, whatever its header says.
pub(super) fn quoted6(b: &[u8]) -> Option<View6<'_>> {
    view_to(b, true)
}

fn view_to(b: &[u8], is_quoted: bool) -> Option<View6<'_>> {
    let header = b.get(..40)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let field = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let total = match field {
        // More than the field can say: BIG TCP.
        0 if b.len() > usize::from(u16::MAX) => b.len(),
        field => 40 + field,
    };
    let end = if is_quoted {
        b.len()
    } else {
        total.min(b.len())
    };
    let (mut proto, mut at, mut fragment) = (header[6], 40, None);
    while let Some(h) = b.get(at..end).and_then(<[u8]>::first_chunk::<8>) {
        let len = match proto {
            0 | 43 | 60 => usize::from(h[1]) * 8 + 8,
            51 => usize::from(h[1]) * 4 + 8,
            44 => 8,
            _ => break,
        };
        if at + len > end {
            break;
        }
        let number = proto;
        proto = h[0];
        at += len;
        if number == 44 {
            let field = u16::from_be_bytes([h[2], h[3]]);
            let id = u32::from_be_bytes([h[4], h[5], h[6], h[7]]);
            fragment = Some((field & 0xfff8, field & 1 != 0, id, at));
            if field & 0xfff8 != 0 {
                break;
            }
        }
    }
    Some(View6 {
        l4: &b[at..end],
        at,
        src: header[8..24].try_into().unwrap(),
        dst: header[24..40].try_into().unwrap(),
        proto,
        fragment,
        whole: total <= b.len(),
    })
}

/// Names the wrong checksums of the IPv6 packet in `b`.
pub(super) fn faults6(b: &[u8], offload: Offload, wrong: &mut Vec<String>) {
    match view6(b) {
        Some(v) => check(&v, "", offload, wrong),
        None => wrong.push("no IPv6 header".to_string()),
    }
}

fn check(v: &View6<'_>, what: &str, offload: Offload, wrong: &mut Vec<String>) {
    if v.is_part() || !v.whole {
        return;
    }
    let (name, at, least) = match v.proto {
        tuple::TCP => ("TCP", 16, 20),
        tuple::UDP => ("UDP", 6, 8),
        tuple::UDPLITE if v.l4.get(4..6) == Some(&[0, 0]) => ("UDP-Lite", 6, 8),
        tuple::DCCP if v.l4.get(5).is_some_and(|b| b & 15 == 0) => ("DCCP", 6, 12),
        tuple::ICMPV6 => ("ICMPv6", 2, 4),
        _ => return,
    };
    if v.l4.len() < least {
        return;
    }
    let pseudo = pseudo_header6(v.src, v.dst, v.proto, v.l4.len());
    if offload == Offload::Partial {
        let [a, b] = internet_checksum(&[&pseudo]);
        if v.l4.get(at..at + 2) != Some(&[!a, !b]) {
            wrong.push(format!("{what}sum of the pseudo header"));
        }
        return;
    }
    if internet_checksum(&[&pseudo, v.l4]) != [0, 0] {
        wrong.push(format!("{what}{name} checksum"));
    }
    if v.proto == tuple::UDP && v.l4[6..8] == [0, 0] {
        wrong.push(format!("{what}UDP without a checksum"));
    }
    if v.proto == tuple::ICMPV6
        && matches!(v.l4[0], 1..=4)
        && let Some(quoted) = v.l4.get(8..).and_then(view6)
    {
        check(&quoted, "quoted ", Offload::None, wrong);
    }
}

/// A packet in words, as [`super::describe`] has them.
pub(super) fn describe_ipv6(b: &[u8]) -> String {
    let Some(v) = view6(b) else {
        return "no IPv6 header".to_string();
    };
    let (src, dst) = (Ipv6Addr::from(v.src), Ipv6Addr::from(v.dst));
    let be = |at: usize| u16::from_be_bytes([v.l4[at], v.l4[at + 1]]);
    let name = match v.proto {
        tuple::TCP => "tcp".to_string(),
        tuple::UDP => "udp".to_string(),
        tuple::SCTP => "sctp".to_string(),
        tuple::DCCP => "dccp".to_string(),
        tuple::UDPLITE => "udplite".to_string(),
        tuple::ICMPV6 => "icmpv6".to_string(),
        p => format!("proto {p}"),
    };
    if v.is_tail() {
        return format!("{name} {src} > {dst} tail");
    }
    match v.proto {
        tuple::TCP | tuple::UDP | tuple::SCTP | tuple::DCCP | tuple::UDPLITE if v.l4.len() >= 4 => {
            format!("{name} [{src}]:{} > [{dst}]:{}", be(0), be(2))
        }
        tuple::ICMPV6 if v.l4.len() >= 8 => match v.l4[0] {
            kind @ 1..=4 => {
                let quoted = describe_ipv6(&v.l4[8..]);
                format!("{name} {kind}/{} {src} > {dst} [{quoted}]", v.l4[1])
            }
            kind @ (128 | 129) => format!("{name} {kind} {src} > {dst} id {}", be(4)),
            kind => format!("{name} {kind} {src} > {dst}"),
        },
        _ => format!("{name} {src} > {dst}"),
    }
}
