//! The host's own side in the datapath: its uplinks and addresses.

use std::{collections::BTreeMap, net::Ipv4Addr};

use netpath_common::{
    V4, V6,
    maps::MAX_UPLINKS,
    records::{IFACE_UPLINK, IfaceRecord, UplinkRecord},
};

use super::{Error, rollback::Undo, work::Work};
use crate::{
    bpf::{Family, Hook, Needs},
    net,
    state::Uplink,
};

/// The hooks of an uplink; `bare`: its packets have no Ethernet header.
pub(super) const fn hooks(bare: bool) -> [Hook; 2] {
    if bare {
        [Hook::TunnelIngress, Hook::TunnelEgress]
    } else {
        [Hook::UplinkIngress, Hook::UplinkEgress]
    }
}

impl Work<'_> {
    /// Brings uplinks and host addresses of the datapath in line with the host. Says whether
    /// anything was different.
    pub(super) async fn sync_host(&mut self) -> Result<bool, Error> {
        let addresses = self.sync_addresses().await?;
        let uplinks = self.sync_uplinks().await?;
        Ok(addresses || uplinks)
    }

    /// Every address but loopback ones. Of IPv6 also the link-local ones, which several links may
    /// have; and those that are tentative, since without an agent nobody looks again.
    async fn sync_addresses(&self) -> Result<bool, Error> {
        let netlink = &self.instance.netlink;
        let v4 = netlink.addresses().await?.into_iter();
        let v4 = v4.map(|a| (a.addr.addr(), a.index));
        let v4 = v4.filter(|(addr, _)| !addr.is_loopback());
        let v6 = netlink.addresses6().await?.into_iter();
        let v6 = v6.map(|a| (a.addr.addr(), a.index));
        let v6 = v6.filter(|(addr, _)| !addr.is_loopback());
        let changed =
            self.put_host_addrs::<V4>(v4.map(|(a, index)| (a.octets(), index)).collect())?;
        let changed6 =
            self.put_host_addrs::<V6>(v6.map(|(a, index)| (a.octets(), index)).collect())?;
        Ok(changed || changed6)
    }

    fn put_host_addrs<A: Family>(&self, want: BTreeMap<A, u32>) -> Result<bool, Error> {
        let datapath = self.datapath()?;
        if datapath.host_addrs::<A>()? == want {
            return Ok(false);
        }
        datapath.sync_host_addrs(&want)?;
        Ok(true)
    }

    /// An uplink that is no longer asked for stays while its interface exists and a network needs
    /// uplinks: a default route that comes and goes must not end the flows, and the check that
    /// nothing leaves untranslated must not go.
    async fn sync_uplinks(&mut self) -> Result<bool, Error> {
        let wanted = self.wanted_uplinks().await?;
        let needed = self.state.networks.iter().any(|n| !n.internal);
        let netlink = &self.instance.netlink;
        let mut keep = wanted.clone();
        for old in &self.state.uplinks {
            let named = wanted.iter().any(|w| w.name == old.name);
            let uplinks = crate::config::Uplinks::Named(vec![old.name.clone()]);
            if !named && needed {
                let found = netlink.uplinks(&uplinks, &[]).await?;
                keep.extend(found.into_iter().filter(|u| u.index == old.ifindex));
            }
        }
        let mut changed = false;
        let gone: Vec<Uplink> = self
            .state
            .uplinks
            .iter()
            .filter(|old| !keep.iter().any(|k| k.name == old.name))
            .cloned()
            .collect();
        for uplink in gone {
            changed = true;
            self.undo.push(Undo::SyncHost);
            self.remove_uplink(&uplink)?;
        }
        for uplink in &keep {
            changed |= self.put_uplink(uplink)?;
        }
        Ok(changed)
    }

    async fn wanted_uplinks(&self) -> Result<Vec<net::Uplink>, Error> {
        let bridges: Vec<u32> = self.state.networks.iter().map(|n| n.ifindex).collect();
        let mut wanted: Vec<net::Uplink> = Vec::new();
        for n in self.state.networks.iter().filter(|n| !n.internal) {
            for uplink in self.instance.netlink.uplinks(&n.uplinks, &bridges).await? {
                if !wanted.iter().any(|w| w.name == uplink.name) {
                    wanted.push(uplink);
                }
            }
        }
        Ok(wanted)
    }

    fn put_uplink(&mut self, uplink: &net::Uplink) -> Result<bool, Error> {
        let datapath = self.datapath()?;
        let known = self
            .state
            .uplinks
            .iter()
            .find(|u| u.name == uplink.name)
            .cloned();
        let addr = uplink.addr.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let slot = match &known {
            Some(u) => u.slot,
            None => self.state.free_uplink_slot().ok_or(Error::NoSlot {
                what: "uplink",
                most: MAX_UPLINKS - 2,
            })?,
        };
        let now = Uplink {
            slot,
            name: uplink.name.clone(),
            ifindex: uplink.index,
            addr,
            addr6: uplink.addr6,
            mtu: uplink.mtu,
            xdp: known.as_ref().and_then(|u| u.xdp),
        };
        let found = datapath.uplink(slot)?;
        let mut record = UplinkRecord {
            ifindex: uplink.index,
            generation: found.generation,
            addr: addr.octets(),
            mtu: uplink.mtu,
            addr6: uplink.addr6.map(|a| a.octets()).unwrap_or_default(),
        };
        let same = record == found && found.generation != 0;
        if !same {
            self.undo.push(Undo::SyncHost);
            if let Some(old) = known.as_ref().filter(|u| u.ifindex != uplink.index) {
                self.clear_iface(old.ifindex)?;
            }
            // Another MTU ends no flow; another address or interface does.
            let address = |r: &UplinkRecord| (r.ifindex, r.addr, r.addr6);
            if address(&record) != address(&found) || found.generation == 0 {
                record.generation = self.state.next_generation(found.generation);
            }
            datapath.set_uplink(slot, &record)?;
        }
        let iface = IfaceRecord {
            kind: IFACE_UPLINK,
            slot: slot.into(),
        };
        datapath.set_iface(uplink.index, &iface)?;
        self.state.uplinks.retain(|u| u.slot != slot);
        self.state.uplinks.push(now);
        self.state.uplinks.sort_by_key(|u| u.slot);
        if uplink.bare {
            self.extend(Needs {
                tunnels: true,
                ..Needs::default()
            })?;
        }
        let datapath = self.datapath()?;
        for hook in hooks(uplink.bare) {
            datapath.attach(hook, &uplink.name, uplink.index)?;
        }
        Ok(!same)
    }

    fn remove_uplink(&mut self, uplink: &Uplink) -> Result<(), Error> {
        let datapath = self.datapath()?;
        let found = datapath.uplink(uplink.slot)?;
        let generation = self.state.next_generation(found.generation);
        datapath.set_uplink(
            uplink.slot,
            &UplinkRecord {
                generation,
                ..Default::default()
            },
        )?;
        self.clear_iface(uplink.ifindex)?;
        self.state.uplinks.retain(|u| u.slot != uplink.slot);
        Ok(())
    }

    fn clear_iface(&self, ifindex: u32) -> Result<(), Error> {
        let datapath = self.datapath()?;
        for hook in hooks(false).into_iter().chain(hooks(true)) {
            datapath.detach(hook, ifindex)?;
        }
        datapath.detach_xdp(ifindex)?;
        Ok(datapath.remove_iface(ifindex)?)
    }
}
