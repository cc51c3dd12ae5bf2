//! What a container may say on its own link over IPv6: the twin of the ARP check.
//!
//! Owns the checks of neighbour discovery (RFC 4861, 4862) and of link-local addresses. A container has
//! two addresses there: its own, and the link-local one that is made of its MAC address. One that it
//! makes otherwise (RFC 7217) cannot be told from a neighbour's, and is taken for one. Whoever may say
//! what to other networks is decided in `veth`.

use super::dhcp::is_dhcp_answer;
use crate::{
    addr::{Addr, V6},
    drop_reason::DropReason,
    packet::{ETH_LEN, Eth, Ip, Kind, Packet, sixteen},
    records::{EndpointRecord, NETWORK_ICC, NetworkRecord},
};

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

/// Options with a MAC address (RFC 4861, 4.6.1).
const SOURCE_MAC: u8 = 1;
const TARGET_MAC: u8 = 2;

/// Options that a message may have; stacks send three at most.
const OPTIONS: u32 = 8;

/// Where a message is: directly behind the IPv6 header, since what is in a fragment, or behind other
/// headers, is sent to slip past checks like these (RFC 6980, RFC 7113).
const MESSAGE: usize = ETH_LEN + V6::HEADER;

/// Judges an IPv6 packet of a container that belongs to no flow: whether it is for its own link, and
/// left to the bridge. If not, whether its source is the container's own is still to be looked at.
///
/// `ep`, `network`: the sender's, whose MAC address the frame has.
///
/// # Errors
/// [`DropReason::BadEthertype`] where the container has no IPv6; [`DropReason::SpoofedNeighbour`],
/// [`DropReason::RogueRa`], [`DropReason::IcmpRedirect`], [`DropReason::RogueDhcp`];
/// [`DropReason::SpoofedAddress`] of a source that is valid on the link alone and not its own;
/// [`DropReason::IccDisabled`]; and why nobody can see what the packet says.
#[inline(always)]
pub fn on_link<P: Packet>(
    pkt: &P,
    ip: &Ip<V6>,
    eth: &Eth,
    ep: &EndpointRecord,
    network: &NetworkRecord,
) -> Result<bool, DropReason> {
    match in_one_word(pkt, ip, eth, ep, network) {
        0 => Ok(false),
        1 => Ok(true),
        n => Err(DropReason::from_index(n - 2).unwrap_or(DropReason::SpoofedNeighbour)),
    }
}

/// 0 and 1 for no and yes, else a reason. A subprogram of the kernel returns one word, and what it did
/// on the way is forgotten with its frame.
#[inline(never)]
fn in_one_word<P: Packet>(
    pkt: &P,
    ip: &Ip<V6>,
    eth: &Eth,
    ep: &EndpointRecord,
    network: &NetworkRecord,
) -> u32 {
    match judge(pkt, ip, eth, ep, network) {
        Ok(on_link) => u32::from(on_link),
        Err(reason) => reason as u32 + 2,
    }
}

#[inline(always)]
fn judge<P: Packet>(
    pkt: &P,
    ip: &Ip<V6>,
    eth: &Eth,
    ep: &EndpointRecord,
    network: &NetworkRecord,
) -> Result<bool, DropReason> {
    if ep.addr6 == V6::NONE {
        return Err(DropReason::BadEthertype);
    }
    let src = ip.tuple.src;
    match ip.kind {
        // Anything could be behind these.
        Kind::Truncated | Kind::Tiny => return Err(ip.fault()),
        Kind::Unsupported if !matches!(ip.fault(), DropReason::UnsupportedProtocol) => {
            return Err(ip.fault());
        }
        Kind::IcmpOther | Kind::IcmpRedirect => match ip.flags {
            ROUTER_ADVERTISEMENT => return Err(DropReason::RogueRa),
            REDIRECT => return Err(DropReason::IcmpRedirect),
            ROUTER_SOLICITATION | NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT => {
                return message(pkt, ip, ep).map(|()| true);
            }
            // Multicast listener discovery, which has no source before the link-local address is
            // found to be free (RFC 3590).
            130..=132 | 143 if ip.tuple.dst.is_multicast() && src == V6::NONE => {
                return Ok(true);
            }
            _ => {}
        },
        Kind::Tcp
        | Kind::Udp
        | Kind::Sctp
        | Kind::Dccp
        | Kind::IcmpQuery
        | Kind::IcmpError
        | Kind::Tail
        | Kind::BadL4
        | Kind::Unsupported
        | Kind::Other => {}
    }
    if !src.is_link_local() && !ip.tuple.dst.is_link_local() {
        return if src == V6::NONE {
            Err(DropReason::SpoofedAddress)
        } else {
            Ok(false)
        };
    }
    if src != link_local(ep.mac) && src != ep.addr6 {
        return Err(DropReason::SpoofedAddress);
    }
    if is_dhcp_answer(ip) {
        return Err(DropReason::RogueDhcp);
    }
    // No router forwards what comes from or goes to a link-local address (RFC 4291, 2.5.6), so it is
    // for the bridge, or for who is behind it.
    let may_pass = ip.tuple.dst.is_multicast()
        || eth.dst == network.bridge_mac
        || network.flags & NETWORK_ICC != 0;
    if may_pass {
        Ok(true)
    } else {
        Err(DropReason::IccDisabled)
    }
}

/// The link-local address of an interface (RFC 4291, 2.5.6 and appendix A): what Linux gives it unless
/// told otherwise.
#[inline(always)]
#[must_use]
pub const fn link_local(mac: [u8; 6]) -> V6 {
    let [a, b, c, d, e, f] = mac;
    [
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ]
}

/// Checks a solicitation, or a neighbour advertisement, as its receivers do (RFC 4861, 6.1.1, 7.1.1 and
/// 7.1.2), and that it speaks for the container alone.
#[inline(always)]
fn message<P: Packet>(pkt: &P, ip: &Ip<V6>, ep: &EndpointRecord) -> Result<(), DropReason> {
    const BAD: DropReason = DropReason::SpoofedNeighbour;
    let is_own = |addr: &V6| *addr == ep.addr6 || *addr == link_local(ep.mac);
    let src = ip.tuple.src;
    let is_probe = src == V6::NONE;
    if usize::from(ip.l4) != MESSAGE || ip.ttl != 255 || !is_probe && !is_own(&src) {
        return Err(BAD);
    }
    let mut options = MESSAGE + 8;
    if ip.flags != ROUTER_SOLICITATION {
        options = MESSAGE + 24;
        let h = pkt.read::<24>(MESSAGE).ok_or(BAD)?;
        let target = sixteen(&h, 8);
        // Who asks may ask for anyone; who probes, or answers, is to do so for itself.
        let speaks = is_probe || ip.flags == NEIGHBOUR_ADVERTISEMENT;
        let is_probing_answer = is_probe && ip.flags == NEIGHBOUR_ADVERTISEMENT;
        if h[1] != 0 || target.is_multicast() || speaks && !is_own(&target) || is_probing_answer {
            return Err(BAD);
        }
    }
    let end = ip.end();
    if options > end {
        return Err(BAD);
    }
    for _ in 0..OPTIONS {
        if options >= end {
            return Ok(());
        }
        if options + 8 > end {
            return Err(BAD);
        }
        let [kind, words, a, b, c, d, e, f] = pkt.read::<8>(options).ok_or(BAD)?;
        let names_mac = kind == SOURCE_MAC || kind == TARGET_MAC;
        let is_true = words == 1 && [a, b, c, d, e, f] == ep.mac && !is_probe;
        options += usize::from(words) * 8;
        if words == 0 || options > end || names_mac && !is_true {
            return Err(BAD);
        }
    }
    // More options than anybody has.
    if options == end { Ok(()) } else { Err(BAD) }
}
