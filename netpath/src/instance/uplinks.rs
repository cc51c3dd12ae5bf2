//! The host's own side in the datapath: its uplinks and addresses.

use std::{collections::BTreeMap, net::Ipv4Addr};

use netpath_common::{
    V4, V6,
    maps::MAX_UPLINKS,
    records::{IFACE_UPLINK, IFACE_UPLINK_IN, IfaceRecord, UplinkRecord},
};

use super::{Error, forwarding, rollback::Undo, work::Work};
use crate::{
    bpf::{Family, Hook, Needs},
    config, net,
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
        let bridges: Vec<u32> = self.state.networks.iter().map(|n| n.ifindex).collect();
        let wanted = self.wanted_uplinks(&bridges).await?;
        let needed = self.state.networks.iter().any(|n| !n.internal);
        let netlink = &self.instance.netlink;
        let mut keep = wanted.clone();
        for old in &self.state.uplinks {
            let named = wanted.iter().any(|w| w.name == old.name);
            let uplinks = config::Uplinks::Named(vec![old.name.clone()]);
            if !named && needed {
                let found = netlink.uplinks(&uplinks, &bridges).await?;
                let found = found.into_iter().filter(|u| u.index == old.ifindex);
                // Nobody names it: it stays what it was.
                keep.extend(found.map(|u| net::Uplink {
                    is_needed: false,
                    leads_out: old.leads_out,
                    ..u
                }));
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
            changed |= match self.put_uplink(uplink) {
                // Nobody has asked for this one by name, and the way out is another.
                Err(e @ Error::NoSlot { .. }) if !uplink.is_needed => {
                    tracing::warn!("interface {} is no uplink: {e}", uplink.name);
                    false
                }
                done => done?,
            };
        }
        Ok(changed)
    }

    /// What the networks say of their uplinks, each once: most say the same, and the kernel is asked for all
    /// interfaces and addresses each time.
    pub(super) fn wishes(&self) -> Vec<&config::Uplinks> {
        let mut wishes = Vec::new();
        for n in self.state.networks.iter().filter(|n| !n.internal) {
            if !wishes.contains(&&n.uplinks) {
                wishes.push(&n.uplinks);
            }
        }
        wishes
    }

    /// Those that are needed come first.
    async fn wanted_uplinks(&self, bridges: &[u32]) -> Result<Vec<net::Uplink>, Error> {
        let mut wanted: Vec<net::Uplink> = Vec::new();
        for wish in self.wishes() {
            for uplink in self.instance.netlink.uplinks(wish, bridges).await? {
                match wanted.iter_mut().find(|w| w.name == uplink.name) {
                    Some(known) => known.is_needed |= uplink.is_needed,
                    None => wanted.push(uplink),
                }
            }
        }
        wanted.sort_by_key(|u| !u.is_needed);
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
            leads_out: uplink.leads_out,
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
            kind: iface_kind(uplink.leads_out),
            slot: slot.into(),
            flags: forwarding::closed(&self.state, &uplink.name)?,
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
        if self.state.networks.iter().any(|n| n.ifindex == ifindex) {
            // It has become a network's bridge, whose record this is.
            return Ok(());
        }
        Ok(datapath.remove_iface(ifindex)?)
    }
}

/// What an uplink is in `np_ifaces`.
pub(super) const fn iface_kind(leads_out: bool) -> u32 {
    if leads_out {
        IFACE_UPLINK
    } else {
        IFACE_UPLINK_IN
    }
}
