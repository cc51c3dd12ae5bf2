//! The answer to a container whose new flow of IPv6 was refused.
//!
//! Owns the bytes of the ICMPv6 error "communication with destination administratively prohibited"
//! (RFC 4443, 3.1). Who is told, and how often, is [`super::refuse`]'s.

use super::{
    Tables,
    refuse::{complete, to_be_told},
    work::Work,
};
use crate::{
    addr::V6,
    checksum::Sum,
    packet::{ETH_LEN, Packet},
    tuple,
};

/// Type and code, without a checksum.
const PROHIBITED: [u8; 4] = [1, 1, 0, 0];

/// Words of four bytes that are quoted at most: the header, extension headers of 48 bytes, and eight
/// bytes of what follows. RFC 4443 wants as much as fits; this names the flow, which is enough.
const QUOTED: usize = 24;
/// Where the quoted packet begins: Ethernet, IPv6 and ICMPv6 header.
const HEADERS: usize = ETH_LEN + 40 + 8;

/// As [`super::refuse()`].
#[inline(always)]
pub fn refuse6<P: Packet, T: Tables<A = V6>>(pkt: &mut P, t: &T, w: &mut Work<V6>) -> u32 {
    let Some((ep, network)) = to_be_told(pkt, t, w) else {
        return 0;
    };
    let Some(answer) = t.saved() else { return 0 };
    let quoted = (usize::from(w.ip.l4) + 8 - ETH_LEN).min(QUOTED * 4);
    let [x, y] = ((8 + quoted) as u16).to_be_bytes();
    let (src, dst) = (network.gateway6, ep.addr6);
    let mut sum = Sum::new()
        .word([0, 0, x, y])
        .word([0, 0, 0, tuple::ICMPV6])
        .word(PROHIBITED);
    for at in [0, 4, 8, 12] {
        let (Some(s), Some(d)) = (
            src.get(at..).and_then(<[u8]>::first_chunk),
            dst.get(at..).and_then(<[u8]>::first_chunk),
        ) else {
            return 0;
        };
        sum = sum.word(*s).word(*d);
    }
    let Some(head) = answer.first_chunk_mut::<HEADERS>() else {
        return 0;
    };
    *head = [0; HEADERS];
    for (at, bytes) in [
        (0, &ep.mac[..]),
        (6, &network.bridge_mac[..]),
        (
            12,
            &[0x86, 0xdd, 0x60, 0, 0, 0, x, y, tuple::ICMPV6, 64][..],
        ),
        (ETH_LEN + 8, &src[..]),
        (ETH_LEN + 24, &dst[..]),
        (ETH_LEN + 40, &PROHIBITED[..]),
    ] {
        if let Some(place) = head.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
    complete::<HEADERS, QUOTED, _, _>(pkt, t, answer, quoted, sum, ep.ifindex)
}
