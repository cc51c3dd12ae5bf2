//! The configuration: what a user asks for, read from TOML and checked.
//!
//! Owns the file's form (`raw`), the checked form ([`Config`]) and the rules between its parts.
//! Does not look at the host: whether a namespace exists or a name is taken is for
//! [`crate::instance`] to find out.

mod binding;
mod claims;
mod create;
mod driver;
mod driver_options;
mod error;
mod ipam;
mod ipv6;
mod mac;
mod name;
mod nat;
mod netns_ref;
mod options;
mod pools;
mod port_range;
mod rate;
mod raw;
mod rules;
mod spec;
mod timeouts;
mod unbridged;
mod validate;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netpath_common::records::Timeouts;

pub use binding::HostBinding;
pub use claims::{Claim, Claims, Taker};
pub use create::{AnyNetwork, NetworkOptions};
pub use driver::{Driver, IpvlanMode, MacvlanMode};
pub use error::Error;
pub use ipam::{Ipam, Pool, Usage};
pub use ipv6::{IPV6_MTU_MIN, first_host6};
pub use mac::Mac;
pub use name::{check_ifname, check_name};
pub use nat::{Nat, Quotas};
pub use netns_ref::{FILL_IN, NetnsRef};
pub use options::Firewall;
pub use pools::{choose_subnet, nameservers, overlaps};
pub use port_range::{PortRange, Protocol};
pub use rate::{Rate, Rates};
pub use rules::check_endpoint_addr;
pub use spec::{PortSpec, SPEC_FORM, SpecError, host_text};
pub use timeouts::{CONNTRACK_MAX, CONNTRACK_MIN, default_conntrack};
pub use unbridged::{Unbridged, check_publish};

/// Where `netpath up` looks when no file is named.
pub const DEFAULT_PATH: &str = "/etc/netpath/netpath.toml";
/// The bridge of a network that names none.
pub const DEFAULT_BRIDGE: &str = "netpath0";

/// The largest super-packet of every device unless more is asked for, bytes: the kernel's name.
pub const GSO_LEGACY_MAX_SIZE: u32 = 65_536;
/// The largest super-packet that Linux knows, bytes: the kernel's name, 8 times 65,535.
pub const GSO_MAX_SIZE: u32 = 524_280;

/// A checked configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Flows that the conntrack table holds; `None` leaves the choice to the machine's memory.
    pub conntrack: Option<u32>,
    /// How much of it one container, or strangers, may use.
    pub quotas: Quotas,
    /// Lifetimes of flows.
    pub timeouts: Timeouts,
    /// How masquerade translates.
    pub nat: Nat,
    /// Networks with a bridge, in the order of the file.
    pub networks: Vec<Network>,
    /// Networks without one, in the order of the file.
    pub unbridged: Vec<Unbridged>,
}

/// A checked network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// Name, unique in the instance.
    pub name: String,
    /// Name of the bridge device.
    pub bridge: String,
    /// Subnet; `None` has one chosen.
    pub subnet: Option<Ipv4Net>,
    /// Prefix length of one that is chosen; `None` for the pool's own.
    pub subnet_size: Option<u8>,
    /// The bridge's address; `None` means the subnet's first.
    pub gateway: Option<Ipv4Addr>,
    /// IPv6 subnet; `None` for a network of IPv4 alone, or where one is chosen.
    pub ipv6: Option<Ipv6Net>,
    /// Prefix length of an IPv6 subnet that is chosen.
    pub ipv6_size: Option<u8>,
    /// The bridge's IPv6 address; `None` means the subnet's first after its own.
    pub gateway6: Option<Ipv6Addr>,
    /// Which addresses endpoints get.
    pub ipam: Ipam,
    /// What somebody wants to remember of it.
    pub labels: BTreeMap<String, String>,
    /// Whether addresses are translated.
    pub mode: Mode,
    /// MTU in bytes; `None` takes the uplink's.
    pub mtu: Option<u32>,
    /// Largest super-packet of its devices in bytes (BIG TCP); `None` leaves them as they are.
    pub gso_max_size: Option<u32>,
    /// Containers may talk to each other.
    pub icc: bool,
    /// What leaves is masqueraded.
    pub masquerade: bool,
    /// Destinations outside to which containers keep their addresses all the same, in order.
    pub no_masquerade: Vec<IpNet>,
    /// The outside port does not depend on the destination, and takes packets from everybody.
    pub bindings: bool,
    /// Fixed outside address.
    pub snat: Option<Ipv4Addr>,
    /// The same of IPv6.
    pub snat6: Option<Ipv6Addr>,
    /// Nothing leaves or enters.
    pub internal: bool,
    /// The host has no address in it either.
    pub isolated: bool,
    /// Whether the host's own firewall sees the packets.
    pub firewall: Firewall,
    /// Host address of published ports that name none.
    pub host_binding: HostBinding,
    /// Where the way in by the uplinks begins.
    pub uplink_hook: UplinkHook,
    /// Drop early, in the uplinks' drivers, what nobody wants: where `uplink_hook` is auto and the
    /// driver is one that this was tested on.
    pub early_drop: bool,
    /// Translate packets of established flows in the uplinks' drivers as well.
    pub xdp_translate: bool,
    /// Somebody else's sockets hold the host's ports that are published, such as a container
    /// engine's: they may be bound, before and after.
    pub ports_held: bool,
    /// Interfaces that lead out.
    pub uplinks: Uplinks,
    /// Endpoints in the order of the file.
    pub endpoints: Vec<Endpoint>,
}

/// What happens to containers' addresses at the uplinks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They are translated to the host's.
    #[default]
    Nat,
    /// They are routed outside as they are; in comes what containers publish.
    Routed,
}

/// Where the way in by an uplink begins. The tc programs are there in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UplinkHook {
    /// At tc, or at XDP where early drop is asked for and known to work.
    #[default]
    Auto,
    /// At tc.
    Tc,
    /// In the driver, by native XDP.
    Xdp,
}

/// Which interfaces lead out.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Uplinks {
    /// The interfaces of the default routes, and every other one by which somebody may come.
    Auto,
    /// These.
    Named(Vec<String>),
}

/// A checked endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Name, unique in the instance.
    pub name: String,
    /// The container's network namespace.
    pub netns: NetnsRef,
    /// Address; `None` takes the lowest that is free.
    pub addr: Option<Ipv4Addr>,
    /// IPv6 address; `None` takes the lowest that is free, where the network has IPv6.
    pub addr6: Option<Ipv6Addr>,
    /// MAC address of the container side; `None` has one made up.
    pub mac: Option<Mac>,
    /// Bandwidth limits.
    pub rates: Rates,
    /// Name of the container's interface; `None` takes the lowest `ethN` that is free.
    pub ifname: Option<String>,
    /// Of a container in several networks the one with the highest is its way out.
    pub gw_priority: i32,
    /// Published ports.
    pub publish: Vec<PortSpec>,
}

impl Config {
    /// Reads and checks a configuration. `origin` names the text in errors.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and the remedy.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        validate::validate(raw::parse(text, origin)?)
    }

    /// Reads and checks the configuration file at `path`.
    ///
    /// # Errors
    /// As [`Config::parse`], and when the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, &path.display().to_string())
    }
}

impl Network {
    /// The gateway within `subnet`: the one that was named, else the subnet's first address.
    #[must_use]
    pub fn gateway_in(&self, subnet: Ipv4Net) -> Ipv4Addr {
        self.gateway.unwrap_or_else(|| first_host(subnet))
    }

    /// The gateway within the IPv6 subnet: the one that was named, else the subnet's first address
    /// after its own. `None` without IPv6.
    #[must_use]
    pub fn ipv6_gateway(&self) -> Option<Ipv6Addr> {
        let subnet = self.ipv6?;
        Some(self.gateway6.unwrap_or_else(|| first_host6(subnet)))
    }
}

/// The first address of a subnet that a host can have.
#[must_use]
pub fn first_host(subnet: Ipv4Net) -> Ipv4Addr {
    subnet.hosts().next().unwrap_or_else(|| subnet.network())
}

#[cfg(test)]
mod tests;
