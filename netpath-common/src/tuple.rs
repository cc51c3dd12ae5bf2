//! Connection tuples: the key of a flow in one direction.
//!
//! Owns the byte layout of the conntrack key. Does not parse packets.

use bytemuck::{Pod, Zeroable};

use crate::addr::{Addr, V4, V6};

/// IP protocol number of ICMP (RFC 792).
pub const ICMP: u8 = 1;
/// IP protocol number of ICMPv6 (RFC 4443).
pub const ICMPV6: u8 = 58;
/// IP protocol number of TCP (RFC 9293).
pub const TCP: u8 = 6;
/// IP protocol number of UDP (RFC 768).
pub const UDP: u8 = 17;
/// IP protocol number of DCCP (RFC 4340).
pub const DCCP: u8 = 33;
/// IP protocol number of GRE (RFC 2784).
pub const GRE: u8 = 47;
/// IP protocol number of ESP (RFC 4303).
pub const ESP: u8 = 50;
/// IP protocol number of SCTP (RFC 9260).
pub const SCTP: u8 = 132;
/// IP protocol number of UDP-Lite (RFC 3828).
pub const UDPLITE: u8 = 136;

/// IP protocol number of the authentication header (RFC 4302).
const AH: u8 = 51;
/// IP protocol number of the mobility header (RFC 6275).
const MOBILITY: u8 = 135;
/// IP protocol number of HIP (RFC 7401).
const HIP: u8 = 139;
/// Reserved (RFC 5237); no packet has it, and keys of bindings do.
pub const BINDING: u8 = 255;

/// Whether a protocol breaks when its addresses change: a signature or checksum of its own covers
/// them. (What has ports is known here, and its checksum updated.)
#[inline(always)]
#[must_use]
pub const fn is_bound_to_addresses(proto: u8) -> bool {
    matches!(proto, AH | MOBILITY | HIP | BINDING)
}

/// Whether packets of a protocol open and close connections, with the states of [`crate::conntrack::tcp`].
#[inline(always)]
#[must_use]
pub const fn has_connections(proto: u8) -> bool {
    matches!(proto, TCP | SCTP | DCCP)
}

/// Whether the ports of a protocol cannot be changed: a published one has to be the container's own.
/// SCTP's checksum is a CRC of the whole packet (RFC 9260, 6.8).
#[inline(always)]
#[must_use]
pub const fn keeps_ports(proto: u8) -> bool {
    proto == SCTP
}

/// Whether a protocol has ports at the beginning of its header.
#[inline(always)]
#[must_use]
pub const fn has_ports(proto: u8) -> bool {
    matches!(proto, TCP | UDP | SCTP | DCCP | UDPLITE)
}

/// Whether the checksum of a protocol covers what translation changes, at
/// [`crate::checksum::offset`]: that of SCTP covers no address, others are none that is known.
#[inline(always)]
#[must_use]
pub const fn has_checksum<A: Addr>(proto: u8) -> bool {
    matches!(proto, TCP | UDP | DCCP | UDPLITE) || proto == A::ICMP
}

/// ICMP echo reply (RFC 792).
pub const ICMP_ECHO_REPLY: u8 = 0;
/// ICMP echo request (RFC 792).
pub const ICMP_ECHO: u8 = 8;
/// ICMP timestamp request (RFC 792).
pub const ICMP_TIMESTAMP: u8 = 13;
/// ICMP timestamp reply (RFC 792).
pub const ICMP_TIMESTAMP_REPLY: u8 = 14;
/// ICMPv6 echo request (RFC 4443).
pub const ICMPV6_ECHO: u8 = 128;
/// ICMPv6 echo reply (RFC 4443).
pub const ICMPV6_ECHO_REPLY: u8 = 129;

/// One direction of a flow as it is seen on the wire: 16 bytes, of IPv6 40.
///
/// Addresses are in network order, ports in host order (so that `bpftool map dump` reads well).
/// An ICMP query carries its identifier in both ports and its type in `icmp_type`, so that a
/// request and its reply differ and inversion is symmetric, as in the kernel's
/// `net/netfilter/nf_conntrack_proto_icmp.c`. Padding is always zero: it is part of the key.
/// Aligned, so that whole words are moved and compared.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tuple<A = V4> {
    /// Source address.
    pub src: A,
    /// Destination address.
    pub dst: A,
    /// Source port, or the ICMP identifier.
    pub sport: u16,
    /// Destination port, or the ICMP identifier.
    pub dport: u16,
    /// IP protocol number.
    pub proto: u8,
    /// Type of an ICMP query, 0 for every other protocol.
    pub icmp_type: u8,
    /// Always zero.
    pub zero: u16,
}

const _: () = assert!(size_of::<Tuple>() == 16);
const _: () = assert!(size_of::<Tuple<V6>>() == 40);

// SAFETY: all zero is a valid value of every field.
unsafe impl<A: Addr> Zeroable for Tuple<A> {}
// SAFETY: `repr(C)`, every field is `Pod`, and the sizes asserted above leave no room for padding.
unsafe impl<A: Addr> Pod for Tuple<A> {}

impl<A: Addr> Tuple<A> {
    /// The tuple of a packet that answers this one.
    #[inline(always)]
    #[must_use]
    pub fn inverse(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
            proto: self.proto,
            icmp_type: answer_type::<A>(self.icmp_type) & all_ones_if(self.proto, A::ICMP),
            zero: 0,
        }
    }
}

/// The ICMP type that answers `icmp_type`, one of a request and reply pair: the other one. Any other
/// type has none, and the result is no type of a pair either.
///
/// Without branches, as is [`Tuple::inverse`]: the kernel's verifier would walk whatever follows
/// once for each of them.
#[inline(always)]
#[must_use]
pub const fn answer_type<A: Addr>(icmp_type: u8) -> u8 {
    /// Nibble n is the answer to type n, in the lower half of it.
    const ANSWERS: u64 = 0xfdec_ba90_7654_3218;
    const ANSWERS6: u64 = 0xfedc_ba98_7654_3201;
    let answers = if A::IS_V6 { ANSWERS6 } else { ANSWERS };
    let low = (answers >> (icmp_type as u32 % 16 * 4)) as u8 & 0x0f;
    icmp_type & 0xf0 | low
}

#[inline(always)]
const fn all_ones_if(proto: u8, icmp: u8) -> u8 {
    // Only of 0 does the difference reach the second byte.
    ((proto ^ icmp) as u32).wrapping_sub(1).to_le_bytes()[1]
}

/// Whether `icmp_type` asks a question that netpath tracks (RFC 5508 REQ-1: echo; timestamp too).
#[inline(always)]
#[must_use]
pub const fn is_icmp_request<A: Addr>(icmp_type: u8) -> bool {
    if A::IS_V6 {
        icmp_type == ICMPV6_ECHO
    } else {
        matches!(icmp_type, ICMP_ECHO | ICMP_TIMESTAMP)
    }
}

/// Which way a packet of a flow goes.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The way of the packet that made the flow.
    Original = 0,
    /// The way of the answers.
    Reply = 1,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn icmpv6_types_pair_up() {
        for icmp_type in 0..=u8::MAX {
            let answer = |proto| {
                let t = Tuple::<V6> {
                    proto,
                    icmp_type,
                    ..Tuple::default()
                };
                t.inverse().icmp_type
            };
            match icmp_type {
                ICMPV6_ECHO => assert_eq!(answer(ICMPV6), ICMPV6_ECHO_REPLY),
                ICMPV6_ECHO_REPLY => assert_eq!(answer(ICMPV6), ICMPV6_ECHO),
                other => assert!(!is_icmp_request::<V6>(answer(ICMPV6)), "{other}"),
            }
            assert_eq!((answer(TCP), answer(ICMP)), (0, 0));
        }
    }

    #[test]
    fn inverse_twice_is_identity_and_icmp_types_pair_up() {
        for (proto, icmp_type) in [
            (TCP, 0),
            (UDP, 0),
            (ICMP, 8),
            (ICMP, 0),
            (ICMP, 13),
            (ICMP, 14),
            (ICMP, 42),
        ] {
            let t = Tuple {
                src: [10, 0, 0, 1],
                dst: [192, 0, 2, 1],
                sport: 7,
                dport: 9,
                proto,
                icmp_type,
                zero: 0,
            };
            assert_eq!(t.inverse().inverse(), t);
            assert_eq!(t.inverse().sport, 9);
        }
        for icmp_type in 0..=u8::MAX {
            let answer = |proto| {
                let t = Tuple::<V4> {
                    proto,
                    icmp_type,
                    ..Tuple::default()
                };
                t.inverse().icmp_type
            };
            let want = match icmp_type {
                ICMP_ECHO => ICMP_ECHO_REPLY,
                ICMP_ECHO_REPLY => ICMP_ECHO,
                ICMP_TIMESTAMP => ICMP_TIMESTAMP_REPLY,
                ICMP_TIMESTAMP_REPLY => ICMP_TIMESTAMP,
                other => {
                    assert!(!is_icmp_request::<V4>(answer(ICMP)), "{other}");
                    answer(ICMP)
                }
            };
            assert_eq!(answer(ICMP), want);
            for proto in (0..=u8::MAX).filter(|proto| *proto != ICMP) {
                assert_eq!(answer(proto), 0, "protocol {proto}");
            }
        }
    }
}
