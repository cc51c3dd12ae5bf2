//! The checksum oracle, and packets in words.
//!
//! Owns a second, plain opinion about bytes: every checksum is computed in full, nothing is taken
//! from the datapath's parser. Panics on what no test should feed it.

use std::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    build::Addr,
    frame::{Frame, Offload},
    oracle6::{describe_ipv6, faults6},
};
use crate::tuple;

/// The Internet checksum of `parts` (RFC 1071), as stored. Every part but the last is even.
pub(super) fn internet_checksum(parts: &[&[u8]]) -> [u8; 2] {
    let mut sum = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u64::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// The pseudo header of TCP and UDP (RFC 9293, 3.1). What a length has beyond 16 bits is added to
/// them, which sums up to the same.
pub(super) fn pseudo_header(src: Addr, dst: Addr, proto: u8, len: usize) -> [u8; 12] {
    let folded = (len & 0xffff) + (len >> 16);
    let [a, b] = ((folded & 0xffff) as u16 + (folded >> 16) as u16).to_be_bytes();
    let (s, d) = (src, dst);
    [
        s[0], s[1], s[2], s[3], d[0], d[1], d[2], d[3], 0, proto, a, b,
    ]
}

/// The parts of an IPv4 packet in `b`; the payload ends where header or bytes end.
struct View<'b> {
    header: &'b [u8],
    l4: &'b [u8],
    src: Addr,
    dst: Addr,
    proto: u8,
    frag: u16,
    /// All bytes that the header announces are there.
    whole: bool,
}

fn view(b: &[u8]) -> Option<View<'_>> {
    let header_len = usize::from(b.first()? & 0x0f) * 4;
    let total = match u16::from_be_bytes([*b.get(2)?, *b.get(3)?]) {
        // More than the field can say: BIG TCP.
        0 if b.len() > usize::from(u16::MAX) => b.len(),
        field => usize::from(field),
    };
    let header = b.get(..header_len.max(20))?;
    if b[0] >> 4 != 4 || header_len < 20 || total < header_len {
        return None;
    }
    Some(View {
        header,
        l4: &b[header_len..total.min(b.len())],
        src: header[12..16].try_into().unwrap(),
        dst: header[16..20].try_into().unwrap(),
        proto: header[9],
        frag: u16::from_be_bytes([header[6], header[7]]) & 0x3fff,
        whole: total <= b.len(),
    })
}

/// Recomputes every checksum of an IPv4 or IPv6 frame; the errors name each that is wrong.
///
/// Inside ICMP errors the quoted IP header is checked, and the quoted transport checksum where the
/// quoted packet is complete. Transport checksums of fragments cover what is not there and are
/// skipped: put the parts together to check those.
///
/// # Errors
/// One line for each wrong checksum.
pub fn verify(frame: &Frame) -> Result<(), String> {
    let wrong = faults(frame);
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("; "))
    }
}

/// The wrong checksums of a frame by name, as [`verify`] finds them.
pub(super) fn faults(frame: &Frame) -> Vec<String> {
    let mut wrong = Vec::new();
    match frame.bytes.get(12..14) {
        Some([8, 0]) => match view(&frame.bytes[14..]) {
            Some(v) => check(&v, "", frame.offload, &mut wrong),
            None => wrong.push("no IPv4 header".to_string()),
        },
        Some([0x86, 0xdd]) => faults6(&frame.bytes[14..], frame.offload, &mut wrong),
        _ => return wrong,
    }
    if let Offload::Complete(sum) = frame.offload
        && sum != frame.sum()
    {
        wrong.push("sum of the packet".to_string());
    }
    wrong
}

fn check(v: &View<'_>, what: &str, offload: Offload, wrong: &mut Vec<String>) {
    if internet_checksum(&[v.header]) != [0, 0] {
        wrong.push(format!("{what}IP header checksum"));
    }
    if v.frag != 0 || !v.whole {
        return;
    }
    let pseudo = pseudo_header(v.src, v.dst, v.proto, v.l4.len());
    let field = |at: usize| v.l4.get(at..at + 2);
    match v.proto {
        tuple::TCP | tuple::UDP if offload == Offload::Partial => {
            let at = if v.proto == tuple::TCP { 16 } else { 6 };
            let [a, b] = internet_checksum(&[&pseudo]);
            if field(at) != Some(&[!a, !b]) {
                wrong.push(format!("{what}sum of the pseudo header"));
            }
        }
        tuple::TCP if v.l4.len() >= 20 && internet_checksum(&[&pseudo, v.l4]) != [0, 0] => {
            wrong.push(format!("{what}TCP checksum"));
        }
        tuple::UDP
            if v.l4.len() >= 8
                && field(6) != Some(&[0, 0])
                && internet_checksum(&[&pseudo, v.l4]) != [0, 0] =>
        {
            wrong.push(format!("{what}UDP checksum"));
        }
        tuple::UDPLITE if v.l4.len() >= 8 => {
            let covered = match usize::from(u16::from_be_bytes([v.l4[4], v.l4[5]])) {
                0 => v.l4.len(),
                n => n.min(v.l4.len()),
            };
            if internet_checksum(&[&pseudo, &v.l4[..covered]]) != [0, 0] {
                wrong.push(format!("{what}UDP-Lite checksum"));
            }
        }
        tuple::DCCP if v.l4.len() >= 12 => {
            // CsCov: 0 for everything, else so many words less one behind the header.
            let header = usize::from(v.l4[4]) * 4;
            let covered = match usize::from(v.l4[5] & 15) {
                0 => v.l4.len(),
                n => (header + (n - 1) * 4).min(v.l4.len()),
            };
            if internet_checksum(&[&pseudo, &v.l4[..covered]]) != [0, 0] {
                wrong.push(format!("{what}DCCP checksum"));
            }
        }
        tuple::ICMP if v.l4.len() >= 8 => {
            if internet_checksum(&[v.l4]) != [0, 0] {
                wrong.push(format!("{what}ICMP checksum"));
            }
            if matches!(v.l4[0], 3 | 4 | 5 | 11 | 12)
                && let Some(quoted) = view(&v.l4[8..])
            {
                check(&quoted, "quoted ", Offload::None, wrong);
            }
        }
        _ => {}
    }
}

fn dotted(a: Addr) -> String {
    format!("{}.{}.{}.{}", a[0], a[1], a[2], a[3])
}

/// A frame in words: `tcp 192.0.2.1:40000 > 198.51.100.9:80`, `icmp 8 A > B id 7`,
/// `udp A > B tail` for later fragments, and for ICMP errors `icmp 3/1 A > B [quoted packet]`.
#[must_use]
pub fn describe(frame: &Frame) -> String {
    match frame.bytes.get(12..14) {
        Some([8, 0]) => describe_ipv4(&frame.bytes[14..]),
        Some([0x86, 0xdd]) => describe_ipv6(&frame.bytes[14..]),
        Some([8, 6]) => "arp".to_string(),
        _ => "other".to_string(),
    }
}

fn describe_ipv4(b: &[u8]) -> String {
    let Some(v) = view(b) else {
        return "no IPv4 header".to_string();
    };
    let (src, dst) = (dotted(v.src), dotted(v.dst));
    let be = |at: usize| u16::from_be_bytes([v.l4[at], v.l4[at + 1]]);
    let name = match v.proto {
        tuple::TCP => "tcp".to_string(),
        tuple::UDP => "udp".to_string(),
        tuple::SCTP => "sctp".to_string(),
        tuple::DCCP => "dccp".to_string(),
        tuple::UDPLITE => "udplite".to_string(),
        tuple::ICMP => "icmp".to_string(),
        p => format!("proto {p}"),
    };
    if v.frag & 0x1fff != 0 {
        return format!("{name} {src} > {dst} tail");
    }
    match v.proto {
        tuple::TCP | tuple::UDP | tuple::SCTP | tuple::DCCP | tuple::UDPLITE if v.l4.len() >= 4 => {
            format!("{name} {src}:{} > {dst}:{}", be(0), be(2))
        }
        tuple::ICMP if v.l4.len() >= 8 => match v.l4[0] {
            kind @ (3 | 4 | 5 | 11 | 12) => {
                let quoted = describe_ipv4(&v.l4[8..]);
                format!("{name} {kind}/{} {src} > {dst} [{quoted}]", v.l4[1])
            }
            kind => format!("{name} {kind} {src} > {dst} id {}", be(4)),
        },
        _ => format!("{name} {src} > {dst}"),
    }
}
