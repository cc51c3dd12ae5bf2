//! A published port with its open choices made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netpath_common::{
    Addr, V4, V6,
    publish::{Backend, Binding},
    records::{Published, PublishedKey},
};
use serde::{Deserialize, Serialize};

use super::Origin;
use crate::config::{HostBinding, PortRange, PortSpec, Protocol, host_text};

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
    /// Host address; unspecified means any of its family, see [`Rule::addrs`]. In a routed network it
    /// is the container's own.
    pub addr: IpAddr,
    /// An IPv6 address beside it, where the network's binding has one and the SPEC names none.
    #[serde(default)]
    pub addr6: Option<Ipv6Addr>,
    /// First port of the host, or of the container in a routed network.
    pub host: u16,
    /// Slot of the endpoints that share the ports, 0 for none.
    #[serde(default)]
    pub group: u16,
    /// Its index among those.
    #[serde(default)]
    pub member: u8,
}

/// The addresses of a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Homes {
    /// IPv4.
    pub v4: Option<Ipv4Addr>,
    /// IPv6.
    pub v6: Option<Ipv6Addr>,
    /// They are routed outside: published are the container's own ports at these addresses.
    pub routed: bool,
}

impl Homes {
    /// Whether there is an address of the family of `addr`.
    #[must_use]
    pub const fn has_family_of(&self, addr: IpAddr) -> bool {
        match addr {
            IpAddr::V4(_) => self.v4.is_some(),
            IpAddr::V6(_) => self.v6.is_some(),
        }
    }
}

/// The host's addresses that `spec` is published at where it is bound to `at`: with none named, and
/// the network's binding to any, those of both families that the container has (Docker's meaning). In
/// a routed network the container's own, of the family of the address that is named, if one is.
pub fn addrs_of(
    spec: &PortSpec,
    at: HostBinding,
    homes: &Homes,
) -> impl Iterator<Item = IpAddr> + use<> {
    let any = at.addr == IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let both = any.then_some(Ipv6Addr::UNSPECIFIED);
    let beside = at.addr6.or(both);
    let beside = beside.filter(|_| spec.host_ip.is_none() && homes.v6.is_some());
    let (first, other) = if homes.routed {
        let (four, six) = (homes.v4.map(IpAddr::V4), homes.v6.map(IpAddr::V6));
        match spec.host_ip {
            None => (four, six),
            Some(IpAddr::V4(_)) => (four, None),
            Some(IpAddr::V6(_)) => (six, None),
        }
    } else {
        (Some(at.addr), beside.map(IpAddr::V6))
    };
    first.into_iter().chain(other)
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

    /// The host's addresses, for a container with these.
    pub fn addrs(&self, homes: &Homes) -> impl Iterator<Item = IpAddr> + use<> {
        addrs_of(&self.spec, self.at(), homes)
    }

    /// Where it is bound.
    #[must_use]
    pub const fn at(&self) -> HostBinding {
        HostBinding {
            addr: self.addr,
            addr6: self.addr6,
        }
    }

    /// Whether `spec` asks for these ports of the same container, whoever may use them. `binding`: the
    /// address where none is named, which is not 0.0.0.0 named: see [`addrs_of`].
    #[must_use]
    pub fn is_for(&self, spec: &PortSpec, binding: HostBinding) -> bool {
        let names_one = self.addr != IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        self.spec.container == spec.container
            && self.spec.proto == spec.proto
            && self.at() == spec.host_ip.map_or(binding, HostBinding::one)
            && (names_one || self.spec.host_ip.is_some() == spec.host_ip.is_some())
            && self.host_range().is_some()
            && self.host_range() == spec.host
    }

    /// Docker's form, one line for each address: `80/tcp -> 0.0.0.0:8080`, a range as one line.
    #[must_use]
    pub fn lines(&self, homes: &Homes) -> Vec<String> {
        let host = self.host_range().map(|r| r.to_string()).unwrap_or_default();
        let line = |addr| {
            format!(
                "{}/{} -> {}:{host}",
                self.spec.container,
                self.proto(),
                host_text(addr)
            )
        };
        self.addrs(homes).map(line).collect()
    }

    /// The same with the options of the SPEC, for whoever wants to see all of it.
    #[must_use]
    pub fn summaries(&self, homes: &Homes) -> Vec<String> {
        let options = self.spec.options_text().replace(',', " ");
        let lines = self.lines(homes).into_iter();
        lines.map(|line| line + &options).collect()
    }

    fn binding<A: Addr>(&self, addr: A, home: A, endpoint: u16) -> Binding<A> {
        let last = self.host_range().map_or(self.host, PortRange::last);
        let key = PublishedKey {
            addr,
            port: self.host,
            proto: self.proto().number(),
            zero: 0,
        };
        let to = if self.group == 0 {
            Published {
                addr: home,
                port: self.spec.container.first(),
                endpoint,
                rule: self.slot,
                last,
                ..Published::default()
            }
        } else {
            Published {
                last,
                group: self.group,
                ..Published::default()
            }
        };
        Binding { key, to }
    }

    /// What the datapath is to know of IPv4, for the endpoint in slot `endpoint`.
    #[must_use]
    pub fn binding4(&self, homes: &Homes, endpoint: u16) -> Option<Binding<V4>> {
        let home = homes.v4?.octets();
        self.addrs(homes).find_map(|addr| match addr {
            IpAddr::V4(addr) => Some(self.binding(addr.octets(), home, endpoint)),
            IpAddr::V6(_) => None,
        })
    }

    /// The same of IPv6.
    #[must_use]
    pub fn binding6(&self, homes: &Homes, endpoint: u16) -> Option<Binding<V6>> {
        let home = homes.v6?.octets();
        self.addrs(homes).find_map(|addr| match addr {
            IpAddr::V6(addr) => Some(self.binding(addr.octets(), home, endpoint)),
            IpAddr::V4(_) => None,
        })
    }

    /// This rule as one of its group.
    #[must_use]
    pub const fn backend(&self, endpoint: u16) -> Backend {
        Backend {
            endpoint,
            rule: self.slot,
            port: self.spec.container.first(),
            zero: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUAL: Homes = Homes {
        v4: Some(Ipv4Addr::new(172, 17, 0, 2)),
        v6: Some(Ipv6Addr::new(0xfd00, 0x17, 0, 0, 0, 0, 0, 2)),
        routed: false,
    };
    const ONLY4: Homes = Homes { v6: None, ..DUAL };

    fn rule(spec: &str, host: u16) -> Rule {
        let spec: PortSpec = spec.parse().unwrap();
        Rule {
            slot: 7,
            origin: Origin::Command,
            addr: spec.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
            addr6: None,
            host,
            spec,
            group: 0,
            member: 0,
        }
    }

    #[test]
    fn a_range_is_one_rule_and_one_binding() {
        let rule = rule("9000-9002:80-82/udp", 9000);
        let b = rule.binding4(&ONLY4, 3).unwrap();
        assert_eq!((b.key.addr, b.key.port, b.key.proto), ([0; 4], 9000, 17));
        assert_eq!(
            (b.to.addr, b.to.port, b.to.endpoint, b.to.rule, b.to.last),
            ([172, 17, 0, 2], 80, 3, 7, 9002)
        );
        assert_eq!(rule.host_range(), PortRange::new(9000, 9002));
        assert_eq!(rule.lines(&ONLY4), ["80-82/udp -> 0.0.0.0:9000-9002"]);
    }

    #[test]
    fn an_address_left_out_is_any_of_both_families() {
        let open = rule("8080:80", 8080);
        assert_eq!(
            open.lines(&DUAL),
            ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]
        );
        let six = open.binding6(&DUAL, 3).unwrap();
        assert_eq!(
            (six.key.addr, six.to.addr[..2].to_vec()),
            ([0; 16], vec![0xfd, 0])
        );
        assert!(open.binding4(&DUAL, 3).is_some());
        assert_eq!(open.binding6(&ONLY4, 3), None);
        assert_eq!(open.lines(&ONLY4), ["80/tcp -> 0.0.0.0:8080"]);
        // Named, it is that of its family alone.
        let four = rule("0.0.0.0:8080:80", 8080);
        assert_eq!(four.binding6(&DUAL, 3), None);
        let six = rule("[::1]:8080:80", 8080);
        assert_eq!(six.binding4(&DUAL, 3), None);
        assert_eq!(six.lines(&DUAL), ["80/tcp -> [::1]:8080"]);
        // A binding to one address means that one.
        let mut bound = rule("8080:80", 8080);
        bound.addr = Ipv4Addr::LOCALHOST.into();
        assert_eq!(bound.lines(&DUAL), ["80/tcp -> 127.0.0.1:8080"]);
        // So does one of each family, where the container has both.
        bound.addr6 = Some(Ipv6Addr::LOCALHOST);
        let lines = ["80/tcp -> 127.0.0.1:8080", "80/tcp -> [::1]:8080"];
        assert_eq!(bound.lines(&DUAL), lines);
        assert_eq!(bound.lines(&ONLY4), lines[..1]);
        let mut any = rule("8080:80", 8080);
        any.addr6 = Some(Ipv6Addr::LOCALHOST);
        assert_eq!(
            any.lines(&DUAL),
            ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::1]:8080"]
        );
    }

    #[test]
    fn the_same_ports_are_those_of_the_same_addresses() {
        let any = HostBinding::default();
        let lo = HostBinding::one(Ipv4Addr::LOCALHOST.into());
        let is_for =
            |rule: &Rule, spec: &str, binding| rule.is_for(&spec.parse().unwrap(), binding);
        let open = rule("8080:80", 8080);
        assert!(is_for(&open, "8080:80,allow=10.0.0.0/8", any));
        assert!(!is_for(&open, "0.0.0.0:8080:80", any));
        let four = rule("0.0.0.0:8080:80", 8080);
        assert!(is_for(&four, "0.0.0.0:8080:80,allow=10.0.0.0/8", any));
        assert!(!is_for(&four, "8080:80", any));
        // A binding to one address means that one, named or not.
        let mut bound = rule("8080:80", 8080);
        bound.addr = Ipv4Addr::LOCALHOST.into();
        assert!(is_for(&bound, "127.0.0.1:8080:80", any));
        assert!(is_for(&bound, "8080:80", lo));
        assert!(!is_for(&bound, "8080:80", any));
    }

    #[test]
    fn in_a_routed_network_the_ports_are_the_container_s_own() {
        let routed = Homes {
            routed: true,
            ..DUAL
        };
        let mut own = rule("8080-8082:80-82", 80);
        own.addr = Ipv4Addr::new(172, 17, 0, 2).into();
        assert_eq!(
            own.lines(&routed),
            [
                "80-82/tcp -> 172.17.0.2:80-82",
                "80-82/tcp -> [fd00:17::2]:80-82"
            ]
        );
        let (four, six) = (own.binding4(&routed, 3), own.binding6(&routed, 3));
        let four = four.unwrap();
        assert_eq!((four.key.addr, four.key.port), (four.to.addr, four.to.port));
        assert_eq!((four.to.addr, four.to.last), ([172, 17, 0, 2], 82));
        let six = six.unwrap();
        assert_eq!((six.key.addr, six.key.port), (six.to.addr, six.to.port));
    }

    #[test]
    fn in_a_routed_network_an_address_that_is_named_means_its_family() {
        let routed = Homes {
            routed: true,
            ..DUAL
        };
        for (spec, line) in [
            ("0.0.0.0:8080:80", "80/tcp -> 172.17.0.2:80"),
            ("127.0.0.1:8080:80", "80/tcp -> 172.17.0.2:80"),
            ("[::]:8080:80", "80/tcp -> [fd00:17::2]:80"),
            ("[::1]:8080:80", "80/tcp -> [fd00:17::2]:80"),
        ] {
            let mut own = rule(spec, 80);
            own.addr = Ipv4Addr::new(172, 17, 0, 2).into();
            assert_eq!(own.lines(&routed), [line], "{spec}");
            let is_four = own.spec.host_ip.is_some_and(|ip| ip.is_ipv4());
            assert_eq!(own.binding4(&routed, 3).is_some(), is_four, "{spec}");
            assert_eq!(own.binding6(&routed, 3).is_some(), !is_four, "{spec}");
        }
    }

    #[test]
    fn a_shared_port_leads_to_its_group() {
        let mut shared = rule("8080:80,allow=10.0.0.0/8,balance", 8080);
        (shared.group, shared.member) = (2, 1);
        let b = shared.binding4(&ONLY4, 3).unwrap();
        assert_eq!(
            (b.to.group, b.to.endpoint, b.to.rule, b.to.port),
            (2, 0, 0, 0)
        );
        assert_eq!(
            shared.summaries(&ONLY4),
            ["80/tcp -> 0.0.0.0:8080 allow=10.0.0.0/8 balance"]
        );
        let backend = shared.backend(3);
        assert_eq!((backend.endpoint, backend.rule, backend.port), (3, 7, 80));
    }
}
