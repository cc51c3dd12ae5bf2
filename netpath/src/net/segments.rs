//! The largest super-packets of links: `gso_max_size` and its kin.
//!
//! Owns reading and setting them on one link. Which size is wanted is [`crate::instance`]'s matter.

use rtnetlink::{
    LinkUnspec,
    packet_route::link::{LinkAttribute, LinkMessage},
};
use serde::{Deserialize, Serialize};

use super::{Error, Netlink, namespace::Namespace};
use crate::config::GSO_LEGACY_MAX_SIZE;

/// The largest super-packets that a link takes (GSO) and puts together (GRO), bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentSizes {
    /// GSO, IPv6; Linux 5.19.
    pub gso: u32,
    /// GRO, IPv6; Linux 5.19.
    pub gro: u32,
    /// GSO, IPv4; Linux 6.3.
    pub gso_ipv4: u32,
    /// GRO, IPv4; Linux 6.3.
    pub gro_ipv4: u32,
}

impl SegmentSizes {
    /// The same size for all.
    #[must_use]
    pub const fn all(size: u32) -> Self {
        Self {
            gso: size,
            gro: size,
            gso_ipv4: size,
            gro_ipv4: size,
        }
    }

    /// Each of them, but no larger than every link has by itself.
    #[must_use]
    pub fn without_big_tcp(self) -> Self {
        Self {
            gso: self.gso.min(GSO_LEGACY_MAX_SIZE),
            gro: self.gro.min(GSO_LEGACY_MAX_SIZE),
            gso_ipv4: self.gso_ipv4.min(GSO_LEGACY_MAX_SIZE),
            gro_ipv4: self.gro_ipv4.min(GSO_LEGACY_MAX_SIZE),
        }
    }

    /// Each of them, but no more than a driver allows.
    #[must_use]
    pub fn allowed_by(self, tso_max: Option<u32>) -> Self {
        let most = tso_max.unwrap_or(GSO_LEGACY_MAX_SIZE);
        Self {
            gso: self.gso.min(most),
            gso_ipv4: self.gso_ipv4.min(most),
            ..self
        }
    }

    /// The sizes of a link; `None` where the kernel does not have all of them.
    pub(super) fn of(message: &LinkMessage) -> Option<Self> {
        let (mut gso, mut gro, mut gso_ipv4, mut gro_ipv4) = (None, None, None, None);
        for attribute in &message.attributes {
            if let LinkAttribute::GsoMaxSize(size) = attribute {
                gso = Some(*size);
            } else if let LinkAttribute::GroMaxSize(size) = attribute {
                gro = Some(*size);
            } else if let LinkAttribute::GsoIpv4MaxSize(size) = attribute {
                gso_ipv4 = Some(*size);
            } else if let LinkAttribute::GroIpv4MaxSize(size) = attribute {
                gro_ipv4 = Some(*size);
            }
        }
        Some(Self {
            gso: gso?,
            gro: gro?,
            gso_ipv4: gso_ipv4?,
            gro_ipv4: gro_ipv4?,
        })
    }
}

impl Netlink {
    /// Sets the largest super-packets of a link.
    ///
    /// # Errors
    /// The kernel refused: a device may take less.
    pub async fn set_segments(&self, index: u32, sizes: SegmentSizes) -> Result<(), Error> {
        // The kernel takes the IPv6 sizes first, and a small one of those for IPv4 too.
        let message = LinkUnspec::new_with_index(index)
            .append_extra_attribute(LinkAttribute::GsoMaxSize(sizes.gso))
            .append_extra_attribute(LinkAttribute::GroMaxSize(sizes.gro))
            .append_extra_attribute(LinkAttribute::GsoIpv4MaxSize(sizes.gso_ipv4))
            .append_extra_attribute(LinkAttribute::GroIpv4MaxSize(sizes.gro_ipv4))
            .build();
        self.handle
            .link()
            .change(message)
            .execute()
            .await
            .map_err(|e| {
                Error::request(
                    format!(
                        "setting gso_max_size of interface {index} to {} (IPv4: {})",
                        sizes.gso, sizes.gso_ipv4
                    ),
                    &e,
                )
            })
    }
}

/// Sets the largest super-packets of the container's side of an endpoint: what its sockets make.
///
/// # Errors
/// The namespace cannot be entered, or the kernel refused.
pub fn set_in_container(netns: &Namespace, ifname: &str, sizes: SegmentSizes) -> Result<(), Error> {
    netns.run(async |netlink| match netlink.link(ifname).await? {
        Some(link) if link.segments != Some(sizes) => netlink.set_segments(link.index, sizes).await,
        _ => Ok(()),
    })
}
