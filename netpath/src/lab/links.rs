//! The few netlink requests that the lab's surroundings need: the uplink is the lab's, not
//! netpath's, and what is shown to the user is read here.
//!
//! Owns requests for links, addresses, routes and neighbours in the namespace of the calling
//! thread. Bridges and endpoints are netpath's own work.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, BorrowedFd},
};

use futures_util::TryStreamExt;
use rtnetlink::{
    Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection,
    packet_route::{
        AddressFamily,
        address::AddressHeaderFlags,
        link::{LinkAttribute, LinkFlags},
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourState},
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
    },
};

use super::Error;

/// A link as the kernel describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// MAC address, empty where there is none.
    pub mac: Vec<u8>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Index of the bridge that it is a port of.
    pub controller: Option<u32>,
    /// Whether it is administratively up.
    pub up: bool,
}

/// A unicast IPv4 route of any table but the local one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Destination and prefix length; 0.0.0.0/0 is the default route.
    pub destination: (Ipv4Addr, u8),
    /// Next hop.
    pub gateway: Option<Ipv4Addr>,
    /// Outgoing interface.
    pub interface: u32,
}

/// An IPv4 neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its MAC address, empty while it is not resolved.
    pub mac: Vec<u8>,
    /// The interface that leads to it.
    pub interface: u32,
    /// `ip neigh`'s word for its state.
    pub state: String,
}

/// Runs one asynchronous piece of netlink work to its end on the calling thread.
fn request<T, F: Future<Output = Result<T, rtnetlink::Error>>>(
    what: &str,
    work: impl FnOnce(Handle) -> F,
) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start an I/O runtime"))?;
    runtime.block_on(async {
        let (connection, handle, _) =
            new_connection().map_err(Error::io("open a netlink socket"))?;
        let connection = tokio::spawn(connection);
        let done = work(handle).await.map_err(Error::netlink(what));
        connection.abort();
        done
    })
}

/// The interface index of `name`.
///
/// # Errors
/// When there is no such interface.
pub fn index(name: &str) -> Result<u32, Error> {
    nix::net::if_::if_nametoindex(name).map_err(Error::sys(format!("find the interface {name}")))
}

/// Makes a veth pair.
///
/// # Errors
/// When a name is taken.
pub fn add_veth(name: &str, peer: &str) -> Result<(), Error> {
    request(
        &format!("make the veth pair {name} and {peer}"),
        |handle| async move {
            handle
                .link()
                .add(LinkVeth::new(name, peer).build())
                .execute()
                .await
        },
    )
}

/// Moves `name` into another namespace.
///
/// # Errors
/// When there is no such interface, or its name is taken there.
pub fn move_to(name: &str, namespace: BorrowedFd<'_>) -> Result<(), Error> {
    let index = index(name)?;
    set(
        &format!("move {name} into its namespace"),
        LinkUnspec::new_with_index(index).setns_by_fd(namespace.as_raw_fd()),
    )
}

/// Sets `name` up.
///
/// # Errors
/// When there is no such interface.
pub fn up(name: &str) -> Result<(), Error> {
    let index = index(name)?;
    set(
        &format!("set {name} up"),
        LinkUnspec::new_with_index(index).up(),
    )
}

/// Sets the MTU of `name`.
///
/// # Errors
/// When the interface does not take that MTU.
pub fn set_mtu(name: &str, mtu: u32) -> Result<(), Error> {
    let index = index(name)?;
    set(
        &format!("set the MTU of {name} to {mtu}"),
        LinkUnspec::new_with_index(index).mtu(mtu),
    )
}

fn set(what: &str, message: LinkMessageBuilder<LinkUnspec>) -> Result<(), Error> {
    request(what, |handle| async move {
        handle.link().set(message.build()).execute().await
    })
}

/// Gives `name` an address. An IPv6 address can be used at once: nobody is asked whether they have it
/// (`IFA_F_NODAD`).
///
/// # Errors
/// When it has it already, or there is no such interface.
pub fn add_address(name: &str, address: impl Into<IpAddr>, prefix: u8) -> Result<(), Error> {
    let (index, address) = (index(name)?, address.into());
    request(
        &format!("add {address}/{prefix} to {name}"),
        |handle| async move {
            let mut request = handle.address().add(index, address, prefix);
            if address.is_ipv6() {
                request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
            }
            request.execute().await
        },
    )
}

/// Adds a route through a gateway; a prefix length of 0 makes it the default route.
///
/// # Errors
/// When the gateway cannot be reached or the route is there.
pub fn add_route(
    destination: impl Into<IpAddr>,
    prefix: u8,
    gateway: impl Into<IpAddr>,
) -> Result<(), Error> {
    let (destination, gateway) = (destination.into(), gateway.into());
    let what = format!("add the route {destination}/{prefix} via {gateway}");
    let route = route_message(&what, destination, prefix, gateway)?;
    request(&what, |handle| async move {
        handle.route().add(route).execute().await
    })
}

/// Removes that route.
///
/// # Errors
/// When it is not there.
pub fn remove_route(
    destination: impl Into<IpAddr>,
    prefix: u8,
    gateway: impl Into<IpAddr>,
) -> Result<(), Error> {
    let (destination, gateway) = (destination.into(), gateway.into());
    let what = format!("remove the route {destination}/{prefix} via {gateway}");
    let route = route_message(&what, destination, prefix, gateway)?;
    request(&what, |handle| async move {
        handle.route().del(route).execute().await
    })
}

fn route_message(
    what: &str,
    destination: IpAddr,
    prefix: u8,
    gateway: IpAddr,
) -> Result<RouteMessage, Error> {
    let builder = RouteMessageBuilder::<IpAddr>::new();
    builder
        .destination_prefix(destination, prefix)
        .and_then(|builder| builder.gateway(gateway))
        .map(RouteMessageBuilder::build)
        // A gateway of the other family, or a prefix that is too long.
        .map_err(|error| Error::io(what)(io::Error::other(error)))
}

/// Every link of the namespace, by index.
///
/// # Errors
/// When the kernel refuses to list them.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "attributes that are not shown are skipped"
)]
pub fn links() -> Result<Vec<Link>, Error> {
    let messages = request("list the links", |handle| async move {
        handle.link().get().execute().try_collect::<Vec<_>>().await
    })?;
    let mut links: Vec<Link> = messages
        .into_iter()
        .map(|message| {
            let mut link = Link {
                index: message.header.index,
                up: message.header.flags.contains(LinkFlags::Up),
                ..Link::default()
            };
            for attribute in message.attributes {
                match attribute {
                    LinkAttribute::IfName(name) => link.name = name,
                    LinkAttribute::Address(mac) => link.mac = mac,
                    LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                    LinkAttribute::Controller(index) => link.controller = Some(index),
                    _ => {}
                }
            }
            link
        })
        .collect();
    links.sort_by_key(|link| link.index);
    Ok(links)
}

/// The unicast IPv4 routes of the namespace, sorted.
///
/// # Errors
/// When the kernel refuses to list them.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "attributes that are not shown are skipped"
)]
pub fn routes() -> Result<Vec<Route>, Error> {
    let messages = request("list the routes", |handle| async move {
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        handle
            .route()
            .get(all)
            .execute()
            .try_collect::<Vec<_>>()
            .await
    })?;
    let mut routes: Vec<Route> = messages
        .into_iter()
        .filter(|message| message.header.kind == RouteType::Unicast)
        .map(|message| {
            let mut route = Route {
                destination: (
                    Ipv4Addr::UNSPECIFIED,
                    message.header.destination_prefix_length,
                ),
                gateway: None,
                interface: 0,
            };
            for attribute in message.attributes {
                match attribute {
                    RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                        route.destination.0 = address;
                    }
                    RouteAttribute::Gateway(RouteAddress::Inet(address)) => {
                        route.gateway = Some(address);
                    }
                    RouteAttribute::Oif(index) => route.interface = index,
                    _ => {}
                }
            }
            route
        })
        .collect();
    routes.sort();
    Ok(routes)
}

/// The IPv4 neighbours of the namespace, by address.
///
/// # Errors
/// When the kernel refuses to list them.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "attributes that are not shown are skipped"
)]
pub fn neighbours() -> Result<Vec<Neighbour>, Error> {
    let messages = request("list the neighbours", |handle| async move {
        let request = handle
            .neighbours()
            .get()
            .set_address_family(AddressFamily::Inet);
        request.execute().try_collect::<Vec<_>>().await
    })?;
    let mut neighbours: Vec<Neighbour> = messages
        .into_iter()
        // NOARP: multicast and loopback, of no interest.
        .filter(|message| message.header.state != NeighbourState::Noarp)
        .map(|message| {
            let mut neighbour = Neighbour {
                address: Ipv4Addr::UNSPECIFIED,
                mac: Vec::new(),
                interface: message.header.ifindex,
                state: message.header.state.to_string().to_uppercase(),
            };
            for attribute in message.attributes {
                match attribute {
                    NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
                        neighbour.address = address;
                    }
                    NeighbourAttribute::LinkLayerAddress(mac) => neighbour.mac = mac,
                    _ => {}
                }
            }
            neighbour
        })
        .collect();
    neighbours.sort_by_key(|neighbour| neighbour.address);
    Ok(neighbours)
}

/// A MAC address as people write it.
#[must_use]
pub fn mac_text(mac: &[u8]) -> String {
    mac.iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(":")
}
