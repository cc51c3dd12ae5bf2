//! What an instance remembers of the host's own side: uplinks, and settings that it has changed.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::bpf::XdpProgram;

/// An uplink in use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uplink {
    /// Slot in the datapath.
    pub slot: u16,
    /// Name of the interface.
    pub name: String,
    /// Interface index.
    pub ifindex: u32,
    /// The address that masquerade uses; unspecified if it has none.
    pub addr: Ipv4Addr,
    /// The same of IPv6.
    #[serde(default)]
    pub addr6: Option<Ipv6Addr>,
    /// MTU in bytes.
    pub mtu: u32,
    /// The XDP program that it was given.
    #[serde(default)]
    pub xdp: Option<XdpProgram>,
    /// Containers leave by it; by another engine's bridge they do not.
    #[serde(default = "yes")]
    pub leads_out: bool,
}

const fn yes() -> bool {
    true
}

/// A kernel setting that was changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sysctl {
    /// Its dotted name.
    pub key: String,
    /// The value before.
    pub before: String,
    /// The network it was changed for; `None` for the instance as a whole.
    pub network: Option<String>,
}
