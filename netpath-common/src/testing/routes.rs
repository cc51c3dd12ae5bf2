//! The kernel's routes in memory.

use crate::{
    addr::{Addr, V4},
    datapath::NextHop,
};

/// Destination, prefix length, where it leads: of the [`NextHop`] what the kernel fills in. Of equal
/// prefixes the first one is the better one.
pub type Route<A = V4> = (A, u8, NextHop<A>);

pub(super) fn in_prefix<A: Addr>(addr: A, net: A, len: u8) -> bool {
    let (a, n) = (bytemuck::bytes_of(&addr), bytemuck::bytes_of(&net));
    let (whole, rest) = (usize::from(len / 8), len % 8);
    let unlike = |i: usize| a[i] ^ n[i];
    a[..whole] == n[..whole] && (rest == 0 || unlike(whole) >> (8 - rest) == 0)
}

/// The best of the routes that fit.
pub(super) fn best<A: Addr>(
    routes: &[Route<A>],
    dst: A,
    fits: impl Fn(&NextHop<A>) -> bool,
) -> NextHop<A> {
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
