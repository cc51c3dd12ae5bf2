//! Routes of either family.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use futures_util::TryStreamExt as _;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nix::errno::Errno;
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::route::{
        RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
    },
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

    /// Adds a default route; one that is there already is no error.
    pub(crate) async fn add_default_route(&self, index: u32, hop: Hop) -> Result<(), Error> {
        self.set_default_route(index, hop, TABLE_MAIN, true).await
    }

    /// Removes a default route of the main table; one that is not there is no error.
    pub(crate) async fn remove_default_route(&self, index: u32, hop: Hop) -> Result<(), Error> {
        self.set_default_route(index, hop, TABLE_MAIN, false).await
    }

    /// Has a default route be in a table, or not.
    pub(crate) async fn set_default_route(
        &self,
        index: u32,
        hop: Hop,
        table: u32,
        on: bool,
    ) -> Result<(), Error> {
        let route = hop.route(index, table);
        self.set_route(route, on, || format!("the default route {hop}"))
            .await
    }

    /// Has a route without a gateway be in a table, or not.
    pub(crate) async fn set_link_route(
        &self,
        index: u32,
        net: IpNet,
        table: u32,
        on: bool,
    ) -> Result<(), Error> {
        let route = match net {
            IpNet::V4(net) => RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(net.addr(), net.prefix_len())
                .output_interface(index)
                .scope(RouteScope::Link)
                .table_id(table)
                .build(),
            IpNet::V6(net) => RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(net.addr(), net.prefix_len())
                .output_interface(index)
                .table_id(table)
                .build(),
        };
        self.set_route(route, on, || format!("the route to {net}"))
            .await
    }

    async fn set_route(
        &self,
        route: RouteMessage,
        on: bool,
        what: impl Fn() -> String,
    ) -> Result<(), Error> {
        if on {
            match self.handle.route().add(route).execute().await {
                Err(e) if !is_errno(&e, Errno::EEXIST) => {
                    Err(Error::request(format!("adding {}", what()), &e))
                }
                _ => Ok(()),
            }
        } else {
            match self.handle.route().del(route).execute().await {
                Err(e) if !is_errno(&e, Errno::ESRCH) && !is_errno(&e, Errno::ENOENT) => {
                    Err(Error::request(format!("removing {}", what()), &e))
                }
                _ => Ok(()),
            }
        }
    }
}

/// How a default route leads out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// Of IPv4: by this router, or by the interface itself.
    V4(Option<Ipv4Addr>),
    /// The same of IPv6.
    V6(Option<Ipv6Addr>),
}

impl Hop {
    fn route(self, index: u32, table: u32) -> RouteMessage {
        match self {
            Self::V4(gateway) => {
                let route = RouteMessageBuilder::<Ipv4Addr>::new()
                    .output_interface(index)
                    .table_id(table);
                match gateway {
                    Some(gateway) => route.gateway(gateway).build(),
                    None => route.scope(RouteScope::Link).build(),
                }
            }
            Self::V6(gateway) => {
                let route = RouteMessageBuilder::<Ipv6Addr>::new()
                    .output_interface(index)
                    .table_id(table);
                match gateway {
                    Some(gateway) => route.gateway(gateway).build(),
                    None => route.build(),
                }
            }
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(Some(gateway)) => write!(f, "by {gateway}"),
            Self::V6(Some(gateway)) => write!(f, "by {gateway}"),
            Self::V4(None) => f.write_str("of IPv4 by its interface"),
            Self::V6(None) => f.write_str("of IPv6 by its interface"),
        }
    }
}
