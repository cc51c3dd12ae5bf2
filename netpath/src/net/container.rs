//! The container's side: its interface, addresses and default routes, done inside its namespace.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr},
};

use ipnet::Ipv6Net;

use super::{Error, namespace::Namespace, sysctl};

/// Name of the interface inside the container.
pub const IFNAME: &str = "eth0";

/// What the container's interface gets.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// Address.
    pub addr: Ipv4Addr,
    /// Prefix length of the subnet.
    pub prefix: u8,
    /// The default route's gateway; `None` for a network that leads nowhere.
    pub gateway: Option<Ipv4Addr>,
    /// The IPv6 half; `None` for a network of IPv4 alone.
    pub ipv6: Option<Side6>,
}

/// The IPv6 half of what the container's interface gets.
#[derive(Clone, Copy, Debug)]
pub struct Side6 {
    /// Address with the prefix length of the subnet.
    pub addr: Ipv6Net,
    /// The default route's gateway; `None` for a network that leads nowhere.
    pub gateway: Option<Ipv6Addr>,
}

/// Whether the namespace has an interface of the name that netpath gives.
///
/// # Errors
/// The namespace cannot be entered.
pub fn is_taken(netns: &Namespace) -> Result<bool, Error> {
    netns.run(async |netlink| Ok(netlink.link(IFNAME).await?.is_some()))
}

/// Addresses the interface, sets it and the loopback up and adds the default routes.
///
/// Without IPv6 in the network it is turned off on the interface first: a container whose network has
/// none must not reach its neighbours or the host by link-local addresses (CVE-2024-32473), and would
/// wait for answers that never come. With it, nothing but netpath gives the interface addresses and
/// routes: router advertisements are not listened to.
///
/// # Errors
/// A step failed.
pub fn configure(netns: &Namespace, side: Side) -> Result<(), Error> {
    netns.run(async |netlink| {
        let link = netlink.link(IFNAME).await?.ok_or_else(|| Error::Request {
            what: format!("looking for {IFNAME} in `{}`", netns.name()),
            source: io::Error::from(io::ErrorKind::NotFound),
        })?;
        if side.ipv6.is_some() {
            // `addr_gen_mode` 0: the link-local address is the one of the MAC address, the only one
            // that the container's hook knows to be its own.
            for setting in ["accept_ra", "autoconf", "addr_gen_mode"] {
                set(&sysctl::ipv6(IFNAME, setting), "0")?;
            }
        }
        let off = if side.ipv6.is_some() { "0" } else { "1" };
        set(&sysctl::disable_ipv6(IFNAME), off)?;
        if let Some(lo) = netlink.link("lo").await?.filter(|lo| !lo.up) {
            netlink.set_up(lo.index, true).await?;
        }
        netlink
            .add_address(link.index, side.addr, side.prefix)
            .await?;
        netlink.set_up(link.index, true).await?;
        if let Some(gateway) = side.gateway {
            netlink
                .add_default_route(link.index, gateway.into())
                .await?;
        }
        if let Some(ipv6) = side.ipv6 {
            netlink.add_address6(link.index, ipv6.addr).await?;
            if let Some(gateway) = ipv6.gateway {
                netlink
                    .add_default_route(link.index, gateway.into())
                    .await?;
            }
        }
        Ok(())
    })
}

/// Gives the interface another MTU.
///
/// # Errors
/// The namespace cannot be entered, or the kernel refused.
pub fn set_mtu(netns: &Namespace, mtu: u32) -> Result<(), Error> {
    netns.run(async |netlink| match netlink.link(IFNAME).await? {
        Some(link) if link.mtu != mtu => netlink.set_mtu(link.index, mtu).await,
        _ => Ok(()),
    })
}

/// Changes a setting that is another; one that the kernel does not have (IPv6 compiled out) stays.
fn set(key: &str, value: &str) -> Result<(), Error> {
    if sysctl::read_optional(key)?.is_some_and(|now| now != value) {
        sysctl::write(key, value)?;
    }
    Ok(())
}
