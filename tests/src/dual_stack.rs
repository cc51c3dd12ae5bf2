//! The [`World`] with IPv6 beside IPv4.
//!
//! Owns its addresses and the IPv6 lines of configurations. Questions by IPv6 are [`crate::probe`]'s.
//!
//! ```text
//! a  fd00:17::2 ──┐
//!                 ├─ netpath0 fd00:17::1  host  uplink0 2001:db8:1::10 ── eth0 2001:db8:1::1  outside
//! b  fd00:17::3 ──┘
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use netpath::lab::links;

use crate::{
    netns::{Namespace, stdout, within},
    topology::{A, B, UPLINK, World},
};

/// The host on the uplink.
pub const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
/// The host on the other side of the uplink.
pub const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// The IPv6 subnet of the first network.
pub const SUBNET6: &str = "fd00:17::/64";
/// The gateway of the first network.
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x17, 0, 0, 0, 0, 0, 1);
/// The first container's address.
pub const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x17, 0, 0, 0, 0, 0, 2);
/// The second container's address.
pub const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x17, 0, 0, 0, 0, 0, 3);

impl World {
    /// As [`World::new`], with IPv6 on the uplink and a default route of its own.
    ///
    /// # Panics
    /// When the caller is not root.
    #[must_use]
    pub fn dual_stack(containers: &[&str]) -> Self {
        let world = Self::new(containers);
        within(&world.host, || {
            links::add_address(UPLINK, HOST6, 64).unwrap();
            links::add_route(Ipv6Addr::UNSPECIFIED, 0, OUTSIDE6).unwrap();
        });
        within(&world.outside, || {
            links::add_address("eth0", OUTSIDE6, 64).unwrap();
        });
        world
    }

    /// As [`World::with_ports`], with both families.
    #[must_use]
    pub fn dual_stack_with_ports(containers: &[&str], publish: &[&str]) -> Self {
        let world = Self::dual_stack(containers);
        world.up(&world.dual_stack_config(containers, publish, ""));
        world
    }

    /// The configuration of one network of both families with the containers `a` and, where there is
    /// one, `b`; ports of `a` published; `more` is further lines of the network.
    #[must_use]
    pub fn dual_stack_config(&self, containers: &[&str], publish: &[&str], more: &str) -> String {
        let more = format!("ipv6 = \"{SUBNET6}\"\n{more}");
        let mut config = self.network("bridge", "netpath0", "172.17.0.0/16", &more);
        for (name, (address, address6)) in containers.iter().zip([(A, A6), (B, B6)]) {
            let publish = if *name == "a" { publish } else { &[] };
            config += &self.endpoint6(name, address, address6, publish);
        }
        config
    }

    /// As [`World::endpoint`], with an address of each family.
    #[must_use]
    pub fn endpoint6(
        &self,
        name: &str,
        address: Ipv4Addr,
        address6: Ipv6Addr,
        publish: &[&str],
    ) -> String {
        let ip6 = format!("ip6 = \"{address6}\"\n");
        self.endpoint(name, address, publish) + &ip6
    }
}

/// The IPv6 addresses of an interface as `ip -6 addr` shows them, one a line: address, scope, flags.
///
/// # Panics
/// When there is no such interface.
#[track_caller]
#[must_use]
pub fn addresses6(namespace: &Namespace, ifname: &str) -> Vec<String> {
    let text = stdout(
        namespace,
        "ip",
        &["-6", "-o", "addr", "show", "dev", ifname],
    );
    let line = |line: &str| {
        let words = line.split_whitespace().skip_while(|word| *word != "inet6");
        let words = words
            .skip(1)
            .take_while(|word| !word.starts_with("valid_lft"));
        words
            .filter(|word| *word != "\\")
            .collect::<Vec<_>>()
            .join(" ")
    };
    text.lines().map(line).collect()
}
