//! What is in force: the rules of the datapath as its maps hold them.
//!
//! Owns what a rule is to users, and the forms that it is shown in. The maps alone say which rules
//! there are and what they do; the state only lends them the names of networks and containers. Changes
//! nothing.

mod gather;
mod iptables;
#[cfg(test)]
mod testing;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::config::{PortRange, Protocol};

pub use self::{
    gather::{Names, Snapshot, gather},
    iptables::iptables,
};

/// Every rule: of networks by slot, then published ports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InForce {
    /// One of each family that a network has.
    pub networks: Vec<NetworkRule>,
    /// One of each slot of `np_rules` that a published port leads to.
    pub published: Vec<PublishedRule>,
    /// How masquerade chooses ports.
    pub ports: PortChoice,
}

/// How masquerade chooses ports, of all networks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortChoice {
    /// Never a flow's own, always a random one.
    pub random: bool,
    /// From these only.
    pub range: Option<PortRange>,
}

/// What happens to what leaves a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leaving {
    /// It gets the uplink's address.
    Masquerade,
    /// It gets a fixed address.
    Snat,
    /// It keeps its address.
    Routed,
    /// Nothing leaves: nothing is masqueraded.
    Unmasqueraded,
    /// Nothing leaves or enters.
    Internal,
}

impl Leaving {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Masquerade => "masquerade",
            Self::Snat => "snat",
            Self::Routed => "routed",
            Self::Unmasqueraded => "unmasqueraded",
            Self::Internal => "internal",
        }
    }
}

/// An address that a network's packets leave with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Outside {
    /// The address.
    pub address: IpAddr,
    /// The uplink whose address it is; `None` for a fixed one.
    pub uplink: Option<String>,
}

/// What happens to what leaves a network, of one family.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NetworkRule {
    /// What happens.
    pub kind: Leaving,
    /// The network.
    pub network: String,
    /// Its bridge.
    pub bridge: String,
    /// Its subnet.
    pub source: IpNet,
    /// The addresses that it leaves with.
    pub to: Vec<Outside>,
    /// The outside port does not depend on the destination.
    pub endpoint_independent: bool,
    /// Packets that its containers exchanged by flows of no published port, both directions.
    pub packets: u64,
    /// Bytes of those, by frame length.
    pub bytes: u64,
}

/// A published port or range of ports of one container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PublishedRule {
    /// Slot in `np_rules`.
    pub rule: u16,
    /// Always `publish`.
    pub kind: &'static str,
    /// The container's network.
    pub network: String,
    /// Its bridge.
    pub bridge: String,
    /// What happens to what leaves that network.
    pub leaving: Leaving,
    /// The container.
    pub endpoint: String,
    /// The host's addresses, unspecified for any of a family; in a routed network the container's own.
    pub addresses: Vec<IpAddr>,
    /// The ports there.
    #[serde(serialize_with = "text")]
    pub ports: PortRange,
    /// Protocol.
    pub protocol: Protocol,
    /// The container's addresses.
    pub to: Vec<IpAddr>,
    /// Its ports.
    #[serde(serialize_with = "text")]
    pub to_ports: PortRange,
    /// The sources that are let in; `None`: everybody.
    pub allow: Option<Vec<IpNet>>,
    /// How many containers share the ports; `None` for a port of one alone.
    pub balance: Option<usize>,
    /// Slot of the group that shares the ports, 0 for none.
    pub group: u16,
    /// Translated packets of both directions.
    pub packets: u64,
    /// Bytes of those, by frame length.
    pub bytes: u64,
}

fn text<S: serde::Serializer>(range: &PortRange, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(range)
}

impl InForce {
    /// Every rule as JSON.
    ///
    /// # Errors
    /// A value that JSON cannot hold; there is none.
    pub fn json(&self) -> Result<Vec<serde_json::Value>, serde_json::Error> {
        let networks = self.networks.iter().map(serde_json::to_value);
        let published = self.published.iter().map(serde_json::to_value);
        networks.chain(published).collect()
    }
}
