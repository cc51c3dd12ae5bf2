//! The other end of a veth pair, in whichever namespace it is.
//!
//! Owns finding that namespace. The kernel tells but a number that only this namespace knows it by,
//! and opens nothing by it: the namespaces that can be seen, by a name or by a process, are asked for
//! their numbers until one is it.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use futures_util::StreamExt as _;
use rtnetlink::{
    packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        nsid::{NsidAttribute, NsidMessage},
    },
};

use super::{Error, Link, Netlink, has_tx_checksum, namespace::Namespace};
use crate::config::NetnsRef;

/// The other end of a veth pair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its name.
    pub ifname: String,
    /// The name or path of its namespace; `None` for the same one.
    pub netns: Option<String>,
    /// What it sends may lack checksums, for this end to complete (`ethtool -k`: tx-checksumming).
    pub tx_checksum: bool,
}

impl Netlink {
    /// The other end of a veth; `None` where its namespace is nowhere to be seen.
    ///
    /// # Errors
    /// A request failed.
    pub async fn peer(&self, link: &Link) -> Result<Option<Peer>, Error> {
        let Some(index) = link.lower else {
            return Ok(None);
        };
        let Some(id) = link.lower_netns else {
            return look(self, index, None).await;
        };
        let Some(netns) = self.namespace_by_id(id).await? else {
            return Ok(None);
        };
        let name = netns.name().to_owned();
        netns.run(async |netlink| look(netlink, index, Some(name)).await)
    }

    /// The namespace that this one knows by a number, if it has a name or a process that can be seen.
    ///
    /// # Errors
    /// A request failed.
    pub async fn namespace_by_id(&self, id: i32) -> Result<Option<Namespace>, Error> {
        let mut seen = HashSet::new();
        for path in candidates() {
            // Processes end, and files there may be something else.
            let Ok(ino) = fs::metadata(&path).map(|m| m.ino()) else {
                continue;
            };
            if !seen.insert(ino) {
                continue;
            }
            let Some(netns) = open(&path) else {
                continue;
            };
            if self.id_of(&netns).await? == Some(id) {
                return Ok(Some(netns));
            }
        }
        Ok(None)
    }

    /// The number by which this namespace knows another one, if it has given it one.
    async fn id_of(&self, netns: &Namespace) -> Result<Option<i32>, Error> {
        let what = || format!("asking for the number of namespace `{}`", netns.name());
        let mut question = NsidMessage::default();
        let fd = netns.as_raw_fd();
        question.attributes = vec![NsidAttribute::Fd(fd.unsigned_abs())];
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(question));
        message.header.flags = NLM_F_REQUEST;
        let mut answers = self
            .handle
            .clone()
            .request(message)
            .map_err(|e| Error::request(what(), &e))?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(e) = answer.payload {
                let source = e.to_io();
                let what = what();
                return Err(Error::Request { what, source });
            }
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(found)) =
                answer.payload
            {
                return Ok(found.attributes.iter().find_map(|a| match a {
                    NsidAttribute::Id(id) if *id >= 0 => Some(*id),
                    _ => None,
                }));
            }
        }
        Ok(None)
    }
}

/// Looks at a device of the current namespace, whose name is `netns`.
async fn look(netlink: &Netlink, index: u32, netns: Option<String>) -> Result<Option<Peer>, Error> {
    let Some(link) = netlink.link_by_index(index).await? else {
        return Ok(None);
    };
    Ok(Some(Peer {
        tx_checksum: has_tx_checksum(&link.name)?,
        ifname: link.name,
        netns,
    }))
}

/// The namespace with this inode, if it has a name or a process that can be seen.
#[must_use]
pub fn namespace_by_ino(ino: u64) -> Option<Namespace> {
    let is_it = |path: &PathBuf| fs::metadata(path).is_ok_and(|m| m.ino() == ino);
    let mut found = candidates().into_iter().filter(is_it);
    // A process may have ended between two looks.
    found.find_map(|path| open(&path).filter(|netns| netns.ino() == ino))
}

fn open(path: &std::path::Path) -> Option<Namespace> {
    let text = path.to_str()?;
    let name = text.strip_prefix("/run/netns/").unwrap_or(text);
    // A number would mean a process.
    let is_number = name.bytes().all(|b| b.is_ascii_digit());
    let name = if is_number { text } else { name };
    Namespace::open(&NetnsRef::try_from(name.to_owned()).ok()?).ok()
}

/// The files that stand for namespaces: those with a name first, then those of processes.
fn candidates() -> Vec<PathBuf> {
    let list = |directory: &str| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|e| e.path()).collect::<Vec<_>>()
    };
    let mut all = list("/run/netns");
    let is_process = |path: &PathBuf| {
        let name = path.file_name().and_then(|n| n.to_str());
        name.is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    };
    let processes = list("/proc").into_iter().filter(is_process);
    all.extend(processes.map(|p| p.join("ns/net")));
    all
}
