//! The world that the matrix of networks is asked in: one host with a network of each kind.
//!
//! Owns its addresses and ports, the services and the clients. Who forwards there is netpath, by
//! [`netpath`], or the kernel by Docker's rules, by `docker`.
//!
//! In each network are a container with the services, `.2`, and its neighbour, `.3`; in one network more
//! the client of another network. The rules in `docker-28.5.2` name these addresses and ports.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use netpath::lab::{links, server::Server};
use netpath_tests::{
    dual_stack::{HOST6, OUTSIDE6},
    local::{self, Kind},
    netns::{Namespace, stdout, within},
    reachability::{
        Family,
        networks::{Asked, Client, End, Network, Published, Question, Seen},
        run::lift_icmp_limits,
    },
    topology::{HOST, OUTSIDE, World, recommended_rules},
};

/// The third number of the network with the client of another network.
const OTHER: u16 = 30;
/// Its container.
const CLIENT: &str = "other";

/// Whether the networks pass the host's firewall, which then drops what it does not accept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Firewall {
    Bypass,
    Visible,
}

/// A network of the world.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) bridge: &'static str,
    /// What tells its addresses from others.
    number: u16,
    pub(crate) is_internal: bool,
    pub(crate) has_gateway: bool,
}

impl Place {
    pub(crate) fn v4(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(172, self.number as u8, 0, host)
    }

    pub(crate) fn v6(&self, host: u16) -> Ipv6Addr {
        // The digits are those of IPv4.
        let digits = u16::from_str_radix(&self.number.to_string(), 16).unwrap();
        Ipv6Addr::new(0xfd00, digits, 0, 0, 0, 0, 0, host)
    }

    fn addr(&self, family: Family, host: u8) -> IpAddr {
        match family {
            Family::Ipv4 => self.v4(host).into(),
            Family::Ipv6 => self.v6(host.into()).into(),
        }
    }

    /// Its containers and the last number of their addresses.
    pub(crate) fn containers(&self) -> Vec<(String, u8)> {
        if self.number == OTHER {
            return vec![(CLIENT.to_owned(), 2)];
        }
        vec![(service(self), 2), (neighbour(self), 3)]
    }
}

fn service(place: &Place) -> String {
    format!("s-{}", place.name)
}

fn neighbour(place: &Place) -> String {
    format!("n-{}", place.name)
}

pub(crate) fn place(network: Network) -> Place {
    let (name, bridge, number) = match network {
        Network::Nat => ("nat", "br-nat", 20),
        Network::Routed => ("routed", "br-routed", 21),
        Network::Internal => ("internal", "br-internal", 22),
        Network::Isolated => ("isolated", "br-isolated", 23),
        Network::IccOff => ("icc-off", "br-icc-off", 24),
    };
    Place {
        name,
        bridge,
        number,
        is_internal: matches!(network, Network::Internal | Network::Isolated),
        has_gateway: network != Network::Isolated,
    }
}

/// Every network.
pub(crate) fn places() -> Vec<Place> {
    let other = Place {
        name: CLIENT,
        bridge: "br-other",
        number: OTHER,
        is_internal: false,
        has_gateway: true,
    };
    let all = Network::ALL.map(place);
    all.into_iter().chain([other]).collect()
}

/// The container's port.
pub(crate) fn inside(network: Network, published: Published) -> u16 {
    let place = match published {
        Published::Anywhere => 0,
        Published::ForClient => 1,
        Published::ForOthers => 2,
        Published::Loopback => 3,
        Published::Not => 4,
    };
    100 + 10 * (self::place(network).number - 20) + place
}

/// The host's.
pub(crate) fn port(network: Network, published: Published) -> u16 {
    inside(network, published) + 7900
}

/// Whoever is on the list, and nobody.
pub(crate) const LISTS: [[&str; 2]; 2] = [
    ["198.51.100.0/24", "2001:db8:1::/64"],
    ["192.0.2.0/24", "2001:db8:2::/64"],
];

/// The host, the outside and the containers; nothing forwards yet.
pub(crate) fn world() -> World {
    let names: Vec<String> = places()
        .iter()
        .flat_map(Place::containers)
        .map(|(name, _)| name)
        .collect();
    let world = World::dual_stack(&names.iter().map(String::as_str).collect::<Vec<_>>());
    within(&world.outside, || {
        fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        for place in places() {
            links::add_route(place.v4(0), 16, HOST).unwrap();
            links::add_route(place.v6(0), 64, HOST6).unwrap();
        }
    });
    lift_icmp_limits(&world.host);
    world
}

/// Puts netpath to work there.
pub(crate) fn netpath(world: &World, firewall: Firewall) {
    let word = match firewall {
        Firewall::Bypass => "bypass",
        Firewall::Visible => "visible",
    };
    let mut config = String::new();
    for place in places() {
        let kind = match place.name {
            "routed" => "mode = \"routed\"",
            "internal" => "internal = true",
            "isolated" => "internal = true\nisolated = true",
            "icc-off" => "icc = false",
            _ => "",
        };
        let more = format!(
            "ipv6 = \"{}/64\"\nfirewall = \"{word}\"\n{kind}",
            place.v6(0)
        );
        let subnet = format!("{}/16", place.v4(0));
        config += &world.network(place.name, place.bridge, &subnet, &more);
        let network = Network::ALL
            .into_iter()
            .find(|network| self::place(*network).name == place.name);
        for (name, host) in place.containers() {
            let specs = network.filter(|_| host == 2).map_or_else(Vec::new, specs);
            let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
            config += &world.endpoint6(&name, place.v4(host), place.v6(host.into()), &specs);
        }
    }
    world.up(&config);
    if firewall == Firewall::Visible {
        let bridges = places()
            .iter()
            .map(|place| format!("\"{}\"", place.bridge))
            .collect::<Vec<_>>()
            .join(", ");
        let rules = recommended_rules().replace("\"netpath0\"", &format!("{{ {bridges} }}"));
        let file = world.file("rules.nft");
        fs::write(&file, rules).unwrap();
        stdout(&world.host, "nft", &["-f", file.to_str().unwrap()]);
    }
}

fn specs(network: Network) -> Vec<String> {
    let list = |prefixes: &[&str]| -> String {
        let allow = prefixes.iter().map(|prefix| format!(",allow={prefix}"));
        allow.collect()
    };
    let [on, off] = LISTS;
    let everybody = [&on[..], &["172.16.0.0/12", "fd00::/16"]].concat();
    let spec = |at: &str, published, protocol: &str, list: &str| {
        let (port, inside) = (port(network, published), inside(network, published));
        format!("{at}{port}:{inside}/{protocol}{list}")
    };
    let of = |protocol| {
        [
            spec("", Published::Anywhere, protocol, ""),
            spec("", Published::ForClient, protocol, &list(&everybody)),
            spec("", Published::ForOthers, protocol, &list(&off)),
            spec("127.0.0.1:", Published::Loopback, protocol, ""),
            spec("[::1]:", Published::Loopback, protocol, ""),
        ]
    };
    ["tcp", "udp"].into_iter().flat_map(of).collect()
}

/// A service behind each port of each network, named after the port.
pub(crate) fn services(world: &World) -> Vec<Server> {
    let mut all = Vec::new();
    for network in Network::ALL {
        let container = world.container(&service(&place(network)));
        lift_icmp_limits(container);
        for published in Published::ALL {
            let port = inside(network, published);
            let name = format!("service {port}");
            for address in [
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                Ipv6Addr::UNSPECIFIED.into(),
            ] {
                let at = SocketAddr::new(address, port);
                all.push(Server::tcp(container, &name, at).unwrap());
                all.push(Server::udp(container, &name, at).unwrap());
            }
        }
    }
    all
}

fn of_family(family: Family, v4: Ipv4Addr, v6: Ipv6Addr) -> IpAddr {
    match family {
        Family::Ipv4 => v4.into(),
        Family::Ipv6 => v6.into(),
    }
}

fn asked_at(question: &Question) -> SocketAddr {
    let (network, published, family) = (question.network, question.published, question.family);
    let address = match question.asked {
        Asked::Host => of_family(family, HOST, HOST6),
        Asked::Loopback => of_family(family, Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
        Asked::Container => place(network).addr(family, 2),
    };
    let inside = question.asked == Asked::Container || published == Published::Not;
    let port = if inside {
        self::inside(network, published)
    } else {
        port(network, published)
    };
    SocketAddr::new(address, port)
}

fn namespace<'w>(world: &'w World, question: &Question) -> &'w Namespace {
    match question.client {
        Client::Neighbour => world.container(&neighbour(&place(question.network))),
        Client::OtherNetwork => world.container(CLIENT),
        Client::Host => &world.host,
        Client::Outside | Client::Direct => &world.outside,
    }
}

/// The address that the client's socket shows as its own.
fn own_address(question: &Question) -> IpAddr {
    let (family, place) = (question.family, place(question.network));
    match question.client {
        Client::Neighbour => place.addr(family, 3),
        Client::OtherNetwork => places().last().unwrap().addr(family, 2),
        Client::Outside | Client::Direct => of_family(family, OUTSIDE, OUTSIDE6),
        Client::Host if question.asked == Asked::Container => place.addr(family, 1),
        // As between any two sockets of a host.
        Client::Host => asked_at(question).ip(),
    }
}

/// Asks, and says how that ends; a drop has no reason here.
///
/// # Errors
/// What has no place in the matrix.
pub(crate) fn ask(
    world: &World,
    question: &Question,
    client: local::Client,
) -> Result<End, String> {
    let to = asked_at(question);
    let answer = match client.ask(namespace(world, question), to) {
        Ok(answer) => answer,
        Err(error) => {
            return match (error.kind(), client.kind) {
                (io::ErrorKind::ConnectionRefused, _) => Ok(End::Refused),
                // Of TCP it is the connection that fails: one that is open and silent is another matter.
                (io::ErrorKind::TimedOut, Kind::Tcp)
                | (io::ErrorKind::WouldBlock, Kind::Udp | Kind::UdpUnconnected) => {
                    Ok(End::Silent(None))
                }
                (io::ErrorKind::NetworkUnreachable, _) => Ok(End::NoRoute),
                _ => Err(format!("{to}: {error}")),
            };
        }
    };
    let (own, gateway) = (
        own_address(question),
        place(question.network).addr(question.family, 1),
    );
    let name = format!("service {}", inside(question.network, question.published));
    let seen = answer.client().map(|seen| seen.ip());
    let is_whole =
        answer.is_from(&name, seen.unwrap_or(own)) && answer.peer == to && answer.local.ip() == own;
    match seen {
        _ if !is_whole => Err(format!("{to}: {answer:?}")),
        Some(seen) if seen == gateway => Ok(End::Reached(Seen::Gateway)),
        Some(seen) if question.client == Client::Host && seen == to.ip() => {
            Ok(End::Reached(Seen::Asked))
        }
        Some(seen) if seen == own => Ok(End::Reached(Seen::Client)),
        _ => Err(format!("{to}: {answer:?}")),
    }
}
