//! The IPv6 half of a network that exists.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::config::{Ipam, Pool};

/// What a network of both families has beside its IPv4 half.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ipv6 {
    /// Subnet.
    pub subnet: Ipv6Net,
    /// The bridge's address.
    pub gateway: Ipv6Addr,
    /// Fixed outside address.
    pub snat: Option<Ipv6Addr>,
}

impl Ipv6 {
    /// The addresses.
    #[must_use]
    pub fn pool<'a>(&self, ipam: &'a Ipam) -> Pool<'a> {
        Pool {
            subnet: self.subnet.into(),
            gateway: self.gateway.into(),
            ipam,
        }
    }
}
