//! Who reaches a published port, and as whom the service sees them: what netpath promises.
//!
//! Owns the rules, and by [`page()`] the document that is made of them, docs/reachability.md. Whether they
//! hold is asked by `netns/reachability.rs`, one question after the other.
//!
//! The networks are as they are by default: translated, and open between their containers.

pub mod networks;
mod page;
pub mod run;

use std::fmt;

use netpath_common::DropReason;

use crate::local::Kind;
pub use page::page;

/// Which addresses the container has, and all of its network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Container {
    /// Of both families.
    Both,
    /// Of IPv4 alone.
    Ipv4,
}

impl Container {
    const fn has(self, family: Family) -> bool {
        matches!((self, family), (Self::Both, _) | (_, Family::Ipv4))
    }
}

/// The family of the address that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// Somebody beyond the uplink.
    Outside,
    /// A process of the host.
    Host,
    /// The container whose port it is.
    Itself,
    /// Another container of its network.
    Neighbour,
    /// A container of another network, which has both families.
    OtherNetwork,
}

impl Client {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Outside,
        Self::Host,
        Self::Itself,
        Self::Neighbour,
        Self::OtherNetwork,
    ];
}

/// Which address is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// The host's on the uplink.
    Host,
    /// 127.0.0.1 or `::1`.
    Loopback,
    /// That of the bridge of the container's network.
    Gateway,
    /// The container's own, with the container's port.
    Container,
}

impl Asked {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Host, Self::Loopback, Self::Gateway, Self::Container];
}

/// How a port is published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Published {
    /// No address is named.
    AnyAddress,
    /// At 0.0.0.0.
    AnyIpv4,
    /// At `[::]`.
    AnyIpv6,
    /// At the host's address on the uplink, of each family that the container has.
    HostAddress,
    /// At loopback, likewise.
    Loopback,
    /// At any address, with an allow list that the client is on.
    ForClient,
    /// At any address, with one that it is not on.
    ForOthers,
    /// At any address, with one of all of IPv4.
    ForIpv4,
    /// At any address, and no service listens in the container.
    Idle,
    /// It is not.
    Not,
}

impl Published {
    /// Every way.
    pub const ALL: [Self; 10] = [
        Self::AnyAddress,
        Self::AnyIpv4,
        Self::AnyIpv6,
        Self::HostAddress,
        Self::Loopback,
        Self::ForClient,
        Self::ForOthers,
        Self::ForIpv4,
        Self::Idle,
        Self::Not,
    ];

    /// Whether no address is named.
    fn is_anywhere(self) -> bool {
        Family::ALL
            .iter()
            .all(|family| self.is_at(Asked::Gateway, *family))
    }

    /// Whether it is published at an address of the host, where the container has that family.
    fn is_at(self, asked: Asked, family: Family) -> bool {
        match self {
            Self::AnyAddress | Self::ForClient | Self::ForOthers | Self::ForIpv4 | Self::Idle => {
                true
            }
            Self::AnyIpv4 => family == Family::Ipv4,
            Self::AnyIpv6 => family == Family::Ipv6,
            Self::HostAddress => asked == Asked::Host,
            Self::Loopback => asked == Asked::Loopback,
            Self::Not => false,
        }
    }
}

/// How the host's own processes come into containers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Their sockets are sent there.
    Sockets,
    /// Their packets are, at the loopback device: there is no cgroup v2.
    Packets,
}

/// A question of the matrix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// Whose port it is.
    pub container: Container,
    /// The family of the address that is asked for.
    pub family: Family,
    /// Who asks.
    pub client: Client,
    /// Which address.
    pub asked: Asked,
    /// How the port is published.
    pub published: Published,
    /// By which protocol and socket.
    pub kind: Kind,
    /// How the host's own are led.
    pub way: Way,
}

/// Whom the service sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// The client, by its own address.
    Client,
    /// The gateway of the container's network, of this family.
    Gateway(Family),
    /// The host, by the address that was asked for.
    Asked,
}

/// How a question ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The service answers.
    Reached(Seen),
    /// The client is told: by a reset, or by an ICMP error.
    Refused,
    /// The client hears nothing; a drop of this reason is counted.
    Dropped(DropReason),
    /// The client has no address of the family to ask with.
    NoAddress,
}

impl Question {
    /// Every question that can be asked about such a container.
    pub fn all(container: Container, way: Way) -> impl Iterator<Item = Self> {
        let mut all = Vec::new();
        for family in Family::ALL {
            for published in Published::ALL {
                for asked in Asked::ALL {
                    for client in Client::ALL {
                        all.extend(Kind::ALL.map(|kind| Self {
                            container,
                            family,
                            client,
                            asked,
                            published,
                            kind,
                            way,
                        }));
                    }
                }
            }
        }
        all.into_iter().filter(Self::is_one)
    }

    /// Whether there is such a question.
    fn is_one(&self) -> bool {
        let has_family = self.container.has(self.family);
        let address = match self.asked {
            Asked::Host => true,
            // Everybody else has a loopback of their own.
            Asked::Loopback => self.client == Client::Host,
            Asked::Gateway => has_family,
            // How the host's port is published makes no difference there, so a few do.
            Asked::Container => {
                has_family
                    && matches!(
                        self.published,
                        Published::AnyAddress | Published::Idle | Published::Not
                    )
            }
        };
        // Without IPv6 a container has nothing to publish there: that is refused.
        let publication = self.published != Published::AnyIpv6 || self.container.has(Family::Ipv6);
        // Nobody else notices how the host's own are led.
        let way = self.way == Way::Sockets || self.client == Client::Host;
        address && publication && way
    }

    /// What netpath promises.
    #[must_use]
    pub fn promise(&self) -> End {
        let at_home = matches!(self.client, Client::Itself | Client::Neighbour);
        if at_home && !self.container.has(self.family) {
            return End::NoAddress;
        }
        match self.asked {
            Asked::Container => self.by_the_containers_address(),
            Asked::Gateway if self.client == Client::Outside => self.by_a_private_address(),
            Asked::Host | Asked::Loopback | Asked::Gateway => self.by_an_address_of_the_host(),
        }
    }

    /// The service, if there is one.
    fn service(&self, seen: Seen) -> End {
        if self.published == Published::Idle {
            End::Refused
        } else {
            End::Reached(seen)
        }
    }

    /// Neighbours and the host talk to a container as they like; nobody else does.
    fn by_the_containers_address(&self) -> End {
        match self.client {
            Client::Outside => End::Dropped(DropReason::DirectAccess),
            Client::OtherNetwork => End::Dropped(DropReason::OtherNetwork),
            Client::Host => self.service(Seen::Gateway(self.family)),
            Client::Itself | Client::Neighbour => self.service(Seen::Client),
        }
    }

    /// No answer leaves with a private source, neither the container's nor the host's own.
    fn by_a_private_address(&self) -> End {
        End::Dropped(if self.is_published() {
            DropReason::DirectAccess
        } else {
            DropReason::UntranslatedSource
        })
    }

    fn by_an_address_of_the_host(&self) -> End {
        if self.is_published() {
            return match self.client {
                // Who may run a process on the host may reach what the host publishes.
                Client::Host if self.way == Way::Packets && self.asked == Asked::Host => {
                    self.service(Seen::Asked)
                }
                Client::Host => self.service(Seen::Gateway(self.family)),
                _ if !self.is_allowed() => End::Dropped(DropReason::NotAllowed),
                // It could not answer its own address.
                Client::Itself => self.service(Seen::Gateway(self.family)),
                Client::Outside | Client::Neighbour | Client::OtherNetwork => {
                    self.service(Seen::Client)
                }
            };
        }
        // The host's processes alone find a container of IPv4 by IPv6, where no address is named.
        if self.client == Client::Host
            && !self.container.has(self.family)
            && self.published.is_anywhere()
        {
            // What cannot be sent to IPv4 by its socket is turned, and ICMP errors have no other form.
            let turned = match self.kind {
                Kind::Tcp => false,
                Kind::Udp => self.way == Way::Packets,
                Kind::UdpUnconnected => true,
            };
            return if self.published == Published::Idle && turned {
                End::Dropped(DropReason::UnsupportedProtocol)
            } else {
                self.service(Seen::Gateway(Family::Ipv4))
            };
        }
        // Nobody has the port, so the host's own stack answers.
        End::Refused
    }

    /// Whether the port is published where it is asked for, by the family that it is asked by.
    fn is_published(&self) -> bool {
        self.container.has(self.family) && self.published.is_at(self.asked, self.family)
    }

    /// Whether an allow list holds the client.
    fn is_allowed(&self) -> bool {
        match self.published {
            Published::ForOthers => false,
            Published::ForIpv4 => self.family == Family::Ipv4,
            Published::AnyAddress
            | Published::AnyIpv4
            | Published::AnyIpv6
            | Published::HostAddress
            | Published::Loopback
            | Published::ForClient
            | Published::Idle
            | Published::Not => true,
        }
    }
}
