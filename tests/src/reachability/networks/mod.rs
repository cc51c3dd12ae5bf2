//! Who reaches a container of each kind of network: what netpath promises, and what Docker does.
//!
//! Owns the questions and netpath's promise. `docker` has Docker's answers, `difference` the names of what
//! differs and why, [`page()`] the document that is made of all of it, docs/reachability-networks.md.
//! Whether the answers of both hold is asked by `netns/reachability_networks`.

mod difference;
mod docker;
mod page;

use netpath_common::DropReason;

pub use self::{difference::Difference, docker::Proxy, page::page};
use super::Family;

/// What kind of network the asked container is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// Translated, the default.
    Nat,
    /// Translated, and closed between its containers.
    IccOff,
    /// `mode = "routed"`.
    Routed,
    /// `internal = true`.
    Internal,
    /// `isolated = true`.
    Isolated,
}

impl Network {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Nat,
        Self::IccOff,
        Self::Routed,
        Self::Internal,
        Self::Isolated,
    ];

    /// Whether its containers have no way out.
    const fn is_closed(self) -> bool {
        matches!(self, Self::Internal | Self::Isolated)
    }
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// A container of the same network.
    Neighbour,
    /// A container of another network, which is translated.
    OtherNetwork,
    /// A process of the host.
    Host,
    /// Somebody beyond the uplink.
    Outside,
    /// Somebody there who has a route by the host to the container's subnet.
    Direct,
}

/// Which address is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// The host's on the uplink.
    Host,
    /// 127.0.0.1 or `::1`.
    Loopback,
    /// The container's own, with the container's port.
    Container,
}

/// Who asks for what: the columns of the matrix.
pub const ASKED: [(Client, Asked); 9] = [
    (Client::Neighbour, Asked::Host),
    (Client::Neighbour, Asked::Container),
    (Client::OtherNetwork, Asked::Host),
    (Client::OtherNetwork, Asked::Container),
    (Client::Host, Asked::Host),
    (Client::Host, Asked::Loopback),
    (Client::Host, Asked::Container),
    (Client::Outside, Asked::Host),
    (Client::Direct, Asked::Container),
];

/// How the port is published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Published {
    /// `8080:80`.
    Anywhere,
    /// `127.0.0.1:8080:80` and `[::1]:8080:80`.
    Loopback,
    /// With an allow list that every client is on.
    ForClient,
    /// With one that none is on.
    ForOthers,
    /// It is not; the service listens.
    Not,
}

impl Published {
    /// Every way.
    pub const ALL: [Self; 5] = [
        Self::Anywhere,
        Self::Loopback,
        Self::ForClient,
        Self::ForOthers,
        Self::Not,
    ];

    /// Whether it is published at an address of the host, where that is done at all.
    fn is_at(self, asked: Asked) -> bool {
        match self {
            Self::Anywhere | Self::ForClient | Self::ForOthers => true,
            Self::Loopback => asked == Asked::Loopback,
            Self::Not => false,
        }
    }
}

/// A question of the matrix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// The network of the container.
    pub network: Network,
    /// The family of the address that is asked for.
    pub family: Family,
    /// How the port is published.
    pub published: Published,
    /// Who asks.
    pub client: Client,
    /// Which address.
    pub asked: Asked,
}

/// Whom the service sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// The client, by its own address.
    Client,
    /// The host, by the gateway's address of the service's network.
    Gateway,
    /// The host, by the address that was asked for.
    Asked,
}

/// How a question ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The service answers.
    Reached(Seen),
    /// The client is told, by a reset or an ICMP error.
    Refused,
    /// The client hears nothing. netpath counts a drop, where it is netpath that is silent.
    Silent(Option<DropReason>),
    /// The client has no route to ask by.
    NoRoute,
}

impl End {
    /// Whether client and service notice no difference.
    #[must_use]
    pub fn is_like(self, other: Self) -> bool {
        match (self, other) {
            (Self::Silent(_), Self::Silent(_)) => true,
            (Self::Reached(a), Self::Reached(b)) => a == b,
            (Self::Refused, Self::Refused) | (Self::NoRoute, Self::NoRoute) => true,
            (Self::Reached(_) | Self::Refused | Self::Silent(_) | Self::NoRoute, _) => false,
        }
    }
}

const fn dropped(reason: DropReason) -> End {
    End::Silent(Some(reason))
}

impl Question {
    /// Every one.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for network in Network::ALL {
            for family in Family::ALL {
                for published in Published::ALL {
                    all.extend(ASKED.map(|(client, asked)| Self {
                        network,
                        family,
                        published,
                        client,
                        asked,
                    }));
                }
            }
        }
        all
    }

    /// What netpath promises, whether the host's firewall sees the networks or not.
    #[must_use]
    pub fn promise(&self) -> End {
        match self.asked {
            Asked::Container => self.by_the_containers_address(),
            Asked::Host | Asked::Loopback => self.by_an_address_of_the_host(),
        }
    }

    fn by_the_containers_address(&self) -> End {
        match (self.client, self.network) {
            // It is not found: the bridge keeps ARP and neighbour discovery apart as well.
            (Client::Neighbour, Network::IccOff) => End::Silent(None),
            (Client::Neighbour, _) => End::Reached(Seen::Client),
            // There is no route but the host's default one.
            (Client::Host, Network::Isolated) => End::Silent(None),
            (Client::Host, _) => End::Reached(Seen::Gateway),
            (_, Network::Routed) => self.by_a_routed_address(),
            (Client::OtherNetwork, _) => dropped(DropReason::OtherNetwork),
            (Client::Outside | Client::Direct, _) => dropped(DropReason::DirectAccess),
        }
    }

    /// What is published is open to everybody who has a way there.
    fn by_a_routed_address(&self) -> End {
        match self.published {
            Published::Anywhere | Published::ForClient | Published::Loopback => {
                End::Reached(Seen::Client)
            }
            Published::ForOthers => dropped(DropReason::NotAllowed),
            Published::Not => dropped(if self.client == Client::OtherNetwork {
                DropReason::OtherNetwork
            } else {
                DropReason::DirectAccess
            }),
        }
    }

    fn by_an_address_of_the_host(&self) -> End {
        if self.client == Client::Neighbour && self.network.is_closed() {
            return End::NoRoute;
        }
        let is_published =
            !matches!(self.network, Network::Routed) && self.published.is_at(self.asked);
        match self.client {
            Client::Neighbour | Client::OtherNetwork | Client::Outside | Client::Direct
                if is_published && self.published == Published::ForOthers =>
            {
                dropped(DropReason::NotAllowed)
            }
            // Nobody has the port, or it leads nowhere, so the host's own stack answers.
            _ if !is_published || self.network.is_closed() => End::Refused,
            // Who may run a process on the host may reach what the host publishes.
            Client::Host => End::Reached(Seen::Gateway),
            // It is not found by whom it asks, so that the gateway asks for it.
            Client::Neighbour if self.network == Network::IccOff => End::Reached(Seen::Gateway),
            Client::Neighbour | Client::OtherNetwork | Client::Outside | Client::Direct => {
                End::Reached(Seen::Client)
            }
        }
    }
}
