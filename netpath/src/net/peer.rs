//! The other end of a veth device, wherever it is.
//!
//! Owns finding it, and asking whether it leaves checksums to its device. Changes nothing.

use std::fs;

use futures_util::StreamExt as _;
use rtnetlink::{
    packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        nsid::{NsidAttribute, NsidMessage},
    },
};

use super::{Error, Link, Netlink, device, namespace::Namespace};
use crate::config::NetnsRef;

/// Where namespaces have names.
const NAMES: &str = "/run/netns";

/// Whether the peer of a veth device leaves transport checksums to the device, so that frames come
/// over the wire without; `None` where the peer cannot be looked at.
///
/// # Errors
/// A request failed.
pub async fn peer_offloads_checksums(
    netlink: &Netlink,
    link: &Link,
) -> Result<Option<bool>, Error> {
    let Some(index) = link.lower else {
        return Ok(None);
    };
    let Some(wanted) = link.lower_netns else {
        let peer = netlink.link_by_index(index).await?;
        return peer
            .map(|p| device::offloads_checksums(&p.name))
            .transpose();
    };
    for entry in fs::read_dir(NAMES).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(netns) = NetnsRef::try_from(name) else {
            continue;
        };
        let Ok(netns) = Namespace::open(&netns) else {
            continue;
        };
        if netlink.netns_id(&netns).await? != Some(wanted) {
            continue;
        }
        return netns.run(async |there| {
            let peer = there.link_by_index(index).await?;
            peer.map(|p| device::offloads_checksums(&p.name))
                .transpose()
        });
    }
    Ok(None)
}

impl Netlink {
    /// The number by which the kernel refers to another namespace here (RTM_GETNSID), if it has one.
    async fn netns_id(&self, netns: &Namespace) -> Result<Option<i32>, Error> {
        let what = || format!("asking for the number of namespace {}", netns.name());
        let mut ask = NsidMessage::default();
        ask.attributes
            .push(NsidAttribute::Fd(netns.as_raw_fd() as u32));
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(ask));
        message.header.flags = NLM_F_REQUEST;
        let mut handle = self.handle.clone();
        let mut answers = handle
            .request(message)
            .map_err(|e| Error::request(what(), &e))?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(found)) =
                answer.payload
            {
                let id = found.attributes.iter().find_map(|a| {
                    if let NsidAttribute::Id(id) = a {
                        Some(*id)
                    } else {
                        None
                    }
                });
                return Ok(id.filter(|id| *id >= 0));
            }
        }
        Ok(None)
    }
}
