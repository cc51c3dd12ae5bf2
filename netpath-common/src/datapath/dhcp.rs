//! DHCP: what a container may ask, and what it would say that gives addresses to others.
//!
//! Owns the ports of DHCP, and who would hear an answer. A container that answers to a published port does so
//! within its flow, which is looked for first.

use super::Tables;
use crate::{
    addr::Addr,
    packet::{Ip, Kind, Packet},
    records::{EndpointRecord, NetworkRecord},
    tuple,
};

/// Whether the packet would give an address to a neighbour, or to the host.
#[inline(always)]
pub(super) fn is_rogue<T: Tables>(t: &T, ip: &Ip<T::A>, network: &NetworkRecord) -> bool {
    let dst = &ip.tuple.dst;
    is_dhcp_answer(ip) && (dst.is_multicast() || dst.is_in_subnet(network) || t.is_host_addr(dst))
}

/// Whether only a DHCP server or relay sends the packet: from the server's port, or to the client's
/// (RFC 2131, 4.1; RFC 8415, 7.2), where clients listen whatever port it comes from.
#[inline(always)]
pub(super) fn is_dhcp_answer<A: Addr>(ip: &Ip<A>) -> bool {
    let (server, client) = if A::IS_V6 { (547, 546) } else { (67, 68) };
    // Clients that read raw packets may not look at the length.
    ip.tuple.proto == tuple::UDP
        && matches!(ip.kind, Kind::Udp | Kind::BadL4)
        && (ip.tuple.sport == server || ip.tuple.dport == client)
}

/// Whether a container that has no address yet asks for one, for its own MAC address (RFC 2131, 4.1): the
/// only packet without a source. Of IPv6 it has a link-local source.
#[inline(always)]
pub(super) fn is_question<P: Packet, A: Addr>(pkt: &P, ip: &Ip<A>, ep: &EndpointRecord) -> bool {
    /// Offset of the client's hardware address behind the UDP header, bytes (RFC 2131, 2).
    const CHADDR: usize = 8 + 28;
    let ports = (ip.tuple.sport, ip.tuple.dport);
    !A::IS_V6
        && ip.tuple.src == A::NONE
        && ip.tuple.dst.is_multicast()
        && matches!(ip.kind, Kind::Udp)
        && ports == (68, 67)
        && pkt.read::<6>(usize::from(ip.l4) + CHADDR) == Some(ep.mac)
}
