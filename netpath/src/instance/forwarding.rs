//! Kernel settings that the instance changes, and their way back.
//!
//! A host that forwards IPv6 takes itself for a router and no longer listens to router
//! advertisements: with `accept_ra` = 1 its own default route goes with the change, whichever
//! interface it is made at (`rt6_purge_dflt_routers`). So the interfaces that have such a route are
//! told to listen all the same (`accept_ra` = 2) before, and no longer after the way back.

use ipnet::Ipv6Net;

use super::{Error, rollback::Undo, work::Work};
use crate::{
    net::{Link, Netlink, sysctl},
    state::{Network, State, Sysctl},
};

/// IPv6 forwarding as planning sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Forwarding6 {
    /// It is on, or the kernel has no IPv6.
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

impl Work<'_> {
    /// Turns forwarding on, of IPv6 only where a network needs it, if it is not. Called when every
    /// program is attached: from here on the host forwards, and only the programs decide what.
    pub(super) async fn enable_forwarding(&mut self) -> Result<(), Error> {
        self.set_sysctl(sysctl::IP_FORWARD, "1", None)?;
        if !needs_ipv6(&self.state.networks) {
            return self.restore_forwarding6();
        }
        let links = self.instance.netlink.links().await?;
        let found = Forwarding6::look(&self.instance.netlink, &links).await?;
        if found.on {
            return Ok(());
        }
        for ifname in &found.advertised {
            self.set_sysctl(&accept_ra(ifname), "2", None)?;
        }
        // The setting of all interfaces overwrites that of each, also on its way back.
        for link in &links {
            let key = sysctl::ipv6(&link.name, "forwarding");
            if sysctl::read_optional(&key)?.as_deref() == Some("1") {
                self.remember_sysctl(&key, "1", None)?;
            }
        }
        self.set_sysctl(sysctl::FORWARDING6, "1", None)
    }

    /// Turns IPv6 forwarding off again when the last network that needed it is gone, if it was off.
    pub(super) fn restore_forwarding6(&mut self) -> Result<(), Error> {
        let Some(at) = position(&self.state, sysctl::FORWARDING6) else {
            return Ok(());
        };
        let of_ipv6 = |s: &Sysctl| s.network.is_none() && s.key.starts_with("net/ipv6/");
        let keys: Vec<_> = self.state.sysctls[..=at]
            .iter()
            .filter(|s| of_ipv6(s))
            .map(|s| s.key.clone())
            .collect();
        let mut keys = keys.iter().rev();
        keys.try_for_each(|key| self.restore_sysctl(key))
    }

    /// Changes a setting and remembers the value before. A setting that the kernel does not have
    /// (IPv6 compiled out) stays alone.
    pub(super) fn set_sysctl(
        &mut self,
        key: &str,
        value: &str,
        network: Option<&str>,
    ) -> Result<(), Error> {
        let Some(before) = sysctl::read_optional(key)? else {
            return Ok(());
        };
        if before == value {
            return Ok(());
        }
        self.remember_sysctl(key, &before, network)?;
        self.undo.push(Undo::Sysctl(key.to_owned()));
        Ok(sysctl::write(key, value)?)
    }

    /// Remembers the value of a setting that is about to change, unless an older one is.
    fn remember_sysctl(
        &mut self,
        key: &str,
        before: &str,
        network: Option<&str>,
    ) -> Result<(), Error> {
        if position(&self.state, key).is_some() {
            return Ok(());
        }
        self.state.sysctls.push(Sysctl {
            key: key.to_owned(),
            before: before.to_owned(),
            network: network.map(ToOwned::to_owned),
        });
        self.save()
    }

    /// Gives a setting its former value back and forgets it.
    pub(super) fn restore_sysctl(&mut self, key: &str) -> Result<(), Error> {
        let Some(at) = position(&self.state, key) else {
            return Ok(());
        };
        let saved = self.state.sysctls.remove(at);
        // The interface that the setting belonged to may be gone.
        if sysctl::read_optional(key)?.is_some_and(|now| now != saved.before) {
            sysctl::write(key, &saved.before)?;
        }
        Ok(())
    }

    /// Gives back every setting that was changed for `network`, or for the instance as a whole, the
    /// last one first.
    pub(super) fn restore_sysctls(&mut self, network: Option<&str>) -> Result<(), Error> {
        let keys: Vec<_> = self
            .state
            .sysctls
            .iter()
            .rev()
            .filter(|s| s.network.as_deref() == network)
            .map(|s| s.key.clone())
            .collect();
        keys.iter().try_for_each(|key| self.restore_sysctl(key))
    }
}

fn position(state: &State, key: &str) -> Option<usize> {
    state.sysctls.iter().position(|s| s.key == key)
}
