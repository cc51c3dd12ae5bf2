//! The packet that an ICMPv6 error quotes: what is known of it, and its rewriting.
//!
//! Owns the checksums within and around it, as `quoted` does for IPv4. What it is to become is planned
//! in `datapath::icmp_error`.

use super::{
    Ip, Packet, Quoted, be16,
    parse6::{HEADER, is_extension, walk},
};
use crate::{
    addr::V6,
    checksum::{self, Diff},
    drop_reason::DropReason,
    tuple::{self, Tuple},
};

/// Length of the ICMPv6 header before the quoted packet, bytes.
const ICMP_HEADER: usize = 8;

/// The smallest MTU of a link (RFC 8200, 5), bytes.
const LEAST_MTU: u32 = 1280;

/// Parses the quoted packet; eight bytes of its transport header are enough, as of IPv4, though RFC
/// 4443, 2.4, has more of it quoted.
#[inline(never)]
pub(super) fn parse_quoted6<P: Packet>(pkt: &P, ip: &Ip<V6>, q: &mut Quoted<V6>) -> Option<()> {
    let at = usize::from(ip.l4) + ICMP_HEADER;
    // What the frame holds behind the packet is nobody's.
    let end = ip.end();
    if at + HEADER > end {
        return None;
    }
    // Piece by piece: a copy of the whole header would be too large for the stack.
    let [version] = pkt.read::<1>(at)?;
    if version >> 4 != 6 {
        return None;
    }
    let [first] = pkt.read::<1>(at + 6)?;
    let mut fragment = 0;
    q.tuple.proto = first;
    q.l4 = (at + HEADER) as u16;
    if walk(
        pkt,
        end as u32,
        &mut q.tuple.proto,
        &mut q.l4,
        &mut fragment,
    ) != 0
    {
        return None;
    }
    let l4 = usize::from(q.l4);
    if l4 + 8 > end {
        return None;
    }
    if fragment != 0 {
        let field = pkt.read::<2>(usize::from(fragment) + 2)?;
        // A later fragment quotes no ports.
        if u16::from_be_bytes(field) >> 3 != 0 {
            return None;
        }
    }
    let p = pkt.read::<8>(l4)?;
    let (sport, dport, icmp_type) = match q.tuple.proto {
        proto if tuple::has_ports(proto) => (be16(&p, 0), be16(&p, 2), 0),
        tuple::ICMPV6 => (be16(&p, 4), be16(&p, 4), p[0]),
        proto if is_extension(proto) => return None,
        _ => (0, 0, 0),
    };
    if !pkt.read_to(at + 8, &mut q.tuple.src) || !pkt.read_to(at + 24, &mut q.tuple.dst) {
        return None;
    }
    q.tuple.sport = sport;
    q.tuple.dport = dport;
    q.tuple.icmp_type = icmp_type;
    q.tuple.zero = 0;
    q.ip = at as u16;
    q.check = [0; 2];
    Some(())
}

/// Whether the error says that packets must become smaller than every link of IPv6 takes them (RFC
/// 8201, 4: such a message is discarded).
#[inline(always)]
pub(super) fn has_bad_mtu6<P: Packet>(pkt: &P, ip: &Ip<V6>) -> bool {
    const PACKET_TOO_BIG: u8 = 2;
    let Some(h) = pkt.read::<8>(usize::from(ip.l4)) else {
        return false;
    };
    h[0] == PACKET_TOO_BIG && u32::from_be_bytes([h[4], h[5], h[6], h[7]]) < LEAST_MTU
}

/// Rewrites the quoted packet of an ICMPv6 error, and the checksums that cover it.
#[inline(always)]
pub(super) fn rewrite_quoted6<P: Packet>(
    pkt: &mut P,
    ip: &Ip<V6>,
    quoted: &Quoted<V6>,
    new: &Tuple<V6>,
) -> Result<(), DropReason> {
    let old = &quoted.tuple;
    let l4 = usize::from(quoted.l4);
    pkt.write(usize::from(quoted.ip) + 8, &new.src)?;
    pkt.write(usize::from(quoted.ip) + 24, &new.dst)?;
    // The sum of the ICMPv6 message changes with everything that is quoted. IPv6 headers are
    // multiples of four bytes, so every field is at an even offset. The quoted transport checksum
    // covers the same bytes, that of ICMPv6 too: the pseudo header and the ports.
    let mut sum = Diff::new()
        .bytes16(old.src, new.src)
        .bytes16(old.dst, new.dst)
        .be16(old.sport, new.sport);
    if !tuple::has_checksum::<V6>(old.proto) {
        // Its ports are its own, or it has none.
        let icmp_check = usize::from(ip.l4) + checksum::offset(tuple::ICMPV6);
        return pkt.update_l4_checksum(icmp_check, sum.wsum(), false, false);
    }
    if old.proto == tuple::ICMPV6 {
        pkt.write(l4 + 4, &new.sport.to_be_bytes())?;
    } else {
        let [a, b] = new.sport.to_be_bytes();
        let [c, d] = new.dport.to_be_bytes();
        pkt.write(l4, &[a, b, c, d])?;
        sum = sum.be16(old.dport, new.dport);
    }
    // TCP's checksum is often beyond what is quoted.
    let check_at = l4 + checksum::offset(old.proto);
    let quoted_check = if check_at + 2 <= ip.end() {
        pkt.read::<2>(check_at)
    } else {
        None
    };
    if let Some(old_check) = quoted_check {
        let new_check = if matches!(old.proto, tuple::UDP | tuple::UDPLITE) {
            checksum::update_udp(old_check, sum.wsum())
        } else {
            checksum::update(old_check, sum.wsum())
        };
        pkt.write(check_at, &new_check)?;
        sum = sum.be16(u16::from_be_bytes(old_check), u16::from_be_bytes(new_check));
    }
    let icmp_check = usize::from(ip.l4) + checksum::offset(tuple::ICMPV6);
    pkt.update_l4_checksum(icmp_check, sum.wsum(), false, false)
}
