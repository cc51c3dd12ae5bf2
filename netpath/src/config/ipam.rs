//! Address management: which addresses of a network its endpoints get by themselves, which they may
//! ask for, and which nobody gets. Pure.
//!
//! Owns what the file says about it and the choice of an address. Which subnet a network gets is
//! [`super::pools`]'s.

use std::{
    collections::{BTreeMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::{Error, check_name, raw};

/// Prefix lengths that an IPv4 subnet may have.
const PREFIX: std::ops::RangeInclusive<u8> = 8..=32;
/// From this prefix length on a subnet has neither an address of its own nor a broadcast address
/// (RFC 3021).
const POINT_TO_POINT: u8 = 31;
/// Names by which Docker gives the containers another gateway.
const GATEWAY_NAMES: [&str; 2] = ["DefaultGatewayIPv4", "DefaultGatewayIPv6"];

/// What a network says about the addresses of its endpoints.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ipam {
    /// Where endpoints that ask for no address get theirs; `None` for all of the subnet.
    #[serde(default)]
    pub range: Option<Ipv4Net>,
    /// The same of IPv6.
    #[serde(default)]
    pub range6: Option<Ipv6Net>,
    /// Addresses that something else on the bridge has, by its name: no endpoint gets them.
    #[serde(default)]
    pub aux: BTreeMap<String, IpAddr>,
}

/// The addresses of one family of a network.
#[derive(Clone, Copy, Debug)]
pub struct Pool<'a> {
    /// Subnet.
    pub subnet: IpNet,
    /// The bridge's address.
    pub gateway: IpAddr,
    /// What the network says about the others.
    pub ipam: &'a Ipam,
}

/// How full a [`Pool`] is, as Docker counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Addresses that are taken or reserved.
    pub in_use: u64,
    /// Addresses left for endpoints that ask for none.
    pub available: u64,
}

/// An IPv4 subnet as it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Subnet {
    /// This one.
    Fixed(Ipv4Net),
    /// One with a prefix of this length, out of the pools.
    Size(u8),
}

impl<'a> Pool<'a> {
    /// That of an IPv4 subnet.
    #[must_use]
    pub const fn v4(subnet: Ipv4Net, gateway: Ipv4Addr, ipam: &'a Ipam) -> Self {
        Self {
            subnet: IpNet::V4(subnet),
            gateway: IpAddr::V4(gateway),
            ipam,
        }
    }

    /// Where endpoints that ask for no address get theirs.
    #[must_use]
    pub fn dynamic(&self) -> IpNet {
        let range = match self.subnet {
            IpNet::V4(_) => self.ipam.range.map(IpNet::V4),
            IpNet::V6(_) => self.ipam.range6.map(IpNet::V6),
        };
        range.unwrap_or(self.subnet)
    }

    /// Why no endpoint may have an address of the subnet; `None` for one that an endpoint may have.
    #[must_use]
    pub fn reserved(&self, addr: IpAddr) -> Option<&'static str> {
        if addr == self.gateway {
            return Some("gateway");
        }
        own(self.subnet, addr).or_else(|| {
            let aux = self.ipam.aux.values().any(|a| *a == addr);
            aux.then_some("auxiliary address of something else")
        })
    }

    /// The lowest address that nobody has: Docker's rule.
    #[must_use]
    pub fn lowest_free(&self, taken: &HashSet<IpAddr>) -> Option<IpAddr> {
        let free = |a: &IpAddr| !taken.contains(a) && self.reserved(*a).is_none();
        addresses(self.dynamic()).find(free)
    }

    /// How full it is with these addresses of endpoints.
    #[must_use]
    pub fn usage(&self, taken: &HashSet<IpAddr>) -> Usage {
        let ends = [self.subnet.network(), self.subnet.broadcast()];
        let ends = ends.into_iter().filter(|a| own(self.subnet, *a).is_some());
        let aux = self.ipam.aux.values().copied();
        let all: HashSet<IpAddr> = ends
            .chain([self.gateway])
            .chain(aux)
            .chain(taken.iter().copied())
            .filter(|a| self.subnet.contains(a))
            .collect();
        let range = self.dynamic();
        let here = all.iter().filter(|a| range.contains(*a)).count() as u128;
        Usage {
            in_use: all.len() as u64,
            available: u64::try_from(size(range).saturating_sub(here)).unwrap_or(u64::MAX),
        }
    }
}

/// Why nothing at all may have an address of a subnet: by IPv6 its own is that of any of its routers
/// (RFC 4291, 2.6.1).
pub(super) fn own(subnet: IpNet, addr: IpAddr) -> Option<&'static str> {
    let ends = subnet.addr().is_ipv6() || subnet.prefix_len() < POINT_TO_POINT;
    match addr {
        a if ends && a == subnet.network() => Some("first address (the network's own)"),
        a if ends && a.is_ipv4() && a == subnet.broadcast() => Some("broadcast address"),
        _ => None,
    }
}

/// Every address of a prefix, from the lowest.
fn addresses(net: IpNet) -> Box<dyn Iterator<Item = IpAddr>> {
    match net {
        IpNet::V4(net) => {
            let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
            Box::new((first..=last).map(|a| Ipv4Addr::from(a).into()))
        }
        IpNet::V6(net) => {
            let (first, last) = (u128::from(net.network()), u128::from(net.broadcast()));
            Box::new((first..=last).map(|a| Ipv6Addr::from(a).into()))
        }
    }
}

fn size(net: IpNet) -> u128 {
    let bits = u32::from(net.max_prefix_len() - net.prefix_len());
    1u128.checked_shl(bits).unwrap_or(u128::MAX)
}

/// Reads an IPv4 subnet; 0.0.0.0 stands for any, of that size.
pub(super) fn subnet(text: &str) -> Result<Subnet, String> {
    let net: Ipv4Net = text
        .parse()
        .map_err(|_| "it must be an IPv4 subnet such as 172.17.0.0/16".to_owned())?;
    if net.trunc() != net {
        return Err(format!(
            "it has bits below its prefix; write {}",
            net.trunc()
        ));
    }
    if !PREFIX.contains(&net.prefix_len()) {
        return Err(format!(
            "the prefix length lies within {} and {}",
            PREFIX.start(),
            PREFIX.end()
        ));
    }
    let first = net.network();
    if first.is_unspecified() {
        return Ok(Subnet::Size(net.prefix_len()));
    }
    if first.is_loopback()
        || first.is_multicast()
        || first.octets()[0] == 0
        || first.octets()[0] >= 240
    {
        return Err("it must hold unicast addresses that a host can have".into());
    }
    Ok(Subnet::Fixed(net))
}

/// Checks what a network says about the addresses of its endpoints.
pub(super) fn ipam(
    raw: &raw::Network,
    subnet: Option<Ipv4Net>,
    subnet6: Option<Ipv6Net>,
) -> Result<Ipam, Error> {
    let invalid = |key: &'static str, value: &str, reason: String| Error::Invalid {
        object: format!("network `{}`", raw.name),
        key,
        value: format!("{value:?}"),
        reason,
    };
    let v4 = Family {
        key: "ip_range",
        subnet_key: "subnet",
        subnet: subnet.map(IpNet::V4),
    };
    let v6 = Family {
        key: "ip_range6",
        subnet_key: "ipv6",
        subnet: subnet6.map(IpNet::V6),
    };
    let range = |family: &Family, text: &Option<String>| {
        let text = text.as_deref();
        let read = text.map(|t| family.range(t).map_err(|r| invalid(family.key, t, r)));
        read.transpose()
    };
    let (range4, range6) = (range(&v4, &raw.ip_range)?, range(&v6, &raw.ip_range6)?);
    let mut aux = BTreeMap::new();
    for (name, text) in &raw.aux_addresses {
        let wrong = |reason| invalid("aux_addresses", &format!("{name}={text}"), reason);
        check_name(name).map_err(wrong)?;
        if GATEWAY_NAMES.contains(&name.as_str()) {
            let reason = "containers have the bridge for their gateway; leave it out, and set the \
                          route inside the container";
            return Err(wrong(reason.into()));
        }
        let addr: IpAddr = text
            .parse()
            .map_err(|_| wrong("it must be an IP address".into()))?;
        let family = if addr.is_ipv4() { &v4 } else { &v6 };
        family.aux(addr).map_err(wrong)?;
        if let Some((other, _)) = aux.iter().find(|(_, a)| **a == addr) {
            return Err(wrong(format!("`{other}` has that address already")));
        }
        aux.insert(name.clone(), addr);
    }
    Ok(Ipam {
        range: range4.and_then(|net| match net {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        }),
        range6: range6.and_then(|net| match net {
            IpNet::V6(net) => Some(net),
            IpNet::V4(_) => None,
        }),
        aux,
    })
}

/// What one family is called and has.
struct Family {
    key: &'static str,
    subnet_key: &'static str,
    subnet: Option<IpNet>,
}

impl Family {
    fn subnet(&self) -> Result<IpNet, String> {
        let key = self.subnet_key;
        self.subnet
            .ok_or_else(|| format!("it needs a fixed subnet to lie in; set {key}, or leave it out"))
    }

    fn range(&self, text: &str) -> Result<IpNet, String> {
        let subnet = self.subnet()?;
        let net: IpNet = text
            .parse()
            .map_err(|_| format!("it must be a prefix within {subnet}"))?;
        if net.trunc() != net {
            return Err(format!(
                "it has bits below its prefix; write {}",
                net.trunc()
            ));
        }
        if !subnet.contains(&net) {
            return Err(format!("it must lie within the subnet {subnet}"));
        }
        Ok(net)
    }

    fn aux(&self, addr: IpAddr) -> Result<(), String> {
        let subnet = self.subnet()?;
        if !subnet.contains(&addr) {
            return Err(format!("it must lie within the subnet {subnet}"));
        }
        match own(subnet, addr) {
            None => Ok(()),
            Some(what) => Err(format!("it is the {what} of {subnet}")),
        }
    }
}

#[cfg(test)]
#[path = "ipam_tests.rs"]
mod tests;
