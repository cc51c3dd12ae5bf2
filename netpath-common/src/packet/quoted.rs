//! The packet that an ICMP error quotes: what is known of it, and its rewriting.
//!
//! Owns the checksums within and around it. What it is to become is planned in
//! `datapath::icmp_error`.

use super::{Ip, Packet, be16, four};
use crate::{
    addr::V4,
    checksum,
    drop_reason::DropReason,
    tuple::{self, Tuple},
};

/// Length of the ICMP header before the quoted packet, bytes.
const ICMP_HEADER: usize = 8;

/// A packet quoted by an ICMP error.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Quoted<A = V4> {
    /// Its tuple, as the sender of the error saw it.
    pub tuple: Tuple<A>,
    /// Offset of its IP header from the start of the frame, bytes.
    pub ip: u16,
    /// Offset of its transport header, bytes.
    pub l4: u16,
    /// Its header checksum, as in memory; IPv6 has none.
    pub check: [u8; 2],
}

/// Parses the quoted packet; eight bytes of its transport header are enough (RFC 792).
#[inline(always)]
pub(super) fn parse_quoted<P: Packet>(pkt: &P, ip: &Ip, q: &mut Quoted) -> Option<()> {
    let at = usize::from(ip.l4) + ICMP_HEADER;
    let h = pkt.read::<20>(at)?;
    let header_len = usize::from(h[0] & 0x0f) * 4;
    // A later fragment quotes no ports.
    if h[0] >> 4 != 4 || header_len < 20 || be16(&h, 6) & 0x1fff != 0 {
        return None;
    }
    let l4 = at + header_len;
    // What the frame holds behind the packet is nobody's.
    if l4 + 8 > ip.end() {
        return None;
    }
    let p = pkt.read::<8>(l4)?;
    let mut t = Tuple {
        src: four(&h, 12),
        dst: four(&h, 16),
        proto: h[9],
        ..Tuple::default()
    };
    match t.proto {
        proto if tuple::has_ports(proto) => {
            t.sport = be16(&p, 0);
            t.dport = be16(&p, 2);
        }
        tuple::ICMP => {
            t.sport = be16(&p, 4);
            t.dport = t.sport;
            t.icmp_type = p[0];
        }
        _ => {}
    }
    *q = Quoted {
        tuple: t,
        ip: at as u16,
        l4: l4 as u16,
        check: [h[10], h[11]],
    };
    Some(())
}

/// Whether the error says that packets must become smaller than IPv4 lets them be (RFC 791: every
/// link takes 68 bytes). 0 is what routers before RFC 1191 sent: the sender then guesses.
#[inline(always)]
pub(super) fn has_bad_mtu<P: Packet>(pkt: &P, ip: &Ip) -> bool {
    const NEEDS_FRAGMENTATION: [u8; 2] = [3, 4];
    let Some(h) = pkt.read::<8>(usize::from(ip.l4)) else {
        return false;
    };
    let mtu = be16(&h, 6);
    [h[0], h[1]] == NEEDS_FRAGMENTATION && mtu != 0 && mtu < 68
}

/// Rewrites the quoted packet of an ICMP error, and the checksums that cover it.
#[inline(always)]
pub(super) fn rewrite_quoted<P: Packet>(
    pkt: &mut P,
    ip: &Ip,
    quoted: &Quoted,
    new: &Tuple,
) -> Result<(), DropReason> {
    let old = &quoted.tuple;
    let at = usize::from(quoted.ip);
    let l4 = usize::from(quoted.l4);
    let addrs = checksum::Diff::new()
        .bytes4(old.src, new.src)
        .bytes4(old.dst, new.dst);
    let check = checksum::update(quoted.check, addrs.wsum());
    let (s, d) = (new.src, new.dst);
    pkt.write(
        at + 10,
        &[
            check[0], check[1], s[0], s[1], s[2], s[3], d[0], d[1], d[2], d[3],
        ],
    )?;
    // The sum of the ICMP message changes with everything that is quoted; IP headers are
    // multiples of four bytes, so every field is at an even offset.
    let mut sum = addrs
        .be16(u16::from_be_bytes(quoted.check), u16::from_be_bytes(check))
        .be16(old.sport, new.sport);
    if !tuple::has_checksum::<V4>(old.proto) {
        // Its ports are its own, or it has none.
        let icmp_check = usize::from(ip.l4) + checksum::offset(tuple::ICMP);
        return pkt.update_l4_checksum(icmp_check, sum.wsum(), false, false);
    }
    let check_at = l4 + checksum::offset(old.proto);
    let inner = if old.proto == tuple::ICMP {
        pkt.write(l4 + 4, &new.sport.to_be_bytes())?;
        checksum::Diff::new().be16(old.sport, new.sport)
    } else {
        let [a, b] = new.sport.to_be_bytes();
        let [c, d] = new.dport.to_be_bytes();
        pkt.write(l4, &[a, b, c, d])?;
        sum = sum.be16(old.dport, new.dport);
        addrs.be16(old.sport, new.sport).be16(old.dport, new.dport)
    };
    // TCP's checksum is often beyond what is quoted.
    let quoted_check = if check_at + 2 <= ip.end() {
        pkt.read::<2>(check_at)
    } else {
        None
    };
    if let Some(old_check) = quoted_check {
        let new_check = if matches!(old.proto, tuple::UDP | tuple::UDPLITE) {
            checksum::update_udp(old_check, inner.wsum())
        } else {
            checksum::update(old_check, inner.wsum())
        };
        pkt.write(check_at, &new_check)?;
        sum = sum.be16(u16::from_be_bytes(old_check), u16::from_be_bytes(new_check));
    }
    let icmp_check = usize::from(ip.l4) + checksum::offset(tuple::ICMP);
    pkt.update_l4_checksum(icmp_check, sum.wsum(), false, false)
}
