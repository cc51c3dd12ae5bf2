//! What was changed by hand: the difference between what an instance has made and what is there.
//!
//! Owns looking, and saying what was found. `status` shows it, `up` takes it into its plan and repairs it
//! by putting everything right ([`super::network`], [`super::endpoint`], [`super::rules`]). The inside of
//! a container is its own.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    net::IpAddr,
};

use ipnet::{IpNet, Ipv4Net};
use netpath_common::records::{
    EndpointRecord, IFACE_BRIDGE, IFACE_ENDPOINT, IFACE_UPLINK, IfaceRecord,
};
use serde::Serialize;

use super::{
    Error, Instance,
    endpoint::endpoint_record,
    forwarding,
    gone::{has_moved, is_alive},
    host_access,
    network::record,
    uplinks,
};
use crate::{
    bpf::{Datapath, Hook},
    net::{Link, link_local, rate_bytes, sysctl},
    state::{Endpoint, Network, State},
};

/// Something that is not as netpath has made it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Drift {
    /// Whose it is: a network, an endpoint, an uplink or the host.
    pub object: String,
    /// What was found, and what was expected.
    pub found: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.found)
    }
}

/// The host and the datapath as they are, read once.
pub(super) struct Scene<'a> {
    pub(super) datapath: &'a Datapath,
    pub(super) state: &'a State,
    links: &'a [Link],
    addresses: HashSet<(u32, IpNet)>,
    attached: Vec<(Hook, u32)>,
    ifaces: HashMap<u32, IfaceRecord>,
    endpoint_addrs: HashMap<IpAddr, u32>,
    limits: HashMap<u32, u32>,
    pub(super) drifts: Vec<Drift>,
}

impl Instance {
    /// Everything that is not as `state` says it was made. `interrupted`: the state is a killed command's.
    pub(super) async fn drift(
        &self,
        datapath: &Datapath,
        state: &State,
        links: &[Link],
        interrupted: bool,
    ) -> Result<Vec<Drift>, Error> {
        let v4 = self.netlink.addresses().await?.into_iter();
        let v4 = v4.map(|a| (a.index, IpNet::from(a.addr)));
        let v6 = self.netlink.addresses6().await?.into_iter();
        let v6 = v6.map(|a| (a.index, IpNet::from(a.addr)));
        let mut limited = state.endpoints().map(|(_, e)| e);
        let limits = if limited.any(|e| e.rates.into.is_some()) {
            self.netlink.limits().await?
        } else {
            HashMap::new()
        };
        let mut scene = Scene {
            datapath,
            state,
            links,
            addresses: v4.chain(v6).collect(),
            attached: datapath.attachments()?,
            ifaces: datapath.ifaces()?,
            endpoint_addrs: datapath.endpoint_addrs()?,
            limits,
            drifts: Vec::new(),
        };
        if interrupted {
            let text = "a command was killed in the middle of a change";
            scene.note("instance", text.into());
        }
        scene.look()?;
        Ok(scene.drifts)
    }
}

impl Scene<'_> {
    fn look(&mut self) -> Result<(), Error> {
        let state = self.state;
        for n in state.networks.iter().filter(|n| !n.unfinished) {
            let there = self.network(n)?;
            for e in n.endpoints.iter().filter(|e| !e.unfinished) {
                self.endpoint(n, e, there)?;
            }
        }
        self.rules()?;
        self.host()
    }

    pub(super) fn note(&mut self, object: &str, found: String) {
        let object = object.to_owned();
        self.drifts.push(Drift { object, found });
    }

    /// Whether the bridge is there.
    fn network(&mut self, n: &Network) -> Result<bool, Error> {
        let object = format!("network `{}`", n.name);
        let by_name = self.links.iter().find(|l| l.name == n.bridge);
        let Some(link) = by_name.filter(|l| l.index == n.ifindex) else {
            let found = match by_name {
                None => format!("bridge {} is gone", n.bridge),
                Some(l) => format!(
                    "{} is another {} than the bridge that was here",
                    n.bridge,
                    l.describe()
                ),
            };
            self.note(&object, found);
            return Ok(false);
        };
        let mut found = Vec::new();
        if !link.up {
            found.push(format!("bridge {} is down", n.bridge));
        }
        if link.mtu != n.mtu {
            found.push(format!(
                "the MTU of bridge {} is {}, not {}",
                n.bridge, link.mtu, n.mtu
            ));
        }
        if link.mac != n.mac {
            found.push(format!(
                "the MAC address of bridge {} is {}, not {}",
                n.bridge, link.mac, n.mac
            ));
        }
        for addr in bridge_addresses(n) {
            if !self.addresses.contains(&(n.ifindex, addr)) {
                found.push(format!("bridge {} does not have {addr}", n.bridge));
            }
        }
        let gateway = Ipv4Net::new(n.gateway, n.subnet.prefix_len()).map(IpNet::V4);
        let was_there = n.found.as_ref().is_some_and(|found| found.addressed);
        if let Ok(gateway) = gateway
            && n.isolated
            && !was_there
            && self.addresses.contains(&(n.ifindex, gateway))
        {
            found.push(format!(
                "bridge {} of an isolated network has {gateway}",
                n.bridge
            ));
        }
        let off = sysctl::disable_ipv6(&n.bridge);
        let wanted = if n.ipv6.is_some() && !n.isolated {
            "0"
        } else {
            "1"
        };
        if sysctl::read_optional(&off)?.is_some_and(|now| now != wanted) {
            found.push(format!("{off} is not {wanted}"));
        }
        if self.datapath.network(n.slot)? != record(n) {
            found.push("its record in np_networks is another".into());
        }
        for subnet in subnets(n) {
            if self.datapath.subnet(subnet)? != Some(n.slot.into()) {
                found.push(format!("np_subnets does not have {subnet}"));
            }
        }
        self.interface(&mut found, link, Hook::Bridge, (IFACE_BRIDGE, n.slot));
        for text in found {
            self.note(&object, text);
        }
        Ok(true)
    }

    /// What the datapath has to know of an interface, and the program that has to be there.
    fn interface(
        &self,
        found: &mut Vec<String>,
        link: &Link,
        hook: Hook,
        (kind, slot): (u32, u16),
    ) {
        let slot = u32::from(slot);
        if self.ifaces.get(&link.index) != Some(&IfaceRecord { kind, slot }) {
            found.push(format!("np_ifaces does not have {}", link.name));
        }
        self.attachment(found, link, hook);
    }

    fn attachment(&self, found: &mut Vec<String>, link: &Link, hook: Hook) {
        if !self.attached.contains(&(hook, link.index)) {
            found.push(format!(
                "the {} program is not attached to {}",
                hook.as_str(),
                link.name
            ));
        }
    }

    fn endpoint(&mut self, n: &Network, e: &Endpoint, bridge: bool) -> Result<(), Error> {
        if !e.is_present() {
            return Ok(());
        }
        let object = format!("endpoint `{}`", e.name);
        let link = self.links.iter().find(|l| is_alive(l, e));
        let Some(link) = link else {
            self.note(&object, format!("its interface {} is gone", e.ifname));
            return Ok(());
        };
        if has_moved(e) {
            let text = format!("`{}` is another namespace by now", e.netns);
            self.note(&object, text);
            return Ok(());
        }
        let mut found = Vec::new();
        if link.name != e.ifname {
            found.push(format!(
                "its interface {} is called {}",
                e.ifname, link.name
            ));
        }
        if !link.up {
            found.push(format!("its interface {} is down", e.ifname));
        }
        if link.mtu != n.mtu {
            found.push(format!(
                "the MTU of its interface {} is {}, not {}",
                e.ifname, link.mtu, n.mtu
            ));
        }
        if bridge && link.controller != Some(n.ifindex) {
            found.push(format!(
                "its interface {} is no port of bridge {}",
                e.ifname, n.bridge
            ));
        } else if link.isolated.is_some_and(|on| on == n.icc) {
            let (on, not) = if n.icc { ("on", "off") } else { ("off", "on") };
            found.push(format!(
                "the flag isolated of bridge port {} is {on}, not {not}",
                e.ifname
            ));
        }
        if let Some(rate) = e.rates.into
            && self.limits.get(&e.ifindex) != Some(&rate_bytes(rate))
        {
            found.push(format!(
                "its interface {} does not have the limit of {rate}",
                e.ifname
            ));
        }
        let record = self.datapath.endpoint(e.slot)?;
        let wanted = EndpointRecord {
            generation: record.generation,
            ..endpoint_record(n, e)
        };
        if record != wanted || record.generation == 0 {
            found.push("its record in np_endpoints is another".into());
        }
        let addrs = [Some(IpAddr::V4(e.addr)), e.addr6.map(IpAddr::V6)];
        for addr in addrs.into_iter().flatten() {
            if self.endpoint_addrs.get(&addr) != Some(&e.slot.into()) {
                found.push(format!("np_ep_by_addr does not have {addr}"));
            }
        }
        self.interface(&mut found, link, Hook::Veth, (IFACE_ENDPOINT, e.slot));
        for text in found {
            self.note(&object, text);
        }
        Ok(())
    }

    fn host(&mut self) -> Result<(), Error> {
        let state = self.state;
        for u in &state.uplinks {
            // One that is gone is followed, not repaired.
            let Some(link) = self.links.iter().find(|l| l.index == u.ifindex) else {
                continue;
            };
            let mut found = Vec::new();
            let [ingress, egress] = uplinks::hooks(link.bare);
            self.interface(&mut found, link, ingress, (IFACE_UPLINK, u.slot));
            self.attachment(&mut found, link, egress);
            if u.xdp.is_some() {
                self.attachment(&mut found, link, Hook::Xdp);
            }
            for text in found {
                self.note(&format!("uplink {}", u.name), text);
            }
        }
        if !state.networks.iter().any(|n| !n.unfinished) {
            return Ok(());
        }
        if let Some(text) = host_access::drift(self.datapath, &self.attached)? {
            self.note("host", text);
        }
        if sysctl::read(sysctl::IP_FORWARD)? == "0" {
            self.note("host", format!("{} is 0", sysctl::IP_FORWARD));
        }
        let off6 = sysctl::read_optional(sysctl::FORWARDING6)?.is_some_and(|v| v == "0");
        if off6 && forwarding::needs_ipv6(&state.networks) {
            self.note("host", format!("{} is 0", sysctl::FORWARDING6));
        }
        Ok(())
    }
}

/// The addresses that the bridge of a network is to have.
fn bridge_addresses(n: &Network) -> Vec<IpNet> {
    if n.isolated {
        return Vec::new();
    }
    let v4 = Ipv4Net::new(n.gateway, n.subnet.prefix_len());
    let mut all: Vec<IpNet> = v4.into_iter().map(IpNet::V4).collect();
    if let Some(v6) = n.ipv6 {
        all.push(IpNet::V6(super::ipv6::gateway_net(&v6)));
        all.push(IpNet::V6(link_local(n.mac)));
    }
    all
}

fn subnets(n: &Network) -> impl Iterator<Item = IpNet> {
    let v6 = n.ipv6.map(|v6| IpNet::V6(v6.subnet));
    std::iter::once(IpNet::V4(n.subnet)).chain(v6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing;

    #[test]
    fn the_bridge_has_every_gateway_and_that_of_an_isolated_network_none() {
        let mut n = testing::network(Some("fd00:17::/64"), &[]);
        let all: Vec<_> = bridge_addresses(&n)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            all,
            ["172.17.0.1/16", "fd00:17::1/64", "fe80::ff:fe00:1/64"]
        );
        let nets: Vec<_> = subnets(&n).map(|net| net.to_string()).collect();
        assert_eq!(nets, ["172.17.0.0/16", "fd00:17::/64"]);
        n.isolated = true;
        assert_eq!(bridge_addresses(&n), []);
    }
}
