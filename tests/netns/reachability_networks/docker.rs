//! The same world as Docker builds it.
//!
//! Owns bridges, interfaces and settings as dockerd 28.5.2 makes them, and the loading of the rules that
//! it wrote for these networks, which are in `docker-28.5.2` as `iptables-save` showed them;
//! `docker-28.5.2/networks.sh` made it write them. What dockerd runs beside the rules is `proxy`'s.

use std::fs;

use netpath_tests::{
    netns::{Namespace, stdout, within},
    reachability::networks::{Network, Proxy, Published},
    skip,
    topology::{UPLINK, World},
    ways::ip,
};

use super::site::{LISTS, Place, inside, places, port};

/// Rules of IPv4 and of IPv6.
fn rules(proxy: Proxy) -> [&'static str; 2] {
    match proxy {
        Proxy::On => [
            include_str!("docker-28.5.2/iptables-proxy.rules"),
            include_str!("docker-28.5.2/ip6tables-proxy.rules"),
        ],
        Proxy::Off => [
            include_str!("docker-28.5.2/iptables-no-proxy.rules"),
            include_str!("docker-28.5.2/ip6tables-no-proxy.rules"),
        ],
    }
}

/// Whether something is missing here, which is then on record.
pub(crate) fn is_missing_something() -> bool {
    if !fs::exists("/proc/sys/net/bridge").unwrap() {
        skip::record("the kernel has no br_netfilter");
        return true;
    }
    ["ip", "iptables-restore", "ip6tables-restore"]
        .into_iter()
        .any(skip::missing)
}

fn set(namespace: &Namespace, key: &str, value: &str) {
    let path = format!("/proc/sys/net/{key}");
    let done = within(namespace, || fs::write(&path, value));
    done.unwrap_or_else(|e| panic!("{path}: {e}"));
}

/// Puts Docker's rules to work there.
pub(crate) fn docker(world: &World, proxy: Proxy) {
    let host = &world.host;
    for (key, value) in [
        ("ipv4/ip_forward", "1"),
        ("ipv6/conf/all/forwarding", "1"),
        ("ipv6/conf/default/accept_dad", "0"),
        // Docker wants it for `icc=false`, and without its proxy.
        ("bridge/bridge-nf-call-iptables", "1"),
        ("bridge/bridge-nf-call-ip6tables", "1"),
    ] {
        set(host, key, value);
    }
    for place in places() {
        make(world, &place, proxy);
    }
    let [on, off] = LISTS;
    for (family, (program, text)) in ["iptables-restore", "ip6tables-restore"]
        .into_iter()
        .zip(rules(proxy))
        .enumerate()
    {
        let file = world.file(program);
        let file = file.to_str().unwrap();
        fs::write(file, text).unwrap();
        stdout(host, program, &[file]);
        // What Docker's documentation wants an administrator to do instead of an allow list.
        let mut user = "*filter\n".to_owned();
        for network in Network::ALL {
            for (published, list) in [(Published::ForClient, on), (Published::ForOthers, off)] {
                let (port, inside) = (port(network, published), inside(network, published));
                // Where ports are not translated the first one is the container's.
                let first = if network == Network::Routed {
                    inside
                } else {
                    port
                };
                for protocol in ["tcp", "udp"] {
                    user += &format!(
                        "-A DOCKER-USER -i {UPLINK} ! -s {} -p {protocol} -m conntrack \
                         --ctorigdstport {first} --ctdir ORIGINAL -j DROP\n",
                        list[family]
                    );
                }
            }
        }
        fs::write(file, user + "COMMIT\n").unwrap();
        stdout(host, program, &["--noflush", file]);
    }
}

/// A network and its containers.
fn make(world: &World, place: &Place, proxy: Proxy) {
    let (host, bridge) = (&world.host, place.bridge);
    ip(host, &format!("link add {bridge} type bridge"));
    set(host, &format!("ipv6/conf/{bridge}/accept_ra"), "0");
    if place.has_gateway {
        for address in [
            format!("{}/16", place.v4(1)),
            format!("{}/64 nodad", place.v6(1)),
        ] {
            ip(host, &format!("address add {address} dev {bridge}"));
        }
    }
    if proxy == Proxy::Off {
        set(host, &format!("ipv4/conf/{bridge}/route_localnet"), "1");
    }
    ip(host, &format!("link set {bridge} up"));
    for (name, number) in place.containers() {
        let container = world.container(&name);
        let veth = format!("veth-{name}");
        let peer = format!("peer name eth0 netns {}", container.name());
        ip(host, &format!("link add {veth} type veth {peer}"));
        set(host, &format!("ipv6/conf/{veth}/disable_ipv6"), "1");
        ip(host, &format!("link set {veth} master {bridge} up"));
        if proxy == Proxy::Off {
            ip(
                host,
                &format!("link set {veth} type bridge_slave hairpin on"),
            );
        }
        set(container, "ipv6/conf/eth0/accept_dad", "0");
        ip(container, "link set eth0 up");
        for address in [
            format!("{}/16", place.v4(number)),
            format!("{}/64 nodad", place.v6(number.into())),
        ] {
            ip(container, &format!("address add {address} dev eth0"));
        }
        if !place.is_internal {
            ip(container, &format!("route add default via {}", place.v4(1)));
            ip(
                container,
                &format!("-6 route add default via {}", place.v6(1)),
            );
        }
    }
}
