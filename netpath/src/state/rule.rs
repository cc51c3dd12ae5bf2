//! A published port with its open choices made.

use std::net::Ipv4Addr;

use netpath_common::records::{Published, PublishedKey};
use serde::{Deserialize, Serialize};

use super::Origin;
use crate::config::{PortRange, PortSpec, Protocol};

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
    /// Host address; unspecified means any.
    pub addr: Ipv4Addr,
    /// First port of the host.
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

    /// Docker's form: `80/tcp -> 0.0.0.0:8080`, a range as one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let host = self.host_range().map(|r| r.to_string()).unwrap_or_default();
        format!(
            "{}/{} -> {}:{host}",
            self.spec.container,
            self.proto(),
            self.addr
        )
    }

    /// The keys of the datapath's map.
    #[must_use]
    pub fn keys(&self) -> Vec<PublishedKey> {
        let proto = self.proto().number();
        let key = |port| PublishedKey {
            addr: self.addr.octets(),
            port,
            proto,
            zero: 0,
        };
        self.pairs().map(|(host, _)| key(host)).collect()
    }

    /// The entries of the datapath's map, for the endpoint at `addr` in slot `endpoint`.
    #[must_use]
    pub fn entries(&self, addr: Ipv4Addr, endpoint: u16) -> Vec<(PublishedKey, Published)> {
        let value = |port| Published {
            addr: addr.octets(),
            port,
            endpoint,
            rule: self.slot,
            zero: 0,
        };
        self.keys()
            .into_iter()
            .zip(self.pairs().map(|(_, c)| value(c)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
