//! What can be wrong with a configuration, each with the object, what was found and the remedy.

use std::{io, net::IpAddr, path::PathBuf};

use ipnet::IpNet;

use super::{Protocol, SpecError};

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}; name another file with -c", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not TOML, or a value of the wrong type.
    #[error("{origin}, line {line}: {message}")]
    Syntax {
        /// The file.
        origin: String,
        /// Line from 1.
        line: usize,
        /// What the parser found.
        message: String,
    },
    /// A key that netpath does not know.
    #[error("{origin}, line {line}: unknown key `{key}`; the keys known here are {known}")]
    UnknownKey {
        /// The file.
        origin: String,
        /// Line from 1.
        line: usize,
        /// The key.
        key: String,
        /// What could stand there.
        known: String,
    },
    /// A value that the design has and this version does not.
    #[error("network `{network}`: {key} = {value} is not supported yet; {remedy}")]
    Unsupported {
        /// The network.
        network: String,
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What works.
        remedy: &'static str,
    },
    /// A key that the network's driver has no use for.
    #[error("network `{network}`: {key} is not for the driver {driver}: {why}; leave it out")]
    NotOfDriver {
        /// The network.
        network: String,
        /// The key.
        key: &'static str,
        /// Its driver.
        driver: &'static str,
        /// Why.
        why: &'static str,
    },
    /// Two networks of one interface.
    #[error(
        "network `{network}`: parent {parent} is network `{other}`'s already; choose another, such as a \
         VLAN of it ({parent}.10), or put the endpoints into that network"
    )]
    ParentTaken {
        /// The later network.
        network: String,
        /// The interface.
        parent: String,
        /// The earlier network.
        other: String,
    },
    /// A second network of what there is only one of; the first sentence is Docker's.
    #[error(
        "only one instance of \"{driver}\" network is allowed (network `{network}`; `{other}` is one \
         already: add the endpoint to that)"
    )]
    OnlyOne {
        /// The later network.
        network: String,
        /// Its driver.
        driver: &'static str,
        /// The earlier network.
        other: String,
    },
    /// A value out of its range or form.
    #[error("{object}: {key} = {value} is not valid: {reason}")]
    Invalid {
        /// What it belongs to.
        object: String,
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// The rule.
        reason: String,
    },
    /// A name that two objects share.
    #[error("{kind} `{name}` is configured twice; give each its own {kind} name")]
    Duplicate {
        /// What kind of object.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Two networks claim the same addresses.
    #[error(
        "network `{network}`: subnet {subnet} overlaps {other_subnet} of network `{other}`; \
         choose subnets that share no address"
    )]
    Overlap {
        /// The later network.
        network: String,
        /// Its subnet.
        subnet: IpNet,
        /// The earlier network.
        other: String,
        /// Its subnet.
        other_subnet: IpNet,
    },
    /// An address that its subnet does not hold.
    #[error(
        "{object}: address {addr} is outside the subnet {subnet} of network `{network}`; choose one inside"
    )]
    OutsideSubnet {
        /// Whose address.
        object: String,
        /// The address.
        addr: IpAddr,
        /// The network.
        network: String,
        /// Its subnet.
        subnet: IpNet,
    },
    /// An address of the subnet that no endpoint may have.
    #[error("{object}: address {addr} is the {what} of network `{network}`; choose another")]
    ReservedAddress {
        /// Whose address.
        object: String,
        /// The address.
        addr: IpAddr,
        /// What it is.
        what: &'static str,
        /// The network.
        network: String,
    },
    /// Two endpoints with one address.
    #[error(
        "endpoint `{name}`: address {addr} belongs to endpoint `{other}` already; choose another"
    )]
    AddressTaken {
        /// The later endpoint.
        name: String,
        /// The address.
        addr: IpAddr,
        /// The earlier endpoint.
        other: String,
    },
    /// A published port that cannot be understood.
    #[error("endpoint `{endpoint}`: publish `{spec}`: {source}")]
    Spec {
        /// The endpoint.
        endpoint: String,
        /// The text.
        spec: String,
        /// What is wrong.
        source: SpecError,
    },
    /// A published port that is taken; the first sentence is Docker's.
    #[error(
        "Bind for {}:{port} failed: port is already allocated \
         (endpoint `{endpoint}`, {proto}; it belongs to {holder}; choose another port or unpublish that one)",
        super::host_text(*addr)
    )]
    PortTaken {
        /// The endpoint that asks.
        endpoint: String,
        /// Host address.
        addr: IpAddr,
        /// Host port.
        port: u16,
        /// Protocol.
        proto: Protocol,
        /// Who has it.
        holder: String,
    },
}
