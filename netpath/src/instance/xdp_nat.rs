//! Translation by XDP: which uplinks can have it, and what containers need for it.
//!
//! Owns the look at a veth's other end, and GRO of the containers' interfaces: a veth takes frames
//! that a driver's program redirects to it only while it is polled, which GRO makes it (Linux 5.13).
//! The choice of the program is [`super::xdp`]'s.

use super::{Error, Instance, work::Work};
use crate::{
    bpf::XdpProgram,
    net::{Link, Peer, has_gro, namespace::Namespace, set_gro},
    state::{Endpoint, Network, State},
};

impl Instance {
    /// Checks that packets come in by an uplink with whole checksums.
    ///
    /// What a physical driver hands to XDP has come over a wire. A veth hands over what its other
    /// end's stack has made, and if that leaves checksums to the device, none ever computes them.
    pub(super) async fn check_peer(&self, network: &str, uplink: &Link) -> Result<(), Error> {
        if !uplink.is_veth() {
            return Ok(());
        }
        match self.netlink.peer(uplink).await? {
            Some(peer) if !peer.tx_checksum => Ok(()),
            Some(peer) => Err(Error::PeerOffload {
                uplink: uplink.name.clone(),
                network: network.to_owned(),
                peer: place(&peer),
                ifname: peer.ifname,
            }),
            None => Err(Error::PeerUnseen {
                uplink: uplink.name.clone(),
                network: network.to_owned(),
                index: uplink.lower.unwrap_or(0),
            }),
        }
    }

    /// What `status` has to say about translation by XDP: what has been changed since `up`.
    pub(super) async fn translation_warnings(&self, state: &State, links: &[Link]) -> Vec<String> {
        let mut warnings = Vec::new();
        let translating = |u: &&crate::state::Uplink| u.xdp == Some(XdpProgram::Translate);
        for uplink in state.uplinks.iter().filter(translating) {
            let Some(link) = links.iter().find(|l| l.index == uplink.ifindex) else {
                continue;
            };
            if let Ok(Some(peer)) = self.netlink.peer(link).await
                && link.is_veth()
                && peer.tx_checksum
            {
                warnings.push(format!(
                    "uplink {}: the other end of this veth, {}, has tx-checksumming on by now: its \
                     packets are left to tc; turn it off there with `ethtool -K {} tx off`",
                    uplink.name,
                    place(&peer),
                    peer.ifname
                ));
            }
        }
        for (_, e) in state.endpoints().filter(|(n, _)| n.xdp_translate) {
            if let Ok(netns) = self.container(e, links).await
                && let Ok(false) = netns.run(async |_| has_gro(&e.container_ifname))
            {
                warnings.push(format!(
                    "endpoint {}: GRO of {ifname} in `{}` is off by now, so packets that XDP has \
                     translated do not arrive; run `netpath up`, or turn it on there with `ethtool -K \
                     {ifname} gro on`",
                    e.name,
                    netns.name(),
                    ifname = e.container_ifname
                ));
            }
        }
        warnings
    }

    /// The namespace of an endpoint's container, which may have lost its name.
    async fn container(&self, e: &Endpoint, links: &[Link]) -> Result<Namespace, Error> {
        if let Ok(netns) = Namespace::open(&e.netns)
            && netns.ino() == e.netns_ino
        {
            return Ok(netns);
        }
        let link = links.iter().find(|l| l.index == e.ifindex);
        let found = match link.and_then(|l| l.lower_netns) {
            Some(id) => self.netlink.namespace_by_id(id).await?,
            None => None,
        };
        found.ok_or_else(|| Error::NoContainer {
            endpoint: e.name.clone(),
            netns: e.netns.to_string(),
        })
    }
}

impl Work<'_> {
    /// Does [`Work::put_endpoint_gro`] for every endpoint of a network that is there.
    pub(super) async fn put_all_gro(&mut self, n: &Network) -> Result<(), Error> {
        for e in n.endpoints.iter().filter(|e| e.is_present()) {
            // One that is gone is removed or made again later.
            let link = self.instance.netlink.link_by_index(e.ifindex).await?;
            if let Some(link) = link.filter(|l| l.name == e.ifname) {
                self.put_endpoint_gro(n, e, &link).await?;
            }
        }
        Ok(())
    }

    /// Makes the container's interface take frames where its network asks for it, and be as it was
    /// where that no longer does. `link` is the host's side.
    pub(super) async fn put_endpoint_gro(
        &mut self,
        n: &Network,
        e: &Endpoint,
        link: &Link,
    ) -> Result<(), Error> {
        if !n.xdp_translate && !e.gro {
            return Ok(());
        }
        let on = n.xdp_translate;
        let links = std::slice::from_ref(link);
        let changed = match self.instance.container(e, links).await {
            Ok(netns) => netns.run(async |_| {
                let differs = has_gro(&e.container_ifname)? != on;
                if differs {
                    set_gro(&e.container_ifname, on)?;
                }
                Ok::<_, Error>(differs)
            })?,
            // Nobody is there who could miss it.
            Err(Error::NoContainer { .. }) if !on => true,
            Err(e) => return Err(e),
        };
        if changed && let Some(stored) = self.state.endpoint_mut(&e.name) {
            stored.gro = on;
        }
        Ok(())
    }
}

/// A peer and where it is, in words.
fn place(peer: &Peer) -> String {
    match &peer.netns {
        Some(netns) => format!("{} in `{netns}`", peer.ifname),
        None => peer.ifname.clone(),
    }
}
