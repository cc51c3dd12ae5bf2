//! Packets of the model, made of a step.
//!
//! Owns no expectation.

use netpath_common::testing::*;

use crate::step::{L4, Shape};

/// A packet before it is cut into fragments.
pub(crate) fn whole(src: Addr, dst: Addr, sport: u16, dport: u16, s: &Shape) -> Datagram {
    let payload = vec![0x5a; s.len];
    let d = match s.l4 {
        L4::Tcp { flags, seq, mss } => {
            let mut d = tcp_data(src, sport, dst, dport, flags, &payload);
            if let Some(mss) = mss {
                // Behind a filler, so that the value lies at an odd offset where there are two.
                let [a, b] = mss.to_be_bytes();
                let filler = [1_u8; 3];
                let words = [&filler[..], &[2, 4, a, b, 0]].concat();
                d.l4[12] = 0x70;
                d.l4.splice(20..20, words);
            }
            let ack = if flags & plain::ACK == 0 { 0 } else { 2000 };
            d.numbered(seq, ack)
        }
        L4::Udp { sum: true } => udp(src, sport, dst, dport, &payload),
        L4::Udp { sum: false } => udp_without_checksum(src, sport, dst, dport, &payload),
        L4::Query(kind) => query(src, dst, kind, sport),
    };
    d.ttl(s.ttl).options(s.options)
}

pub(crate) fn packet(src: Addr, dst: Addr, sport: u16, dport: u16, s: &Shape) -> Datagram {
    let d = whole(src, dst, sport, dport, s);
    match s.fragment {
        None => d,
        Some(first) => {
            let parts = d.id(7).fragments(24);
            parts[if first { 0 } else { parts.len() - 1 }].clone()
        }
    }
}
