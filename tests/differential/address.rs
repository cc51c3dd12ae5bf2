//! Who lives where, in each family.
//!
//! Owns the addresses. Where frames of them come in and go out is `site`'s.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netpath_tests::{
    dual_stack::{A6, B6, GATEWAY6, HOST6, OUTSIDE6},
    topology::{A, B, GATEWAY, HOST, OUTSIDE},
};

/// Of addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

pub(crate) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

impl Family {
    /// Of an address.
    pub(crate) const fn of(addr: IpAddr) -> Self {
        if addr.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    pub(crate) const fn ethertype(self) -> u16 {
        match self {
            Self::V4 => 0x0800,
            Self::V6 => 0x86dd,
        }
    }

    /// The protocol number of its ICMP.
    pub(crate) const fn icmp(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 58,
        }
    }
}

/// Somebody with an address in each family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    /// In the outside: two behind the router, one on the link.
    Server(usize),
    /// A router between the host and the servers.
    Router,
    /// The neighbour on the uplink, who has the default route.
    NextHop,
    /// The host on the uplink.
    Host,
    /// The host on the network of that number.
    Gateway(usize),
    /// Two of the first network, one of the second.
    Container(usize),
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// `2001:db8:subnet::host`.
const fn v6(subnet: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, subnet, 0, 0, 0, 0, host)
}

/// `fd00:18::host`.
const fn other6(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, host)
}

const ALL: [(Who, Ipv4Addr, Ipv6Addr); 11] = [
    (Who::Server(0), v4(203, 0, 113, 10), v6(0x113, 0x10)),
    (Who::Server(1), v4(203, 0, 113, 11), v6(0x113, 0x11)),
    (Who::Server(2), v4(198, 51, 100, 9), v6(1, 9)),
    (Who::Router, v4(192, 0, 2, 254), v6(2, 0xfe)),
    (Who::NextHop, OUTSIDE, OUTSIDE6),
    (Who::Host, HOST, HOST6),
    (Who::Gateway(0), GATEWAY, GATEWAY6),
    (Who::Gateway(1), v4(172, 18, 0, 1), other6(1)),
    (Who::Container(0), A, A6),
    (Who::Container(1), B, B6),
    (Who::Container(2), v4(172, 18, 0, 2), other6(2)),
];

impl Who {
    /// Their address.
    pub(crate) fn addr(self, family: Family) -> IpAddr {
        let (_, v4, v6) = ALL.into_iter().find(|(who, ..)| *who == self).unwrap();
        match family {
            Family::V4 => v4.into(),
            Family::V6 => v6.into(),
        }
    }

    /// Whose address it is.
    pub(crate) fn of(addr: IpAddr) -> Option<Self> {
        let mut all = ALL.into_iter();
        all.find(|(_, v4, v6)| addr == *v4 || addr == *v6)
            .map(|(who, ..)| who)
    }
}

/// A container's address or a gateway's.
pub(crate) fn is_private(addr: IpAddr) -> bool {
    matches!(Who::of(addr), Some(Who::Container(_) | Who::Gateway(_)))
}

pub(crate) fn is_gateway(addr: IpAddr) -> bool {
    matches!(Who::of(addr), Some(Who::Gateway(_)))
}

/// The host's own.
pub(crate) fn is_hosts(addr: IpAddr) -> bool {
    matches!(Who::of(addr), Some(Who::Host | Who::Gateway(_)))
}
