//! Turns the file's form into the checked form, value by value. Pure: nothing here looks at the
//! host. The rules between values are in [`super::rules`].

use std::{net::Ipv4Addr, str::FromStr};

use super::{
    Config, DEFAULT_BRIDGE, Driver, Endpoint, Error, GSO_LEGACY_MAX_SIZE, GSO_MAX_SIZE, Mac,
    Network, PortSpec, UplinkHook, Uplinks,
    binding::host_binding,
    check_ifname, check_name,
    driver::driver,
    ipam::{Subnet, ipam, subnet},
    ipv6::{IPV6_MTU_MIN, ipv6},
    nat, options,
    rate::rates,
    raw, rules,
    rules::{addresses, ports, subnets, unique},
    timeouts,
    unbridged::unbridged,
};

/// Smallest MTU of IPv4 (RFC 791).
const MTU_MIN: i64 = 68;
/// Largest MTU of a bridge.
const MTU_MAX: i64 = 65_535;

pub(super) fn validate(file: raw::File) -> Result<Config, Error> {
    let (mut bridged, mut others) = (Vec::new(), Vec::new());
    for raw in file.network {
        match driver(&raw)? {
            Driver::Bridge => bridged.push(network(raw)?),
            other => others.push(unbridged(raw, other)?),
        }
    }
    let config = Config {
        conntrack: timeouts::conntrack(&file.limits)?,
        quotas: nat::quotas(&file.limits)?,
        timeouts: timeouts::timeouts(&file.timeouts)?,
        nat: nat::nat(&file.nat)?,
        networks: bridged,
        unbridged: others,
    };
    let others = || config.unbridged.iter().map(|n| &n.common);
    let all: Vec<&Network> = config.networks.iter().chain(others()).collect();
    unique("network", all.iter().map(|n| n.name.as_str()))?;
    unique("bridge", config.networks.iter().map(|n| n.bridge.as_str()))?;
    let endpoints = || {
        config
            .networks
            .iter()
            .flat_map(|n| n.endpoints.iter().map(move |e| (n, e)))
    };
    let names = all.iter().flat_map(|n| &n.endpoints);
    unique("endpoint", names.map(|e| e.name.as_str()))?;
    subnets(&all)?;
    rules::unbridged(&config.unbridged)?;
    for n in &config.networks {
        addresses(n)?;
    }
    ports(endpoints())?;
    Ok(config)
}

pub(super) fn network(raw: raw::Network) -> Result<Network, Error> {
    let object = format!("network `{}`", raw.name);
    let invalid = |key: &'static str, value: &str, reason: String| Error::Invalid {
        object: object.clone(),
        key,
        value: format!("{value:?}"),
        reason,
    };
    check_name(&raw.name).map_err(|reason| invalid("name", &raw.name, reason))?;
    let options = options::options(&raw)?;
    let v6 = ipv6(&raw)?;
    let bridge = raw.bridge.clone().unwrap_or_else(|| DEFAULT_BRIDGE.into());
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
    let (subnet, subnet_size) = match subnet {
        None => (None, None),
        Some(Subnet::Fixed(net)) => (Some(net), None),
        Some(Subnet::Size(size)) => (None, Some(size)),
    };
    let gateway = addr("gateway", raw.gateway.as_ref())?;
    if let (Some(g), None) = (gateway, subnet) {
        return Err(invalid(
            "gateway",
            &g.to_string(),
            "a gateway needs a subnet; give both or neither".into(),
        ));
    }
    let has_ipv6 = v6.subnet.is_some() || v6.size.is_some();
    let ipam = ipam(&raw, subnet, v6.subnet)?;
    let host_binding = host_binding(&raw, has_ipv6)?;
    if let Some((key, _)) = raw.labels.iter().find(|(k, _)| k.trim().is_empty()) {
        let reason = "a label has a name; the form is NAME = \"VALUE\"".into();
        return Err(invalid("labels", key, reason));
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
    let bytes = |key, value: Option<i64>, least: i64, most: i64| {
        let number = |n: i64| {
            let fits = (least..=most).contains(&n);
            u32::try_from(n).ok().filter(|_| fits).ok_or_else(|| {
                let reason = format!("it lies within {least} and {most}");
                invalid(key, &n.to_string(), reason)
            })
        };
        value.map(number).transpose()
    };
    let mtu = bytes("mtu", raw.mtu, MTU_MIN, MTU_MAX)?;
    let gso_max_size = bytes(
        "gso_max_size",
        raw.gso_max_size,
        // Less than devices have by themselves would only slow them down.
        i64::from(GSO_LEGACY_MAX_SIZE),
        i64::from(GSO_MAX_SIZE),
    )?;
    if let Some(small) = mtu.filter(|mtu| has_ipv6 && *mtu < IPV6_MTU_MIN) {
        let reason = format!("IPv6 needs {IPV6_MTU_MIN}; set that, or leave ipv6 out");
        return Err(invalid("mtu", &small.to_string(), reason));
    }
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
    let uplink_hook = match raw.uplink_hook.as_deref() {
        None | Some("auto") => UplinkHook::Auto,
        Some("tc") => UplinkHook::Tc,
        Some("xdp") => UplinkHook::Xdp,
        Some(other) => {
            let reason = "the values are auto, tc, xdp".into();
            return Err(invalid("uplink_hook", other, reason));
        }
    };
    let early_drop = raw.early_drop.unwrap_or(uplink_hook == UplinkHook::Xdp);
    if early_drop && uplink_hook == UplinkHook::Tc {
        let reason = "early drop is XDP's: set uplink_hook = \"auto\" or \"xdp\", or leave it out";
        return Err(invalid("early_drop", "true", reason.into()));
    }
    if !early_drop && uplink_hook == UplinkHook::Xdp {
        let reason = "dropping early is what XDP is for: set uplink_hook = \"tc\", or leave it out";
        return Err(invalid("early_drop", "false", reason.into()));
    }
    let bindings = match raw.mapping.as_deref() {
        None | Some("kernel") => false,
        Some("endpoint-independent") => true,
        Some(other) => {
            let reason = "the values are kernel, endpoint-independent".into();
            return Err(invalid("mapping", other, reason));
        }
    };
    let xdp_translate = raw.xdp_translate.unwrap_or(false);
    if xdp_translate && uplink_hook != UplinkHook::Xdp {
        let reason = "it needs uplink_hook = \"xdp\"; set that, or leave it out";
        return Err(invalid("xdp_translate", "true", reason.into()));
    }
    let ports_held = match raw.port_holder.as_deref() {
        None | Some("netpath") => false,
        Some("engine") => true,
        Some(other) => {
            let reason = "the values are netpath, engine".into();
            return Err(invalid("port_holder", other, reason));
        }
    };
    Ok(Network {
        bridge,
        subnet,
        subnet_size,
        gateway,
        ipam,
        labels: raw.labels,
        mtu,
        gso_max_size,
        icc: raw.icc.unwrap_or(true),
        masquerade: raw.masquerade.unwrap_or(true),
        no_masquerade: options.no_masquerade,
        bindings,
        snat,
        ipv6: v6.subnet,
        ipv6_size: v6.size,
        gateway6: v6.gateway,
        snat6: v6.snat,
        mode: v6.mode,
        internal: raw.internal.unwrap_or(false),
        isolated: options.isolated,
        firewall: options.firewall,
        host_binding,
        uplink_hook,
        early_drop,
        xdp_translate,
        ports_held,
        uplinks,
        endpoints: raw
            .endpoint
            .into_iter()
            .map(endpoint)
            .collect::<Result<_, _>>()?,
        name: raw.name,
    })
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
    let addr6 = raw.ip6.as_deref().map(|t| {
        t.parse()
            .map_err(|_| invalid("ip6", t, "it must be an IPv6 address".into()))
    });
    let mac = raw.mac.as_deref().map(|t| {
        t.parse::<Mac>()
            .map_err(|e| invalid("mac", t, e.to_string()))
    });
    if let Some(name) = &raw.ifname {
        check_ifname(name).map_err(|r| invalid("ifname", name, r))?;
    }
    Ok(Endpoint {
        ifname: raw.ifname.clone(),
        gw_priority: raw.gw_priority.unwrap_or_default(),
        netns: raw
            .netns
            .parse()
            .map_err(|r| invalid("netns", &raw.netns, r))?,
        addr: addr.transpose()?,
        addr6: addr6.transpose()?,
        mac: mac.transpose()?,
        rates: rates(&raw)?,
        publish,
        name: raw.name.clone(),
    })
}
