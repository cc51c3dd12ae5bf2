//! What a container would say that gives addresses to others.
//!
//! Owns the ports of DHCP, and who would hear it. A container that answers to a published port does so
//! within its flow, which is looked for first.

use super::Tables;
use crate::{
    addr::Addr,
    packet::{Ip, Kind},
    records::NetworkRecord,
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
