//! The MSS option of TCP.
//!
//! Owns the walk through a SYN's options and the one number in them that is lowered (RFC 9293, 3.7.1;
//! RFC 6691: the MTU less 40 bytes, of IPv6 60). Never raises it and adds no option.

use super::Tables;
use crate::{
    addr::Addr,
    checksum::{self, Diff},
    drop_reason::DropReason,
    packet::{Ip, Packet},
    tuple,
};

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;

/// What every host takes (RFC 9293, 3.7.1, of IPv6 RFC 8200, 5): no way is so narrow that less were
/// asked for.
const fn lowest<A: Addr>() -> u32 {
    if A::IS_V6 { 1280 - 60 } else { 128 - 40 }
}

/// Most options that fit: one byte each.
const OPTIONS: u32 = 40;

/// Where the walk is. Not on the stack: there the verifier follows every value, and walks every way.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Walk {
    /// Offset in the frame, bytes.
    at: u32,
    /// Where the options end.
    end: u32,
    /// Offset of the option, 0 for none.
    found: u32,
}

/// What a turn of the walk is given.
struct Turn<'p, P> {
    pkt: &'p P,
    walk: &'p mut Walk,
}

/// Lowers the MSS of a SYN to what fits packets of `mtu` bytes.
///
/// # Errors
/// [`DropReason::RewriteFailed`].
#[inline(never)]
pub(super) fn clamp<P: Packet, T: Tables>(
    pkt: &mut P,
    t: &T,
    ip: &Ip<T::A>,
    walk: &mut Walk,
    mtu: u32,
) -> Result<(), DropReason> {
    let l4 = u32::from(ip.l4);
    *walk = Walk {
        at: l4 + 20,
        end: l4 + u32::from(ip.tcp_len),
        found: 0,
    };
    let mut turn = Turn { pkt, walk };
    t.repeat(OPTIONS, &mut turn, look::<P>);
    let found = turn.walk.found as usize;
    let limit = mtu
        .saturating_sub(T::A::HEADER as u32 + 20)
        .max(lowest::<T::A>());
    if found == 0 || limit > u32::from(u16::MAX) {
        return Ok(());
    }
    let limit = limit as u16;
    let value = pkt.read::<2>(found + 2).ok_or(DropReason::RewriteFailed)?;
    let mss = u16::from_be_bytes(value);
    if mss <= limit {
        return Ok(());
    }
    // A word of the checksum's sum begins at an even distance from the header.
    let (old, new) = if (found as u32 - l4) & 1 == 0 {
        (mss, limit)
    } else {
        (mss.swap_bytes(), limit.swap_bytes())
    };
    let diff = Diff::new().be16(old, new);
    let at = usize::from(ip.l4) + checksum::offset(tuple::TCP);
    pkt.update_l4_checksum(at, diff.wsum(), false, false)?;
    pkt.write(found + 2, &limit.to_be_bytes())
}

/// Looks at one option; 1 ends the walk.
extern "C" fn look<P: Packet>(_i: u32, turn: *mut Turn<'_, P>) -> i64 {
    // SAFETY: `repeat` hands on the pointer that `clamp` gave it, and nobody else uses it.
    let Turn { pkt, walk } = unsafe { &mut *turn };
    if walk.at >= walk.end {
        return 1;
    }
    let Some([kind]) = pkt.read::<1>(walk.at as usize) else {
        return 1;
    };
    if kind == END {
        return 1;
    }
    if kind == NOP {
        walk.at += 1;
        return 0;
    }
    let Some([len]) = pkt.read::<1>(walk.at as usize + 1) else {
        return 1;
    };
    let len = u32::from(len);
    if len < 2 || walk.at + len > walk.end {
        return 1;
    }
    if kind == MSS {
        if len == 4 {
            walk.found = walk.at;
        }
        return 1;
    }
    walk.at += len;
    0
}
