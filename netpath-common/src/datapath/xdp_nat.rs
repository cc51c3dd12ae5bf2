//! Translation in an uplink's driver: packets of live flows that go to a container.
//!
//! Owns the choice of what may be translated before the kernel has a socket buffer: plain packets,
//! into containers whose interface takes frames from a driver. What such a packet does to its flow,
//! how it is rewritten and counted is the code of [`super::uplink_ingress`]. Everything else is left
//! to that as it is, before its flow has been touched; neither sees what the other has taken.

use super::{
    Tables,
    veth::admitted,
    work::Work,
    xdp::{Bucket, Found, judge, look},
};
use crate::{
    addr::V4,
    checksum,
    conntrack::CtRef,
    counters::Counter,
    drop_reason::DropReason,
    packet::{ETH_LEN, Ip, Kind, Packet},
    records::{ENDPOINT_SHAPED, ENDPOINT_VISIBLE, NETWORK_XDP},
    tuple,
    verdict::Action,
};

/// Offset of the transport header behind an IPv4 header without options, bytes.
const L4: usize = ETH_LEN + 20;

/// As [`super::uplink_xdp`], and translates what belongs to a live flow. The frame is as it was
/// where the answer is [`Action::Pass`].
///
/// # Errors
/// Why it is dropped.
#[inline(always)]
pub fn uplink_xdp_nat<P: Packet, T: Tables<A = V4>>(
    pkt: &mut P,
    t: &T,
    w: &mut Work,
    refused: &mut Bucket,
) -> Result<Action, DropReason> {
    match look(pkt, t, w)? {
        Found::Other => Ok(Action::Pass),
        Found::Flow(e) => translate(pkt, t, w, e),
        Found::NoFlow => judge(t, &w.ip, refused),
    }
}

/// A packet of a flow.
///
/// All that a flow has goes one way where it can, also its SYN, FIN and RST: those that were sent by
/// tc would overtake the data that waits in the ring of the container's interface.
#[inline(always)]
fn translate<P: Packet, T: Tables<A = V4>>(
    pkt: &mut P,
    t: &T,
    w: &mut Work,
    e: CtRef,
) -> Result<Action, DropReason> {
    w.settle();
    let Some(endpoint) = t.endpoint(e.to()) else {
        return Ok(Action::Pass);
    };
    // A driver sends by no queue, and none sees what it sends.
    let takes_frames = endpoint.flags & (ENDPOINT_SHAPED | ENDPOINT_VISIBLE) == 0
        && t.network(endpoint.network)
            .is_some_and(|n| n.flags & NETWORK_XDP != 0);
    if !takes_frames || !is_plain(pkt, &w.ip) || !w.fits(pkt, endpoint.mtu) {
        return Ok(Action::Pass);
    }
    // From here on the tc hook never sees the packet, or finds no flow of it: what it does to the
    // state of its flow it does once.
    w.reset(t);
    let Some(e) = admitted(t, w, e)? else {
        return Ok(Action::Pass);
    };
    t.count(Counter::TranslatedInXdp);
    w.forward(pkt, t, e)
}

/// Whether a packet has nothing that only a socket buffer can tell or hold.
#[inline(always)]
fn is_plain<P: Packet>(pkt: &P, ip: &Ip) -> bool {
    usize::from(ip.l4) == L4
        && !ip.first_fragment
        && pkt.gso_size() == 0
        && pkt.in_one_piece()
        && !is_checksum_partial(pkt, ip)
}

/// Whether the transport checksum looks like one that the sender has left to its device: only a
/// socket buffer would say where it is to be put.
///
/// A veth whose other end sends such packets is refused, but features are changed at any time. One
/// whole checksum in 65,536 looks the same, and that packet loses nothing at tc.
#[inline(always)]
fn is_checksum_partial<P: Packet>(pkt: &P, ip: &Ip) -> bool {
    let field = match ip.kind {
        Kind::Tcp => pkt.read_fixed::<{ L4 + checksum::offset(tuple::TCP) }, 2>(),
        Kind::Udp => pkt.read_fixed::<{ L4 + checksum::offset(tuple::UDP) }, 2>(),
        // ICMP's has no pseudo header, and is always computed by the sender's stack.
        Kind::Sctp
        | Kind::Dccp
        | Kind::IcmpQuery
        | Kind::IcmpError
        | Kind::IcmpRedirect
        | Kind::IcmpOther
        | Kind::Tail
        | Kind::Other
        | Kind::Unsupported
        | Kind::Truncated
        | Kind::BadL4
        | Kind::Tiny => return false,
    };
    let t = &ip.tuple;
    let len = ip.total_len as u16 - (L4 - ETH_LEN) as u16;
    field == Some(checksum::pseudo_header(t.src, t.dst, t.proto, len))
}
