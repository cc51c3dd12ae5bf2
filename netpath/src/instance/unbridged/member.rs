//! Planning who is in a network without a bridge: namespace, interface, addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::{
    AddressError, Error, PlaceError,
    plan::{Planner, Step},
};
use crate::{
    config::{self, Driver, Pool, check_endpoint_addr, check_publish},
    net::{hex_id, namespace::Namespace, random_mac},
    state::{Lan, Member, Origin, Port, Unbridged},
};

impl Planner<'_> {
    /// Plans one more endpoint of a network without a bridge.
    pub(in super::super) fn join(
        &mut self,
        network: &str,
        wanted: &config::Endpoint,
        origin: Origin,
    ) -> Result<(), Error> {
        let member = self.new_member(network, wanted, origin)?;
        let step = Step::Join(network.to_owned(), Box::new(member.clone()));
        self.plan.steps.push(step);
        if let Some(n) = self.next.unbridged_mut(network) {
            n.members.push(member);
        }
        Ok(())
    }

    /// Checks an endpoint and makes its open choices.
    fn new_member(
        &self,
        network: &str,
        wanted: &config::Endpoint,
        origin: Origin,
    ) -> Result<Member, Error> {
        let n = self.next.unbridged(network);
        let n = n.ok_or_else(|| Error::no_network(network, self.next.network_names()))?;
        if let Some(network) = self.next.network_of(&wanted.name) {
            return Err(Error::EndpointExists {
                name: wanted.name.clone(),
                network: network.to_owned(),
            });
        }
        check_publish(&wanted.name, n.driver, wanted.publish.first())?;
        let wrong = |source| Error::Container {
            endpoint: wanted.name.clone(),
            source,
        };
        let netns = Namespace::open(&wanted.netns).map_err(wrong)?;
        if let Some(m) = n.members.iter().find(|m| m.netns_ino == netns.ino())
            && n.driver != Driver::Host
        {
            return Err(PlaceError::AlreadyConnected {
                endpoint: wanted.name.clone(),
                other: m.name.clone(),
                network: n.name.clone(),
            }
            .into());
        }
        let own = netns.ino() == self.facts.own_netns;
        match n.driver {
            Driver::Host if own => {}
            Driver::Host => {
                return Err(PlaceError::NotHost {
                    endpoint: wanted.name.clone(),
                    netns: wanted.netns.to_string(),
                }
                .into());
            }
            _ if own => {
                return Err(Error::OwnNamespace {
                    endpoint: wanted.name.clone(),
                    netns: wanted.netns.to_string(),
                });
            }
            _ => {}
        }
        let port = match &n.lan {
            None => {
                no_addresses(wanted, n)?;
                None
            }
            Some(lan) => Some(Port {
                ifname: self.inside_name(&netns, wanted)?,
                ifindex: 0,
                gw_priority: wanted.gw_priority,
                mac: self.member_mac(wanted, n)?,
                addr: addr4(n, lan, wanted)?,
                addr6: addr6(n, lan, wanted)?,
            }),
        };
        Ok(Member {
            id: hex_id()?,
            name: wanted.name.clone(),
            origin,
            unfinished: false,
            netns: wanted.netns.clone(),
            netns_ino: netns.ino(),
            port,
        })
    }

    fn member_mac(
        &self,
        wanted: &config::Endpoint,
        n: &Unbridged,
    ) -> Result<Option<config::Mac>, Error> {
        match n.driver {
            Driver::Ipvlan(_) => match wanted.mac {
                None => Ok(None),
                Some(mac) => Err(refused(
                    wanted,
                    "mac",
                    &mac.to_string(),
                    "an ipvlan interface has its parent's MAC address; leave it out".into(),
                )),
            },
            _ => Ok(Some(wanted.mac.map_or_else(random_mac, Ok)?)),
        }
    }
}

pub(super) fn same_member(wanted: &config::Endpoint, m: &Member) -> bool {
    let port = m.port.as_ref().is_none_or(|port| {
        wanted.addr.is_none_or(|a| a == port.addr)
            && wanted.addr6.is_none_or(|a| Some(a) == port.addr6)
            && wanted.mac.is_none_or(|mac| Some(mac) == port.mac)
            && wanted
                .ifname
                .as_ref()
                .is_none_or(|name| *name == port.ifname)
    });
    wanted.netns == m.netns && port
}

fn refused(wanted: &config::Endpoint, key: &'static str, value: &str, reason: String) -> Error {
    config::Error::Invalid {
        object: format!("endpoint `{}`", wanted.name),
        key,
        value: value.to_owned(),
        reason,
    }
    .into()
}

/// Refuses addresses where there is no interface to have them.
fn no_addresses(wanted: &config::Endpoint, n: &Unbridged) -> Result<(), Error> {
    let own = [
        ("ip", wanted.addr.map(|a| a.to_string())),
        ("ip6", wanted.addr6.map(|a| a.to_string())),
        ("mac", wanted.mac.map(|a| a.to_string())),
        ("ifname", wanted.ifname.clone()),
    ];
    match own.into_iter().find_map(|(k, v)| Some((k, v?))) {
        None => Ok(()),
        Some((key, value)) => {
            let reason = format!(
                "network `{}` (driver {}) gives containers no interface; leave it out",
                n.name,
                n.driver.as_str()
            );
            Err(refused(wanted, key, &value, reason))
        }
    }
}

/// The address asked for, or the lowest that is free.
fn addr4(n: &Unbridged, lan: &Lan, wanted: &config::Endpoint) -> Result<Ipv4Addr, Error> {
    match address(n, &lan.pool(), wanted, wanted.addr.map(IpAddr::V4))? {
        IpAddr::V4(addr) => Ok(addr),
        IpAddr::V6(_) => Err(AddressError::none_left(&n.name, &lan.pool(), &n.taken()).into()),
    }
}

fn addr6(n: &Unbridged, lan: &Lan, wanted: &config::Endpoint) -> Result<Option<Ipv6Addr>, Error> {
    let Some(pool) = lan.pool6() else {
        return match wanted.addr6 {
            None => Ok(None),
            Some(addr) => {
                let reason = format!("network `{}` has no IPv6; leave it out", n.name);
                Err(refused(wanted, "ip6", &addr.to_string(), reason))
            }
        };
    };
    match address(n, &pool, wanted, wanted.addr6.map(IpAddr::V6))? {
        IpAddr::V6(addr) => Ok(Some(addr)),
        IpAddr::V4(_) => Ok(None),
    }
}

fn address(
    n: &Unbridged,
    pool: &Pool<'_>,
    wanted: &config::Endpoint,
    asked: Option<IpAddr>,
) -> Result<IpAddr, Error> {
    let taken = n.taken();
    let Some(addr) = asked else {
        let free = pool.lowest_free(&taken);
        return free.ok_or_else(|| AddressError::none_left(&n.name, pool, &taken).into());
    };
    check_endpoint_addr(&wanted.name, addr, &n.name, pool)?;
    match n.holder(addr) {
        None => Ok(addr),
        Some(m) => Err(config::Error::AddressTaken {
            name: wanted.name.clone(),
            addr,
            other: m.name.clone(),
        }
        .into()),
    }
}
