//! A published port with its open choices made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netpath_common::{
    Addr, V6,
    records::{Published, PublishedKey},
};
use serde::{Deserialize, Serialize};

use super::{Endpoint, Network, Origin};
use crate::{
    bpf::Entry,
    config::{Mode, PortRange, PortSpec, Protocol},
};

/// A published port or range of ports: one slot, one generation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Slot in the datapath.
    pub slot: u16,
    /// What was asked for.
    pub spec: PortSpec,
    /// Who asked.
    pub origin: Origin,
    /// Host address; unspecified means any. In a routed network it is the container's own.
    pub addr: Ipv4Addr,
    /// First port of the host, or of the container in a routed network.
    pub host: u16,
}

impl Rule {
    /// The host's ports.
    #[must_use]
    pub fn host_range(&self) -> Option<PortRange> {
        let more = self.spec.container.last() - self.spec.container.first();
        PortRange::new(self.host, self.host.checked_add(more)?)
    }

    /// Protocol.
    #[must_use]
    pub const fn proto(&self) -> Protocol {
        self.spec.proto
    }

    /// Host and container port of each port of the rule.
    pub fn pairs(&self) -> impl Iterator<Item = (u16, u16)> + use<> {
        let container = self.spec.container;
        (self.host..=u16::MAX).zip(container.first()..=container.last())
    }

    /// Whether the rule is for IPv6 as well, where its container has it: the host's address was left
    /// open, as Docker understands it.
    #[must_use]
    pub const fn serves_ipv6(&self) -> bool {
        self.spec.host_ip.is_none() && self.addr.is_unspecified()
    }

    /// Where the rule's ports are: the host's address, and any of IPv6 where the container has that;
    /// in a routed network the container's own.
    #[must_use]
    pub fn places(&self, n: &Network, e: &Endpoint) -> Vec<IpAddr> {
        let v6 = match n.mode {
            Mode::Nat => e
                .addr6
                .and(self.serves_ipv6().then_some(Ipv6Addr::UNSPECIFIED)),
            Mode::Routed => e.addr6,
        };
        let v6 = v6.map(IpAddr::V6);
        std::iter::once(self.addr.into()).chain(v6).collect()
    }

    /// Docker's form, a line for each place: `80/tcp -> 0.0.0.0:8080`, a range as one line.
    #[must_use]
    pub fn summary(&self, n: &Network, e: &Endpoint) -> Vec<String> {
        let host = self.host_range().map(|r| r.to_string()).unwrap_or_default();
        let (container, proto) = (self.spec.container, self.proto());
        let line = |at: IpAddr| match at {
            IpAddr::V4(at) => format!("{container}/{proto} -> {at}:{host}"),
            IpAddr::V6(at) => format!("{container}/{proto} -> [{at}]:{host}"),
        };
        self.places(n, e).into_iter().map(line).collect()
    }

    /// The entries of the datapath's map of IPv4, for the endpoint at `addr` in slot `endpoint`.
    #[must_use]
    pub fn entries(&self, addr: Ipv4Addr, endpoint: u16) -> Vec<Entry> {
        self.entries_at(self.addr.octets(), self.pairs(), addr.octets(), endpoint)
    }

    /// The same of IPv6; none unless the rule serves it.
    #[must_use]
    pub fn entries6(&self, addr: Ipv6Addr, endpoint: u16) -> Vec<Entry<V6>> {
        if !self.serves_ipv6() {
            return Vec::new();
        }
        self.entries_at(V6::NONE, self.pairs(), addr.octets(), endpoint)
    }

    /// The entries of a rule of a routed network: the container's own ports at its own address.
    #[must_use]
    pub fn entries_routed<A: Addr>(&self, addr: A, endpoint: u16) -> Vec<Entry<A>> {
        let own = self.spec.container.first()..=self.spec.container.last();
        self.entries_at(addr, own.map(|port| (port, port)), addr, endpoint)
    }

    fn entries_at<A: Addr>(
        &self,
        host: A,
        ports: impl Iterator<Item = (u16, u16)>,
        addr: A,
        endpoint: u16,
    ) -> Vec<Entry<A>> {
        let proto = self.proto().number();
        let entry = |(at, port)| {
            let key = PublishedKey {
                addr: host,
                port: at,
                proto,
                zero: 0,
            };
            let value = Published {
                addr,
                port,
                endpoint,
                rule: self.slot,
                zero: 0,
            };
            (key, value)
        };
        ports.map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::network, *};

    #[test]
    fn a_range_is_one_rule_and_many_keys() {
        let rule = Rule {
            slot: 7,
            spec: "9000-9002:80-82/udp".parse().unwrap(),
            origin: Origin::Command,
            addr: Ipv4Addr::UNSPECIFIED,
            host: 9000,
        };
        let entries = rule.entries(Ipv4Addr::new(172, 17, 0, 2), 3);
        assert_eq!(entries.len(), 3);
        let (key, value) = entries[2];
        assert_eq!((key.addr, key.port, key.proto), ([0; 4], 9002, 17));
        assert_eq!(
            (value.addr, value.port, value.endpoint, value.rule),
            ([172, 17, 0, 2], 82, 3, 7)
        );
        assert_eq!(rule.host_range(), PortRange::new(9000, 9002));

        let addr6: Ipv6Addr = "fd00:17::2".parse().unwrap();
        let (key, value) = rule.entries6(addr6, 3)[2];
        assert_eq!((key.addr, key.port, key.proto), ([0; 16], 9002, 17));
        assert_eq!(
            (value.addr, value.port, value.endpoint, value.rule),
            (addr6.octets(), 82, 3, 7)
        );
        let routed = rule.entries_routed(addr6.octets(), 3);
        assert_eq!(routed.len(), 3);
        let (key, value) = routed[2];
        assert_eq!((key.addr, key.port), (addr6.octets(), 82));
        assert_eq!((value.addr, value.port), (addr6.octets(), 82));

        // One address of the host is of one family.
        let local = Rule {
            spec: "127.0.0.1:9000-9002:80-82/udp".parse().unwrap(),
            addr: Ipv4Addr::LOCALHOST,
            ..rule
        };
        assert_eq!(local.entries6(addr6, 3), []);
    }

    #[test]
    fn a_rule_is_shown_at_every_place() {
        let mut n = network(Some("fd00:17::/64"), &["fd00:17::2"]);
        let rule = |spec: &str, addr: &str, host| Rule {
            slot: 1,
            spec: spec.parse().unwrap(),
            origin: Origin::Command,
            addr: addr.parse().unwrap(),
            host,
        };
        let open = rule("8080-8081:80-81", "0.0.0.0", 8080);
        let local = rule("127.0.0.1:8080:80/udp", "127.0.0.1", 8080);
        let own = rule("8080:80", "172.17.0.2", 80);
        let shown = |n: &Network, rule: &Rule| rule.summary(n, &n.endpoints[0]);
        assert_eq!(
            shown(&n, &open),
            [
                "80-81/tcp -> 0.0.0.0:8080-8081",
                "80-81/tcp -> [::]:8080-8081"
            ]
        );
        assert_eq!(shown(&n, &local), ["80/udp -> 127.0.0.1:8080"]);
        n.mode = Mode::Routed;
        assert_eq!(
            shown(&n, &own),
            ["80/tcp -> 172.17.0.2:80", "80/tcp -> [fd00:17::2]:80"]
        );
        n.mode = Mode::Nat;
        n.endpoints[0].addr6 = None;
        assert_eq!(shown(&n, &open), ["80-81/tcp -> 0.0.0.0:8080-8081"]);
    }
}
