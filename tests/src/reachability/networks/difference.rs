//! Where netpath does other than Docker, and why.
//!
//! Owns the names and the reasons.

use netpath_common::DropReason;

use super::{Client, End, Proxy, Question, Seen};

/// A wanted difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Difference {
    /// Whom the service sees, where both lead there.
    ClientAddress,
    /// Whom it sees of the host.
    HostAddress,
    /// What a client is told that is on no list.
    AllowList,
    /// The same, where the port leads nowhere.
    ListOfClosed,
    /// Published ports between networks, without Docker's proxy.
    BetweenNetworks,
    /// Those of neighbours that do not reach each other by themselves, likewise.
    PublishedWithoutIcc,
    /// `::1`, likewise.
    LoopbackByIpv6,
}

impl Difference {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::ClientAddress,
        Self::HostAddress,
        Self::AllowList,
        Self::ListOfClosed,
        Self::BetweenNetworks,
        Self::PublishedWithoutIcc,
        Self::LoopbackByIpv6,
    ];

    /// Its name in the document.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientAddress => "client-address",
            Self::HostAddress => "host-address",
            Self::AllowList => "allow-list",
            Self::ListOfClosed => "list-of-closed",
            Self::BetweenNetworks => "between-networks",
            Self::PublishedWithoutIcc => "published-without-icc",
            Self::LoopbackByIpv6 => "loopback-by-ipv6",
        }
    }

    /// What differs.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::ClientAddress => {
                "the service sees the client's own address; with Docker the gateway's"
            }
            Self::HostAddress => {
                "the service sees the host by the gateway's address; with Docker by the one that was asked for"
            }
            Self::AllowList => {
                "a container that is not on the list is told nothing; Docker's rule is for the uplink alone"
            }
            Self::ListOfClosed => {
                "who is not on the list of a port that leads nowhere is told nothing; with Docker refused"
            }
            Self::BetweenNetworks => {
                "a published port is reached from another network; Docker without its proxy drops that"
            }
            Self::PublishedWithoutIcc => {
                "with `icc = false` a neighbour's published port is reached, as with Docker's proxy; without \
                 it Docker drops that"
            }
            Self::LoopbackByIpv6 => {
                "the host reaches its published ports by `::1`, as with Docker's proxy; without it it hears \
                 nothing"
            }
        }
    }

    /// Why it is wanted.
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::ClientAddress => {
                "the proxy asks by itself, and what leaves a translated network is masqueraded: the service \
                 does not know who asks. An answer to the client finds back"
            }
            Self::HostAddress => {
                "sockets are sent there, no packet is translated, and the kernel chooses the source of a \
                 connection to the container; Docker's own answer without its proxy"
            }
            Self::AllowList => {
                "a list holds for whoever comes by a packet. Docker has none; what its documentation advises \
                 instead, a rule in DOCKER-USER, names the interface that leads out, and other containers \
                 come by the proxy or by another bridge"
            }
            Self::ListOfClosed => {
                "the list is asked before the way, and nobody is let in by either"
            }
            Self::BetweenNetworks => {
                "what is published is open to whoever reaches the host, with Docker's proxy as well. Without \
                 it Docker's rules against traffic between networks come after the translation and mean it too"
            }
            Self::PublishedWithoutIcc => {
                "what is published is open to whoever reaches the host. The gateway asks for the neighbour, \
                 which the answer would not find"
            }
            Self::LoopbackByIpv6 => {
                "`localhost` is `::1` first. Docker's rules translate it, but there is no `route_localnet` of \
                 IPv6"
            }
        }
    }
}

impl Question {
    /// What netpath does other than Docker, by its name; `None` where both do the same.
    #[must_use]
    pub fn difference(&self, proxy: Proxy) -> Option<Difference> {
        let (here, there) = (self.promise(), self.docker(proxy));
        match (here, there) {
            _ if here.is_like(there) => None,
            (End::Reached(Seen::Client), End::Reached(Seen::Gateway)) => {
                Some(Difference::ClientAddress)
            }
            (End::Reached(Seen::Gateway), End::Reached(Seen::Asked)) => {
                Some(Difference::HostAddress)
            }
            (End::Silent(Some(DropReason::NotAllowed)), End::Reached(_)) => {
                Some(Difference::AllowList)
            }
            (End::Silent(Some(DropReason::NotAllowed)), End::Refused) => {
                Some(Difference::ListOfClosed)
            }
            (End::Reached(Seen::Client), End::Silent(_)) if self.client == Client::OtherNetwork => {
                Some(Difference::BetweenNetworks)
            }
            (End::Reached(Seen::Gateway), End::Silent(_)) if self.client == Client::Neighbour => {
                Some(Difference::PublishedWithoutIcc)
            }
            (End::Reached(Seen::Gateway), End::Silent(_)) if self.client == Client::Host => {
                Some(Difference::LoopbackByIpv6)
            }
            (End::Reached(_) | End::Refused | End::Silent(_) | End::NoRoute, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_has_a_name_and_every_name_something_that_differs() {
        let mut met = Vec::new();
        for question in Question::all() {
            for proxy in Proxy::ALL {
                let (here, there) = (question.promise(), question.docker(proxy));
                let difference = question.difference(proxy);
                let is_known = here.is_like(there) || difference.is_some();
                assert!(is_known, "{question:?}, {proxy:?}: {here:?}, and {there:?}");
                met.extend(difference);
            }
        }
        for difference in Difference::ALL {
            assert!(met.contains(&difference), "{difference:?}");
        }
    }
}
