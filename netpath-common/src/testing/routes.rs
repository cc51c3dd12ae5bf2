//! The kernel's routes in memory.

use super::build::Addr;
use crate::datapath::NextHop;

/// Destination, prefix length, where it leads: of the [`NextHop`] what the kernel fills in. Of equal
/// prefixes the first one is the better one.
pub type Route = (Addr, u8, NextHop);

pub(super) fn in_prefix(addr: Addr, net: Addr, len: u8) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
    u32::from_be_bytes(addr) & mask == u32::from_be_bytes(net) & mask
}

/// The best of the routes that fit.
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
