//! Forwarding without translation: what the datapath costs less its own work.
//!
//! Owns the yardstick of the benchmark: the same hooks and the same way to the next hop as the
//! datapath, and of the rest only what any router must do. Never attached by netpath.

use super::{
    Tables,
    next_hop::{leased, renew},
    work::{READ_FRAME, READ_NOTHING, Work},
};
use crate::{
    addr::V4,
    checksum::{self, Diff},
    drop_reason::DropReason,
    packet::{ETH_LEN, ETHERTYPE_IPV4, Packet, be16, four, parse_eth, set_macs},
    tuple::Tuple,
    verdict::Action,
};

/// Slot of the uplink that [`forward_out`] sends to.
pub const FORWARD_UPLINK: u16 = 1;

/// Slot of the network whose bridge [`forward_out`] names to the kernel's routes.
pub const FORWARD_NETWORK: u16 = 1;

/// Sends a container's packet to the uplink in slot [`FORWARD_UPLINK`] of `np_uplinks`.
///
/// # Errors
/// [`DropReason::Truncated`], [`DropReason::RewriteFailed`], [`DropReason::NoConfig`].
#[inline(always)]
pub fn forward_out<P: Packet, T: Tables<A = V4>>(
    pkt: &mut P,
    t: &T,
    w: &mut Work,
) -> Result<Action, DropReason> {
    w.look_at_clock(t);
    if !hop(pkt, w)? {
        return Ok(Action::Pass);
    }
    let ifindex = t
        .uplink(FORWARD_UPLINK)
        .ok_or(DropReason::NoConfig)?
        .ifindex;
    if let Some(hop) = leased(t, w, 0) {
        let leased = hop.ifindex == ifindex && hop.dst_mac != [0; 6];
        if leased {
            set_macs(pkt, hop.dst_mac, hop.src_mac)?;
        }
        w.to_ifindex = ifindex;
        return Ok(if leased {
            Action::Leased
        } else {
            Action::ToUplink
        });
    }
    let network = t.network(FORWARD_NETWORK).ok_or(DropReason::NoConfig)?;
    renew(t, w, network.bridge_ifindex)?;
    w.to_ifindex = ifindex;
    Ok(Action::ToUplink)
}

/// Gives a packet from the outside to the endpoint that has its destination address, by
/// `np_ep_by_addr4`, `np_endpoints` and `np_networks`.
///
/// # Errors
/// As [`forward_out`].
#[inline(always)]
pub fn forward_in<P: Packet, T: Tables<A = V4>>(
    pkt: &mut P,
    t: &T,
    w: &mut Work,
) -> Result<Action, DropReason> {
    let dst = pkt
        .read_fixed::<{ ETH_LEN + 16 }, 4>()
        .ok_or(DropReason::Truncated)?;
    let Some(slot) = t.endpoint_by_addr(&dst) else {
        return Ok(Action::Pass);
    };
    if !hop(pkt, w)? {
        return Ok(Action::Pass);
    }
    let endpoint = t.endpoint(slot).ok_or(DropReason::NoConfig)?;
    let network = t.network(endpoint.network).ok_or(DropReason::NoConfig)?;
    set_macs(pkt, endpoint.mac, network.bridge_mac)?;
    w.to_ifindex = endpoint.ifindex;
    Ok(Action::ToEndpoint)
}

/// Lowers the TTL of an IPv4 packet; false for what is not forwarded here.
#[inline(always)]
fn hop<P: Packet>(pkt: &mut P, w: &mut Work) -> Result<bool, DropReason> {
    w.read = READ_NOTHING;
    parse_eth(pkt, &mut w.eth)?;
    w.read = READ_FRAME;
    if w.eth.ethertype != ETHERTYPE_IPV4 {
        return Ok(false);
    }
    let h = pkt
        .read_fixed::<ETH_LEN, 20>()
        .ok_or(DropReason::Truncated)?;
    let ttl = h[8];
    if ttl <= 1 {
        return Ok(false);
    }
    let diff = Diff::new().be16(be16(&h, 8), be16(&[ttl - 1, h[9]], 0));
    let check = checksum::update([h[10], h[11]], diff.wsum());
    let [s, d] = [four(&h, 12), four(&h, 16)];
    w.ip.tuple = Tuple {
        src: s,
        dst: d,
        ..Tuple::default()
    };
    pkt.write_fixed::<{ ETH_LEN + 8 }, 4>(&[ttl - 1, h[9], check[0], check[1]])?;
    Ok(true)
}
