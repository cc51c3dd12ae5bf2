//! What is done differently with the packets of each family.
//!
//! Owns the choice of the functions that know the bytes of a header. Decisions are the same for
//! both families, and are made elsewhere.

use super::{
    Eth, Ip, Packet, Quoted, Rewrite, parse_ipv4, parse_ipv6,
    quoted::{has_bad_mtu, parse_quoted, rewrite_quoted},
    quoted6::{has_bad_mtu6, parse_quoted6, rewrite_quoted6},
    rewrite::rewrite,
    rewrite6::rewrite6,
};
use crate::{
    addr::{Addr, V4, V6},
    datapath::on_link,
    drop_reason::DropReason,
    records::{EndpointRecord, NetworkRecord},
    tuple::Tuple,
};

/// A family of addresses, and the packets that carry them.
pub trait Family: Addr {
    /// Parses the IP header behind the Ethernet header, and the transport header.
    ///
    /// What is wrong with the transport header is reported in [`Ip::kind`], since it depends on the
    /// packet's way whether that matters.
    ///
    /// # Errors
    /// [`DropReason::Truncated`], [`DropReason::BadIpHeader`].
    fn parse<P: Packet>(pkt: &P, ip: &mut Ip<Self>) -> Result<(), DropReason>;

    /// Rewrites `pkt`, which `ip` describes: addresses, ports, TTL, and every checksum but that of
    /// a quoted packet.
    ///
    /// # Errors
    /// [`DropReason::RewriteFailed`]: the packet may be half rewritten, and must be dropped.
    fn rewrite<P: Packet>(pkt: &mut P, ip: &Ip<Self>, to: &Rewrite<Self>)
    -> Result<(), DropReason>;

    /// Parses the packet that an ICMP error quotes; `None` where it names no flow.
    fn quoted<P: Packet>(pkt: &P, ip: &Ip<Self>, quoted: &mut Quoted<Self>) -> Option<()>;

    /// Rewrites the packet that an ICMP error quotes, and the checksums that cover it.
    ///
    /// # Errors
    /// As [`Family::rewrite`].
    fn rewrite_quoted<P: Packet>(
        pkt: &mut P,
        ip: &Ip<Self>,
        quoted: &Quoted<Self>,
        to: &Tuple<Self>,
    ) -> Result<(), DropReason>;

    /// Whether an ICMP error asks for smaller packets than every link of the family takes.
    fn has_bad_mtu<P: Packet>(pkt: &P, ip: &Ip<Self>) -> bool;

    /// Whether a packet of a container that belongs to no flow is for its own link, and left to the
    /// bridge. If not, its source is still to be looked at. `ep`, `network`: the sender's.
    ///
    /// # Errors
    /// As [`on_link`]; none of IPv4, which has a protocol of its own for that, ARP.
    fn on_link<P: Packet>(
        pkt: &P,
        ip: &Ip<Self>,
        eth: &Eth,
        ep: &EndpointRecord,
        network: &NetworkRecord,
    ) -> Result<bool, DropReason>;
}

impl Family for V4 {
    #[inline(always)]
    fn parse<P: Packet>(pkt: &P, ip: &mut Ip) -> Result<(), DropReason> {
        parse_ipv4(pkt, ip)
    }

    #[inline(always)]
    fn rewrite<P: Packet>(pkt: &mut P, ip: &Ip, to: &Rewrite) -> Result<(), DropReason> {
        rewrite(pkt, ip, to)
    }

    #[inline(always)]
    fn quoted<P: Packet>(pkt: &P, ip: &Ip, quoted: &mut Quoted) -> Option<()> {
        parse_quoted(pkt, ip, quoted)
    }

    #[inline(always)]
    fn rewrite_quoted<P: Packet>(
        pkt: &mut P,
        ip: &Ip,
        quoted: &Quoted,
        to: &Tuple,
    ) -> Result<(), DropReason> {
        rewrite_quoted(pkt, ip, quoted, to)
    }

    #[inline(always)]
    fn has_bad_mtu<P: Packet>(pkt: &P, ip: &Ip) -> bool {
        has_bad_mtu(pkt, ip)
    }

    #[inline(always)]
    fn on_link<P: Packet>(
        _: &P,
        _: &Ip,
        _: &Eth,
        _: &EndpointRecord,
        _: &NetworkRecord,
    ) -> Result<bool, DropReason> {
        Ok(false)
    }
}

impl Family for V6 {
    #[inline(always)]
    fn parse<P: Packet>(pkt: &P, ip: &mut Ip<Self>) -> Result<(), DropReason> {
        parse_ipv6(pkt, ip)
    }

    #[inline(always)]
    fn rewrite<P: Packet>(
        pkt: &mut P,
        ip: &Ip<Self>,
        to: &Rewrite<Self>,
    ) -> Result<(), DropReason> {
        rewrite6(pkt, ip, to)
    }

    #[inline(always)]
    fn quoted<P: Packet>(pkt: &P, ip: &Ip<Self>, quoted: &mut Quoted<Self>) -> Option<()> {
        parse_quoted6(pkt, ip, quoted)
    }

    #[inline(always)]
    fn rewrite_quoted<P: Packet>(
        pkt: &mut P,
        ip: &Ip<Self>,
        quoted: &Quoted<Self>,
        to: &Tuple<Self>,
    ) -> Result<(), DropReason> {
        rewrite_quoted6(pkt, ip, quoted, to)
    }

    #[inline(always)]
    fn has_bad_mtu<P: Packet>(pkt: &P, ip: &Ip<Self>) -> bool {
        has_bad_mtu6(pkt, ip)
    }

    #[inline(always)]
    fn on_link<P: Packet>(
        pkt: &P,
        ip: &Ip<Self>,
        eth: &Eth,
        ep: &EndpointRecord,
        network: &NetworkRecord,
    ) -> Result<bool, DropReason> {
        on_link(pkt, ip, eth, ep, network)
    }
}
