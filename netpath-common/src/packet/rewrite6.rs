//! Changing addresses, ports and hop limit of an IPv6 packet with every checksum kept right.
//!
//! Owns what is different from IPv4: the header has no checksum, and that of ICMPv6 covers the pseudo
//! header (RFC 8200, 8.1; RFC 4443, 2.3). Every step can fail, and a packet that failed half-way must
//! be dropped by the caller.

use super::{ETH_LEN, Ip, Kind, Packet, Rewrite, parse6::L4, rewrite::transport};
use crate::{
    addr::V6,
    checksum::{self, Diff},
    drop_reason::DropReason,
    tuple,
};

/// Offsets of the checksums without extension headers, bytes.
const TCP_CHECK: usize = L4 + checksum::offset(tuple::TCP);
const UDP_CHECK: usize = L4 + checksum::offset(tuple::UDP);
const ICMP_CHECK: usize = checksum::offset(tuple::ICMPV6);

/// Offset of the hop limit, which the addresses follow.
const HOP_LIMIT: usize = ETH_LEN + 7;

/// Rewrites `pkt`, which `ip` describes.
///
/// # Errors
/// [`DropReason::RewriteFailed`].
#[inline(always)]
pub(super) fn rewrite6<P: Packet>(
    pkt: &mut P,
    ip: &Ip<V6>,
    to: &Rewrite<V6>,
) -> Result<(), DropReason> {
    let t = &ip.tuple;
    let addrs = Diff::new().bytes16(t.src, to.src).bytes16(t.dst, to.dst);
    match ip.kind {
        Kind::Tcp | Kind::Udp | Kind::Dccp => {
            transport::<L4, TCP_CHECK, UDP_CHECK, _, _>(pkt, ip, to, addrs)?;
        }
        Kind::IcmpQuery | Kind::IcmpError | Kind::IcmpRedirect | Kind::IcmpOther => {
            let l4 = usize::from(ip.l4);
            if t.src != to.src || t.dst != to.dst {
                pkt.update_l4_checksum(l4 + ICMP_CHECK, addrs.wsum(), true, false)?;
            }
            if matches!(ip.kind, Kind::IcmpQuery) && t.sport != to.sport {
                let id = Diff::new().be16(t.sport, to.sport);
                pkt.update_l4_checksum(l4 + ICMP_CHECK, id.wsum(), false, false)?;
                pkt.write(l4 + 4, &to.sport.to_be_bytes())?;
            }
        }
        Kind::Sctp if t.sport != to.sport || t.dport != to.dport => {
            return Err(DropReason::RewriteFailed);
        }
        Kind::Sctp
        | Kind::Tail
        | Kind::Other
        | Kind::Unsupported
        | Kind::Truncated
        | Kind::BadL4
        | Kind::Tiny => {}
    }
    ip_header(pkt, ip, to, addrs)
}

/// Writes hop limit and addresses: bytes 7 to 39 of the IPv6 header.
#[inline(always)]
fn ip_header<P: Packet>(
    pkt: &mut P,
    ip: &Ip<V6>,
    to: &Rewrite<V6>,
    addrs: Diff,
) -> Result<(), DropReason> {
    let hops = if to.hop {
        ip.ttl.wrapping_sub(1)
    } else {
        ip.ttl
    };
    let mut bytes = [0; 33];
    let (hop, both) = bytes.split_at_mut(1);
    let (src, dst) = both.split_at_mut(16);
    hop.copy_from_slice(&[hops]);
    src.copy_from_slice(&to.src);
    dst.copy_from_slice(&to.dst);
    pkt.write_fixed::<HOP_LIMIT, 33>(&bytes)?;
    // Nothing in the packet makes up for the hop limit, and for the addresses nothing or the
    // transport checksum, with which they have been subtracted once too often.
    let diff = addrs.be16(u16::from(ip.ttl), u16::from(hops));
    pkt.update_packet_sum(diff.wsum());
    Ok(())
}
