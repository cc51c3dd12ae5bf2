//! Networks without a bridge: `macvlan`, `ipvlan`, `host` and `none`.
//!
//! Owns which keys they have. What a key may say is checked as for a network with a bridge.

use super::{Driver, Error, Network, check_ifname, raw, rules, validate};

/// A checked network without a bridge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unbridged {
    /// Its driver; not [`Driver::Bridge`].
    pub driver: Driver,
    /// The interface of the host that containers' interfaces are on; `None` has one made that leads
    /// nowhere.
    pub parent: Option<String>,
    /// What it has in common with a network that has a bridge: name, labels and endpoints, and with
    /// a parent addresses, MTU and `internal`. The rest says nothing.
    pub common: Network,
}

pub(super) fn unbridged(raw: raw::Network, driver: Driver) -> Result<Unbridged, Error> {
    refuse_keys(&raw, driver)?;
    let invalid = |object, key, value: &str, reason: &str| Error::Invalid {
        object,
        key,
        value: format!("{value:?}"),
        reason: reason.to_owned(),
    };
    let parent = raw.parent.clone();
    if let Some(name) = &parent {
        check_ifname(name)
            .map_err(|r| invalid(format!("network `{}`", raw.name), "parent", name, &r))?;
    }
    let common = validate::network(raw::Network {
        driver: None,
        parent: None,
        macvlan_mode: None,
        ipvlan_mode: None,
        // One that leads nowhere is internal, as Docker's.
        internal: Some(raw.internal == Some(true) || (driver.has_parent() && parent.is_none())),
        ..raw
    })?;
    rules::addresses(&common)?;
    for e in &common.endpoints {
        check_publish(&e.name, driver, e.publish.first())?;
        let object = || format!("endpoint `{}`", e.name);
        let rates = [("rate_in", e.rates.into), ("rate_out", e.rates.out)];
        if let Some((key, rate)) = rates.iter().find_map(|(k, r)| Some((*k, (*r)?))) {
            let reason = "only networks with netpath's own bridge have limits; leave it out";
            return Err(invalid(object(), key, &rate.to_string(), reason));
        }
        if !driver.has_parent() {
            let own = [
                ("ip", e.addr.map(|a| a.to_string())),
                ("ip6", e.addr6.map(|a| a.to_string())),
                ("mac", e.mac.map(|a| a.to_string())),
                ("ifname", e.ifname.clone()),
            ];
            if let Some((key, value)) = own.iter().find_map(|(k, v)| Some((*k, v.as_ref()?))) {
                return Err(invalid(object(), key, value, no_interface(driver)));
            }
        }
        if let (Driver::Ipvlan(_), Some(mac)) = (driver, e.mac) {
            let reason = "an ipvlan interface has its parent's MAC address; leave it out";
            return Err(invalid(object(), "mac", &mac.to_string(), reason));
        }
    }
    Ok(Unbridged {
        driver,
        parent,
        common,
    })
}

/// Why endpoints of a driver have no addresses.
const fn no_interface(driver: Driver) -> &'static str {
    match driver {
        Driver::Host => "a container of the host's network has the host's interfaces; leave it out",
        _ => "a container of this network has no interface; leave it out",
    }
}

/// Checks that nobody publishes a port by a network that has none.
///
/// # Errors
/// What to do instead.
pub fn check_publish(
    endpoint: &str,
    driver: Driver,
    spec: Option<&super::PortSpec>,
) -> Result<(), Error> {
    let reason = match driver {
        Driver::Bridge => return Ok(()),
        Driver::Host => {
            "what the container listens on are ports of the host already; leave it out, and have it \
             listen on the port that clients ask for"
        }
        Driver::None => {
            "the container has no interface; leave it out, or add it to a bridge network too"
        }
        Driver::Macvlan(_) | Driver::Ipvlan(_) => {
            "the container has an address of its own on the outside network, where all its ports are \
             reached; leave it out, or add it to a bridge network too and publish there"
        }
    };
    let Some(spec) = spec else {
        return Ok(());
    };
    Err(Error::Invalid {
        object: format!("endpoint `{endpoint}`"),
        key: "publish",
        value: format!("\"{spec}\""),
        reason: reason.into(),
    })
}

/// Refuses what the driver has no use for.
fn refuse_keys(raw: &raw::Network, driver: Driver) -> Result<(), Error> {
    // All of them by name: a new key has to be decided on here.
    let raw::Network {
        name: _,
        driver: _,
        labels: _,
        endpoint: _,
        parent: _,
        macvlan_mode: _,
        ipvlan_mode: _,
        bridge,
        subnet,
        gateway,
        ipv6,
        gateway6,
        ip_range,
        ip_range6,
        aux_addresses,
        mtu,
        gso_max_size,
        icc,
        masquerade,
        snat,
        snat6,
        internal,
        isolated,
        mode,
        mapping,
        firewall,
        uplink_hook,
        early_drop,
        xdp_translate,
        port_holder,
        host_binding_ipv4,
        host_binding_ipv6,
        uplinks,
        no_masquerade,
    } = raw;
    let of_bridges = [
        ("bridge", bridge.is_some()),
        ("gso_max_size", gso_max_size.is_some()),
        ("icc", icc.is_some()),
        ("masquerade", masquerade.is_some()),
        ("snat", snat.is_some()),
        ("snat6", snat6.is_some()),
        ("isolated", *isolated == Some(true)),
        ("mode", mode.is_some()),
        ("mapping", mapping.is_some()),
        ("firewall", firewall.is_some()),
        ("uplink_hook", uplink_hook.is_some()),
        ("early_drop", early_drop.is_some()),
        ("xdp_translate", xdp_translate.is_some()),
        ("port_holder", port_holder.is_some()),
        ("host_binding_ipv4", host_binding_ipv4.is_some()),
        ("host_binding_ipv6", host_binding_ipv6.is_some()),
        ("uplinks", uplinks.is_some()),
        ("no_masquerade", no_masquerade.is_some()),
    ];
    let of_parents = [
        ("subnet", subnet.is_some()),
        ("gateway", gateway.is_some()),
        ("ipv6", ipv6.is_some()),
        ("gateway6", gateway6.is_some()),
        ("ip_range", ip_range.is_some()),
        ("ip_range6", ip_range6.is_some()),
        ("aux_addresses", !aux_addresses.is_empty()),
        ("mtu", mtu.is_some()),
        ("internal", *internal == Some(true)),
    ];
    let named =
        |keys: &[(&'static str, bool)]| keys.iter().find(|(_, on)| *on).map(|(key, _)| *key);
    let gateways = [
        ("gateway", gateway.is_some()),
        ("gateway6", gateway6.is_some()),
    ];
    let (key, why) = if let Some(key) = named(&of_bridges) {
        (key, "it is of networks with netpath's own bridge")
    } else if let Some(key) = named(&of_parents).filter(|_| !driver.has_parent()) {
        (key, "its containers have no addresses of their own")
    } else if let Some(key) = named(&gateways).filter(|_| driver.routes_by_device()) {
        (key, "in the modes l3 and l3s there is no gateway")
    } else {
        return Ok(());
    };
    Err(Error::NotOfDriver {
        network: raw.name.clone(),
        key,
        driver: driver.as_str(),
        why,
    })
}

#[cfg(test)]
#[path = "unbridged_tests.rs"]
mod tests;
