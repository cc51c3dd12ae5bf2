//! The rules between the parts of a configuration: what may not overlap or appear twice. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{
    Claim, Claims, Driver, Endpoint, Error, HostBinding, Mode, Network, Pool, Taker, Unbridged,
    ipam,
};

pub(super) fn unique<'a>(
    kind: &'static str,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), Error> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Error::Duplicate {
                kind,
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}

/// Networks without a bridge: one of a parent, one of the host, one of nothing.
pub(super) fn unbridged(networks: &[Unbridged]) -> Result<(), Error> {
    for (i, n) in networks.iter().enumerate() {
        for other in &networks[..i] {
            let (network, other_name) = (n.common.name.clone(), other.common.name.clone());
            if let Some(parent) = n.parent.clone().filter(|_| n.parent == other.parent) {
                return Err(Error::ParentTaken {
                    network,
                    parent,
                    other: other_name,
                });
            }
            if n.driver == other.driver && matches!(n.driver, Driver::Host | Driver::None) {
                return Err(Error::OnlyOne {
                    network,
                    driver: n.driver.as_str(),
                    other: other_name,
                });
            }
        }
    }
    Ok(())
}

pub(super) fn subnets(networks: &[&Network]) -> Result<(), Error> {
    for (i, n) in networks.iter().enumerate() {
        for subnet in subnets_of(n) {
            for other in &networks[..i] {
                if let Some(other_subnet) = subnets_of(other).find(|o| share_address(o, &subnet)) {
                    return Err(Error::Overlap {
                        network: n.name.clone(),
                        subnet,
                        other: other.name.clone(),
                        other_subnet,
                    });
                }
            }
        }
    }
    Ok(())
}

/// The subnets of both families.
fn subnets_of(n: &Network) -> impl Iterator<Item = IpNet> {
    let subnets = [n.subnet.map(IpNet::V4), n.ipv6.map(IpNet::V6)];
    subnets.into_iter().flatten()
}

fn share_address(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

pub(super) fn addresses(n: &Network) -> Result<(), Error> {
    let mut taken = BTreeMap::new();
    let mut macs = BTreeMap::new();
    let pool = |subnet, gateway| Pool {
        subnet,
        gateway,
        ipam: &n.ipam,
    };
    let v4 = n.subnet.map(|s| pool(s.into(), n.gateway_in(s).into()));
    let v6 = n.ipv6.zip(n.ipv6_gateway());
    let v6 = v6.map(|(s, g)| pool(s.into(), g.into()));
    for pool in [v4, v6].into_iter().flatten() {
        let object = format!("gateway of network `{}`", n.name);
        inside(&object, pool.gateway, &n.name, pool.subnet)?;
        let aux = n.ipam.aux.iter().find(|(_, a)| **a == pool.gateway);
        if let Some((name, addr)) = aux {
            return Err(Error::ReservedAddress {
                object: format!("auxiliary address `{name}`"),
                addr: *addr,
                what: "gateway",
                network: n.name.clone(),
            });
        }
    }
    for e in &n.endpoints {
        let own = [(e.addr.map(IpAddr::V4), v4), (e.addr6.map(IpAddr::V6), v6)];
        for (addr, ground) in own {
            let Some(addr) = addr else { continue };
            if let Some(other) = taken.insert(addr, &e.name) {
                return Err(Error::AddressTaken {
                    name: e.name.clone(),
                    addr,
                    other: other.clone(),
                });
            }
            if let Some(pool) = ground {
                check_endpoint_addr(&e.name, addr, &n.name, &pool)?;
            }
        }
        if let Some(other) = e.mac.and_then(|m| macs.insert(m.0, &e.name)) {
            return Err(Error::Invalid {
                object: format!("endpoint `{}`", e.name),
                key: "mac",
                value: e.mac.map(|m| m.to_string()).unwrap_or_default(),
                reason: format!("endpoint `{other}` has it already; choose another"),
            });
        }
    }
    Ok(())
}

/// Checks that endpoint `name` may have `addr` in a network.
///
/// # Errors
/// The address is outside the subnet, or nobody may have it: see [`Pool::reserved`]. It may lie outside
/// the range that addresses are chosen from.
pub fn check_endpoint_addr(
    name: &str,
    addr: IpAddr,
    network: &str,
    pool: &Pool<'_>,
) -> Result<(), Error> {
    let object = format!("endpoint `{name}`");
    inside(&object, addr, network, pool.subnet)?;
    let Some(what) = pool.reserved(addr) else {
        return Ok(());
    };
    Err(Error::ReservedAddress {
        object,
        addr,
        what,
        network: network.into(),
    })
}

fn inside(object: &str, addr: IpAddr, network: &str, subnet: IpNet) -> Result<(), Error> {
    let (object, network) = (object.to_owned(), network.to_owned());
    if !subnet.contains(&addr) {
        return Err(Error::OutsideSubnet {
            object,
            addr,
            network,
            subnet,
        });
    }
    let Some(what) = ipam::own(subnet, addr) else {
        return Ok(());
    };
    Err(Error::ReservedAddress {
        object,
        addr,
        what,
        network,
    })
}

/// Host ports that are fixed by the text alone; open ones are chosen later around these, and what both
/// families share is looked at when it is known which a container has.
pub(super) fn ports<'a>(
    endpoints: impl Iterator<Item = (&'a Network, &'a Endpoint)>,
) -> Result<(), Error> {
    let mut taken = Claims::default();
    // A routed network takes no port of the host.
    for (n, e) in endpoints.filter(|(n, _)| n.mode == Mode::Nat) {
        for spec in &e.publish {
            let Some(ports) = spec.host.filter(|h| h.width() == spec.width()) else {
                continue;
            };
            let at = spec.host_ip.map_or(n.host_binding, HostBinding::one);
            for addr in at.addrs() {
                let claim = Claim {
                    proto: spec.proto,
                    ports,
                    addr,
                    by: Taker::Rule {
                        balance: spec.balance,
                    },
                    holder: e.name.as_str(),
                };
                if let Some(other) = taken.in_the_way_of(claim.clone()).next() {
                    return Err(Error::PortTaken {
                        endpoint: e.name.clone(),
                        addr: claim.addr,
                        port: ports.first().max(other.ports.first()),
                        proto: spec.proto,
                        holder: format!("endpoint `{}`", other.holder),
                    });
                }
                taken.add(claim);
            }
        }
    }
    Ok(())
}
