//! What an instance has made, remembered between two commands.
//!
//! Owns the state's form, its file and the lock that commands hold while they change it. The file
//! is written before the host is changed, so that what a killed command left can be found again.

mod addresses;
mod container;
mod error;
mod file;
mod generation;
mod gone;
mod host;
mod ipv6;
mod lock;
mod lookup;
mod rule;
mod slots;
#[cfg(test)]
pub(crate) mod testing;
mod unbridged;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::{
    config::{Firewall, Ipam, Mac, Mode, NetnsRef, Rates, UplinkHook, Uplinks},
    net::{SegmentSizes, container::IFNAME},
};
pub use error::Error;
pub use file::Store;
pub use gone::KeptPort;
pub use host::{Sysctl, Uplink};
pub use ipv6::Ipv6;
pub use lock::Lock;
pub use lookup::{AnyNetwork, LookupError};
pub use rule::{Homes, Rule, addrs_of};
pub use unbridged::{Lan, Made, Member, Port, Unbridged};

/// Version of the file's form.
pub const VERSION: u32 = 1;

/// Everything that one instance remembers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// [`VERSION`] of the netpath that wrote it.
    pub version: u32,
    /// The kernel's boot identifier: links and maps do not outlive a boot.
    pub boot_id: String,
    /// Cookie of the managed network namespace.
    pub netns_cookie: u64,
    /// The last generation that was given out; only grows.
    pub generation: u32,
    /// Flows that the conntrack table was made for; 0 before it is.
    pub conntrack: u32,
    /// What the pinned maps and programs were loaded from, see [`crate::bpf::Datapath::stamp`];
    /// `None` before they are and while they are being replaced.
    #[serde(default)]
    pub loaded: Option<String>,
    /// A change is under way. Found by the next command, it was killed: the host may have a part of it.
    #[serde(default)]
    pub changing: bool,
    /// Networks with a bridge in the order they were made.
    pub networks: Vec<Network>,
    /// Networks without one in the order they were made.
    #[serde(default)]
    pub unbridged: Vec<Unbridged>,
    /// Uplinks in use.
    pub uplinks: Vec<Uplink>,
    /// Kernel settings that were changed.
    pub sysctls: Vec<Sysctl>,
    /// Ports that netpath has added to `ip_local_reserved_ports`, in the kernel's form.
    #[serde(default)]
    pub reserved_ports: String,
}

/// Who asked for an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The configuration: `up` removes it when it is gone from there.
    #[default]
    Config,
    /// A command: it stays until a command removes it.
    Command,
}

/// A network that exists.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// 64 hexadecimal digits, as Docker's.
    pub id: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Slot in the datapath.
    pub slot: u16,
    /// Name.
    pub name: String,
    /// Who asked for it.
    #[serde(default)]
    pub origin: Origin,
    /// It is being made or removed. What a killed command has left so is removed by the next one.
    #[serde(default)]
    pub unfinished: bool,
    /// Name of the bridge device.
    pub bridge: String,
    /// Interface index of the bridge, 0 before it exists.
    pub ifindex: u32,
    /// MAC address of the bridge.
    pub mac: Mac,
    /// The bridge was there before: it is never deleted.
    pub adopted: bool,
    /// What an adopted bridge was before, to leave it as it was found.
    pub found: Option<Found>,
    /// Subnet.
    pub subnet: Ipv4Net,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// The IPv6 half, where the network has one.
    #[serde(default)]
    pub ipv6: Option<Ipv6>,
    /// Which addresses endpoints get.
    #[serde(default)]
    pub ipam: Ipam,
    /// What somebody wants to remember of it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether addresses are translated.
    #[serde(default)]
    pub mode: Mode,
    /// MTU in bytes.
    pub mtu: u32,
    /// Largest super-packet of its devices in bytes; `None` where that is not netpath's matter.
    #[serde(default)]
    pub gso_max_size: Option<u32>,
    /// Containers may talk to each other.
    pub icc: bool,
    /// What leaves is masqueraded.
    pub masquerade: bool,
    /// Destinations outside to which containers keep their addresses all the same.
    #[serde(default)]
    pub no_masquerade: Vec<IpNet>,
    /// The outside port does not depend on the destination, and takes packets from everybody.
    #[serde(default)]
    pub bindings: bool,
    /// Fixed outside address.
    pub snat: Option<Ipv4Addr>,
    /// Nothing leaves or enters.
    pub internal: bool,
    /// The bridge has no address.
    #[serde(default)]
    pub isolated: bool,
    /// Whether the host's own firewall sees the packets.
    #[serde(default)]
    pub firewall: Firewall,
    /// Host address of published ports that name none.
    pub host_binding: IpAddr,
    /// One of IPv6 beside it.
    #[serde(default)]
    pub host_binding6: Option<Ipv6Addr>,
    /// Where the way in by the uplinks begins.
    #[serde(default)]
    pub uplink_hook: UplinkHook,
    /// What nobody wants is dropped early where that is known to work.
    #[serde(default)]
    pub early_drop: bool,
    /// Packets of established flows are translated in the uplinks' drivers.
    #[serde(default)]
    pub xdp_translate: bool,
    /// Somebody else's sockets hold the published ports of the host.
    #[serde(default)]
    pub ports_held: bool,
    /// Interfaces that lead out, as they were asked for.
    pub uplinks: Uplinks,
    /// Endpoints in the order they were added.
    pub endpoints: Vec<Endpoint>,
}

/// An adopted bridge before netpath changed it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// It was up.
    pub up: bool,
    /// It had the gateway's address.
    pub addressed: bool,
    /// The IPv6 addresses that somebody had given it, which do not outlive its being set down, or IPv6
    /// turned off.
    #[serde(default)]
    pub addresses6: Vec<Ipv6Net>,
    /// Its MTU.
    pub mtu: u32,
    /// Its largest super-packets.
    #[serde(default)]
    pub segments: Option<SegmentSizes>,
}

/// An endpoint that exists.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// 64 hexadecimal digits, as Docker's.
    pub id: String,
    /// Name.
    pub name: String,
    /// Who asked for it.
    pub origin: Origin,
    /// It is being made. What a killed command has left so is removed by the next one.
    #[serde(default)]
    pub unfinished: bool,
    /// Its namespace is gone, and nothing of it is left on the host: it waits for a namespace of that
    /// name, with the ports that it published.
    #[serde(default)]
    pub gone: Option<Vec<KeptPort>>,
    /// The container's network namespace.
    pub netns: NetnsRef,
    /// Inode of that namespace: another one may get the same name.
    pub netns_ino: u64,
    /// Slot in the datapath.
    pub slot: u16,
    /// Address.
    pub addr: Ipv4Addr,
    /// IPv6 address, where the network has IPv6.
    #[serde(default)]
    pub addr6: Option<Ipv6Addr>,
    /// MAC address of the container side.
    pub mac: Mac,
    /// Name of the host side.
    pub ifname: String,
    /// Interface index of the host side, 0 before it exists.
    pub ifindex: u32,
    /// Name of the container side.
    #[serde(default = "first_ifname")]
    pub container_ifname: String,
    /// Of a container in several networks the one with the highest is its way out.
    #[serde(default)]
    pub gw_priority: i32,
    /// GRO of the container side was turned on, for frames that a driver's program redirects to it.
    #[serde(default)]
    pub gro: bool,
    /// Bandwidth limits.
    #[serde(default)]
    pub rates: Rates,
    /// Published ports.
    pub rules: Vec<Rule>,
}

fn first_ifname() -> String {
    IFNAME.to_owned()
}

impl Network {
    /// The network without its endpoints, which may be thousands.
    #[must_use]
    pub fn alone(&self) -> Self {
        Self {
            id: self.id.clone(),
            created: self.created.clone(),
            name: self.name.clone(),
            bridge: self.bridge.clone(),
            found: self.found.clone(),
            ipam: self.ipam.clone(),
            labels: self.labels.clone(),
            uplinks: self.uplinks.clone(),
            no_masquerade: self.no_masquerade.clone(),
            endpoints: Vec::new(),
            ..*self
        }
    }
}

impl Endpoint {
    /// The container's addresses in its network.
    #[must_use]
    pub const fn homes(&self, network: &Network) -> Homes {
        Homes {
            v4: Some(self.addr),
            v6: self.addr6,
            routed: matches!(network.mode, Mode::Routed),
        }
    }

    /// The endpoint without its published ports, which may be thousands.
    #[must_use]
    pub fn alone(&self) -> Self {
        Self {
            id: self.id.clone(),
            name: self.name.clone(),
            netns: self.netns.clone(),
            ifname: self.ifname.clone(),
            container_ifname: self.container_ifname.clone(),
            gone: self.gone.clone(),
            rules: Vec::new(),
            ..*self
        }
    }
}

impl State {
    /// The state of an instance that has made nothing.
    #[must_use]
    pub fn new(boot_id: String, netns_cookie: u64) -> Self {
        Self {
            version: VERSION,
            boot_id,
            netns_cookie,
            ..Self::default()
        }
    }

    /// Every endpoint with its network.
    pub fn endpoints(&self) -> impl Iterator<Item = (&Network, &Endpoint)> {
        self.networks
            .iter()
            .flat_map(|n| n.endpoints.iter().map(move |e| (n, e)))
    }

    /// Every published port with its endpoint.
    pub fn rules(&self) -> impl Iterator<Item = (&Endpoint, &Rule)> {
        self.endpoints()
            .flat_map(|(_, e)| e.rules.iter().map(move |r| (e, r)))
    }

    /// The network with this name.
    #[must_use]
    pub fn network(&self, name: &str) -> Option<&Network> {
        self.networks.iter().find(|n| n.name == name)
    }

    /// The network with this name.
    pub fn network_mut(&mut self, name: &str) -> Option<&mut Network> {
        self.networks.iter_mut().find(|n| n.name == name)
    }

    /// The endpoint with this name, and its network.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Option<(&Network, &Endpoint)> {
        self.endpoints().find(|(_, e)| e.name == name)
    }

    /// The endpoint with this name.
    pub fn endpoint_mut(&mut self, name: &str) -> Option<&mut Endpoint> {
        self.networks
            .iter_mut()
            .flat_map(|n| &mut n.endpoints)
            .find(|e| e.name == name)
    }

    /// The name of the endpoint in a slot.
    #[must_use]
    pub fn endpoint_in_slot(&self, slot: u16) -> Option<&str> {
        self.endpoints()
            .find(|(_, e)| e.slot == slot)
            .map(|(_, e)| e.name.as_str())
    }
}
