//! IPv6 addresses of links.

use std::net::{IpAddr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use ipnet::Ipv6Net;
use nix::errno::Errno;
use rtnetlink::{
    AddressMessageBuilder,
    packet_route::{
        AddressFamily,
        address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage},
    },
};

use super::{Error, Netlink, error::is_errno};
use crate::config::Mac;

/// An IPv6 address of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address6 {
    /// Interface index.
    pub index: u32,
    /// The address with its prefix length.
    pub addr: Ipv6Net,
    /// Its preferred lifetime is over: no new connection is to use it (RFC 4862, 5.5.4).
    pub deprecated: bool,
    /// It is one of those that change for privacy (RFC 8981).
    pub temporary: bool,
    /// Nobody has been asked yet whether they have it, or somebody has said so (RFC 4862, 5.4).
    pub tentative: bool,
    /// It stays until somebody takes it away.
    pub permanent: bool,
}

impl Address6 {
    fn from_message(m: &AddressMessage) -> Option<Self> {
        let find = |local: bool| {
            m.attributes.iter().find_map(|a| match (a, local) {
                (AddressAttribute::Local(IpAddr::V6(a)), true)
                | (AddressAttribute::Address(IpAddr::V6(a)), false) => Some(*a),
                _ => None,
            })
        };
        let flags = m.attributes.iter().find_map(|a| match a {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        });
        let short = AddressFlags::from_bits_retain(u32::from(m.header.flags.bits()));
        let has = |flag| flags.unwrap_or(short).contains(flag);
        Some(Self {
            index: m.header.index,
            // On a point-to-point link IFA_ADDRESS is the peer's.
            addr: Ipv6Net::new(find(true).or_else(|| find(false))?, m.header.prefix_len).ok()?,
            deprecated: has(AddressFlags::Deprecated),
            // By IPv6 the bit of a secondary address means a temporary one (`IFA_F_TEMPORARY`).
            temporary: has(AddressFlags::Secondary),
            tentative: has(AddressFlags::Tentative) || has(AddressFlags::Dadfailed),
            permanent: has(AddressFlags::Permanent),
        })
    }

    /// It may be the source of packets to other links.
    #[must_use]
    pub fn is_global(&self) -> bool {
        let addr = self.addr.addr();
        !addr.is_unicast_link_local() && !addr.is_loopback() && !addr.is_multicast()
    }
}

impl Netlink {
    /// Every IPv6 address, in the kernel's order.
    ///
    /// # Errors
    /// The request failed.
    pub async fn addresses6(&self) -> Result<Vec<Address6>, Error> {
        let mut request = self.handle.address().get();
        request.message_mut().header.family = AddressFamily::Inet6;
        let messages: Vec<_> = request
            .execute()
            .try_collect()
            .await
            .map_err(|e| Error::request("listing IPv6 addresses", &e))?;
        Ok(messages.iter().filter_map(Address6::from_message).collect())
    }

    /// Gives a link an IPv6 address that can be used at once: nobody is asked whether they have it
    /// (`IFA_F_NODAD`). One that it has already is no error.
    ///
    /// # Errors
    /// The kernel refused; EACCES where IPv6 is off on the link.
    pub async fn add_address6(&self, index: u32, addr: Ipv6Net) -> Result<(), Error> {
        let (ip, prefix) = (addr.addr(), addr.prefix_len());
        let mut request = self.handle.address().add(index, ip.into(), prefix);
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        match request.execute().await {
            Err(e) if !is_errno(&e, Errno::EEXIST) => Err(Error::request(
                format!("giving interface {index} the address {addr}"),
                &e,
            )),
            _ => Ok(()),
        }
    }

    /// Takes an IPv6 address from a link; one that is gone already is no error.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn remove_address6(&self, index: u32, addr: Ipv6Net) -> Result<(), Error> {
        let message = AddressMessageBuilder::<Ipv6Addr>::new()
            .index(index)
            .address(addr.addr(), addr.prefix_len())
            .build();
        match self.handle.address().del(message).execute().await {
            Err(e) if !is_errno(&e, Errno::EADDRNOTAVAIL) && !is_errno(&e, Errno::ENODEV) => {
                Err(Error::request(
                    format!("taking the address {addr} from interface {index}"),
                    &e,
                ))
            }
            _ => Ok(()),
        }
    }
}

/// The link-local address that a MAC address makes (RFC 4291, appendix A), as the kernel does by
/// itself where it may.
#[must_use]
pub fn link_local(mac: Mac) -> Ipv6Net {
    let [a, b, c, d, e, f] = mac.0;
    let id = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    octets[8..].copy_from_slice(&id);
    // 64 is no more than 128.
    Ipv6Net::new(octets.into(), 64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_makes_a_link_local_address() {
        assert_eq!(
            link_local(Mac([0x02, 0x42, 0xac, 0x11, 0, 2])).to_string(),
            "fe80::42:acff:fe11:2/64"
        );
    }
}
