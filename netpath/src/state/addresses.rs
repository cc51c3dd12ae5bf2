//! The addresses of a network that exists, and where it publishes ports.

use std::{collections::HashSet, net::IpAddr};

use ipnet::IpNet;

use super::Network;
use crate::config::{HostBinding, Pool};

impl Network {
    /// Where ports are published that name no address of the host.
    #[must_use]
    pub const fn binding(&self) -> HostBinding {
        HostBinding {
            addr: self.host_binding,
            addr6: self.host_binding6,
        }
    }

    /// The IPv4 addresses.
    #[must_use]
    pub const fn pool(&self) -> Pool<'_> {
        Pool {
            subnet: IpNet::V4(self.subnet),
            gateway: IpAddr::V4(self.gateway),
            ipam: &self.ipam,
        }
    }

    /// The IPv6 addresses; `None` in a network of IPv4 alone.
    #[must_use]
    pub fn pool6(&self) -> Option<Pool<'_>> {
        let v6 = self.ipv6?;
        Some(Pool {
            subnet: v6.subnet.into(),
            gateway: v6.gateway.into(),
            ipam: &self.ipam,
        })
    }

    /// What endpoints have of the IPv4 addresses.
    #[must_use]
    pub fn taken(&self) -> HashSet<IpAddr> {
        self.endpoints.iter().map(|e| e.addr.into()).collect()
    }

    /// What endpoints have of the IPv6 addresses.
    #[must_use]
    pub fn taken6(&self) -> HashSet<IpAddr> {
        let addrs = self.endpoints.iter().filter_map(|e| e.addr6);
        addrs.map(IpAddr::V6).collect()
    }
}
