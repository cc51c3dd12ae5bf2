//! The answer to a container whose new flow was refused.
//!
//! Owns the ICMP error "communication administratively prohibited" (RFC 5508, REQ-8; RFC 6888,
//! REQ-11): an application that cannot have a flow learns it in about a second instead of by its timeout (TCP heeds
//! the error about its first retransmission: that about the SYN itself meets a locked socket). Only
//! containers are told: whoever comes from outside may have a forged source, and would be hit by the
//! answers. Decides nothing about the packet, which has been dropped and counted.

use super::{HELD_BYTES, Tables, work::Work};
use crate::{
    addr::V4,
    checksum::Sum,
    counters::Counter,
    drop_reason::DropReason,
    packet::{ETH_LEN, Packet},
    records::{ENDPOINT_VISIBLE, EndpointRecord, NetworkRecord},
    tuple,
};

/// Answers that one endpoint is given in a second.
pub const TOLD_PER_SECOND: u64 = 100;
/// As many of them at once after a silence.
pub const TOLD_AT_ONCE: u64 = 50;

/// Type and code, without a checksum.
const PROHIBITED: [u8; 4] = [3, 13, 0, 0];

/// Words of four bytes that are quoted at most: the longest IPv4 header and eight bytes (RFC 792).
const QUOTED: usize = 17;
/// Where the quoted packet begins: Ethernet, IPv4 and ICMP header.
const HEADERS: usize = ETH_LEN + 20 + 8;

/// Whether a flow that was refused for this reason, a [`DropReason`] as a number, is answered: what it
/// asks for has run out.
#[inline(always)]
#[must_use]
pub const fn is_told(reason: u32) -> bool {
    const QUOTA: u32 = DropReason::EndpointQuota as u32;
    const FULL: u32 = DropReason::ConntrackFull as u32;
    const PORT: u32 = DropReason::NoPort as u32;
    matches!(reason, QUOTA | FULL | PORT)
}

/// Whom to tell, and on whose behalf: the endpoint that has sent the packet, within its rate.
#[inline(always)]
pub(super) fn to_be_told<'t, P: Packet, T: Tables>(
    pkt: &P,
    t: &'t T,
    w: &Work<T::A>,
) -> Option<(&'t EndpointRecord, &'t NetworkRecord)> {
    let slot = w.flow.from;
    let ep = t.endpoint(slot)?;
    let told = t.told(slot)?;
    let network = t.network(ep.network)?;
    // What its network lets up the stack is refused where it leaves.
    let its_own = slot != 0 && (ep.ifindex == pkt.ifindex() || ep.flags & ENDPOINT_VISIBLE != 0);
    (its_own && told.take(w.now, TOLD_PER_SECOND, TOLD_AT_ONCE)).then_some((ep, network))
}

/// Turns a packet that [`super::veth_ingress`] has refused, or [`super::uplink_egress`], into the answer to it, and says to which
/// interface's peer that goes: the container's own. 0: no answer; the packet is then of no more use.
///
/// To be asked where [`is_told`] holds, with the working memory as the decision has left it.
#[inline(always)]
pub fn refuse<P: Packet, T: Tables<A = V4>>(pkt: &mut P, t: &T, w: &mut Work) -> u32 {
    let Some((ep, network)) = to_be_told(pkt, t, w) else {
        return 0;
    };
    let Some(answer) = t.saved() else { return 0 };
    let Some(head) = answer.first_chunk_mut::<HEADERS>() else {
        return 0;
    };
    // IPv4 headers have 60 bytes at most.
    let quoted = usize::from(w.ip.l4) + 8 - ETH_LEN;
    let [x, y] = ((20 + 8 + quoted) as u16).to_be_bytes();
    // Precedence "internetwork control" (RFC 1812, 4.3.2.5); whole, so it needs no identification.
    let (first, second, third) = ([0x45, 0xc0, x, y], [0, 0, 0x40, 0], [64, tuple::ICMP, 0, 0]);
    let header = Sum::new()
        .word(first)
        .word(second)
        .word(third)
        .word(network.gateway)
        .word(ep.addr);
    let [a, b, c, d, e, f] = ep.mac;
    let [g, h, i, j, k, l] = network.bridge_mac;
    let ([m, n], [o, p, q, r], [s, u, v, z]) = (header.check(), network.gateway, ep.addr);
    #[rustfmt::skip]
    let headers = [
        a, b, c, d, e, f, g, h, i, j, k, l, 8, 0,
        0x45, 0xc0, x, y, 0, 0, 0x40, 0, 64, tuple::ICMP, m, n, o, p, q, r, s, u, v, z,
        PROHIBITED[0], PROHIBITED[1], 0, 0, 0, 0, 0, 0,
    ];
    *head = headers;
    let sum = Sum::new().word(PROHIBITED);
    complete::<HEADERS, QUOTED, _, _>(pkt, t, answer, quoted, sum, ep.ifindex)
}

/// Quotes the first `quoted` bytes of the refused packet in the answer to it, behind its headers of
/// `HEADERS` bytes, the last eight of which are those of ICMP; at most `WORDS` of four bytes. Closes the
/// checksum, of which `sum` is what has been summed up, and puts the answer in the place of the packet.
/// The result is `ifindex`, or 0 where that fails.
#[inline(always)]
pub(super) fn complete<const HEADERS: usize, const WORDS: usize, P: Packet, T: Tables>(
    pkt: &mut P,
    t: &T,
    answer: &mut [u8; HELD_BYTES],
    quoted: usize,
    mut sum: Sum,
    ifindex: u32,
) -> u32 {
    for i in 0..WORDS {
        let at = i * 4;
        if at >= quoted {
            break;
        }
        let (Some(word), Some(place)) = (
            pkt.read::<4>(ETH_LEN + at),
            answer.get_mut(HEADERS + at..HEADERS + at + 4),
        ) else {
            return 0;
        };
        place.copy_from_slice(&word);
        sum = sum.word(word);
    }
    let Some(field) = answer.get_mut(HEADERS - 6..HEADERS - 4) else {
        return 0;
    };
    field.copy_from_slice(&sum.check());
    if !pkt.replace_by(answer, HEADERS + quoted) {
        return 0;
    }
    t.count(Counter::RefusalTold);
    ifindex
}
