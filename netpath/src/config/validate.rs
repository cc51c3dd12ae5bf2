//! The rules between the parts of a configuration. Pure: nothing here looks at the host.

use std::{collections::BTreeMap, net::Ipv4Addr, str::FromStr};

use ipnet::Ipv4Net;

use super::{
    Config, DEFAULT_BRIDGE, Endpoint, Error, Mac, Network, PortRange, PortSpec, Protocol, Uplinks,
    check_ifname, check_name, pools::overlaps, raw, timeouts,
};

/// Smallest MTU of IPv4 (RFC 791).
const MTU_MIN: i64 = 68;
/// Largest MTU of a bridge.
const MTU_MAX: i64 = 65_535;

pub(super) fn validate(file: raw::File) -> Result<Config, Error> {
    let config = Config {
        conntrack: timeouts::conntrack(&file.limits)?,
        timeouts: timeouts::timeouts(&file.timeouts)?,
        networks: file
            .network
            .into_iter()
            .map(network)
            .collect::<Result<_, _>>()?,
    };
    unique("network", config.networks.iter().map(|n| n.name.as_str()))?;
    unique("bridge", config.networks.iter().map(|n| n.bridge.as_str()))?;
    let endpoints = || {
        config
            .networks
            .iter()
            .flat_map(|n| n.endpoints.iter().map(move |e| (n, e)))
    };
    unique("endpoint", endpoints().map(|(_, e)| e.name.as_str()))?;
    subnets(&config.networks)?;
    for n in &config.networks {
        addresses(n)?;
    }
    ports(endpoints())?;
    Ok(config)
}

fn network(raw: raw::Network) -> Result<Network, Error> {
    let object = format!("network `{}`", raw.name);
    let invalid = |key: &'static str, value: &str, reason: String| Error::Invalid {
        object: object.clone(),
        key,
        value: format!("{value:?}"),
        reason,
    };
    check_name(&raw.name).map_err(|reason| invalid("name", &raw.name, reason))?;
    refuse_unsupported(&raw)?;
    let bridge = raw.bridge.unwrap_or_else(|| DEFAULT_BRIDGE.into());
    check_ifname(&bridge).map_err(|reason| invalid("bridge", &bridge, reason))?;
    let addr = |key, text: Option<&String>| {
        text.map(|t| {
            Ipv4Addr::from_str(t).map_err(|_| invalid(key, t, "it must be an IPv4 address".into()))
        })
        .transpose()
    };
    let subnet = raw
        .subnet
        .as_deref()
        .map(|t| subnet(t).map_err(|r| invalid("subnet", t, r)))
        .transpose()?;
    let gateway = addr("gateway", raw.gateway.as_ref())?;
    if let (Some(g), None) = (gateway, subnet) {
        return Err(invalid(
            "gateway",
            &g.to_string(),
            "a gateway needs a subnet; give both or neither".into(),
        ));
    }
    let snat = addr("snat", raw.snat.as_ref())?;
    if let Some(s) = snat
        && (s.is_unspecified() || s.is_loopback() || s.is_multicast() || s.is_broadcast())
    {
        return Err(invalid(
            "snat",
            &s.to_string(),
            "it must be a unicast address of the outside".into(),
        ));
    }
    let mtu = raw.mtu.map(|m| {
        u32::try_from(m)
            .ok()
            .filter(|_| (MTU_MIN..=MTU_MAX).contains(&m))
            .ok_or_else(|| {
                invalid(
                    "mtu",
                    &m.to_string(),
                    format!("it lies within {MTU_MIN} and {MTU_MAX}"),
                )
            })
    });
    let uplinks = raw.uplinks.unwrap_or_else(|| vec!["auto".into()]);
    for name in &uplinks {
        check_ifname(name).map_err(|reason| invalid("uplinks", name, reason))?;
    }
    let uplinks = match uplinks.iter().any(|u| u == "auto") {
        true if uplinks.len() == 1 => Uplinks::Auto,
        true => {
            return Err(invalid(
                "uplinks",
                &uplinks.join(", "),
                "auto stands alone".into(),
            ));
        }
        false => Uplinks::Named(uplinks),
    };
    Ok(Network {
        bridge,
        subnet,
        gateway,
        mtu: mtu.transpose()?,
        icc: raw.icc.unwrap_or(true),
        masquerade: raw.masquerade.unwrap_or(true),
        snat,
        internal: raw.internal.unwrap_or(false),
        host_binding: addr("host_binding_ipv4", raw.host_binding_ipv4.as_ref())?
            .unwrap_or(Ipv4Addr::UNSPECIFIED),
        uplinks,
        endpoints: raw
            .endpoint
            .into_iter()
            .map(endpoint)
            .collect::<Result<_, _>>()?,
        name: raw.name,
    })
}

fn refuse_unsupported(raw: &raw::Network) -> Result<(), Error> {
    let unsupported = |key, value: &str, remedy| {
        Err(Error::Unsupported {
            network: raw.name.clone(),
            key,
            value: value.to_owned(),
            remedy,
        })
    };
    let words: [(&'static str, &Option<String>, &str, &[&str], &'static str); 5] = [
        (
            "driver",
            &raw.driver,
            "bridge",
            &["macvlan", "ipvlan", "host", "none", "null"],
            "use \"bridge\"",
        ),
        ("mode", &raw.mode, "nat", &["routed"], "use \"nat\""),
        (
            "mapping",
            &raw.mapping,
            "kernel",
            &["endpoint-independent"],
            "use \"kernel\"",
        ),
        (
            "firewall",
            &raw.firewall,
            "bypass",
            &["visible"],
            "use \"bypass\"",
        ),
        (
            "uplink_hook",
            &raw.uplink_hook,
            "auto",
            &["tc", "xdp"],
            "use \"auto\" or \"tc\"",
        ),
    ];
    for (key, value, default, others, remedy) in words {
        match value.as_deref() {
            None => {}
            Some(v) if v == default || (key == "uplink_hook" && v == "tc") => {}
            Some(v) if others.contains(&v) => return unsupported(key, &format!("{v:?}"), remedy),
            Some(v) => {
                return Err(Error::Invalid {
                    object: format!("network `{}`", raw.name),
                    key,
                    value: format!("{v:?}"),
                    reason: format!("the values are {default}, {}", others.join(", ")),
                });
            }
        }
    }
    if let Some(v) = raw
        .ipv6
        .as_deref()
        .or_else(|| raw.endpoint.iter().find_map(|e| e.ip6.as_deref()))
    {
        let key = if raw.ipv6.is_some() { "ipv6" } else { "ip6" };
        return unsupported(key, &format!("{v:?}"), "leave it out");
    }
    match raw.isolated {
        Some(true) => unsupported("isolated", "true", "leave it out"),
        Some(false) | None => Ok(()),
    }
}

fn subnet(text: &str) -> Result<Ipv4Net, String> {
    let net: Ipv4Net = text
        .parse()
        .map_err(|_| "it must be an IPv4 subnet such as 172.17.0.0/16".to_owned())?;
    if net.trunc() != net {
        return Err(format!(
            "it has bits below its prefix; write {}",
            net.trunc()
        ));
    }
    if net.prefix_len() < 8 || net.prefix_len() > 30 {
        return Err("the prefix length lies within 8 and 30".into());
    }
    let first = net.network();
    if first.is_loopback()
        || first.is_multicast()
        || first.is_unspecified()
        || first.octets()[0] >= 240
    {
        return Err("it must hold unicast addresses that a host can have".into());
    }
    Ok(net)
}

fn endpoint(raw: raw::Endpoint) -> Result<Endpoint, Error> {
    let object = || format!("endpoint `{}`", raw.name);
    let invalid = |key, value: &str, reason: String| Error::Invalid {
        object: object(),
        key,
        value: format!("{value:?}"),
        reason,
    };
    check_name(&raw.name).map_err(|r| invalid("name", &raw.name, r))?;
    let publish = raw.publish.iter().map(|text| {
        text.parse::<PortSpec>().map_err(|source| Error::Spec {
            endpoint: raw.name.clone(),
            spec: text.clone(),
            source,
        })
    });
    let publish = publish.collect::<Result<_, _>>()?;
    let addr = raw.ip.as_deref().map(|t| {
        t.parse::<Ipv4Addr>()
            .map_err(|_| invalid("ip", t, "it must be an IPv4 address".into()))
    });
    let mac = raw.mac.as_deref().map(|t| {
        t.parse::<Mac>()
            .map_err(|e| invalid("mac", t, e.to_string()))
    });
    Ok(Endpoint {
        netns: raw
            .netns
            .parse()
            .map_err(|r| invalid("netns", &raw.netns, r))?,
        addr: addr.transpose()?,
        mac: mac.transpose()?,
        publish,
        name: raw.name.clone(),
    })
}

fn unique<'a>(kind: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
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

fn subnets(networks: &[Network]) -> Result<(), Error> {
    for (i, n) in networks.iter().enumerate() {
        let Some(subnet) = n.subnet else { continue };
        for other in &networks[..i] {
            if let Some(other_subnet) = other.subnet.filter(|o| overlaps(*o, subnet)) {
                return Err(Error::Overlap {
                    network: n.name.clone(),
                    subnet,
                    other: other.name.clone(),
                    other_subnet,
                });
            }
        }
    }
    Ok(())
}

fn addresses(n: &Network) -> Result<(), Error> {
    let mut taken = BTreeMap::new();
    let mut macs = BTreeMap::new();
    if let (Some(subnet), Some(gateway)) = (n.subnet, n.gateway) {
        let object = format!("gateway of network `{}`", n.name);
        inside(&object, gateway, &n.name, subnet)?;
    }
    for e in &n.endpoints {
        if let Some(addr) = e.addr {
            if let Some(other) = taken.insert(addr, &e.name) {
                return Err(Error::AddressTaken {
                    name: e.name.clone(),
                    addr,
                    other: other.clone(),
                });
            }
            if let Some(subnet) = n.subnet {
                check_endpoint_addr(&e.name, addr, &n.name, subnet, n.gateway_in(subnet))?;
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
/// The address is outside the subnet, or it is the gateway, the network or the broadcast address.
pub fn check_endpoint_addr(
    name: &str,
    addr: Ipv4Addr,
    network: &str,
    subnet: Ipv4Net,
    gateway: Ipv4Addr,
) -> Result<(), Error> {
    let object = format!("endpoint `{name}`");
    inside(&object, addr, network, subnet)?;
    if addr == gateway {
        return Err(Error::ReservedAddress {
            object,
            addr,
            what: "gateway",
            network: network.into(),
        });
    }
    Ok(())
}

fn inside(object: &str, addr: Ipv4Addr, network: &str, subnet: Ipv4Net) -> Result<(), Error> {
    let (object, network) = (object.to_owned(), network.to_owned());
    if !subnet.contains(&addr) {
        return Err(Error::OutsideSubnet {
            object,
            addr,
            network,
            subnet,
        });
    }
    let what = match addr {
        a if a == subnet.network() => "first address (the network's own)",
        a if a == subnet.broadcast() => "broadcast address",
        _ => return Ok(()),
    };
    Err(Error::ReservedAddress {
        object,
        addr,
        what,
        network,
    })
}

/// Whether two bindings of one protocol meet: the port they meet on.
///
/// A wildcard address meets every address.
#[must_use]
pub fn bind_conflict(a: (Ipv4Addr, PortRange), b: (Ipv4Addr, PortRange)) -> Option<u16> {
    let same = a.0 == b.0 || a.0.is_unspecified() || b.0.is_unspecified();
    (same && a.1.overlaps(b.1)).then(|| a.1.first().max(b.1.first()))
}

/// Host ports that are fixed by the text alone; open ones are chosen later around these.
fn ports<'a>(endpoints: impl Iterator<Item = (&'a Network, &'a Endpoint)>) -> Result<(), Error> {
    let mut taken: Vec<(Protocol, Ipv4Addr, PortRange, String)> = Vec::new();
    for (n, e) in endpoints {
        for spec in &e.publish {
            let Some(host) = spec.host.filter(|h| h.width() == spec.width()) else {
                continue;
            };
            let addr = spec.host_ip.unwrap_or(n.host_binding);
            for (proto, other_addr, range, holder) in &taken {
                if *proto != spec.proto {
                    continue;
                }
                if let Some(port) = bind_conflict((addr, host), (*other_addr, *range)) {
                    return Err(Error::PortTaken {
                        endpoint: e.name.clone(),
                        addr,
                        port,
                        proto: spec.proto,
                        holder: holder.clone(),
                    });
                }
            }
            taken.push((spec.proto, addr, host, format!("endpoint `{}`", e.name)));
        }
    }
    Ok(())
}
