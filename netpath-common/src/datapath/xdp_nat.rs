//! Translation in an uplink's driver: packets of established flows that go to a container.
//!
//! Owns the choice of what may be translated before the kernel has a socket buffer, and its
//! delivery. Whatever needs more than one entry, or judgement, is left as it is to
//! [`super::uplink_ingress`], which does the same with the same entry; neither sees what the other
//! has taken.

use super::{
    Tables, generation,
    work::Work,
    xdp::{Bucket, Found, judge, look},
};
use crate::{
    conntrack::{CtRef, STAMP_FRESH_NS, tcp},
    counters::Counter,
    drop_reason::DropReason,
    packet::{ETH_LEN, Kind, Packet, Rewrite, rewrite, set_macs},
    records::NETWORK_XDP,
    tuple,
    verdict::Verdict,
};

/// As [`super::uplink_xdp`], and translates what belongs to an established flow. The frame is as it
/// was where the answer is [`Verdict::Pass`].
///
/// # Errors
/// Why it is dropped.
#[inline(always)]
pub fn uplink_xdp_nat<P: Packet, T: Tables>(
    pkt: &mut P,
    t: &T,
    w: &mut Work,
    refused: &mut Bucket,
) -> Result<Verdict, DropReason> {
    match look(pkt, t, w)? {
        Found::Other => Ok(Verdict::Pass),
        Found::Flow(e) => translate(pkt, t, w, e),
        Found::NoFlow => judge(t, &w.ip, refused),
    }
}

#[inline(always)]
fn translate<P: Packet, T: Tables>(
    pkt: &mut P,
    t: &T,
    w: &mut Work,
    e: CtRef,
) -> Result<Verdict, DropReason> {
    let ip = &w.ip;
    if !matches!(ip.kind, Kind::Tcp | Kind::Udp)
        || usize::from(ip.l4) != ETH_LEN + 20
        || ip.first_fragment
        || ip.ttl <= 1
        || pkt.gso_size() != 0
    {
        return Ok(Verdict::Pass);
    }
    w.look_at_clock(t);
    if !is_steady(t, w, e) {
        return Ok(Verdict::Pass);
    }
    let slot = e.to();
    let Some(endpoint) = t.endpoint(slot) else {
        return Ok(Verdict::Pass);
    };
    let Some(network) = t.network(endpoint.network) else {
        return Ok(Verdict::Pass);
    };
    if slot == 0 || network.flags & NETWORK_XDP == 0 || w.ip.total_len > endpoint.mtu {
        return Ok(Verdict::Pass);
    }
    w.to = Rewrite {
        src: e.src(),
        dst: e.dst(),
        sport: e.sport(),
        dport: e.dport(),
        hop: true,
    };
    let bytes = pkt.len() as u64;
    e.touch(w.now, bytes);
    rewrite(pkt, &w.ip, &w.to)?;
    set_macs(pkt, endpoint.mac, network.bridge_mac)?;
    t.count_rx(slot, bytes);
    t.count(Counter::TranslatedInXdp);
    Ok(Verdict::ToEndpoint {
        ifindex: endpoint.ifindex,
    })
}

/// Whether the entry alone decides: see `admit`, which asks the record otherwise.
#[inline(always)]
fn is_steady<T: Tables>(t: &T, w: &Work, e: CtRef) -> bool {
    let quiet =
        w.ip.tuple.proto != tuple::TCP || w.ip.flags & (tcp::SYN | tcp::FIN | tcp::RST) == 0;
    quiet
        && e.from() == 0
        && e.steady() != 0
        && w.now.saturating_sub(e.stamp()) < STAMP_FRESH_NS
        && generation(t, e.from(), e.to(), e.uplink(), e.rule()) == e.generation()
}
