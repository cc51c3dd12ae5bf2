//! What planning needs to know about the host, read once.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
};

use super::{Error, Instance, forwarding::Forwarding6};
use crate::{
    config::{self, PortRange, Uplinks},
    net::{Link, Uplink, listeners, listeners::Listener, namespace::Namespace, sysctl},
};

/// The host as planning sees it.
#[derive(Debug)]
pub(super) struct Facts {
    /// Interfaces.
    pub(super) links: Vec<Link>,
    /// Destinations that the host reaches without a gateway, and by which interface.
    pub(super) on_link: Vec<(ipnet::Ipv4Net, u32)>,
    /// The same of IPv6.
    pub(super) on_link6: Vec<(ipnet::Ipv6Net, u32)>,
    /// IPv4 addresses of name servers.
    pub(super) nameservers: Vec<Ipv4Addr>,
    /// Whether the host forwards IPv6, and what turning that on would take along.
    pub(super) forwarding6: Forwarding6,
    /// Interfaces of the default routes.
    pub(super) default_uplinks: Vec<Uplink>,
    /// Sockets that listen.
    pub(super) listeners: Vec<Listener>,
    /// Ports to choose from.
    pub(super) local_range: PortRange,
    /// Ports never to choose.
    pub(super) reserved: Vec<PortRange>,
    /// Inode of the managed namespace.
    pub(super) own_netns: u64,
}

/// The kernel's default of `ip_local_port_range`.
const DEFAULT_LOCAL: (u16, u16) = (32_768, 60_999);

impl Facts {
    /// A host with nothing.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self {
            links: Vec::new(),
            on_link: Vec::new(),
            on_link6: Vec::new(),
            nameservers: Vec::new(),
            forwarding6: Forwarding6::default(),
            default_uplinks: Vec::new(),
            listeners: Vec::new(),
            local_range: PortRange::new(DEFAULT_LOCAL.0, DEFAULT_LOCAL.1).unwrap(),
            reserved: Vec::new(),
            own_netns: 0,
        }
    }

    pub(super) async fn gather(instance: &Instance) -> Result<Self, Error> {
        let netlink = &instance.netlink;
        let routes = netlink.routes().await?;
        let on_link = routes
            .iter()
            .filter(|r| r.on_link && r.destination.prefix_len() > 0);
        let routes6 = netlink.routes6().await?;
        let on_link6 = routes6
            .iter()
            .filter(|r| r.on_link && r.destination.prefix_len() > 0);
        let links = netlink.links().await?;
        let mut default_uplinks = netlink.uplinks(&Uplinks::Auto, &[]).await?;
        default_uplinks.retain(|u| u.is_needed);
        let reserved = sysctl::read_optional(sysctl::LOCAL_RESERVED_PORTS)?.unwrap_or_default();
        let local = sysctl::read(sysctl::LOCAL_PORT_RANGE)?.replace('\t', "-");
        Ok(Self {
            nameservers: nameservers(&instance.name),
            forwarding6: Forwarding6::look(netlink, &links).await?,
            links,
            on_link: on_link
                .flat_map(|r| r.interfaces.iter().map(|i| (r.destination, *i)))
                .collect(),
            on_link6: on_link6
                .flat_map(|r| r.interfaces.iter().map(|i| (r.destination, *i)))
                .collect(),
            default_uplinks,
            listeners: listeners::listeners()?,
            local_range: local
                .parse()
                .ok()
                .or_else(|| PortRange::new(DEFAULT_LOCAL.0, DEFAULT_LOCAL.1))
                .ok_or(Error::NoSlot {
                    what: "port",
                    most: 0,
                })?,
            reserved: reserved
                .split(',')
                .filter_map(|r| r.trim().parse().ok())
                .collect(),
            own_netns: Namespace::current()?.ino(),
        })
    }

    pub(super) fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|l| l.name == name)
    }

    pub(super) fn link_by_index(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|l| l.index == index)
    }
}

/// The name servers of the host, or of the namespace `instance` where ip-netns(8) gives it its own. As
/// Docker, past the stub of systemd-resolved to those that it asks.
fn nameservers(instance: &str) -> Vec<Ipv4Addr> {
    const STUB: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);
    let read = |path: &str| {
        fs::read_to_string(path)
            .ok()
            .map(|t| config::nameservers(&t))
    };
    // No name servers stand in no subnet's way: none is an answer as good as any.
    let found = read(&format!("/etc/netns/{instance}/resolv.conf"))
        .or_else(|| read("/etc/resolv.conf"))
        .unwrap_or_default();
    let found = match found.as_slice() {
        [IpAddr::V4(only)] if *only == STUB => {
            read("/run/systemd/resolve/resolv.conf").unwrap_or_default()
        }
        _ => found,
    };
    let v4 = found.into_iter().filter_map(|addr| match addr {
        IpAddr::V4(addr) => Some(addr),
        IpAddr::V6(_) => None,
    });
    v4.collect()
}
