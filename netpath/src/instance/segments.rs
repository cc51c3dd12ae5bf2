//! Larger segments (BIG TCP) on the devices of a network, where `gso_max_size` asks for them.
//!
//! Owns which sizes each device is to have: the bridge, and both ends of every veth. A bridge allows
//! what its ports do, and the legacy size before it has any, so it is looked at again with every
//! port. The uplink is the host's: its sizes are never changed, but `up` says where they are smaller.

use super::{Error, plan::Planner, work::Work};
use crate::{
    config,
    net::{Link, SegmentSizes, namespace::Namespace, segments, sysctl},
    state::{Endpoint, Network},
};

/// Where the kernel says which version it is.
const RELEASE: &str = "kernel/osrelease";

/// The sizes that a device of a network is to have, where its own are `now`.
fn wanted(network: &Network, link: &Link, now: SegmentSizes) -> SegmentSizes {
    match network.gso_max_size {
        Some(size) => SegmentSizes::all(size).allowed_by(link.tso_max),
        None => now.without_big_tcp(),
    }
}

impl Planner<'_> {
    /// Checks that the kernel can have what a network asks for.
    pub(super) fn check_segments(&self, network: &config::Network) -> Result<(), Error> {
        let Some(size) = network.gso_max_size else {
            return Ok(());
        };
        if self.facts.links.iter().all(|l| l.segments.is_none()) {
            return Err(Error::NoBigTcp {
                network: network.name.clone(),
                wanted: size,
                found: sysctl::read(RELEASE).unwrap_or_else(|_| "older".to_owned()),
            });
        }
        Ok(())
    }

    /// Says which uplinks of a network take less than its containers will send.
    pub(super) fn warn_of_small_uplinks(&self, network: &config::Network) {
        let Some(size) = network.gso_max_size else {
            return;
        };
        let auto = self.facts.default_uplinks.iter().map(|u| u.name.as_str());
        let names: Vec<&str> = match &network.uplinks {
            config::Uplinks::Auto => auto.collect(),
            config::Uplinks::Named(names) => names.iter().map(String::as_str).collect(),
        };
        for link in names.iter().filter_map(|name| self.facts.link(name)) {
            if let Some(own) = link.segments.filter(|own| own.gso_ipv4 < size) {
                let (network, name, own) = (&network.name, &link.name, own.gso_ipv4);
                tracing::warn!(
                    "network `{network}`: uplink {name} takes super-packets of up to {own} bytes, \
                     so larger ones that leave by it are segmented by the processor; if its driver \
                     can do more, set it with `ip link set {name} gso_ipv4_max_size {size}`"
                );
            }
        }
    }
}

impl Work<'_> {
    /// Brings the bridge of a network in line with it.
    pub(super) async fn put_bridge_segments(&self, n: &Network, link: &Link) -> Result<(), Error> {
        let Some(now) = link.segments else {
            return Ok(());
        };
        let found = n.found.as_ref().and_then(|f| f.segments);
        let want = match (n.gso_max_size, found) {
            (None, Some(found)) => found,
            _ => wanted(n, link, now),
        };
        if now != want {
            self.instance.netlink.set_segments(link.index, want).await?;
        }
        Ok(())
    }

    /// Brings both ends of an endpoint in line with its network; `link` is the host's. The
    /// container's goes first, so that one that fails is tried again.
    pub(super) async fn put_endpoint_segments(
        &self,
        n: &Network,
        e: &Endpoint,
        link: &Link,
    ) -> Result<(), Error> {
        let Some(now) = link.segments else {
            return Ok(());
        };
        let want = wanted(n, link, now);
        if now == want {
            return Ok(());
        }
        match Namespace::open(&e.netns) {
            Ok(netns) if netns.ino() == e.netns_ino => {
                segments::set_in_container(&netns, &e.container_ifname, want)?;
            }
            // It lives on without its name: its own sockets keep the size that they have.
            Ok(_) | Err(_) => tracing::warn!(
                "endpoint `{}`: its namespace is no longer `{}`: gso_max_size is set on the host's \
                 side only",
                e.name,
                e.netns
            ),
        }
        Ok(self.instance.netlink.set_segments(link.index, want).await?)
    }
}
