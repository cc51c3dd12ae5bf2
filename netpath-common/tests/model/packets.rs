//! Packets of the model: made of a step, and read back by plain offsets.
//!
//! Owns no expectation.

use netpath_common::{testing::*, tuple};

use crate::step::{L4, Shape};

pub(crate) fn addr(b: &[u8], at: usize) -> Addr {
    [b[at], b[at + 1], b[at + 2], b[at + 3]]
}

pub(crate) fn be(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

/// An address of a container network, gateways included.
pub(crate) fn is_private(a: Addr) -> bool {
    a[0] == 172 && (a[1] == 17 || a[1] == 18)
}

/// Protocol, addresses, ports (or identifier), ICMP type of a packet with a transport header.
pub(crate) struct Seen {
    pub(crate) proto: u8,
    pub(crate) src: Addr,
    pub(crate) dst: Addr,
    pub(crate) sport: u16,
    pub(crate) dport: u16,
    pub(crate) icmp_type: u8,
}

pub(crate) fn seen(b: &[u8]) -> Option<Seen> {
    if be(b, 20) & 0x1fff != 0 {
        return None;
    }
    let l4 = 14 + usize::from(b[14] & 15) * 4;
    let (proto, src, dst) = (b[23], addr(b, 26), addr(b, 30));
    Some(match proto {
        tuple::ICMP => {
            let id = be(b, l4 + 4);
            Seen {
                proto,
                src,
                dst,
                sport: id,
                dport: id,
                icmp_type: b[l4],
            }
        }
        _ => Seen {
            proto,
            src,
            dst,
            sport: be(b, l4),
            dport: be(b, l4 + 2),
            icmp_type: 0,
        },
    })
}

pub(crate) fn packet(src: Addr, dst: Addr, sport: u16, dport: u16, s: &Shape) -> Datagram {
    let payload = vec![0x5a; s.len];
    let d = match s.l4 {
        L4::Tcp(flags) => tcp_data(src, sport, dst, dport, flags, &payload),
        L4::Udp => udp(src, sport, dst, dport, &payload),
        L4::Query(kind) => query(src, dst, kind, sport),
    };
    let d = d.ttl(s.ttl).options(s.options);
    match s.fragment {
        None => d,
        Some(first) => {
            let parts = d.id(7).fragments(24);
            parts[if first { 0 } else { parts.len() - 1 }].clone()
        }
    }
}
