//! ICMP errors: translated like the flow that their quoted packet belongs to.
//!
//! Owns the search for that flow (RFC 5508, REQ-3 to 7); the rewrite is in `work`. An error never
//! creates, refreshes or ends a flow.

use super::{Tables, generation, quoted::Quoted, work::Work};
use crate::{
    conntrack::{is_over, snapshot},
    packet::{Packet, Rewrite, be16, four},
    tuple::{self, Tuple},
};

/// Length of the ICMP header before the quoted packet, bytes.
const ICMP_HEADER: usize = 8;

/// Any sender; larger than every slot. An `Option` would pass an undefined register.
pub(super) const ANYONE: u32 = u32::MAX;

/// Parses the quoted packet; eight bytes of its transport header are enough (RFC 792).
///
/// `end`: where the IP packet ends; what the frame holds behind it is nobody's.
#[inline(always)]
fn quoted<P: Packet>(pkt: &P, icmp: u16, end: usize, q: &mut Quoted) -> Option<()> {
    let at = usize::from(icmp) + ICMP_HEADER;
    let h = pkt.read::<20>(at)?;
    let header_len = usize::from(h[0] & 0x0f) * 4;
    // A later fragment quotes no ports.
    if h[0] >> 4 != 4 || header_len < 20 || be16(&h, 6) & 0x1fff != 0 {
        return None;
    }
    let l4 = at + header_len;
    if l4 + 8 > end {
        return None;
    }
    let p = pkt.read::<8>(l4)?;
    let mut t = Tuple {
        src: four(&h, 12),
        dst: four(&h, 16),
        proto: h[9],
        ..Tuple::default()
    };
    match t.proto {
        tuple::TCP | tuple::UDP => {
            t.sport = be16(&p, 0);
            t.dport = be16(&p, 2);
        }
        tuple::ICMP => {
            t.sport = be16(&p, 4);
            t.dport = t.sport;
            t.icmp_type = p[0];
        }
        _ => return None,
    }
    *q = Quoted {
        tuple: t,
        ip: at as u16,
        l4: l4 as u16,
        check: [h[10], h[11]],
    };
    Some(())
}

/// Whether the error says that packets must become smaller than IPv4 lets them be (RFC 791: every
/// link takes 68 bytes). 0 is what routers before RFC 1191 sent: the sender then guesses.
#[inline(always)]
pub(super) fn has_bad_mtu<P: Packet>(pkt: &P, icmp: u16) -> bool {
    const NEEDS_FRAGMENTATION: [u8; 2] = [3, 4];
    let Some(h) = pkt.read::<8>(usize::from(icmp)) else {
        return false;
    };
    let mtu = be16(&h, 6);
    [h[0], h[1]] == NEEDS_FRAGMENTATION && mtu != 0 && mtu < 68
}

/// Plans the translation of an ICMP error; false where its quoted packet belongs to no flow of
/// this origin.
///
/// `from_endpoint`: who sent it, 0 for the outside. At uplink egress the host may have made the
/// error itself, on behalf of any container: [`ANYONE`] there. A subprogram, so that what it did
/// on the way to its answer is forgotten with its frame.
#[inline(never)]
pub(super) fn plan<P: Packet, T: Tables>(pkt: &P, t: &T, w: &mut Work, from_endpoint: u32) -> bool {
    if quoted(pkt, w.ip.l4, w.ip.end(), &mut w.quoted).is_none() {
        return false;
    }
    // A packet of the flow that goes the way of the error carries the inverse of the quoted tuple.
    let key = w.quoted.tuple.inverse();
    let Some(e) = t.ct(&key) else { return false };
    if generation(t, e.from(), e.to(), e.uplink(), e.rule()) != e.generation()
        || (from_endpoint != ANYONE && from_endpoint != u32::from(e.from()))
        || w.ip.tuple.dst != key.dst
        || is_over(t, &key, e, w.now)
    {
        return false;
    }
    let new = snapshot(e, &key);
    w.to = Rewrite {
        // The other end itself complains, or a router on the way, which keeps its address.
        src: if w.ip.tuple.src == key.src {
            new.src
        } else {
            w.ip.tuple.src
        },
        dst: new.dst,
        sport: 0,
        dport: 0,
        hop: false,
    };
    w.from_endpoint = e.from();
    w.to_endpoint = e.to();
    w.uplink = e.uplink();
    w.rule = e.rule();
    w.quoted_to = new.inverse();
    w.is_error = true;
    true
}
