//! The container's side: its interface, address and default route, done inside its namespace.

use std::{io, net::Ipv4Addr};

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
}

/// Whether the namespace has an interface of the name that netpath gives.
///
/// # Errors
/// The namespace cannot be entered.
pub fn is_taken(netns: &Namespace) -> Result<bool, Error> {
    netns.run(async |netlink| Ok(netlink.link(IFNAME).await?.is_some()))
}

/// Addresses the interface, sets it and the loopback up and adds the default route.
///
/// IPv6 is turned off on the interface first: the datapath drops it, and a link-local address would
/// have programs wait for answers that never come.
///
/// # Errors
/// A step failed.
pub fn configure(netns: &Namespace, side: Side) -> Result<(), Error> {
    netns.run(async |netlink| {
        let link = netlink.link(IFNAME).await?.ok_or_else(|| Error::Request {
            what: format!("looking for {IFNAME} in `{}`", netns.name()),
            source: io::Error::from(io::ErrorKind::NotFound),
        })?;
        let key = sysctl::disable_ipv6(IFNAME);
        if sysctl::read_optional(&key)?.is_some_and(|v| v != "1") {
            sysctl::write(&key, "1")?;
        }
        if let Some(lo) = netlink.link("lo").await?.filter(|lo| !lo.up) {
            netlink.set_up(lo.index, true).await?;
        }
        netlink
            .add_address(link.index, side.addr, side.prefix)
            .await?;
        netlink.set_up(link.index, true).await?;
        if let Some(gateway) = side.gateway {
            netlink.add_default_route(link.index, gateway).await?;
        }
        Ok(())
    })
}
