//! The kernel's routes in memory.

use super::build::Addr;
use crate::datapath::NextHop;

/// Destination, prefix length, where it leads.
pub type Route = (Addr, u8, NextHop);

pub(super) fn in_prefix(addr: Addr, net: Addr, len: u8) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
    u32::from_be_bytes(addr) & mask == u32::from_be_bytes(net) & mask
}

/// The longest of the matching prefixes, of those the first one.
pub(super) fn best(routes: &[Route], dst: Addr, fits: impl Fn(&NextHop) -> bool) -> NextHop {
    let nowhere = NextHop {
        no_route: 1,
        ..NextHop::default()
    };
    routes
        .iter()
        .rev()
        .filter(|(net, len, hop)| in_prefix(dst, *net, *len) && fits(hop))
        .max_by_key(|(_, len, _)| *len)
        .map_or(nowhere, |(_, _, hop)| *hop)
}
