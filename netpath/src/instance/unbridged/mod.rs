//! Networks without a bridge: `macvlan`, `ipvlan`, `host` and `none`.
//!
//! Owns how they are planned ([`plan`], [`member`]), made ([`work`]) and shown ([`view`]). The datapath has no part
//! in them, so nothing here is in its maps.

mod member;
mod plan;
pub(super) mod view;
mod work;

use crate::{
    config::Driver,
    net::{Link, container, namespace::Namespace, namespace_by_ino},
    state::{Member, Port},
};

/// The namespace of a member's container, which may have lost its name; `None` when it is nowhere to be
/// seen.
fn namespace(m: &Member) -> Option<Namespace> {
    let named = Namespace::open(&m.netns).ok();
    let named = named.filter(|netns| netns.ino() == m.netns_ino);
    named.or_else(|| namespace_by_ino(m.netns_ino))
}

/// Whether an interface of a container is the one that was made for an endpoint.
fn is_port(driver: Driver, port: &Port, link: &Link) -> bool {
    let same = link.kind.as_deref() == Some(driver.as_str());
    let mac = port.mac.is_none_or(|mac| mac == link.mac);
    same && mac && (port.ifindex == 0 || port.ifindex == link.index)
}

/// Whether a member's container is there, with its interface.
pub(super) fn is_alive(driver: Driver, m: &Member) -> bool {
    let Some(netns) = namespace(m) else {
        return false;
    };
    let Some(port) = &m.port else {
        return true;
    };
    // What cannot be looked at is not taken for gone.
    container::interface(&netns, &port.ifname)
        .map_or(true, |l| l.is_some_and(|l| is_port(driver, port, &l)))
}
