//! Links: finding, setting up and down, MTU, deleting.

use futures_util::TryStreamExt as _;
use nix::errno::Errno;
use rtnetlink::{
    LinkUnspec,
    packet_route::link::{
        InfoBridgePort, InfoKind, InfoPortData, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType,
        LinkMessage, LinkXdp, XdpAttached,
    },
};

use super::{Error, Netlink, SegmentSizes, error::is_errno};
use crate::config::Mac;

/// A link as the kernel shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Kind, such as `bridge` or `veth`; `None` for physical devices.
    pub kind: Option<String>,
    /// Its frames have an Ethernet header.
    pub ethernet: bool,
    /// Its packets are those of IP, and nothing comes before their header.
    pub bare: bool,
    /// MAC address; zero where there is none.
    pub mac: Mac,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Interface index of the bridge or bond that it belongs to.
    pub controller: Option<u32>,
    /// As a port of a bridge it exchanges no frames with other isolated ports; `None` for what is none.
    pub isolated: Option<bool>,
    /// The interface that it belongs to in another way: of a veth device, its peer.
    pub lower: Option<u32>,
    /// The kernel's number of the namespace where that one is; `None` for this one.
    pub lower_netns: Option<i32>,
    /// Number of its XDP program; 0 where there are several.
    pub xdp: Option<u32>,
    /// Largest super-packets; `None` where the kernel has no BIG TCP for IPv4.
    pub segments: Option<SegmentSizes>,
    /// The most that its driver allows for them, bytes.
    pub tso_max: Option<u32>,
}

impl Link {
    /// Whether the programs of uplinks can read its packets.
    #[must_use]
    pub const fn can_lead_out(&self) -> bool {
        self.ethernet || self.bare
    }

    /// Whether it is a bridge.
    #[must_use]
    pub fn is_bridge(&self) -> bool {
        self.kind.as_deref() == Some("bridge")
    }

    /// Whether it is one end of a veth pair.
    #[must_use]
    pub fn is_veth(&self) -> bool {
        self.kind.as_deref() == Some("veth")
    }

    /// Its kind in words.
    #[must_use]
    pub fn describe(&self) -> &str {
        self.kind.as_deref().unwrap_or("device without a kind")
    }

    fn from_message(m: LinkMessage) -> Self {
        let mut link = Self {
            index: m.header.index,
            name: String::new(),
            kind: None,
            ethernet: m.header.link_layer_type == LinkLayerType::Ether,
            bare: is_bare(m.header.link_layer_type, m.header.flags),
            mac: Mac([0; 6]),
            mtu: 0,
            up: m.header.flags.contains(LinkFlags::Up),
            controller: None,
            isolated: None,
            lower: None,
            lower_netns: None,
            xdp: None,
            segments: SegmentSizes::of(&m),
            tso_max: None,
        };
        for attribute in m.attributes {
            if let LinkAttribute::IfName(name) = attribute {
                link.name = name;
            } else if let LinkAttribute::Mtu(mtu) = attribute {
                link.mtu = mtu;
            } else if let LinkAttribute::Controller(index) = attribute {
                link.controller = Some(index);
            } else if let LinkAttribute::Link(index) = attribute {
                link.lower = Some(index);
            } else if let LinkAttribute::LinkNetNsId(id) = attribute {
                link.lower_netns = Some(id);
            } else if let LinkAttribute::TsoMaxSize(size) = attribute {
                link.tso_max = Some(size);
            } else if let LinkAttribute::Address(bytes) = attribute {
                link.mac = Mac(bytes.try_into().unwrap_or_default());
            } else if let LinkAttribute::LinkInfo(infos) = attribute {
                link.kind = infos.iter().find_map(kind_name);
                let port = infos.iter().find_map(bridge_port).unwrap_or_default();
                link.isolated = port.iter().find_map(isolated);
            } else if let LinkAttribute::Xdp(parts) = attribute {
                link.xdp = xdp_program(&parts);
            }
        }
        link
    }
}

/// Whether a device of this type takes and gives IP packets as they are. One of GRE without a single peer
/// does not: the stack puts the outer header, which says to whom, before what it hands over.
fn is_bare(kind: LinkLayerType, flags: LinkFlags) -> bool {
    use LinkLayerType as Type;
    match kind {
        Type::Ipgre | Type::Ip6gre => flags.contains(LinkFlags::Pointopoint),
        kind => [
            Type::None,
            Type::Ppp,
            Type::Rawip,
            Type::Tunnel,
            Type::Tunnel6,
            Type::Sit,
        ]
        .contains(&kind),
    }
}

/// The program of IFLA_XDP; in all modes at once there is no single number.
fn xdp_program(parts: &[LinkXdp]) -> Option<u32> {
    let attached = parts
        .iter()
        .any(|p| matches!(p, LinkXdp::Attached(a) if *a != XdpAttached::None));
    let id = parts.iter().find_map(|p| {
        if let LinkXdp::ProgId(id) = p {
            Some(*id)
        } else {
            None
        }
    });
    attached.then(|| id.unwrap_or(0))
}

/// What a bridge says of its port.
fn bridge_port(info: &LinkInfo) -> Option<&[InfoBridgePort]> {
    if let LinkInfo::PortData(InfoPortData::BridgePort(parts)) = info {
        Some(parts)
    } else {
        None
    }
}

fn isolated(part: &InfoBridgePort) -> Option<bool> {
    if let InfoBridgePort::Isolated(on) = part {
        Some(*on)
    } else {
        None
    }
}

fn kind_name(info: &LinkInfo) -> Option<String> {
    if let LinkInfo::Kind(kind) = info {
        let other = if let InfoKind::Other(name) = kind {
            Some(name.clone())
        } else {
            None
        };
        Some(other.unwrap_or_else(|| kind.to_string()))
    } else {
        None
    }
}

impl Netlink {
    /// The link with this name.
    ///
    /// # Errors
    /// The request failed; an unknown name is `None`.
    pub async fn link(&self, name: &str) -> Result<Option<Link>, Error> {
        let found = self
            .handle
            .link()
            .get()
            .match_name(name)
            .execute()
            .try_next()
            .await;
        Self::found(found, || format!("looking for interface {name}"))
    }

    /// The link with this index.
    ///
    /// # Errors
    /// The request failed; an unknown index is `None`, and so is 0, which is nothing's.
    pub async fn link_by_index(&self, index: u32) -> Result<Option<Link>, Error> {
        if index == 0 {
            return Ok(None);
        }
        let found = self
            .handle
            .link()
            .get()
            .match_index(index)
            .execute()
            .try_next()
            .await;
        Self::found(found, || format!("looking for interface {index}"))
    }

    fn found(
        found: Result<Option<LinkMessage>, rtnetlink::Error>,
        what: impl FnOnce() -> String,
    ) -> Result<Option<Link>, Error> {
        match found {
            Ok(m) => Ok(m.map(Link::from_message)),
            Err(e) if is_errno(&e, Errno::ENODEV) => Ok(None),
            Err(e) => Err(Error::request(what(), &e)),
        }
    }

    /// Every link.
    ///
    /// # Errors
    /// The request failed.
    pub async fn links(&self) -> Result<Vec<Link>, Error> {
        let links: Vec<_> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|e| Error::request("listing interfaces", &e))?;
        Ok(links.into_iter().map(Link::from_message).collect())
    }

    /// Sets a link up or down.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn set_up(&self, index: u32, up: bool) -> Result<(), Error> {
        let link = LinkUnspec::new_with_index(index);
        let message = if up { link.up() } else { link.down() }.build();
        self.handle
            .link()
            .change(message)
            .execute()
            .await
            .map_err(|e| {
                let what = if up { "up" } else { "down" };
                Error::request(format!("setting interface {index} {what}"), &e)
            })
    }

    /// Gives a link another name. Kernels before 6.2 rename only what is down: then it is set down for
    /// the moment.
    ///
    /// # Errors
    /// The kernel refused: another link may have the name.
    pub async fn rename(&self, index: u32, name: &str) -> Result<(), Error> {
        let request = || {
            let message = LinkUnspec::new_with_index(index).name(name.to_owned());
            self.handle.link().change(message.build()).execute()
        };
        let mut done = request().await;
        if done.as_ref().is_err_and(|e| is_errno(e, Errno::EBUSY)) {
            self.set_up(index, false).await?;
            done = request().await;
            self.set_up(index, true).await?;
        }
        done.map_err(|e| Error::request(format!("renaming interface {index} to {name}"), &e))
    }

    /// Sets a link's MTU.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn set_mtu(&self, index: u32, mtu: u32) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(index).mtu(mtu).build();
        self.handle
            .link()
            .change(message)
            .execute()
            .await
            .map_err(|e| {
                Error::request(format!("setting the MTU of interface {index} to {mtu}"), &e)
            })
    }

    /// Sets a link's MAC address; a bridge keeps it from then on, whatever its ports.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn set_mac(&self, index: u32, mac: Mac) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(index)
            .address(mac.0.to_vec())
            .build();
        self.handle
            .link()
            .change(message)
            .execute()
            .await
            .map_err(|e| {
                Error::request(
                    format!("setting the MAC address of interface {index} to {mac}"),
                    &e,
                )
            })
    }

    /// Deletes a link; one that is gone already is no error.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn delete_link(&self, index: u32) -> Result<(), Error> {
        match self.handle.link().del(index).execute().await {
            Err(e) if !is_errno(&e, Errno::ENODEV) => {
                Err(Error::request(format!("deleting interface {index}"), &e))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_packets_are_those_of_devices_that_add_no_header_of_their_own() {
        use LinkLayerType as Type;
        let none = LinkFlags::empty();
        for kind in [
            Type::None,
            Type::Ppp,
            Type::Rawip,
            Type::Tunnel,
            Type::Tunnel6,
            Type::Sit,
        ] {
            assert!(is_bare(kind, none), "{kind:?}");
        }
        for kind in [
            Type::Ether,
            Type::Loopback,
            Type::Infiniband,
            Type::Ieee802154,
            Type::Netlink,
        ] {
            assert!(!is_bare(kind, LinkFlags::Pointopoint), "{kind:?}");
        }
        for kind in [Type::Ipgre, Type::Ip6gre] {
            assert!(is_bare(kind, LinkFlags::Pointopoint));
            assert!(!is_bare(kind, none));
        }
    }
}
