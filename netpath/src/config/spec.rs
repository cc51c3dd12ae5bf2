//! `SPEC`: a published port in Docker's form.
//!
//! Owns the grammar `[HOSTIP:]HOSTPORT[-END]:CONTAINERPORT[-END][/tcp|udp]`. Does not choose ports:
//! [`crate::instance`] does when the host port is left open.

use std::{fmt, net::Ipv4Addr, num::NonZeroU16, str::FromStr};

use netpath_common::tuple::{TCP, UDP};
use serde::{Deserialize, Serialize};

/// A transport protocol that has ports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, the default.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// IP protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
        }
    }

    /// The protocol with this number.
    #[must_use]
    pub const fn from_number(n: u8) -> Option<Self> {
        match n {
            TCP => Some(Self::Tcp),
            UDP => Some(Self::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Ports from `first` to `last`, neither of them 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The range, unless it is empty or begins at 0.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first == 0 || last < first {
            None
        } else {
            Some(Self { first, last })
        }
    }

    /// The first port.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The last port.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }

    /// How many ports there are.
    #[must_use]
    pub const fn width(self) -> u32 {
        self.last as u32 - self.first as u32 + 1
    }

    /// Whether two ranges share a port.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl FromStr for PortRange {
    type Err = SpecError;

    fn from_str(s: &str) -> Result<Self, SpecError> {
        let port = |p: &str| {
            p.bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| p.parse::<NonZeroU16>().ok())
                .flatten()
                .map(NonZeroU16::get)
                .ok_or_else(|| SpecError::Port(p.to_owned()))
        };
        let (first, last) = match s.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(s)?, port(s)?),
        };
        Self::new(first, last).ok_or_else(|| SpecError::Backwards(s.to_owned()))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// A published port as the user asked for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortSpec {
    /// Address of the host; `None` takes the network's.
    pub host_ip: Option<Ipv4Addr>,
    /// Ports of the host; `None` has them chosen.
    pub host: Option<PortRange>,
    /// Ports of the container.
    pub container: PortRange,
    /// Protocol.
    pub proto: Protocol,
}

/// What is wrong with a SPEC.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Not of the form at all.
    #[error("the form is [HOSTIP:]HOSTPORT[-END]:CONTAINERPORT[-END][/tcp|udp]")]
    Form,
    /// Not a port.
    #[error("`{0}` is not a port; ports are numbers from 1 to 65535")]
    Port(String),
    /// A range whose end precedes its start.
    #[error("the range {0} ends before it begins; write START-END")]
    Backwards(String),
    /// Widths that fit neither rule.
    #[error(
        "{host} host ports do not fit {container} container ports; give as many of each, \
         or one container port"
    )]
    Widths {
        /// Number of host ports.
        host: u32,
        /// Number of container ports.
        container: u32,
    },
    /// Not an address that a host can have.
    #[error("`{0}` is not an IPv4 address of a host")]
    HostIp(String),
    /// Not a protocol with ports.
    #[error("`{0}` is not a protocol; the protocols are tcp and udp")]
    Protocol(String),
    /// SCTP.
    #[error("publishing sctp is not supported yet; use tcp or udp")]
    Sctp,
    /// An IPv6 host address.
    #[error("publishing on the IPv6 address {0} is not supported yet; use an IPv4 address")]
    Ipv6(String),
    /// A source allow list.
    #[error("allow= is not supported yet; leave it out")]
    Allow,
}

impl PortSpec {
    /// How many ports of the container are published.
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.container.width()
    }
}

impl FromStr for PortSpec {
    type Err = SpecError;

    fn from_str(s: &str) -> Result<Self, SpecError> {
        let (s, options) = s.split_once(',').map_or((s, None), |(s, o)| (s, Some(o)));
        if let Some(options) = options {
            let allow = options.split(',').all(|o| o.starts_with("allow="));
            return Err(if allow {
                SpecError::Allow
            } else {
                SpecError::Form
            });
        }
        let (ports, proto) = match s.split_once('/') {
            None | Some((_, "tcp")) => (s.strip_suffix("/tcp").unwrap_or(s), Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some((_, "sctp")) => return Err(SpecError::Sctp),
            Some((_, other)) => return Err(SpecError::Protocol(other.to_owned())),
        };
        let (host_ip, ports) = split_host(ports)?;
        let (host, container) = match (ports.split_once(':'), host_ip) {
            (Some((host, container)), _) => (host, container),
            (None, None) => ("", ports),
            (None, Some(_)) => return Err(SpecError::Form),
        };
        if container.is_empty() || container.contains(':') {
            return Err(SpecError::Form);
        }
        let host = if host.is_empty() {
            None
        } else {
            Some(host.parse::<PortRange>()?)
        };
        let container: PortRange = container.parse()?;
        if let Some(host) = host {
            let (h, c) = (host.width(), container.width());
            if h != c && c != 1 {
                return Err(SpecError::Widths {
                    host: h,
                    container: c,
                });
            }
        }
        Ok(Self {
            host_ip,
            host,
            container,
            proto,
        })
    }
}

/// Takes `HOSTIP:` off the front, if it is there.
fn split_host(s: &str) -> Result<(Option<Ipv4Addr>, &str), SpecError> {
    if let Some(rest) = s.strip_prefix('[') {
        let (addr, _) = rest.split_once(']').ok_or(SpecError::Form)?;
        return Err(match addr.parse::<std::net::Ipv6Addr>() {
            Ok(a) => SpecError::Ipv6(a.to_string()),
            Err(_) => SpecError::HostIp(addr.to_owned()),
        });
    }
    match s.split(':').count() {
        1 | 2 => Ok((None, s)),
        3 => {
            let (addr, rest) = s.split_once(':').ok_or(SpecError::Form)?;
            let bad = || SpecError::HostIp(addr.to_owned());
            let ip: Ipv4Addr = addr.parse().map_err(|_| bad())?;
            if ip.is_multicast() || ip.is_broadcast() {
                return Err(bad());
            }
            Ok((Some(ip), rest))
        }
        _ => Err(SpecError::Form),
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ip) = self.host_ip {
            write!(f, "{ip}:")?;
        }
        if let Some(host) = self.host {
            write!(f, "{host}")?;
        }
        if self.host.is_some() || self.host_ip.is_some() {
            write!(f, ":")?;
        }
        write!(f, "{}", self.container)?;
        match self.proto {
            Protocol::Tcp => Ok(()),
            Protocol::Udp => write!(f, "/udp"),
        }
    }
}

impl TryFrom<String> for PortSpec {
    type Error = SpecError;

    fn try_from(s: String) -> Result<Self, SpecError> {
        s.parse()
    }
}

impl From<PortSpec> for String {
    fn from(s: PortSpec) -> Self {
        s.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(s: &str) -> Result<PortSpec, SpecError> {
        s.parse()
    }

    #[test]
    fn forms() {
        let full = parse("127.0.0.1:8080-8082:80-82/udp").unwrap();
        assert_eq!(full.host_ip, Some(Ipv4Addr::LOCALHOST));
        assert_eq!(full.host, PortRange::new(8080, 8082));
        assert_eq!((full.container.first(), full.container.last()), (80, 82));
        assert_eq!(full.proto, Protocol::Udp);
        let plain = parse("8080:80").unwrap();
        assert_eq!(
            (plain.host_ip, plain.host, plain.proto),
            (None, PortRange::new(8080, 8080), Protocol::Tcp)
        );
        assert_eq!(parse("80").unwrap().host, None);
        assert_eq!(parse("127.0.0.1::80/tcp").unwrap().host, None);
        assert_eq!(
            parse("8000-8009:80").unwrap().host.map(PortRange::width),
            Some(10)
        );
    }

    #[test]
    fn refusals_name_their_reason() {
        let cases = [
            ("", SpecError::Form),
            ("8080:", SpecError::Form),
            ("1:2:3:4", SpecError::Form),
            ("8080:80,colour=red", SpecError::Form),
            ("0:80", SpecError::Port("0".into())),
            ("65536:80", SpecError::Port("65536".into())),
            ("+80:80", SpecError::Port("+80".into())),
            ("a:80", SpecError::Port("a".into())),
            ("9-8:9-8", SpecError::Backwards("9-8".into())),
            (
                "1-3:1-2",
                SpecError::Widths {
                    host: 3,
                    container: 2,
                },
            ),
            ("1.2.3:80:80", SpecError::HostIp("1.2.3".into())),
            ("224.0.0.1:80:80", SpecError::HostIp("224.0.0.1".into())),
            ("80:80/icmp", SpecError::Protocol("icmp".into())),
            ("80:80/sctp", SpecError::Sctp),
            ("[::1]:80:80", SpecError::Ipv6("::1".into())),
            ("80:80,allow=192.0.2.0/24", SpecError::Allow),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    fn range() -> impl Strategy<Value = PortRange> {
        (1..=u16::MAX, 0..100u16)
            .prop_map(|(first, more)| PortRange::new(first, first.saturating_add(more)).unwrap())
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn never_panics_near_the_grammar(text in "[0-9.:/\\[\\],a-z=-]{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn display_round_trips(
            container in range(),
            host in proptest::option::of(1..=u16::MAX),
            ip in proptest::option::of(any::<[u8; 4]>()),
            udp in any::<bool>(),
        ) {
            let host_ip = ip.map(Ipv4Addr::from).filter(|a| !a.is_multicast() && !a.is_broadcast());
            let more = container.last() - container.first();
            let host = host.and_then(|h| PortRange::new(h, h.checked_add(more)?));
            let proto = if udp { Protocol::Udp } else { Protocol::Tcp };
            let spec = PortSpec { host_ip, host, container, proto };
            prop_assert_eq!(parse(&spec.to_string()), Ok(spec));
        }
    }
}
