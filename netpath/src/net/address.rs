//! IPv4 addresses of links.

use std::net::{IpAddr, Ipv4Addr};

use futures_util::TryStreamExt as _;
use ipnet::Ipv4Net;
use nix::errno::Errno;
use rtnetlink::packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
};

use super::{Error, Netlink, error::is_errno};

/// An address of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// Interface index.
    pub index: u32,
    /// The address with its prefix length.
    pub addr: Ipv4Net,
    /// It may be the source of packets that leave the host: its scope is global.
    pub global: bool,
    /// Another address of its subnet on the same link comes before it.
    pub secondary: bool,
}

impl Address {
    fn from_message(m: &AddressMessage) -> Option<Self> {
        // On a point-to-point link IFA_ADDRESS is the peer's: IFA_LOCAL is the host's own.
        let find = |local: bool| {
            m.attributes.iter().find_map(|a| match (a, local) {
                (AddressAttribute::Local(IpAddr::V4(a)), true)
                | (AddressAttribute::Address(IpAddr::V4(a)), false) => Some(*a),
                _ => None,
            })
        };
        Some(Self {
            index: m.header.index,
            addr: Ipv4Net::new(find(true).or_else(|| find(false))?, m.header.prefix_len).ok()?,
            global: m.header.scope == AddressScope::Universe,
            secondary: m.header.flags.contains(AddressHeaderFlags::Secondary),
        })
    }
}

impl Netlink {
    /// Every IPv4 address.
    ///
    /// # Errors
    /// The request failed.
    pub async fn addresses(&self) -> Result<Vec<Address>, Error> {
        let mut request = self.handle.address().get();
        request.message_mut().header.family = AddressFamily::Inet;
        let messages: Vec<_> = request
            .execute()
            .try_collect()
            .await
            .map_err(|e| Error::request("listing addresses", &e))?;
        Ok(messages.iter().filter_map(Address::from_message).collect())
    }

    /// Gives a link an address; one that it has already is no error.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn add_address(&self, index: u32, addr: Ipv4Addr, prefix: u8) -> Result<(), Error> {
        match self
            .handle
            .address()
            .add(index, addr.into(), prefix)
            .execute()
            .await
        {
            Err(e) if !is_errno(&e, Errno::EEXIST) => Err(Error::request(
                format!("giving interface {index} the address {addr}/{prefix}"),
                &e,
            )),
            _ => Ok(()),
        }
    }

    /// Takes an address from a link; one that is gone already is no error.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn remove_address(
        &self,
        index: u32,
        addr: Ipv4Addr,
        prefix: u8,
    ) -> Result<(), Error> {
        let message = rtnetlink::AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(addr, prefix)
            .build();
        match self.handle.address().del(message).execute().await {
            Err(e) if !is_errno(&e, Errno::EADDRNOTAVAIL) && !is_errno(&e, Errno::ENODEV) => {
                Err(Error::request(
                    format!("taking the address {addr}/{prefix} from interface {index}"),
                    &e,
                ))
            }
            _ => Ok(()),
        }
    }
}
