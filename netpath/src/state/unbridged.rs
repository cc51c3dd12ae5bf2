//! Networks without a bridge that exist, and who is in them.
//!
//! Owns their form. The datapath knows nothing of them, so they are apart from [`super::Network`].

use std::{
    collections::{BTreeMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{Ipv6, Origin, State};
use crate::config::{Driver, Ipam, Mac, NetnsRef, Pool};

/// A network without a bridge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unbridged {
    /// 64 hexadecimal digits, as Docker's.
    pub id: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Name, unique among the networks of all drivers.
    pub name: String,
    /// Who asked for it.
    pub origin: Origin,
    /// It is being made or removed. What a killed command has left so is removed by the next one.
    #[serde(default)]
    pub unfinished: bool,
    /// Its driver; not [`Driver::Bridge`].
    pub driver: Driver,
    /// What somebody wants to remember of it.
    pub labels: BTreeMap<String, String>,
    /// What its containers' interfaces are; `None` where they get none.
    pub lan: Option<Lan>,
    /// Its endpoints in the order they were added.
    pub members: Vec<Member>,
}

/// Interfaces on an interface of the host, and their addresses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lan {
    /// Name of the parent.
    pub parent: String,
    /// The parent is netpath's own, and goes with the network.
    pub made: Option<Made>,
    /// Nothing leads out.
    pub internal: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// Subnet.
    pub subnet: Ipv4Net,
    /// The router's address; in a network without one nobody has it.
    pub gateway: Ipv4Addr,
    /// The IPv6 half, where the network has one.
    pub ipv6: Option<Ipv6>,
    /// Which addresses endpoints get.
    pub ipam: Ipam,
}

/// A parent that netpath made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Made {
    /// A VLAN of this interface, with this number.
    Vlan(String, u16),
    /// One that leads nowhere.
    Dummy,
}

/// An endpoint of a network without a bridge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// 64 hexadecimal digits, as Docker's.
    pub id: String,
    /// Name, unique among the endpoints of all networks.
    pub name: String,
    /// Who asked for it.
    pub origin: Origin,
    /// It is being made. What a killed command has left so is removed by the next one.
    #[serde(default)]
    pub unfinished: bool,
    /// The container's network namespace.
    pub netns: NetnsRef,
    /// Inode of that namespace: another one may get the same name.
    pub netns_ino: u64,
    /// Its interface; `None` where it has none of its own.
    pub port: Option<Port>,
}

/// The interface of a [`Member`], in the container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Name.
    pub ifname: String,
    /// Of a container in several networks the one with the highest is its way out.
    #[serde(default)]
    pub gw_priority: i32,
    /// Interface index in the container's namespace, 0 before it exists.
    pub ifindex: u32,
    /// MAC address; `None` for the parent's.
    pub mac: Option<Mac>,
    /// Address.
    pub addr: Ipv4Addr,
    /// IPv6 address, where the network has IPv6.
    pub addr6: Option<Ipv6Addr>,
}

impl Lan {
    /// The IPv4 addresses.
    #[must_use]
    pub const fn pool(&self) -> Pool<'_> {
        Pool::v4(self.subnet, self.gateway, &self.ipam)
    }

    /// The IPv6 addresses; `None` in a network of IPv4 alone.
    #[must_use]
    pub fn pool6(&self) -> Option<Pool<'_>> {
        Some(self.ipv6?.pool(&self.ipam))
    }
}

impl Unbridged {
    /// The network without its endpoints.
    #[must_use]
    pub fn alone(&self) -> Self {
        Self {
            members: Vec::new(),
            ..self.clone()
        }
    }

    /// Who has an address.
    #[must_use]
    pub fn holder(&self, addr: IpAddr) -> Option<&Member> {
        let has = |p: &Port| IpAddr::V4(p.addr) == addr || p.addr6.map(IpAddr::V6) == Some(addr);
        let found = |m: &&Member| m.port.as_ref().is_some_and(has);
        self.members.iter().find(found)
    }

    /// What endpoints have of the addresses of both families.
    #[must_use]
    pub fn taken(&self) -> HashSet<IpAddr> {
        let ports = self.members.iter().filter_map(|m| m.port.as_ref());
        let both = |p: &Port| [Some(IpAddr::V4(p.addr)), p.addr6.map(IpAddr::V6)];
        ports.flat_map(both).flatten().collect()
    }
}

impl State {
    /// There is no network of any driver.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.unbridged.is_empty()
    }

    /// The names of the networks of all drivers.
    pub fn network_names(&self) -> impl Iterator<Item = &str> {
        let bridged = self.networks.iter().map(|n| n.name.as_str());
        bridged.chain(self.unbridged.iter().map(|n| n.name.as_str()))
    }

    /// The names of the endpoints of all networks.
    pub fn endpoint_names(&self) -> impl Iterator<Item = &str> {
        let bridged = self.endpoints().map(|(_, e)| e.name.as_str());
        bridged.chain(self.members().map(|(_, m)| m.name.as_str()))
    }

    /// The network without a bridge that has this name.
    #[must_use]
    pub fn unbridged(&self, name: &str) -> Option<&Unbridged> {
        self.unbridged.iter().find(|n| n.name == name)
    }

    /// The network without a bridge that has this name.
    pub fn unbridged_mut(&mut self, name: &str) -> Option<&mut Unbridged> {
        self.unbridged.iter_mut().find(|n| n.name == name)
    }

    /// Every endpoint of a network without a bridge, with its network.
    pub fn members(&self) -> impl Iterator<Item = (&Unbridged, &Member)> {
        self.unbridged
            .iter()
            .flat_map(|n| n.members.iter().map(move |m| (n, m)))
    }

    /// The endpoint of this name in a network without a bridge, and its network.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<(&Unbridged, &Member)> {
        self.members().find(|(_, m)| m.name == name)
    }

    /// The endpoint of this name in a network without a bridge.
    pub fn member_mut(&mut self, name: &str) -> Option<&mut Member> {
        let mut all = self.unbridged.iter_mut().flat_map(|n| &mut n.members);
        all.find(|m| m.name == name)
    }

    /// The network of an endpoint, whatever its driver.
    #[must_use]
    pub fn network_of(&self, endpoint: &str) -> Option<&str> {
        let bridged = self.endpoint(endpoint).map(|(n, _)| n.name.as_str());
        bridged.or_else(|| self.member(endpoint).map(|(n, _)| n.name.as_str()))
    }
}
