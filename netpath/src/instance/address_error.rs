//! What can go wrong with the choice of subnets and addresses.

use std::{collections::HashSet, net::IpAddr};

use ipnet::IpNet;

use crate::config;

/// An error of the choice of addresses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The host has a route into the subnet.
    #[error(
        "network `{network}`: subnet {subnet} overlaps the host's route to {route} by {ifname}; choose \
         another subnet"
    )]
    SubnetRouted {
        /// The network.
        network: String,
        /// Its subnet.
        subnet: IpNet,
        /// The route's destination.
        route: IpNet,
        /// The route's interface.
        ifname: String,
    },
    /// Every pool is used up.
    #[error(
        "network `{network}`: no subnet of the address pools{} is clear of the host's routes, its name \
         servers and {networks} networks; name one, or remove a network",
        size.map_or_else(String::new, |size| format!(" with a prefix of {size} bits"))
    )]
    NoSubnet {
        /// The network.
        network: String,
        /// Prefix length that was asked for.
        size: Option<u8>,
        /// How many networks there are.
        networks: usize,
    },
    /// Every address is used up.
    #[error(
        "network `{network}`: every address of {range} is taken: of its subnet {subnet} endpoints have \
         {endpoints}, something else has {aux}, and its own are the rest; remove an endpoint{}",
        if range == subnet { "" } else { ", widen ip_range, or name an address of the subnet" }
    )]
    NoAddress {
        /// The network.
        network: String,
        /// Where addresses are chosen from.
        range: IpNet,
        /// Its subnet.
        subnet: IpNet,
        /// How many addresses endpoints have.
        endpoints: usize,
        /// How many auxiliary ones there are.
        aux: usize,
    },
    /// An endpoint has an address that shall be something else's.
    #[error(
        "network `{network}`: auxiliary address {name} = {addr} belongs to endpoint `{endpoint}` already; \
         remove that endpoint, or choose another address"
    )]
    AuxTaken {
        /// The network.
        network: String,
        /// What it is called.
        name: String,
        /// The address.
        addr: IpAddr,
        /// Who has it.
        endpoint: String,
    },
}

impl AddressError {
    /// A network has no address left.
    pub(super) fn none_left(
        network: &str,
        pool: &config::Pool<'_>,
        taken: &HashSet<IpAddr>,
    ) -> Self {
        let aux = pool.ipam.aux.values();
        Self::NoAddress {
            network: network.to_owned(),
            range: pool.dynamic(),
            subnet: pool.subnet,
            endpoints: taken.len(),
            aux: aux.filter(|a| pool.subnet.contains(*a)).count(),
        }
    }
}
