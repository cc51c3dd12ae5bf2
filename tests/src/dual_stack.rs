//! The [`World`] with IPv6 beside IPv4.
//!
//! Owns its addresses and the IPv6 lines of configurations. Questions by IPv6 are [`crate::probe`]'s.
//!
//! ```text
//! a  fd00:17::2 ──┐
//!                 ├─ netpath0 fd00:17::1  host  uplink0 2001:db8:1::10 ── eth0 2001:db8:1::1  outside
//! b  fd00:17::3 ──┘
//! ```

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
};

use netpath::{
    config::Mac,
    lab::{frame, links, ping::checksum},
    net::link_local,
};

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
        // Link-local addresses settle at once: until then a router asks for no neighbour on behalf of
        // others (`ndisc_solicit`), and a first packet waits longer than a test does.
        for (namespace, ifname) in [(&world.host, UPLINK), (&world.outside, "eth0")] {
            for (setting, value) in [
                ("accept_dad", "0"),
                ("disable_ipv6", "1"),
                ("disable_ipv6", "0"),
            ] {
                set6(namespace, ifname, setting, value);
            }
        }
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

/// The IPv6 addresses of an interface, or of all, but the link-local ones that come and settle by
/// themselves: as `ip -6 addr` shows them, interface, address, scope and flags.
///
/// # Panics
/// When there is no such interface.
#[track_caller]
#[must_use]
pub fn addresses6(namespace: &Namespace, ifname: Option<&str>) -> Vec<String> {
    let show: Vec<&str> = "-6 -o addr show".split(' ').collect();
    let only: Vec<&str> = ifname.map_or_else(Vec::new, |name| vec!["dev", name]);
    let text = stdout(namespace, "ip", &[show, only].concat());
    let line = |line: &str| {
        // `2: eth0    inet6 fd00:17::2/64 scope global nodad \\       valid_lft forever …`
        let words = line.split_whitespace().skip(1);
        let words = words.take_while(|word| *word != "\\" && !word.starts_with("valid_lft"));
        let words = words.filter(|word| *word != "inet6");
        words.collect::<Vec<_>>().join(" ")
    };
    let lines = text.lines().map(line);
    lines.filter(|line| !line.contains(" fe80:")).collect()
}

/// The IPv6 routes of the main table but the link-local ones, as `ip -6 route` shows them without
/// what is left of their lifetime.
///
/// # Panics
/// When they cannot be read.
#[track_caller]
#[must_use]
pub fn routes6(namespace: &Namespace) -> Vec<String> {
    let text = stdout(namespace, "ip", &["-6", "route", "show"]);
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if let Some(at) = words.iter().position(|word| *word == "expires") {
            words.drain(at..at + 2);
        }
        // A bridge without ports has no carrier, which the kernel notices in its own time.
        words.retain(|word| *word != "linkdown");
        words.join(" ")
    };
    let lines = text.lines().map(line);
    lines.filter(|line| !line.starts_with("fe80:")).collect()
}

/// An IPv6 setting of an interface, or of `all` or `default`.
///
/// # Panics
/// When there is no such interface.
#[track_caller]
#[must_use]
pub fn setting6(namespace: &Namespace, ifname: &str, setting: &str) -> String {
    let path = format!("/proc/sys/net/ipv6/conf/{ifname}/{setting}");
    let value = within(namespace, || fs::read_to_string(&path));
    value
        .unwrap_or_else(|e| panic!("{path}: {e}"))
        .trim()
        .to_owned()
}

/// Whether the kernel forwards IPv6 that comes in by an interface: where it is a router's, and the host is
/// one as a whole, or that interface by itself (`force_forwarding`, Linux 6.17).
///
/// # Panics
/// When there is no such interface.
#[must_use]
pub fn forwards6(namespace: &Namespace, ifname: &str) -> bool {
    let force = format!("/proc/sys/net/ipv6/conf/{ifname}/force_forwarding");
    let force = within(namespace, || fs::read_to_string(force)).unwrap_or_default();
    let is_on = setting6(namespace, "all", "forwarding") == "1" || force.trim() == "1";
    is_on && setting6(namespace, ifname, "forwarding") == "1"
}

/// Changes such a setting.
///
/// # Panics
/// When it cannot be changed.
#[track_caller]
pub fn set6(namespace: &Namespace, ifname: &str, setting: &str, value: &str) {
    let path = format!("/proc/sys/net/ipv6/conf/{ifname}/{setting}");
    let done = within(namespace, || fs::write(&path, value));
    done.unwrap_or_else(|e| panic!("{path}: {e}"));
}

/// Sends a router advertisement from the outside: a default route, and a prefix from which hosts make
/// themselves addresses (RFC 4861, 4.2 and 4.6.2).
///
/// # Panics
/// When it cannot be sent.
#[track_caller]
pub fn advertise(world: &World, prefix: Ipv6Addr) {
    let outside = &world.outside;
    let link = within(outside, || links::links().unwrap());
    let link = link.into_iter().find(|link| link.name == "eth0").unwrap();
    let mac: [u8; 6] = link.mac.try_into().unwrap();
    let source = link_local(Mac(mac)).addr();
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

    // Hop limit 64, no flags, 1800 s a router.
    let mut icmp = vec![134, 0, 0, 0, 64, 0];
    icmp.extend(1800u16.to_be_bytes());
    icmp.extend([0; 8]);
    // Prefix information: /64, on link and for addresses, valid and preferred for an hour.
    icmp.extend([3, 4, 64, 0xc0]);
    icmp.extend(3600u32.to_be_bytes());
    icmp.extend(3600u32.to_be_bytes());
    icmp.extend([0; 4]);
    icmp.extend(prefix.octets());
    let length = icmp.len() as u16;
    let pseudo = [
        &source.octets()[..],
        &all_nodes.octets(),
        &u32::from(length).to_be_bytes(),
        &[0, 0, 0, 58],
        &icmp,
    ];
    let sum = checksum(&pseudo.concat());
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1];
    frame.extend(mac);
    frame.extend(0x86ddu16.to_be_bytes());
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([58, 255]);
    frame.extend(source.octets());
    frame.extend(all_nodes.octets());
    frame.extend(icmp);
    within(outside, || frame::send("eth0", &frame)).unwrap();
}
