//! IPv6 routes.

use std::net::Ipv6Addr;

use futures_util::TryStreamExt as _;
use ipnet::Ipv6Net;
use nix::errno::Errno;
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType},
};

use super::{Error, Netlink, error::is_errno};

/// The main routing table (`RT_TABLE_MAIN`).
const TABLE_MAIN: u32 = 254;

/// An IPv6 route of the main table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Route6 {
    /// Destination; a prefix length of 0 is the default route.
    pub(crate) destination: Ipv6Net,
    /// Interfaces that it leaves by, several for a multipath route.
    pub(crate) interfaces: Vec<u32>,
    /// It leads straight to the destination, with no gateway.
    pub(crate) on_link: bool,
    /// Priority; lower comes first.
    pub(crate) metric: u32,
    /// A router advertisement has brought it (`proto ra`).
    pub(crate) advertised: bool,
}

impl Route6 {
    fn from_message(m: &RouteMessage) -> Option<Self> {
        let mut table = u32::from(m.header.table);
        let mut address = Ipv6Addr::UNSPECIFIED;
        let mut route = Self {
            destination: Ipv6Net::default(),
            interfaces: Vec::new(),
            on_link: true,
            metric: 0,
            advertised: m.header.protocol == RouteProtocol::Ra,
        };
        for attribute in &m.attributes {
            if let RouteAttribute::Destination(RouteAddress::Inet6(a)) = attribute {
                address = *a;
            } else if let RouteAttribute::Oif(index) = attribute {
                route.interfaces.push(*index);
            } else if let RouteAttribute::Gateway(_) | RouteAttribute::Via(_) = attribute {
                route.on_link = false;
            } else if let RouteAttribute::Priority(metric) = attribute {
                route.metric = *metric;
            } else if let RouteAttribute::Table(t) = attribute {
                table = *t;
            } else if let RouteAttribute::MultiPath(hops) = attribute {
                let hops = hops.iter().map(|h| h.interface_index);
                route.interfaces.extend(hops);
                route.on_link = false;
            }
        }
        route.destination = Ipv6Net::new(address, m.header.destination_prefix_length).ok()?;
        (table == TABLE_MAIN && m.header.kind == RouteType::Unicast).then_some(route)
    }
}

impl Netlink {
    /// The unicast IPv6 routes of the main table.
    pub(crate) async fn routes6(&self) -> Result<Vec<Route6>, Error> {
        let request = RouteMessageBuilder::<Ipv6Addr>::new().build();
        let messages: Vec<_> = self
            .handle
            .route()
            .get(request)
            .execute()
            .try_collect()
            .await
            .map_err(|e| Error::request("listing IPv6 routes", &e))?;
        Ok(messages.iter().filter_map(Route6::from_message).collect())
    }

    /// Adds an IPv6 default route by `gateway`; one that is there already is no error.
    pub(crate) async fn add_default_route6(
        &self,
        index: u32,
        gateway: Ipv6Addr,
    ) -> Result<(), Error> {
        let route = RouteMessageBuilder::<Ipv6Addr>::new()
            .output_interface(index)
            .gateway(gateway)
            .build();
        match self.handle.route().add(route).execute().await {
            Err(e) if !is_errno(&e, Errno::EEXIST) => Err(Error::request(
                format!("adding the default route by {gateway}"),
                &e,
            )),
            _ => Ok(()),
        }
    }
}
