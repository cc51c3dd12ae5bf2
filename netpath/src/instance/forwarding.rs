//! Forwarding: by which interfaces the host forwards, and for whom.
//!
//! Owns the settings for that. The kernel judges by the interface that a packet came in by
//! (`ip_route_input_slow`; of IPv6 `ip6_forward` since Linux 6.17), so a host that was no router is made
//! one at netpath's bridges and uplinks alone, and its programs see to it that only containers gain by it.
//! Before 6.17 IPv6 has one switch for all interfaces. Whoever turns forwarding on for the whole host
//! means it: from then on netpath closes nothing, and turns nothing off again.
//!
//! A host that forwards IPv6 takes itself for a router and no longer listens to router
//! advertisements: with `accept_ra` = 1 its own default route goes with the change, whichever
//! interface it is made at (`rt6_purge_dflt_routes`). So the interfaces that have such a route, and
//! the uplinks, are told to listen all the same (`accept_ra` = 2) before, and no longer after the way back.

use ipnet::Ipv6Net;
use netpath_common::records::{IFACE_CLOSED4, IFACE_CLOSED6};

use super::{Error, settings::position, work::Work};
use crate::{
    net::{Link, Netlink, sysctl},
    state::{Network, State, Sysctl},
};

/// What the kernel's setting of one interface is called, in either family.
const FORWARDING: &str = "forwarding";
/// The setting of IPv6 that counts without the one for all interfaces (Linux 6.17).
const FORCE: &str = "force_forwarding";
/// Set to 1 to do without that, for tests.
const ONE_SWITCH: &str = "NETPATH_FORCE_ONE_SWITCH";

/// IPv6 forwarding as planning sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Forwarding6 {
    /// The whole host forwards it, or the kernel has no IPv6.
    pub(super) on: bool,
    /// Interfaces whose routes by router advertisements would go if it were turned on.
    pub(super) advertised: Vec<String>,
}

impl Forwarding6 {
    pub(super) async fn look(netlink: &Netlink, links: &[Link]) -> Result<Self, Error> {
        let on = sysctl::read_optional(sysctl::FORWARDING6)?.is_none_or(|v| v != "0");
        let mut advertised = Vec::new();
        let routes = netlink.routes6().await?;
        for link in links {
            let has =
                |r: &crate::net::Route<Ipv6Net>| r.advertised && r.interfaces.contains(&link.index);
            if routes.iter().any(has)
                && sysctl::read_optional(&accept_ra(&link.name))?.as_deref() == Some("1")
            {
                advertised.push(link.name.clone());
            }
        }
        Ok(Self { on, advertised })
    }
}

fn accept_ra(ifname: &str) -> String {
    sysctl::ipv6(ifname, "accept_ra")
}

/// Whether any of the networks needs a host that forwards IPv6.
pub(super) fn needs_ipv6<'a>(networks: impl IntoIterator<Item = &'a Network>) -> bool {
    networks
        .into_iter()
        .any(|n| n.ipv6.is_some() && !n.internal)
}

/// An interface that is to forward, and the network whose bridge it is.
struct Port {
    name: String,
    network: Option<String>,
}

/// The interfaces that are to forward.
fn ports(state: &State, is_v6: bool) -> Vec<Port> {
    let leads_out = |n: &&Network| !n.internal && (!is_v6 || n.ipv6.is_some());
    let bridges = state.networks.iter().filter(leads_out).map(|n| Port {
        name: n.bridge.clone(),
        network: Some(n.name.clone()),
    });
    let bridges: Vec<_> = bridges.collect();
    if bridges.is_empty() {
        return bridges;
    }
    let uplinks = state.uplinks.iter().map(|u| Port {
        name: u.name.clone(),
        network: None,
    });
    bridges.into_iter().chain(uplinks).collect()
}

/// Whether the whole host forwards IPv4, which is not netpath's doing.
fn host_forwards4() -> Result<bool, Error> {
    Ok(sysctl::read(sysctl::IP_FORWARD)? != "0")
}

/// The same of IPv6. Where netpath has had to turn it on for all, the setting of interfaces to come tells
/// who did it last: the kernel sets that too, and netpath sets it back.
fn host_forwards6(state: &State) -> Result<bool, Error> {
    let setting = |name: &str| sysctl::read_optional(&sysctl::ipv6(name, FORWARDING));
    let all = setting("all")?.is_some_and(|v| v != "0");
    let is_ours = position(state, sysctl::FORWARDING6).is_some();
    if is_ours && is_half_turned(state) {
        return Ok(false);
    }
    Ok(all && (!is_ours || setting("default")?.is_some_and(|v| v != "0")))
}

/// Whether a command that turns IPv6 forwarding on for all interfaces has not set the others back yet. It
/// notes so before, in the place of the setting of interfaces to come, and may be killed in between.
fn is_half_turned(state: &State) -> bool {
    position(state, &sysctl::ipv6("default", FORWARDING)).is_some()
}

/// Whether each interface has an IPv6 forwarding of its own.
fn has_force() -> Result<bool, Error> {
    if std::env::var(ONE_SWITCH).is_ok_and(|v| v == "1") {
        return Ok(false);
    }
    Ok(sysctl::read_optional(&sysctl::ipv6("lo", FORCE))?.is_some())
}

/// `IFACE_CLOSED*` of an uplink: of which family it forwards, or is about to, by netpath's will alone.
pub(super) fn closed(state: &State, uplink: &str) -> Result<u32, Error> {
    let is_own = |key: &str| -> Result<bool, Error> {
        let is_ours = position(state, key).is_some();
        Ok(is_ours || sysctl::read_optional(key)?.is_some_and(|v| v == "0"))
    };
    let mut flags = 0;
    if !host_forwards4()? && is_own(&sysctl::ipv4(uplink, FORWARDING))? {
        flags |= IFACE_CLOSED4;
    }
    if !host_forwards6(state)? && (!has_force()? || is_own(&sysctl::ipv6(uplink, FORCE))?) {
        flags |= IFACE_CLOSED6;
    }
    Ok(flags)
}

/// The interface whose forwarding a setting is.
fn port_of(key: &str) -> Option<&str> {
    let of = key
        .strip_prefix("net/ipv4/conf/")
        .or_else(|| key.strip_prefix("net/ipv6/conf/"))?;
    let (name, setting) = of.rsplit_once('/')?;
    let is_one_s = !["all", "default"].contains(&name);
    (is_one_s && [FORWARDING, FORCE].contains(&setting)).then_some(name)
}

fn is_v6(s: &Sysctl) -> bool {
    s.key.starts_with("net/ipv6/")
}

/// The setting that is not as it has to be for packets that come in by a port to be forwarded.
fn missing(port: &Port, of_v6: bool) -> Result<Option<String>, Error> {
    let is_off = |key: &str| -> Result<bool, Error> {
        Ok(sysctl::read_optional(key)?.is_some_and(|v| v == "0"))
    };
    let key = if of_v6 {
        sysctl::ipv6(&port.name, FORWARDING)
    } else {
        sysctl::ipv4(&port.name, FORWARDING)
    };
    // Who turns it off for an interface on a host that forwards otherwise means that as well.
    let is_left = !of_v6 && port.network.is_none() && host_forwards4()?;
    if !is_left && is_off(&key)? {
        return Ok(Some(key));
    }
    if !of_v6 || !is_off(sysctl::FORWARDING6)? {
        return Ok(None);
    }
    if !has_force()? {
        return Ok(Some(sysctl::FORWARDING6.to_owned()));
    }
    let key = sysctl::ipv6(&port.name, FORCE);
    Ok(is_off(&key)?.then_some(key))
}

/// The settings that are off and have to be on for containers' packets of a family to be forwarded.
///
/// # Errors
/// A setting cannot be read.
pub(crate) fn not_forwarding(state: &State, is_v6: bool) -> Result<Vec<String>, Error> {
    let mut off = Vec::new();
    for port in ports(state, is_v6) {
        off.extend(missing(&port, is_v6)?);
    }
    off.dedup();
    Ok(off)
}

/// What somebody has turned off: whose it is, a network's or an uplink's, and the setting.
pub(super) fn drift(state: &State) -> Result<Vec<(String, String)>, Error> {
    let mut found = Vec::new();
    for of_v6 in [false, true] {
        for port in ports(state, of_v6) {
            if let Some(key) = missing(&port, of_v6)? {
                let object = match &port.network {
                    Some(network) => format!("network `{network}`"),
                    None => format!("uplink {}", port.name),
                };
                found.push((object, format!("{key} is 0")));
            }
        }
    }
    Ok(found)
}

impl Work<'_> {
    /// Has the host forward what its networks need forwarded, and no more than that. Called when every
    /// program is attached: from here on the host forwards, and only the programs decide what.
    pub(super) async fn enable_forwarding(&mut self) -> Result<(), Error> {
        self.leave_to_host()?;
        let (v4, v6) = (ports(&self.state, false), ports(&self.state, true));
        // What is no port any more: an uplink that went, a network that became internal.
        let stays = |s: &Sysctl| {
            let ports = if is_v6(s) { &v6 } else { &v4 };
            port_of(&s.key).is_none_or(|name| ports.iter().any(|p| p.name == name))
        };
        self.restore_those(|s| s.before == "0" && !stays(s))?;
        let leave_uplinks = host_forwards4()?;
        for port in v4.iter().filter(|p| p.network.is_some() || !leave_uplinks) {
            let key = sysctl::ipv4(&port.name, FORWARDING);
            self.set_sysctl(&key, "1", port.network.as_deref())?;
        }
        if v6.is_empty() {
            return self.restore_those(|s| is_v6(s) && s.network.is_none());
        }
        self.enable_forwarding6(&v6).await
    }

    async fn enable_forwarding6(&mut self, ports: &[Port]) -> Result<(), Error> {
        let mut all_on = !is_half_turned(&self.state);
        for port in ports {
            all_on &= missing(port, true)?.is_none();
        }
        if all_on {
            return Ok(());
        }
        let links = self.instance.netlink.links().await?;
        let found = Forwarding6::look(&self.instance.netlink, &links).await?;
        // Also an uplink to which the first advertisement, or no default route, is still to come.
        let uplinks = ports.iter().filter(|p| p.network.is_none());
        let uplinks = uplinks.map(|p| &p.name);
        for ifname in found.advertised.iter().chain(uplinks) {
            let key = accept_ra(ifname);
            if sysctl::read_optional(&key)?.as_deref() == Some("1") {
                self.set_sysctl(&key, "2", None)?;
            }
        }
        let has_force = has_force()?;
        let by_switch = !has_force && (!found.on || is_half_turned(&self.state));
        if by_switch {
            self.turn_on_for_all(&links, ports)?;
        }
        for port in ports {
            let network = port.network.as_deref();
            self.set_sysctl(&sysctl::ipv6(&port.name, FORWARDING), "1", network)?;
            if !found.on && has_force {
                self.set_sysctl(&sysctl::ipv6(&port.name, FORCE), "1", network)?;
            }
        }
        Ok(())
    }

    /// Turns IPv6 forwarding on where there is one switch for all. Other interfaces stay what they were,
    /// a host's, as far as that is theirs to say: they listen to router advertisements.
    fn turn_on_for_all(&mut self, links: &[Link], ports: &[Port]) -> Result<(), Error> {
        let to_come = sysctl::ipv6("default", FORWARDING);
        let keys = links
            .iter()
            .map(|l| (&l.name, sysctl::ipv6(&l.name, FORWARDING)));
        let keys: Vec<_> = keys.collect();
        if !is_half_turned(&self.state) {
            // The setting of all interfaces overwrites that of each, also on its way back.
            for (_, key) in &keys {
                if sysctl::read_optional(key)?.as_deref() == Some("1") {
                    self.remember_sysctl(key, "1", None)?;
                }
            }
            self.remember_sysctl(&to_come, "0", None)?;
        }
        self.set_sysctl(sysctl::FORWARDING6, "1", None)?;
        let others = keys
            .iter()
            .filter(|(name, key)| {
                let was_on = position(&self.state, key).is_some();
                !was_on && ports.iter().all(|p| p.name != **name)
            })
            .map(|(_, key)| key);
        for key in others.chain([&to_come]) {
            if sysctl::read_optional(key)?.is_some_and(|now| now != "0") {
                sysctl::write(key, "0")?;
            }
        }
        self.state.sysctls.retain(|s| s.key != to_come);
        self.save()
    }

    /// Forgets what netpath has turned on where somebody has turned it on for the whole host since.
    pub(super) fn leave_to_host(&mut self) -> Result<(), Error> {
        let turned_on = |s: &Sysctl, v6: bool| is_v6(s) == v6 && s.before == "0";
        let is_uplinks = |s: &Sysctl| s.network.is_none() && port_of(&s.key).is_some();
        let sysctls = &self.state.sysctls;
        let before = sysctls.len();
        if host_forwards4()? && sysctls.iter().any(|s| turned_on(s, false) && is_uplinks(s)) {
            let kept = |s: &Sysctl| is_v6(s) || port_of(&s.key).is_none();
            self.state.sysctls.retain(kept);
        }
        let is_switch = |s: &Sysctl| s.key == sysctl::FORWARDING6 || s.key.ends_with(FORCE);
        let switched = |s: &Sysctl| turned_on(s, true) && is_switch(s);
        if host_forwards6(&self.state)? && self.state.sysctls.iter().any(switched) {
            // With them that its interfaces listen to router advertisements: a router's else do not.
            let of_all = |s: &Sysctl| s.network.is_none() || port_of(&s.key).is_some();
            self.state.sysctls.retain(|s| !(is_v6(s) && of_all(s)));
        }
        if self.state.sysctls.len() == before {
            return Ok(());
        }
        self.save()
    }
}
