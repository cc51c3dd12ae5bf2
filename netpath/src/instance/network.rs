//! Networks on the host and in the datapath: the bridge and its records.

use netpath_common::records::{
    IFACE_BRIDGE, IfaceRecord, NETWORK_BINDINGS, NETWORK_DIRECT, NETWORK_ICC, NETWORK_INTERNAL,
    NETWORK_KEEPS, NETWORK_MASQUERADE, NETWORK_PORTS_FREE, NETWORK_PORTS_HELD, NETWORK_ROUTED,
    NETWORK_XDP, NetworkRecord,
};

use super::{Error, error::known, rollback::Undo, work::Work};
use crate::{
    bpf::Hook,
    config::Mode,
    ct::end_outward,
    net::PortFlags,
    state::{Found, Network},
};

impl Work<'_> {
    /// Adds a network, without its endpoints: bridge, records and program, and only then address
    /// and link, so that nothing passes untranslated.
    pub(super) async fn add_network(&mut self, network: Network) -> Result<(), Error> {
        let name = network.name.clone();
        // Taken back in reverse: once the network is gone.
        self.undo.push(Undo::SyncXdp);
        self.undo.push(Undo::RemoveNetwork(name.clone()));
        self.state.networks.push(Network {
            unfinished: true,
            endpoints: Vec::new(),
            ..network
        });
        self.save()?;
        self.put_network(&name).await?;
        if let Some(n) = self.state.network_mut(&name) {
            n.unfinished = false;
        }
        Ok(())
    }

    /// Gives a network other properties in place. Bridge, subnet and gateway stay: changing those
    /// is removing and adding.
    pub(super) async fn change_network(&mut self, new: Network) -> Result<(), Error> {
        let name = new.name.clone();
        let old = self.existing_network(&name)?;
        let before = leaves_by(&old);
        self.undo.push(Undo::SyncXdp);
        self.undo.push(Undo::ChangeNetwork(Box::new(old.clone())));
        if let Some(n) = self.state.network_mut(&name) {
            let found = old.found.filter(|_| old.adopted && new.adopted);
            *n = Network {
                endpoints: old.endpoints,
                ifindex: old.ifindex,
                found,
                ..new
            };
        }
        self.save()?;
        let network = self.existing_network(&name)?;
        if network.xdp_translate {
            // Their interfaces take frames before any is sent to them …
            self.put_all_gro(&network).await?;
        }
        self.put_network(&name).await?;
        let network = self.existing_network(&name)?;
        if leaves_by(&network) != before {
            // What has been begun by the old word on it would go on for as long as packets come.
            let slots = network.endpoints.iter().map(|e| e.slot).collect();
            end_outward(&self.datapath()?, &slots, network.internal)?;
        }
        if !network.xdp_translate {
            // … and as long as any is.
            self.put_all_gro(&network).await?;
        }
        for e in network.endpoints.iter().filter(|e| e.is_present()) {
            if e.ifindex != 0 {
                let datapath = self.datapath()?;
                self.put_endpoint_record(&datapath, &network, e)?;
            }
            let netlink = &self.instance.netlink;
            // One that is not a port, as after the bridge was made again, becomes one later.
            let link = netlink.link_by_index(e.ifindex).await?;
            if let Some(link) = link.filter(|l| l.controller == Some(network.ifindex)) {
                self.put_endpoint_segments(&network, e, &link).await?;
                netlink
                    .set_port(
                        e.ifindex,
                        PortFlags {
                            isolated: !network.icc,
                        },
                    )
                    .await?;
            }
        }
        Ok(())
    }

    /// Makes a network of the state be there; changes nothing that is right already.
    pub(super) async fn put_network(&mut self, name: &str) -> Result<(), Error> {
        let (netlink, datapath) = (&self.instance.netlink, self.datapath()?);
        let mut n = self.existing_network(name)?;
        let prefix = n.subnet.prefix_len();
        let link = match netlink.link(&n.bridge).await? {
            Some(link) => link,
            None => {
                netlink.create_bridge(&n.bridge, n.mac, n.mtu).await?;
                netlink
                    .link(&n.bridge)
                    .await?
                    .ok_or_else(|| Error::BridgeTaken {
                        network: n.name.clone(),
                        name: n.bridge.clone(),
                        what: "nothing: it went right after it was made".into(),
                    })?
            }
        };
        if n.adopted && n.found.is_none() {
            let addresses = netlink.addresses().await?;
            // With another prefix it is another address, and stays beside.
            let addressed = addresses.iter().any(|a| {
                let same = a.addr.addr() == n.gateway && a.addr.prefix_len() == prefix;
                a.index == link.index && same
            });
            let addresses6 = netlink.addresses6().await?.into_iter();
            let of_link = addresses6.filter(|a| a.index == link.index && a.permanent);
            n.found = Some(Found {
                up: link.up,
                addressed,
                addresses6: of_link.map(|a| a.addr).collect(),
                mtu: link.mtu,
                segments: link.segments,
            });
        }
        let old = std::mem::replace(&mut n.ifindex, link.index);
        if !n.adopted && old == link.index && link.mac != n.mac {
            // Containers have the address in their neighbour tables, and the datapath knows it.
            self.instance.netlink.set_mac(link.index, n.mac).await?;
        } else {
            n.mac = link.mac;
        }
        if let Some(stored) = self.state.network_mut(name) {
            *stored = n.clone();
        }
        if old != 0 && old != link.index {
            datapath.detach(Hook::Bridge, old)?;
            datapath.detach(Hook::BridgeEgress, old)?;
            datapath.remove_iface(old)?;
        }
        let netlink = &self.instance.netlink;
        if n.adopted {
            // Else it would change with every port, and the datapath knows it.
            netlink.set_mac(n.ifindex, n.mac).await?;
        }
        if link.mtu != n.mtu {
            netlink.set_mtu(link.index, n.mtu).await?;
        }
        self.put_bridge_segments(&n, &link).await?;
        self.put_bridge_ipv6(&n)?;

        let record = record(&n);
        let before = datapath.network(n.slot)?;
        if (before.flags | record.flags) & NETWORK_KEEPS != 0 {
            // Before the flag that has them asked for.
            datapath.set_kept(n.slot, &n.no_masquerade)?;
        }
        if before != record {
            datapath.set_network(n.slot, &record)?;
        }
        if (before.flags ^ record.flags) & NETWORK_PORTS_FREE != 0 {
            datapath.sync_taken()?;
        }
        datapath.set_subnet(n.subnet, n.slot)?;
        if let Some(ipv6) = n.ipv6 {
            datapath.set_subnet(ipv6.subnet, n.slot)?;
        }
        let iface = IfaceRecord {
            kind: IFACE_BRIDGE,
            slot: n.slot.into(),
            flags: 0,
        };
        datapath.set_iface(n.ifindex, &iface)?;
        datapath.attach(Hook::Bridge, &n.bridge, n.ifindex)?;
        datapath.attach(Hook::BridgeEgress, &n.bridge, n.ifindex)?;

        let netlink = &self.instance.netlink;
        let was_there = n.found.as_ref().is_some_and(|found| found.addressed);
        if n.isolated {
            if !was_there {
                netlink.remove_address(n.ifindex, n.gateway, prefix).await?;
            }
        } else {
            netlink.add_address(n.ifindex, n.gateway, prefix).await?;
            self.put_bridge_addresses6(&n).await?;
        }
        if !link.up {
            netlink.set_up(n.ifindex, true).await?;
        }
        Ok(())
    }

    /// Removes a network and its endpoints. An adopted bridge stays, as it was found.
    pub(super) async fn remove_network(&mut self, name: &str) -> Result<(), Error> {
        if let Some(n) = self.state.unbridged(name).cloned() {
            return self.remove_unbridged(n).await;
        }
        let Some(n) = self.state.network_mut(name) else {
            return Ok(());
        };
        n.unfinished = true;
        let n = n.clone();
        self.save()?;
        if self.datapath().is_ok() {
            let names: Vec<&str> = n.endpoints.iter().map(|e| e.name.as_str()).collect();
            self.withdraw_all(&names)?;
        }
        for e in &n.endpoints {
            self.remove_endpoint(&e.name).await?;
        }
        let n = Network {
            unfinished: false,
            endpoints: Vec::new(),
            ..n
        };
        self.undo.push(Undo::AddNetwork(Box::new(n.clone())));
        let netlink = &self.instance.netlink;
        if n.ifindex == 0 {
            // The step that would have made it failed before it knew the index.
            let made = netlink
                .link(&n.bridge)
                .await?
                .filter(|l| !n.adopted && l.mac == n.mac);
            if let Some(link) = made {
                netlink.delete_link(link.index).await?;
            }
        } else if !n.adopted {
            netlink.delete_link(n.ifindex).await?;
        } else if let Some(found) = &n.found {
            if !found.addressed {
                netlink
                    .remove_address(n.ifindex, n.gateway, n.subnet.prefix_len())
                    .await?;
            }
            self.remove_bridge_addresses6(&n).await?;
            if netlink.link_by_index(n.ifindex).await?.is_some() {
                netlink.set_mtu(n.ifindex, found.mtu).await?;
                if let Some(segments) = found.segments {
                    netlink.set_segments(n.ifindex, segments).await?;
                }
                netlink.set_up(n.ifindex, found.up).await?;
            }
        }
        self.restore_sysctls(Some(name))?;
        self.restore_addresses6(&n).await?;
        if let Ok(datapath) = self.datapath() {
            if n.ifindex != 0 {
                datapath.detach(Hook::Bridge, n.ifindex)?;
                datapath.detach(Hook::BridgeEgress, n.ifindex)?;
                datapath.remove_iface(n.ifindex)?;
            }
            datapath.remove_subnet(n.subnet)?;
            if let Some(ipv6) = n.ipv6 {
                datapath.remove_subnet(ipv6.subnet)?;
            }
            datapath.set_network(n.slot, &NetworkRecord::default())?;
            if !n.no_masquerade.is_empty() {
                datapath.set_kept(n.slot, &[])?;
            }
        }
        self.state.networks.retain(|other| other.name != name);
        self.save()
    }

    /// The network of this name.
    pub(super) fn existing_network(&self, name: &str) -> Result<Network, Error> {
        self.state
            .network(name)
            .cloned()
            .ok_or_else(|| Error::NoNetwork {
                name: name.to_owned(),
                known: known("network", self.state.network_names()),
            })
    }
}

/// What decides whether and how containers reach the outside.
fn leaves_by(n: &Network) -> impl PartialEq + use<> {
    let snat6 = n.ipv6.and_then(|v6| v6.snat);
    let kept = n.no_masquerade.clone();
    (n.internal, n.masquerade, n.bindings, n.snat, snat6, kept)
}

pub(super) fn record(n: &Network) -> NetworkRecord {
    let flag = |on, bit| if on { bit } else { 0 };
    // Without the host nobody is the gateway.
    let hosts = !n.isolated;
    let (routed, ipv6) = (n.mode == Mode::Routed, n.ipv6);
    NetworkRecord {
        bridge_ifindex: n.ifindex,
        gateway: if hosts { n.gateway.octets() } else { [0; 4] },
        subnet: n.subnet.network().octets(),
        mask: n.subnet.netmask().octets(),
        flags: flag(n.masquerade && !routed, NETWORK_MASQUERADE)
            | flag(routed, NETWORK_ROUTED)
            | flag(n.icc, NETWORK_ICC | NETWORK_DIRECT)
            | flag(n.bindings, NETWORK_BINDINGS)
            | flag(n.internal, NETWORK_INTERNAL)
            | flag(!n.no_masquerade.is_empty(), NETWORK_KEEPS)
            | flag(n.xdp_translate, NETWORK_XDP)
            | flag(n.ports_held, NETWORK_PORTS_HELD),
        snat: n.snat.map(|a| a.octets()).unwrap_or_default(),
        bridge_mac: n.mac.0,
        zero: 0,
        gateway6: ipv6
            .filter(|_| hosts)
            .map(|v6| v6.gateway.octets())
            .unwrap_or_default(),
        subnet6: ipv6
            .map(|v6| v6.subnet.network().octets())
            .unwrap_or_default(),
        mask6: ipv6
            .map(|v6| v6.subnet.netmask().octets())
            .unwrap_or_default(),
        snat6: ipv6
            .and_then(|v6| v6.snat)
            .map(|a| a.octets())
            .unwrap_or_default(),
    }
}
