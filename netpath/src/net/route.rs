//! Routes of either family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use ipnet::{Ipv4Net, Ipv6Net};
use nix::errno::Errno;
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType},
};

use super::{Error, Netlink, error::is_errno};

/// The main routing table (`RT_TABLE_MAIN`).
const TABLE_MAIN: u32 = 254;

/// A unicast route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Route<N = Ipv4Net> {
    /// Destination; a prefix length of 0 is the default route.
    pub(crate) destination: N,
    /// Interfaces that it leaves by, several for a multipath route.
    pub(crate) interfaces: Vec<u32>,
    /// It leads straight to the destination, with no gateway.
    pub(crate) on_link: bool,
    /// Priority; lower comes first.
    pub(crate) metric: u32,
    /// A router advertisement has brought it (`proto ra`).
    pub(crate) advertised: bool,
    /// It is in the main table; rules (`ip rule`) lead to the others.
    main: bool,
}

/// A destination of a route.
pub(crate) trait Prefix: Sized {
    /// Of IPv6.
    const IS_IPV6: bool;
    /// Every destination.
    fn is_default(&self) -> bool;
    /// Of this address, `None` for the default route's, and length in bits; `None` for another family.
    fn of(address: Option<&RouteAddress>, bits: u8) -> Option<Self>;
}

impl Prefix for Ipv4Net {
    const IS_IPV6: bool = false;

    fn is_default(&self) -> bool {
        self.prefix_len() == 0
    }

    fn of(address: Option<&RouteAddress>, bits: u8) -> Option<Self> {
        let address = match address {
            None => Ipv4Addr::UNSPECIFIED,
            Some(RouteAddress::Inet(address)) => *address,
            Some(_) => return None,
        };
        Self::new(address, bits).ok()
    }
}

impl Prefix for Ipv6Net {
    const IS_IPV6: bool = true;

    fn is_default(&self) -> bool {
        self.prefix_len() == 0
    }

    fn of(address: Option<&RouteAddress>, bits: u8) -> Option<Self> {
        let address = match address {
            None => Ipv6Addr::UNSPECIFIED,
            Some(RouteAddress::Inet6(address)) => *address,
            Some(_) => return None,
        };
        Self::new(address, bits).ok()
    }
}

impl<N: Prefix> Route<N> {
    /// Table, family, metric and interfaces of a default route.
    fn as_default(&self) -> Option<(bool, bool, u32, Vec<u32>)> {
        let is_default = self.destination.is_default();
        is_default.then(|| (self.main, N::IS_IPV6, self.metric, self.interfaces.clone()))
    }

    fn from_message(m: &RouteMessage) -> Option<Self> {
        let mut table = u32::from(m.header.table);
        let mut address = None;
        let (mut interfaces, mut on_link, mut priority) = (Vec::new(), true, 0);
        for attribute in &m.attributes {
            if let RouteAttribute::Destination(a) = attribute {
                address = Some(a);
            } else if let RouteAttribute::Oif(index) = attribute {
                interfaces.push(*index);
            } else if let RouteAttribute::Gateway(_) | RouteAttribute::Via(_) = attribute {
                on_link = false;
            } else if let RouteAttribute::Priority(metric) = attribute {
                priority = *metric;
            } else if let RouteAttribute::Table(t) = attribute {
                table = *t;
            } else if let RouteAttribute::MultiPath(hops) = attribute {
                interfaces.extend(hops.iter().map(|h| h.interface_index));
                on_link = false;
            }
        }
        if m.header.kind != RouteType::Unicast {
            return None;
        }
        Some(Self {
            destination: N::of(address, m.header.destination_prefix_length)?,
            interfaces,
            on_link,
            metric: priority,
            advertised: m.header.protocol == RouteProtocol::Ra,
            main: table == TABLE_MAIN,
        })
    }
}

impl Netlink {
    /// The unicast IPv4 routes of the main table.
    pub(crate) async fn routes(&self) -> Result<Vec<Route>, Error> {
        let mut routes = self.all_routes().await?;
        routes.retain(|r| r.main);
        Ok(routes)
    }

    /// The unicast IPv6 routes of the main table.
    pub(crate) async fn routes6(&self) -> Result<Vec<Route<Ipv6Net>>, Error> {
        let mut routes = self.all_routes6().await?;
        routes.retain(|r| r.main);
        Ok(routes)
    }

    /// Where the default routes of either family lead, in all tables: the best ones of the main table
    /// first, IPv4's before IPv6's, then those that rules lead to.
    pub(crate) async fn default_interfaces(&self) -> Result<Vec<u32>, Error> {
        let mut found = Vec::new();
        found.extend(
            self.all_routes()
                .await?
                .iter()
                .filter_map(Route::as_default),
        );
        found.extend(
            self.all_routes6()
                .await?
                .iter()
                .filter_map(Route::as_default),
        );
        found.sort_by_key(|(main, is_ipv6, metric, _)| (!main, *is_ipv6, *metric));
        Ok(found
            .into_iter()
            .flat_map(|(.., interfaces)| interfaces)
            .collect())
    }

    async fn all_routes(&self) -> Result<Vec<Route>, Error> {
        let request = RouteMessageBuilder::<Ipv4Addr>::new().build();
        self.list_routes(request, "listing IPv4 routes").await
    }

    async fn all_routes6(&self) -> Result<Vec<Route<Ipv6Net>>, Error> {
        let request = RouteMessageBuilder::<Ipv6Addr>::new().build();
        self.list_routes(request, "listing IPv6 routes").await
    }

    async fn list_routes<N: Prefix>(
        &self,
        request: RouteMessage,
        what: &str,
    ) -> Result<Vec<Route<N>>, Error> {
        let messages = self.handle.route().get(request).execute().try_collect();
        let messages: Vec<_> = messages.await.map_err(|e| Error::request(what, &e))?;
        Ok(messages.iter().filter_map(Route::from_message).collect())
    }

    /// Adds a default route by `gateway`, of its family; one that is there already is no error.
    pub(crate) async fn add_default_route(&self, index: u32, gateway: IpAddr) -> Result<(), Error> {
        let route = match gateway {
            IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new()
                .output_interface(index)
                .gateway(gateway)
                .build(),
            IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new()
                .output_interface(index)
                .gateway(gateway)
                .build(),
        };
        match self.handle.route().add(route).execute().await {
            Err(e) if !is_errno(&e, Errno::EEXIST) => Err(Error::request(
                format!("adding the default route by {gateway}"),
                &e,
            )),
            _ => Ok(()),
        }
    }
}
