//! The networks that rules speak of.
//!
//! Owns which subnet and which bridge belong together, and what is guessed where the rules do not
//! tell. What can be a network is for the configuration's own checks.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::write;
use crate::config::Config;

/// A network as far as it is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Net {
    pub(super) name: Option<String>,
    pub(super) bridge: Option<String>,
    pub(super) v4: Option<Ipv4Net>,
    pub(super) v6: Option<Ipv6Net>,
    /// Subnets that containers' addresses alone speak for.
    pub(super) guessed: BTreeSet<IpNet>,
    /// What leaves is masqueraded: IPv4, IPv6.
    pub(super) masquerade: [bool; 2],
    /// The fixed address that it leaves with.
    pub(super) snat: [Option<IpAddr>; 2],
    /// Interfaces that it leaves by; none: any.
    pub(super) uplinks: BTreeSet<String>,
    pub(super) icc: bool,
    pub(super) internal: bool,
    /// The rules that translate what leaves.
    pub(super) rules: BTreeSet<usize>,
}

impl Default for Net {
    fn default() -> Self {
        Self {
            name: None,
            bridge: None,
            v4: None,
            v6: None,
            guessed: BTreeSet::new(),
            masquerade: [false; 2],
            snat: [None; 2],
            uplinks: BTreeSet::new(),
            icc: true,
            internal: false,
            rules: BTreeSet::new(),
        }
    }
}

impl Net {
    /// The subnet of a family.
    pub(super) fn subnet(&self, v6: bool) -> Option<IpNet> {
        if v6 {
            self.v6.map(IpNet::V6)
        } else {
            self.v4.map(IpNet::V4)
        }
    }

    fn set(&mut self, subnet: IpNet) {
        match subnet {
            IpNet::V4(net) => self.v4 = Some(net),
            IpNet::V6(net) => self.v6 = Some(net),
        }
    }

    fn subnets(&self) -> impl Iterator<Item = IpNet> {
        [self.subnet(false), self.subnet(true)]
            .into_iter()
            .flatten()
    }

    /// Whether packets of either family leave masqueraded.
    pub(super) fn masquerades(&self) -> bool {
        self.masquerade.contains(&true)
    }
}

/// How packets leave a network, as a rule says it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Leave {
    pub(super) rule: usize,
    pub(super) name: Option<String>,
    pub(super) bridge: Option<String>,
    pub(super) uplink: Option<String>,
    pub(super) snat: Option<IpAddr>,
}

/// All of them, in the order in which they are met.
#[derive(Debug, Default)]
pub(super) struct Nets(pub(super) Vec<Net>);

impl Nets {
    /// The network that an address belongs to.
    pub(super) fn of(&self, addr: IpAddr) -> Option<usize> {
        let holds = |n: &Net| n.subnets().any(|s| s.contains(&addr));
        self.0.iter().position(holds)
    }

    /// The network with a bridge.
    pub(super) fn with_bridge(&self, bridge: &str) -> Option<usize> {
        let named = |n: &Net| n.bridge.as_deref() == Some(bridge);
        self.0.iter().position(named)
    }

    /// The network whose subnet this is.
    fn with_subnet(&self, subnet: IpNet) -> Option<usize> {
        let same = |n: &Net| n.subnets().any(|s| s == subnet);
        self.0.iter().position(same)
    }

    /// What leaves `subnet` is translated.
    pub(super) fn leaves(&mut self, subnet: IpNet, how: &Leave) -> Result<(), String> {
        let family = usize::from(subnet.addr().is_ipv6());
        let known = self.with_subnet(subnet);
        if let Some(n) = known.and_then(|at| self.0.get_mut(at))
            && n.masquerade.get(family) == Some(&true)
        {
            if n.snat.get(family) != Some(&how.snat) {
                return Err("its network leaves with another address already".into());
            }
            // Once for each interface that it leaves by, or for any.
            match &how.uplink {
                Some(uplink) if !n.uplinks.is_empty() => {
                    n.uplinks.insert(uplink.clone());
                }
                _ => n.uplinks.clear(),
            }
            return Ok(());
        }
        self.change(subnet, how.bridge.as_deref(), how.name.as_deref(), |n| {
            n.rules.insert(how.rule);
            if !n.masquerades() {
                n.uplinks.extend(how.uplink.clone());
            }
            if let Some(on) = n.masquerade.get_mut(family) {
                *on = true;
            }
            if let Some(snat) = n.snat.get_mut(family) {
                *snat = how.snat;
            }
        })
        .map(drop)
    }

    /// The network with this subnet, bridge or name, made where there is none, after a change that its
    /// checks allow.
    pub(super) fn change(
        &mut self,
        subnet: IpNet,
        bridge: Option<&str>,
        name: Option<&str>,
        change: impl FnOnce(&mut Net),
    ) -> Result<usize, String> {
        // Rules name single hosts so, and the configuration would take them for networks.
        if subnet.max_prefix_len() - subnet.prefix_len() < 2 {
            return Err(format!("{subnet} has no room for a bridge and a container"));
        }
        let v6 = subnet.addr().is_ipv6();
        let free = |at: &usize| self.0.get(*at).is_some_and(|n| n.subnet(v6).is_none());
        let named = |n: &Net| name.is_some() && n.name.as_deref() == name;
        let at = self
            .with_subnet(subnet)
            .or_else(|| bridge.and_then(|b| self.with_bridge(b)).filter(free))
            .or_else(|| self.0.iter().position(named).filter(free));
        let mut net = at
            .and_then(|at| self.0.get(at))
            .cloned()
            .unwrap_or_default();
        if let Some(bridge) = bridge
            && self.with_bridge(bridge).is_none()
        {
            net.bridge.get_or_insert_with(|| bridge.to_owned());
        }
        if net.name.is_none() && crate::config::check_name(name.unwrap_or_default()).is_ok() {
            net.name = name.map(str::to_owned);
        }
        net.set(subnet);
        change(&mut net);
        let others = (0..).zip(&self.0).filter(|(other, _)| Some(*other) != at);
        let near = |s: &IpNet| s.contains(&subnet.network()) || subnet.contains(&s.network());
        if let Some(other) = others.flat_map(|(_, n)| n.subnets()).find(near) {
            return Err(format!(
                "{subnet} overlaps {other}, which is another network"
            ));
        }
        check(&net)?;
        Ok(if let Some(place) = at.and_then(|at| self.0.get_mut(at)) {
            *place = net;
            at.unwrap_or_default()
        } else {
            self.0.push(net);
            self.0.len() - 1
        })
    }

    /// The network of a container; where no rule names its subnet one is guessed.
    pub(super) fn home(
        &mut self,
        addr: IpAddr,
        bridge: Option<&str>,
        name: Option<&str>,
    ) -> Result<usize, String> {
        if let Some(at) = self.of(addr) {
            let free = bridge.is_some_and(|b| self.with_bridge(b).is_none());
            if let Some(n) = self.0.get_mut(at) {
                if free && n.bridge.is_none() {
                    n.bridge = bridge.map(str::to_owned);
                }
                let named = crate::config::check_name(name.unwrap_or_default()).is_ok();
                if n.name.is_none() && named {
                    n.name = name.map(str::to_owned);
                }
            }
            return Ok(at);
        }
        let subnet = guess(addr, bridge.is_some()).ok_or("its address is no container's")?;
        self.change(subnet, bridge, name, |n| {
            n.guessed.insert(subnet);
        })
    }
}

/// The subnet that an address most likely is of: Docker's pools behind a bridge, else the usual.
fn guess(addr: IpAddr, bridged: bool) -> Option<IpNet> {
    let length = match addr {
        IpAddr::V6(_) => 64,
        IpAddr::V4(a) if bridged && is_within(a, [172, 16, 0, 0], 12) => 16,
        IpAddr::V4(a) if bridged && is_within(a, [192, 168, 0, 0], 16) => 20,
        IpAddr::V4(_) => 24,
    };
    IpNet::new(addr, length).ok().map(|net| net.trunc())
}

fn is_within(addr: Ipv4Addr, net: [u8; 4], length: u8) -> bool {
    Ipv4Net::new(net.into(), length).is_ok_and(|net| net.contains(&addr))
}

/// Asks the configuration's own checks.
pub(super) fn check(net: &Net) -> Result<(), String> {
    let text = write::network(net, "n", "n0");
    Config::parse(&text, "").map(drop).map_err(|e| {
        let said = e.to_string();
        said.replace("network `n`: ", "")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn families_of_one_bridge_are_one_network() {
        let mut nets = Nets::default();
        let how = Leave {
            bridge: Some("docker0".into()),
            ..Leave::default()
        };
        nets.leaves(net("172.17.0.0/16"), &how).unwrap();
        nets.leaves(net("fd00:17::/64"), &how).unwrap();
        assert_eq!(nets.0.len(), 1);
        assert_eq!(nets.0[0].masquerade, [true, true]);
        assert_eq!(nets.home("fd00:17::9".parse().unwrap(), None, None), Ok(0));
        // Another network has that bridge already.
        nets.leaves(net("172.18.0.0/16"), &how).unwrap();
        assert_eq!(nets.0[1].bridge, None);
    }

    #[test]
    fn what_cannot_be_a_network_is_said_in_its_own_words() {
        let mut nets = Nets::default();
        let plain = Leave::default();
        for (bad, why) in [
            ("10.0.0.0/7", "within 8 and 32"),
            ("10.0.0.4/31", "no room for"),
            ("127.0.0.0/8", "unicast"),
            ("fe80::/64", "link-local"),
        ] {
            let e = nets.leaves(net(bad), &plain).unwrap_err();
            assert!(e.contains(why), "{bad}: {e}");
        }
        assert_eq!(nets.0, []);
        nets.leaves(net("10.0.0.0/8"), &plain).unwrap();
        let e = nets.leaves(net("10.1.0.0/16"), &plain).unwrap_err();
        assert!(e.contains("overlaps 10.0.0.0/8"), "{e}");
        let fixed = Leave {
            snat: "192.0.2.7".parse().ok(),
            ..Leave::default()
        };
        assert!(nets.leaves(net("10.0.0.0/8"), &fixed).is_err());
    }

    #[test]
    fn guesses() {
        for (addr, bridged, want) in [
            ("172.20.3.4", true, "172.20.0.0/16"),
            ("192.168.17.4", true, "192.168.16.0/20"),
            ("192.168.17.4", false, "192.168.17.0/24"),
            ("10.5.6.7", true, "10.5.6.0/24"),
            ("fd00::7", true, "fd00::/64"),
        ] {
            assert_eq!(guess(addr.parse().unwrap(), bridged), Some(net(want)));
        }
    }
}
