//! The IPv6 half of networks and endpoints: what is chosen in planning, and the bridge's part on the
//! host.
//!
//! Owns what only IPv6 has. Forwarding is [`super::forwarding`]'s.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;

use super::{AddressError, Error, plan::Planner, work::Work};
use crate::{
    config::{self, IPV6_MTU_MIN, check_endpoint_addr},
    net::{link_local, random_subnet6, sysctl},
    state::{Ipv6, Network},
};

impl Planner<'_> {
    /// The network with its IPv6 subnet chosen where only a size was asked for: the one that it has,
    /// else a random one (RFC 4193).
    pub(super) fn settle6(&self, wanted: &mut config::Network) -> Result<(), Error> {
        let Some(size) = wanted.ipv6_size.take() else {
            return Ok(());
        };
        let found = self.before.network(&wanted.name).and_then(|n| n.ipv6);
        let lan = self.before.unbridged(&wanted.name);
        let lan = lan.and_then(|n| n.lan.as_ref()?.ipv6);
        let found = found.or(lan).map(|v6| v6.subnet);
        wanted.ipv6 = match found.filter(|net| net.prefix_len() == size) {
            Some(net) => Some(net),
            None => Some(random_subnet6(size)?),
        };
        Ok(())
    }

    /// The IPv6 half of a new network.
    pub(super) fn ipv6(&self, wanted: &config::Network) -> Result<Option<Ipv6>, Error> {
        let Some((subnet, gateway)) = wanted.ipv6.zip(wanted.ipv6_gateway()) else {
            return Ok(None);
        };
        let routed = |route: Ipv6Net, ifname: &str| AddressError::SubnetRouted {
            network: wanted.name.clone(),
            subnet: subnet.into(),
            route: route.into(),
            ifname: ifname.to_owned(),
        };
        let meets =
            |net: &Ipv6Net| net.contains(&subnet.network()) || subnet.contains(&net.network());
        for (route, index) in &self.facts.on_link6 {
            if meets(route) && !self.is_own(wanted, *index) {
                let by = self.facts.link_by_index(*index);
                return Err(routed(*route, by.map_or("?", |l| l.name.as_str())).into());
            }
        }
        if let Some((other, by)) = self.network_with_ipv6(subnet) {
            return Err(routed(other, &by).into());
        }
        Ok(Some(Ipv6 {
            subnet,
            gateway,
            snat: wanted.snat6,
        }))
    }

    /// The subnet of a network that shares an address with `subnet`, and what has it.
    pub(super) fn network_with_ipv6(&self, subnet: Ipv6Net) -> Option<(Ipv6Net, String)> {
        let bridged = self.next.networks.iter();
        let bridged = bridged.filter_map(|n| Some((n.ipv6?.subnet, n.bridge.clone())));
        let lans = self.next.unbridged.iter().filter_map(|n| n.lan.as_ref());
        let lans = lans.filter_map(|lan| Some((lan.ipv6?.subnet, lan.parent.clone())));
        let meets =
            |net: &Ipv6Net| net.contains(&subnet.network()) || subnet.contains(&net.network());
        bridged.chain(lans).find(|(net, _)| meets(net))
    }

    /// Checks that a network with IPv6 has devices that can have it.
    pub(super) fn check_ipv6_mtu(&self, wanted: &config::Network, mtu: u32) -> Result<(), Error> {
        if wanted.ipv6.is_none() || mtu >= IPV6_MTU_MIN {
            return Ok(());
        }
        Err(Error::Ipv6Mtu {
            network: wanted.name.clone(),
            found: mtu,
            least: IPV6_MTU_MIN,
        })
    }
}

/// The IPv6 address asked for, or the lowest that is free, as Docker's; `None` in a network of IPv4
/// alone.
pub(super) fn address6(n: &Network, wanted: &config::Endpoint) -> Result<Option<Ipv6Addr>, Error> {
    let Some(pool) = n.pool6() else {
        return match wanted.addr6 {
            None => Ok(None),
            Some(addr) => Err(config::Error::Invalid {
                object: format!("endpoint `{}`", wanted.name),
                key: "ip6",
                value: addr.to_string(),
                reason: format!("network `{}` has no IPv6; leave it out", n.name),
            }
            .into()),
        };
    };
    if let Some(addr) = wanted.addr6 {
        let mut present = n.endpoints.iter().filter(|e| e.is_present());
        let holder = present.find(|e| e.addr6 == Some(addr));
        check_endpoint_addr(&wanted.name, addr.into(), &n.name, &pool)?;
        return match holder {
            None => Ok(Some(addr)),
            Some(e) => Err(config::Error::AddressTaken {
                name: wanted.name.clone(),
                addr: addr.into(),
                other: e.name.clone(),
            }
            .into()),
        };
    }
    // Those of endpoints that are gone come last, as with IPv4.
    let present = || {
        let present = n.endpoints.iter().filter(|e| e.is_present());
        present.filter_map(|e| e.addr6.map(IpAddr::V6)).collect()
    };
    let taken = n.taken6();
    let found = pool.lowest_free(&taken);
    match found.or_else(|| pool.lowest_free(&present())) {
        Some(IpAddr::V6(addr)) => Ok(Some(addr)),
        _ => Err(AddressError::none_left(&n.name, &pool, &taken).into()),
    }
}

impl Work<'_> {
    /// Turns IPv6 on or off on the bridge of a network, off in an isolated one. With it, the bridge is a router: it takes
    /// neither addresses nor routes from router advertisements.
    pub(super) fn put_bridge_ipv6(&mut self, n: &Network) -> Result<(), Error> {
        let (off, network) = (sysctl::disable_ipv6(&n.bridge), Some(n.name.as_str()));
        if n.ipv6.is_none() || n.isolated {
            return self.set_sysctl(&off, "1", network);
        }
        for setting in ["accept_ra", "autoconf"] {
            self.set_sysctl(&sysctl::ipv6(&n.bridge, setting), "0", network)?;
        }
        self.set_sysctl(&off, "0", network)
    }

    /// Gives the bridge of a network its IPv6 addresses. The link-local one is that which the kernel
    /// makes by itself, but it can be used at once: the kernel makes it when the bridge has a port,
    /// and asks for a second whether anybody has it.
    pub(super) async fn put_bridge_addresses6(&self, n: &Network) -> Result<(), Error> {
        let Some(ipv6) = n.ipv6 else {
            return Ok(());
        };
        let netlink = &self.instance.netlink;
        netlink.add_address6(n.ifindex, link_local(n.mac)).await?;
        netlink.add_address6(n.ifindex, gateway_net(&ipv6)).await?;
        Ok(())
    }

    /// Takes the IPv6 addresses from an adopted bridge that it did not have before.
    pub(super) async fn remove_bridge_addresses6(&self, n: &Network) -> Result<(), Error> {
        let (Some(ipv6), Some(found)) = (n.ipv6, &n.found) else {
            return Ok(());
        };
        for addr in [gateway_net(&ipv6), link_local(n.mac)] {
            if !found.addresses6.contains(&addr) {
                let netlink = &self.instance.netlink;
                netlink.remove_address6(n.ifindex, addr).await?;
            }
        }
        Ok(())
    }

    /// Gives an adopted bridge back what IPv6 addresses it had, once its settings are its own again:
    /// the kernel takes them all where IPv6 is turned off or the bridge is set down.
    pub(super) async fn restore_addresses6(&self, n: &Network) -> Result<(), Error> {
        let netlink = &self.instance.netlink;
        let (Some(found), Some(_)) = (&n.found, netlink.link_by_index(n.ifindex).await?) else {
            return Ok(());
        };
        for addr in &found.addresses6 {
            netlink.add_address6(n.ifindex, *addr).await?;
        }
        Ok(())
    }
}

/// The gateway with the prefix length of its subnet.
pub(super) fn gateway_net(ipv6: &Ipv6) -> Ipv6Net {
    // The subnet's own prefix length is one.
    Ipv6Net::new(ipv6.gateway, ipv6.subnet.prefix_len()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::NetnsRef, state::testing::network};

    fn chosen(n: &Network, addr6: Option<&str>) -> Result<Option<Ipv6Addr>, String> {
        let wanted = config::Endpoint {
            name: "w".into(),
            netns: NetnsRef::try_from("x".to_owned()).unwrap(),
            addr: None,
            addr6: addr6.map(|a| a.parse().unwrap()),
            mac: None,
            rates: config::Rates::default(),
            ifname: None,
            gw_priority: 0,
            publish: Vec::new(),
        };
        address6(n, &wanted).map_err(|e| e.to_string())
    }

    #[test]
    fn the_lowest_free_address_is_chosen() {
        let ip = |s: &str| Ok(Some(s.parse().unwrap()));
        assert_eq!(
            chosen(&network(Some("fd00:17::/64"), &[]), None),
            ip("fd00:17::2")
        );
        let n = network(Some("fd00:17::/64"), &["fd00:17::2", "fd00:17::4"]);
        assert_eq!(chosen(&n, None), ip("fd00:17::3"));
        assert_eq!(chosen(&n, Some("fd00:17::9")), ip("fd00:17::9"));
        let e = chosen(&n, Some("fd00:17::4")).unwrap_err();
        assert!(e.contains("belongs to endpoint `e`"), "{e}");
        let e = chosen(&n, Some("fd00:17::1")).unwrap_err();
        assert!(e.contains("is the gateway"), "{e}");
        let full = network(Some("fd00:17::/126"), &["fd00:17::2", "fd00:17::3"]);
        let e = chosen(&full, None).unwrap_err();
        assert!(e.contains("every address of fd00:17::/126 is taken"), "{e}");
    }

    #[test]
    fn without_ipv6_there_is_no_address() {
        let n = network(None, &[]);
        assert_eq!(chosen(&n, None), Ok(None));
        let e = chosen(&n, Some("fd00:17::2")).unwrap_err();
        assert!(e.contains("network `n` has no IPv6"), "{e}");
    }
}
