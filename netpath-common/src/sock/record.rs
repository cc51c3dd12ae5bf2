//! What the socket programs remember of a socket of the host.
//!
//! Owns the byte layout of `np_socks`, which nobody else writes or reads: as in [`crate::records`].

use bytemuck::{Pod, Zeroable};

use crate::addr::V6;

/// Key of a socket of the host that was sent to a published port.
///
/// One table for both families: a socket of IPv6 sends to IPv4 by one hook and hears of it by
/// another. IPv4 addresses are v4-mapped (RFC 4291, 2.5.5.2).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Pod, Zeroable)]
pub struct SockKey {
    /// Socket cookie.
    pub cookie: u64,
    /// The container's address.
    pub addr: V6,
    /// The container's port.
    pub port: u16,
    /// Always zero.
    pub zero: [u16; 3],
}

/// The application chose no address of its own, so it is shown the one that it asked for.
pub const SOCK_UNBOUND: u32 = 1;

/// What the application asked for.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct SockRecord {
    /// Address of the host that was named; of IPv4 v4-mapped.
    pub addr: V6,
    /// Published port.
    pub port: u16,
    /// Slot of the rule.
    pub rule: u16,
    /// `SOCK_*`.
    pub flags: u32,
}

const _: () = {
    assert!(size_of::<SockKey>() == 32);
    assert!(size_of::<SockRecord>() == 24);
};
