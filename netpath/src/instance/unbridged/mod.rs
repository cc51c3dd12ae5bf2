//! Networks without a bridge: `macvlan`, `ipvlan`, `host` and `none`.
//!
//! Owns how they are planned ([`plan`], [`member`]), made ([`work`]) and shown ([`view`]). The datapath has no part
//! in them, so nothing here is in its maps.

mod member;
mod plan;
pub(super) mod view;
mod work;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    config::{Driver, NetnsRef},
    net::{Hop, Link, container, namespace::Namespace, namespace_by_ino},
    state::{Lan, Member, Port},
};

/// The namespace of a container, which may have lost its name; `None` when it is nowhere to be
/// seen.
pub(super) fn namespace(netns: &NetnsRef, ino: u64) -> Option<Namespace> {
    let named = Namespace::open(netns).ok();
    let named = named.filter(|netns| netns.ino() == ino);
    named.or_else(|| namespace_by_ino(ino))
}

/// What an interface of a driver has of either family: its address and where it leads.
type Out = Option<(IpNet, Hop)>;

/// The ways out by an interface on one of the host's, of IPv4 and IPv6.
pub(super) fn ways(driver: Driver, lan: &Lan, port: &Port) -> (Out, Out) {
    if lan.internal {
        return (None, None);
    }
    let by_device = driver.routes_by_device();
    let net = |addr: IpAddr, prefix| IpNet::new(addr, prefix).ok();
    let v4 = net(port.addr.into(), lan.subnet.prefix_len());
    let v4 = v4.map(|net| (net, Hop::V4((!by_device).then_some(lan.gateway))));
    let v6 = lan.ipv6.zip(port.addr6).and_then(|(v6, addr)| {
        let net = net(addr.into(), v6.subnet.prefix_len())?;
        Some((net, Hop::V6((!by_device).then_some(v6.gateway))))
    });
    (v4, v6)
}

/// Whether an interface of a container is the one that was made for an endpoint.
fn is_port(driver: Driver, port: &Port, link: &Link) -> bool {
    let same = link.kind.as_deref() == Some(driver.as_str());
    let mac = port.mac.is_none_or(|mac| mac == link.mac);
    same && mac && (port.ifindex == 0 || port.ifindex == link.index)
}

/// Whether a member's container is there, with its interface.
pub(super) fn is_alive(driver: Driver, m: &Member) -> bool {
    // The host's namespace is there whatever becomes of the container's processes.
    let place = match driver {
        Driver::Host => Namespace::open(&m.netns)
            .ok()
            .filter(|netns| netns.ino() == m.netns_ino),
        _ => namespace(&m.netns, m.netns_ino),
    };
    let Some(netns) = place else {
        return false;
    };
    let Some(port) = &m.port else {
        return true;
    };
    // What cannot be looked at is not taken for gone.
    container::interface(&netns, &port.ifname)
        .map_or(true, |l| l.is_some_and(|l| is_port(driver, port, &l)))
}
