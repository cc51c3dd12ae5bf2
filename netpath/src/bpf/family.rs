//! The maps that exist once for each family of addresses, by the names that user space opens them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netpath_common::{Addr, V4, V6, maps};

/// A family of addresses with maps of its own.
pub trait Family: Addr + aya::Pod + Ord {
    /// What `ip` and conntrack call it.
    const NAME: &'static str;
    /// The kernel's number of it (`AF_*`).
    const NUMBER: u8;
    /// What the conntrack tool calls its ICMP.
    const ICMP_NAME: &'static str;
    /// Conntrack.
    const CT: &'static str;
    /// Addresses of the host.
    const HOST_ADDRS: &'static str;
    /// Published ports.
    const PUBLISHED: &'static str;
    /// The program that removes flows.
    const COLLECTOR: &'static str;

    /// The address as people write it.
    #[must_use]
    fn ip(self) -> IpAddr;
}

impl Family for V4 {
    const NAME: &'static str = "ipv4";
    const NUMBER: u8 = libc::AF_INET as u8;
    const ICMP_NAME: &'static str = "icmp";
    const CT: &'static str = maps::CT4;
    const HOST_ADDRS: &'static str = maps::HOST_ADDRS4;
    const PUBLISHED: &'static str = maps::PUBLISHED4;
    const COLLECTOR: &'static str = "np_collect";

    fn ip(self) -> IpAddr {
        Ipv4Addr::from(self).into()
    }
}

impl Family for V6 {
    const NAME: &'static str = "ipv6";
    const NUMBER: u8 = libc::AF_INET6 as u8;
    const ICMP_NAME: &'static str = "icmpv6";
    const CT: &'static str = maps::CT6;
    const HOST_ADDRS: &'static str = maps::HOST_ADDRS6;
    const PUBLISHED: &'static str = maps::PUBLISHED6;
    const COLLECTOR: &'static str = "np_collect6";

    fn ip(self) -> IpAddr {
        Ipv6Addr::from(self).into()
    }
}
