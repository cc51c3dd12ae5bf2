//! The address families, and the addresses of every site in each.
//!
//! Owns what a rule, a route or a socket says of an address; `variant` has IPv4's as constants for the
//! measures that know no other.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
};

use crate::variant::{CONTAINER, GATEWAY, HOST, OUTSIDE, OUTSIDE_LAST, SUBNET};

/// What the packets of a site are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6: the same measures, with this behind their names.
    V6,
}

/// The network of outside host and router.
const UPLINK6: [u16; 7] = [0x2001, 0xdb8, 0x51, 0, 0, 0, 0];
/// The bridge's network.
const BRIDGE6: [u16; 7] = [0xfd00, 0x17, 0, 0, 0, 0, 0];

const fn address6([a, b, c, d, e, f, g]: [u16; 7], last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, last))
}

impl Family {
    /// Behind the name of a measure.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::V4 => "",
            Self::V6 => "6",
        }
    }

    /// The outside host: its first address.
    pub(crate) const fn outside(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(OUTSIDE),
            Self::V6 => address6(UPLINK6, 2),
        }
    }

    /// All that the outside host has.
    pub(crate) fn outside_all(self) -> Vec<IpAddr> {
        match self {
            Self::V4 => (u32::from(OUTSIDE)..=u32::from(OUTSIDE_LAST))
                .map(|address| Ipv4Addr::from(address).into())
                .collect(),
            Self::V6 => (2..=9).map(|last| address6(UPLINK6, last)).collect(),
        }
    }

    /// From its first to its last.
    pub(crate) fn outside_range(self) -> RangeInclusive<IpAddr> {
        let all = self.outside_all();
        self.outside()..=all.last().copied().unwrap_or(self.outside())
    }

    /// The router on its uplink.
    pub(crate) const fn host(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(HOST),
            Self::V6 => address6(UPLINK6, 1),
        }
    }

    /// The router on the bridge.
    pub(crate) const fn gateway(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(GATEWAY),
            Self::V6 => address6(BRIDGE6, 1),
        }
    }

    /// The container.
    pub(crate) const fn container(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(CONTAINER),
            Self::V6 => address6(BRIDGE6, 2),
        }
    }

    /// Any address.
    pub(crate) const fn any(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }

    /// The bridge's network.
    pub(crate) const fn subnet(self) -> &'static str {
        match self {
            Self::V4 => SUBNET,
            Self::V6 => "fd00:17::/64",
        }
    }

    /// Length of the bridge's prefix, and of the uplink's.
    pub(crate) const fn prefixes(self) -> (u8, u8) {
        match self {
            Self::V4 => (16, 24),
            Self::V6 => (64, 64),
        }
    }

    /// What every host reaches itself by.
    pub(crate) const fn loopback(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.0/8",
            Self::V6 => "::1/128",
        }
    }

    /// A prefix of one address.
    pub(crate) fn alone(self, address: IpAddr) -> String {
        let bits = match self {
            Self::V4 => 32,
            Self::V6 => 128,
        };
        format!("{address}/{bits}")
    }

    /// Payload of a full segment at an MTU of 1500: 20 or 40 bytes of IP, 20 of TCP, 12 of timestamps.
    pub(crate) const fn segment(self) -> usize {
        match self {
            Self::V4 => 1448,
            Self::V6 => 1428,
        }
    }

    /// Of this address.
    pub(crate) const fn of(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::V4,
            SocketAddr::V6(_) => Self::V6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outside_host_has_as_many_addresses_of_either() {
        for family in [Family::V4, Family::V6] {
            let all = family.outside_all();
            assert_eq!(all.len(), 8);
            assert!(all.iter().all(|it| family.outside_range().contains(it)));
            assert!(!family.outside_range().contains(&family.host()));
        }
    }
}
