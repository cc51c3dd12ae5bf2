//! Early drop and inbound translation at an uplink, before the kernel makes a socket buffer.
//!
//! Owns the choice of what may be translated there: the plain packets of live flows into containers
//! whose interface takes frames from a driver. What the packet does to its flow, how it is rewritten
//! and counted is the same code as at the tc hook. Everything else passes as it is, before its flow
//! has been touched, and the tc hook decides about it as it does without this one.

use super::{
    Tables, Work,
    veth::admitted,
    xdp::{Bucket, entry, unless_unwanted},
};
use crate::{
    checksum,
    conntrack::CtRef,
    counters::Counter,
    drop_reason::DropReason,
    packet::{ETH_LEN, ETHERTYPE_IPV4, Ipv4, Kind, Packet, parse_eth},
    records::NETWORK_XDP,
    tuple,
    verdict::Verdict,
};

/// Offset of the transport header behind an IPv4 header without options, bytes.
const L4: usize = ETH_LEN + 20;

/// Decides about a frame that an uplink's driver has received: [`Verdict::Pass`] as it is,
/// [`Verdict::ToEndpoint`] translated, or dropped.
///
/// `refused`: this CPU's bucket of packets to ports that nobody has.
///
/// # Errors
/// Why it is dropped.
#[inline(always)]
pub fn uplink_xdp_translate<P: Packet, T: Tables>(
    pkt: &mut P,
    t: &T,
    w: &mut Work,
    refused: &mut Bucket,
) -> Result<Verdict, DropReason> {
    parse_eth(pkt, &mut w.eth)?;
    if w.eth.ethertype != ETHERTYPE_IPV4 {
        return Ok(Verdict::Pass);
    }
    w.parse(pkt)?;
    match entry(t, &w.ip) {
        Some(e) => translate(pkt, t, w, e),
        None => unless_unwanted(t, &w.ip, refused),
    }
}

/// A packet of a flow.
#[inline(always)]
fn translate<P: Packet, T: Tables>(
    pkt: &mut P,
    t: &T,
    w: &mut Work,
    e: CtRef,
) -> Result<Verdict, DropReason> {
    let Some(endpoint) = t.endpoint(e.to()) else {
        return Ok(Verdict::Pass);
    };
    let takes_frames = t
        .network(endpoint.network)
        .is_some_and(|n| n.flags & NETWORK_XDP != 0);
    if !takes_frames || !is_plain(pkt, &w.ip) || !w.fits(pkt, endpoint.mtu) {
        return Ok(Verdict::Pass);
    }
    // From here on the tc hook never sees the packet, or sees that its flow is gone: what it does
    // to the state of the flow happens once.
    w.reset(t);
    let Some(e) = admitted(t, w, e)? else {
        return Ok(Verdict::Pass);
    };
    t.count(Counter::ToEndpointEarly);
    w.forward(pkt, t, e)
}

/// Whether a packet has nothing that only a socket buffer can tell or hold.
#[inline(always)]
fn is_plain<P: Packet>(pkt: &P, ip: &Ipv4) -> bool {
    usize::from(ip.l4) == L4
        && !ip.first_fragment
        && pkt.gso_size() == 0
        && pkt.in_one_piece()
        && !is_checksum_partial(pkt, ip)
}

/// Whether the transport checksum looks like one that the sender has left to the device: then the
/// socket buffer says where it is to be put, and a driver's frame does not.
///
/// Devices of this host that hand over such packets are not given this program, but may be changed
/// at any time. One whole checksum in 65,536 looks the same, and that packet loses nothing at tc.
#[inline(always)]
fn is_checksum_partial<P: Packet>(pkt: &P, ip: &Ipv4) -> bool {
    let field = match ip.kind {
        Kind::Tcp => pkt.read_fixed::<{ L4 + checksum::offset(tuple::TCP) }, 2>(),
        Kind::Udp => pkt.read_fixed::<{ L4 + checksum::offset(tuple::UDP) }, 2>(),
        // Its checksum is always computed by the sender's stack, and has no pseudo header.
        _ => return false,
    };
    let len = ip.total_len as u16 - (L4 - ETH_LEN) as u16;
    field
        == Some(checksum::pseudo_header(
            ip.tuple.src,
            ip.tuple.dst,
            ip.tuple.proto,
            len,
        ))
}
