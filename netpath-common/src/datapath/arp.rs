//! What a container may send that is no packet of the hook's family: ARP.
//!
//! Owns the check of the sender's names (RFC 826). The same for IPv6 is `neighbour6`.

use super::{Tables, veth::sender, work::Work};
use crate::{
    addr::Addr,
    drop_reason::DropReason,
    packet::{ETHERTYPE_ARP, ETHERTYPE_IPV6, Packet, four},
    records::EndpointRecord,
    verdict::Action,
};

/// ARP is let through if it speaks the truth; nothing else that is not IPv4 is, nor what is tagged.
#[inline(always)]
pub(super) fn not_ipv4<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
) -> Result<Action, DropReason> {
    if !T::A::IS_V6 && w.eth.ethertype == ETHERTYPE_IPV6 && !pkt.is_tagged() {
        return Ok(Action::Ipv6);
    }
    let (_, ep) = sender(pkt, t, w)?;
    // A tag would go on with the packet, into a VLAN of the uplink's that is not the containers'.
    if w.eth.ethertype != ETHERTYPE_ARP || pkt.is_tagged() {
        return Err(DropReason::BadEthertype);
    }
    check_arp(pkt, ep)?;
    Ok(Action::Pass)
}

/// Checks that a message of ARP speaks for the container that sends it, and for no other.
#[inline(always)]
fn check_arp<P: Packet>(pkt: &P, ep: &EndpointRecord) -> Result<(), DropReason> {
    // Hardware and protocol types and lengths, operation, sender MAC, sender address.
    let arp = pkt.read_fixed::<14, 28>().ok_or(DropReason::Truncated)?;
    let ethernet_ipv4 =
        arp[0] == 0 && arp[1] == 1 && arp[2] == 8 && arp[3] == 0 && arp[4] == 6 && arp[5] == 4;
    let mac = [arp[8], arp[9], arp[10], arp[11], arp[12], arp[13]];
    let addr = four(&arp, 14);
    // An all-zero sender address probes whether an address is taken (RFC 5227).
    if !ethernet_ipv4 || mac != ep.mac || (addr != ep.addr && addr != [0; 4]) {
        return Err(DropReason::SpoofedArp);
    }
    Ok(())
}
