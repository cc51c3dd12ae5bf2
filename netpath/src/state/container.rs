//! Containers: the endpoints of one network namespace.

use super::State;
use crate::config::NetnsRef;

impl State {
    /// The network namespace of an endpoint of any network, and its inode.
    #[must_use]
    pub fn container(&self, endpoint: &str) -> Option<(&NetnsRef, u64)> {
        let bridged = self.endpoint(endpoint);
        let bridged = bridged.map(|(_, e)| (&e.netns, e.netns_ino));
        bridged.or_else(|| {
            let member = self.member(endpoint);
            member.map(|(_, m)| (&m.netns, m.netns_ino))
        })
    }

    /// The endpoint that the container in the namespace with this inode has in a network.
    #[must_use]
    pub fn endpoint_in(&self, network: &str, ino: u64) -> Option<&str> {
        let bridged = self.network(network).into_iter().flat_map(|n| &n.endpoints);
        let bridged = bridged.map(|e| (e.netns_ino, &e.name));
        let others = self.unbridged(network).into_iter().flat_map(|n| &n.members);
        let others = others.map(|m| (m.netns_ino, &m.name));
        let mut all = bridged.chain(others);
        all.find(|(own, _)| *own == ino)
            .map(|(_, name)| name.as_str())
    }
}
