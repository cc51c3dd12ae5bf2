//! What Docker 28 does in the same places.
//!
//! Owns its answers. They are asked like netpath's: the kernel answers, under the rules that Docker has
//! written.

use super::{Asked, Client, End, Network, Published, Question, Seen};
use crate::reachability::Family;

/// Whether Docker's userland proxy runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proxy {
    /// It does, which is the default.
    On,
    /// `--userland-proxy=false`.
    Off,
}

impl Proxy {
    /// Both ways.
    pub const ALL: [Self; 2] = [Self::On, Self::Off];
}

const SILENT: End = End::Silent(None);

impl Question {
    /// What Docker does. For an allow list, which it does not have, an administrator has put a rule into
    /// DOCKER-USER.
    #[must_use]
    pub fn docker(&self, proxy: Proxy) -> End {
        match self.asked {
            Asked::Container => self.by_the_containers_address_with_docker(),
            Asked::Host | Asked::Loopback => self.by_an_address_of_the_host_with_docker(proxy),
        }
    }

    fn by_the_containers_address_with_docker(&self) -> End {
        match (self.client, self.network) {
            (Client::Neighbour, Network::IccOff) => SILENT,
            (Client::Neighbour, _) => End::Reached(Seen::Client),
            // There is no route but the host's default one.
            (Client::Host, Network::Isolated) => SILENT,
            (Client::Host, _) => End::Reached(Seen::Gateway),
            (_, Network::Routed) => match (self.client, self.published) {
                (_, Published::Not) => SILENT,
                // What leaves a translated network is masqueraded.
                (Client::OtherNetwork, _) => End::Reached(Seen::Gateway),
                // The rule in DOCKER-USER is about the uplink alone.
                (_, Published::ForOthers) => SILENT,
                (_, Published::Anywhere | Published::Loopback | Published::ForClient) => {
                    End::Reached(Seen::Client)
                }
            },
            (Client::OtherNetwork | Client::Outside | Client::Direct, _) => SILENT,
        }
    }

    fn by_an_address_of_the_host_with_docker(&self, proxy: Proxy) -> End {
        if self.client == Client::Neighbour && self.network.is_closed() {
            return End::NoRoute;
        }
        let takes_ports = matches!(self.network, Network::Nat | Network::IccOff);
        if !takes_ports || !self.published.is_at(self.asked) {
            return End::Refused;
        }
        match (self.client, proxy) {
            (Client::Outside | Client::Direct, _) if self.published == Published::ForOthers => {
                SILENT
            }
            (Client::Outside | Client::Direct, _) => End::Reached(Seen::Client),
            // Translated where a process of the host sends to another address than loopback.
            (Client::Host, Proxy::On) if self.asked == Asked::Host => End::Reached(Seen::Asked),
            // The proxy takes it, which is a process of the host.
            (_, Proxy::On) => End::Reached(Seen::Gateway),
            // Translated as well, but there is no `route_localnet` of IPv6.
            (Client::Host, Proxy::Off)
                if self.asked == Asked::Loopback && self.family == Family::Ipv6 =>
            {
                SILENT
            }
            (Client::Host, Proxy::Off) => End::Reached(Seen::Gateway),
            (Client::Neighbour, Proxy::Off) if self.network == Network::IccOff => SILENT,
            (Client::Neighbour, Proxy::Off) => End::Reached(Seen::Client),
            // DOCKER-ISOLATION.
            (Client::OtherNetwork, Proxy::Off) => SILENT,
        }
    }
}
