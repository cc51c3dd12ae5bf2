//! The addresses of a network that exists, and where it publishes ports.

use std::{collections::HashSet, net::IpAddr};

use super::{Network, Rule};
use crate::config::{HostBinding, Mode, Pool, PortSpec};

impl Network {
    /// Where ports are published that name no address of the host.
    #[must_use]
    pub const fn binding(&self) -> HostBinding {
        HostBinding {
            addr: self.host_binding,
            addr6: self.host_binding6,
        }
    }

    /// Whether `spec` asks for the ports of a rule of a container here, whoever may use them. In a routed
    /// network they are the container's own, of the family of the address that is named, if one is.
    #[must_use]
    pub fn asks_for(&self, spec: &PortSpec, rule: &Rule) -> bool {
        let family = |spec: &PortSpec| spec.host_ip.map(|ip| ip.is_ipv4());
        match self.mode {
            Mode::Nat => rule.is_for(spec, self.binding()),
            Mode::Routed => {
                rule.spec.container == spec.container
                    && rule.proto() == spec.proto
                    && family(&rule.spec) == family(spec)
            }
        }
    }

    /// The IPv4 addresses.
    #[must_use]
    pub const fn pool(&self) -> Pool<'_> {
        Pool::v4(self.subnet, self.gateway, &self.ipam)
    }

    /// The IPv6 addresses; `None` in a network of IPv4 alone.
    #[must_use]
    pub fn pool6(&self) -> Option<Pool<'_>> {
        Some(self.ipv6?.pool(&self.ipam))
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
