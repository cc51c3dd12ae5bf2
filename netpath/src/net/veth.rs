//! Veth pairs: the host side here, the container side in its namespace, in one request.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_route::link::{InfoData, InfoVeth},
};

use super::{Error, Netlink, error::is_errno};
use crate::config::Mac;

/// A pair to be made.
#[derive(Clone, Debug)]
pub struct VethPair<'a> {
    /// Name of the host side.
    pub host: &'a str,
    /// MAC address of the host side.
    pub host_mac: Mac,
    /// Name of the container side.
    pub peer: &'a str,
    /// MAC address of the container side.
    pub peer_mac: Mac,
    /// MTU of both sides in bytes.
    pub mtu: u32,
    /// The container's namespace.
    pub netns: BorrowedFd<'a>,
    /// What the user calls it.
    pub netns_name: &'a str,
}

impl Netlink {
    /// Creates a pair, both sides down. The container side is made in its namespace under its
    /// final name and MAC address, so that no other name is ever seen.
    ///
    /// # Errors
    /// [`Error::InterfaceTaken`] when the container has an interface of that name.
    pub async fn create_veth(&self, pair: &VethPair<'_>) -> Result<(), Error> {
        let peer = LinkMessageBuilder::<LinkUnspec>::default()
            .name(pair.peer)
            .address(pair.peer_mac.0.to_vec())
            .mtu(pair.mtu)
            .setns_by_fd(pair.netns.as_raw_fd())
            .build();
        let message = LinkVeth::new(pair.host, pair.peer)
            .address(pair.host_mac.0.to_vec())
            .mtu(pair.mtu)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        self.handle
            .link()
            .add(message)
            .execute()
            .await
            .map_err(|e| {
                if is_errno(&e, Errno::EEXIST) {
                    return Error::InterfaceTaken {
                        netns: pair.netns_name.to_owned(),
                        ifname: pair.peer.to_owned(),
                    };
                }
                Error::request(
                    format!(
                        "creating veth {} with {} in `{}`",
                        pair.host, pair.peer, pair.netns_name
                    ),
                    &e,
                )
            })
    }
}
