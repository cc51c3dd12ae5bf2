//! Changing addresses, ports and TTL of a packet with every checksum kept right.
//!
//! Owns the order of writes: transport checksum, ports, then the IP header in one piece. Every
//! step can fail, and a packet that failed half-way must be dropped by the caller.

use super::{ETH_LEN, Ip, Kind, Packet};
use crate::{
    addr::{Addr, V4},
    checksum::{self, Diff},
    drop_reason::DropReason,
    tuple,
};

/// Offsets of the checksums behind an IPv4 header without options, bytes.
const TCP_CHECK: usize = ETH_LEN + 20 + checksum::offset(tuple::TCP);
const UDP_CHECK: usize = ETH_LEN + 20 + checksum::offset(tuple::UDP);

/// What a packet is to become. Fields equal to the packet's own mean no change.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Rewrite<A = V4> {
    /// New source address.
    pub src: A,
    /// New destination address.
    pub dst: A,
    /// New source port, or ICMP identifier.
    pub sport: u16,
    /// New destination port, or ICMP identifier.
    pub dport: u16,
    /// Lower the TTL by one: the packet is forwarded by the datapath, not by the stack.
    pub hop: bool,
}

/// Rewrites `pkt`, which `ip` describes.
///
/// # Errors
/// [`DropReason::RewriteFailed`].
#[inline(always)]
pub(super) fn rewrite<P: Packet>(pkt: &mut P, ip: &Ip, to: &Rewrite) -> Result<(), DropReason> {
    let l4 = usize::from(ip.l4);
    let t = &ip.tuple;
    let addrs = Diff::new().bytes4(t.src, to.src).bytes4(t.dst, to.dst);
    match ip.kind {
        Kind::Tcp | Kind::Udp | Kind::Dccp => {
            transport::<{ ETH_LEN + 20 }, TCP_CHECK, UDP_CHECK, _, _>(pkt, ip, to, addrs)?
        }
        Kind::IcmpQuery if t.sport != to.sport => {
            let id = Diff::new().be16(t.sport, to.sport);
            pkt.update_l4_checksum(l4 + checksum::offset(tuple::ICMP), id.wsum(), false, false)?;
            pkt.write(l4 + 4, &to.sport.to_be_bytes())?;
        }
        // The checksum is a CRC of the whole packet.
        Kind::Sctp if t.sport != to.sport || t.dport != to.dport => {
            return Err(DropReason::RewriteFailed);
        }
        Kind::Sctp
        | Kind::IcmpQuery
        | Kind::IcmpError
        | Kind::IcmpRedirect
        | Kind::IcmpOther
        | Kind::Tail
        | Kind::Other
        | Kind::Unsupported
        | Kind::Truncated
        | Kind::BadL4
        | Kind::Tiny => {}
    }
    ip_header(pkt, ip, to, addrs)
}

/// Rewrites ports and checksum of TCP, UDP, UDP-Lite or DCCP. `L4`, `TCP`, `UDP`: where the transport header and its
/// checksum are behind the shortest IP header.
#[inline(always)]
pub(super) fn transport<const L4: usize, const TCP: usize, const UDP: usize, A: Addr, P: Packet>(
    pkt: &mut P,
    ip: &Ip<A>,
    to: &Rewrite<A>,
    addrs: Diff,
) -> Result<(), DropReason> {
    let l4 = usize::from(ip.l4);
    let t = &ip.tuple;
    let ports_change = t.sport != to.sport || t.dport != to.dport;
    let addrs_change = t.src != to.src || t.dst != to.dst;
    // UDP-Lite never has 0 there (RFC 3828, 3.1), so to write 0xffff instead is right of both.
    let udp = matches!(ip.kind, Kind::Udp);
    let at = l4 + checksum::offset(t.proto);
    let ports = Diff::new().be16(t.sport, to.sport).be16(t.dport, to.dport);
    let is_dccp = matches!(ip.kind, Kind::Dccp);
    if addrs_change && ports_change && l4 == L4 && !is_dccp {
        if udp {
            both::<UDP, P>(pkt, addrs, ports, udp)?;
        } else {
            both::<TCP, P>(pkt, addrs, ports, udp)?;
        }
    } else {
        if addrs_change {
            pkt.update_l4_checksum(at, addrs.wsum(), true, udp)?;
        }
        if ports_change {
            pkt.update_l4_checksum(at, ports.wsum(), false, udp)?;
        }
    }
    if !ports_change {
        return Ok(());
    }
    let [a, b] = to.sport.to_be_bytes();
    let [c, d] = to.dport.to_be_bytes();
    if l4 == L4 {
        pkt.write_fixed::<L4, 4>(&[a, b, c, d])
    } else {
        pkt.write(l4, &[a, b, c, d])
    }
}

/// Updates the transport checksum at the offset `AT` for new addresses and ports.
///
/// The field holds the whole checksum, or what the device is to complete (CHECKSUM_PARTIAL): then
/// it covers the addresses alone. Only the kernel knows which, and each time it is asked costs as
/// much as all else that is written. But what it does about the addresses tells: it adds the change
/// to what is to be completed, and subtracts it from a whole checksum
/// (`inet_proto_csum_replace_by_diff`, `net/core/utils.c`).
#[inline(always)]
fn both<const AT: usize, P: Packet>(
    pkt: &mut P,
    addrs: Diff,
    ports: Diff,
    udp: bool,
) -> Result<(), DropReason> {
    let (addrs, ports) = (addrs.wsum(), ports.wsum());
    let before = pkt.read_fixed::<AT, 2>().ok_or(DropReason::RewriteFailed)?;
    pkt.update_l4_checksum(AT, addrs, true, udp)?;
    let after = pkt.read_fixed::<AT, 2>().ok_or(DropReason::RewriteFailed)?;
    let is_whole = checksum::equal(after, checksum::update(before, addrs));
    let is_partial = checksum::equal(after, checksum::add(before, addrs));
    if is_whole == is_partial {
        // A change of nothing; or UDP without a checksum.
        return pkt.update_l4_checksum(AT, ports, false, udp);
    }
    if is_partial {
        return Ok(());
    }
    let check = if udp {
        checksum::update_udp(after, ports)
    } else {
        checksum::update(after, ports)
    };
    pkt.write_fixed::<AT, 2>(&check)
}

/// Writes TTL, checksum and addresses: bytes 8 to 19 of the IPv4 header.
#[inline(always)]
fn ip_header<P: Packet>(pkt: &mut P, ip: &Ip, to: &Rewrite, addrs: Diff) -> Result<(), DropReason> {
    let proto = ip.tuple.proto;
    let ttl = if to.hop {
        ip.ttl.wrapping_sub(1)
    } else {
        ip.ttl
    };
    let diff = addrs.be16(
        u16::from_be_bytes([ip.ttl, proto]),
        u16::from_be_bytes([ttl, proto]),
    );
    let check = checksum::update(ip.check, diff.wsum());
    let (s, d) = (to.src, to.dst);
    let bytes = [
        ttl, proto, check[0], check[1], s[0], s[1], s[2], s[3], d[0], d[1], d[2], d[3],
    ];
    pkt.write_fixed::<{ ETH_LEN + 8 }, 12>(&bytes)
}

/// Sets the MAC addresses: the packet is handed to a container without passing the bridge.
///
/// # Errors
/// [`DropReason::RewriteFailed`].
#[inline(always)]
pub fn set_macs<P: Packet>(pkt: &mut P, dst: [u8; 6], src: [u8; 6]) -> Result<(), DropReason> {
    pkt.write_fixed::<0, 12>(&[
        dst[0], dst[1], dst[2], dst[3], dst[4], dst[5], src[0], src[1], src[2], src[3], src[4],
        src[5],
    ])
}
