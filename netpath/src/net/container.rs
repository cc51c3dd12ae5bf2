//! The container's side: its interface, addresses and default routes, done inside its namespace.

use std::{io, net::Ipv4Addr};

use ipnet::Ipv6Net;

use super::{Error, Hop, Link, Netlink, namespace::Namespace, sysctl};

/// Name of the first interface inside the container.
pub const IFNAME: &str = "eth0";

/// What the container's interface gets.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Its name.
    pub ifname: &'a str,
    /// Address.
    pub addr: Ipv4Addr,
    /// Prefix length of the subnet.
    pub prefix: u8,
    /// The default route; `None` for a network that leads nowhere.
    pub gateway: Option<Hop>,
    /// The IPv6 half; `None` for a network of IPv4 alone.
    pub ipv6: Option<Side6>,
}

/// The IPv6 half of what the container's interface gets.
#[derive(Clone, Copy, Debug)]
pub struct Side6 {
    /// Address with the prefix length of the subnet.
    pub addr: Ipv6Net,
    /// The default route; `None` for a network that leads nowhere.
    pub gateway: Option<Hop>,
}

/// The names of the namespace's interfaces.
///
/// # Errors
/// The namespace cannot be entered.
pub fn interfaces(netns: &Namespace) -> Result<Vec<String>, Error> {
    netns.run(async |netlink| {
        let links = netlink.links().await?.into_iter();
        Ok(links.map(|l| l.name).collect())
    })
}

/// The interface of this name in a namespace.
///
/// # Errors
/// The namespace cannot be entered.
pub fn interface(netns: &Namespace, ifname: &str) -> Result<Option<Link>, Error> {
    netns.run(async |netlink| netlink.link(ifname).await)
}

/// Deletes an interface of a container by name, if it is the one.
///
/// # Errors
/// The namespace cannot be entered, or the kernel refused.
pub fn remove(
    netns: &Namespace,
    ifname: &str,
    is_it: impl Fn(&Link) -> bool + Sync,
) -> Result<(), Error> {
    netns.run(async |netlink| match netlink.link(ifname).await? {
        Some(link) if is_it(&link) => netlink.delete_link(link.index).await,
        _ => Ok(()),
    })
}

/// Sets the loopback of a container up, and does no more.
///
/// # Errors
/// The namespace cannot be entered, or the kernel refused.
pub fn loopback_up(netns: &Namespace) -> Result<(), Error> {
    netns.run(async |netlink| set_loopback_up(netlink).await)
}

async fn set_loopback_up(netlink: &Netlink) -> Result<(), Error> {
    match netlink.link("lo").await?.filter(|lo| !lo.up) {
        Some(lo) => netlink.set_up(lo.index, true).await,
        None => Ok(()),
    }
}

/// Addresses the interface, sets it and the loopback up and adds the default routes.
///
/// Without IPv6 in the network it is turned off on the interface first: a container whose network has
/// none must not reach its neighbours or the host by link-local addresses (CVE-2024-32473), and would
/// wait for answers that never come. With it, nothing but netpath gives the interface addresses and
/// routes: router advertisements are not listened to.
///
/// Returns the interface.
///
/// # Errors
/// A step failed.
pub fn configure(netns: &Namespace, side: Side<'_>) -> Result<Link, Error> {
    let ifname = side.ifname;
    netns.run(async |netlink| {
        let link = netlink.link(ifname).await?.ok_or_else(|| Error::Request {
            what: format!("looking for {ifname} in `{}`", netns.name()),
            source: io::Error::from(io::ErrorKind::NotFound),
        })?;
        if side.ipv6.is_some() {
            // `addr_gen_mode` 0: the link-local address is the one of the MAC address, the only one
            // that the container's hook knows to be its own.
            for setting in ["accept_ra", "autoconf", "addr_gen_mode"] {
                set(&sysctl::ipv6(ifname, setting), "0")?;
            }
        }
        let off = if side.ipv6.is_some() { "0" } else { "1" };
        set(&sysctl::disable_ipv6(ifname), off)?;
        set_loopback_up(netlink).await?;
        netlink
            .add_address(link.index, side.addr, side.prefix)
            .await?;
        netlink.set_up(link.index, true).await?;
        if let Some(gateway) = side.gateway {
            netlink.add_default_route(link.index, gateway).await?;
        }
        if let Some(ipv6) = side.ipv6 {
            netlink.add_address6(link.index, ipv6.addr).await?;
            if let Some(gateway) = ipv6.gateway {
                netlink.add_default_route(link.index, gateway).await?;
            }
        }
        Ok(link)
    })
}

/// Gives the interface another MTU.
///
/// # Errors
/// The namespace cannot be entered, or the kernel refused.
pub fn set_mtu(netns: &Namespace, ifname: &str, mtu: u32) -> Result<(), Error> {
    netns.run(async |netlink| match netlink.link(ifname).await? {
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
