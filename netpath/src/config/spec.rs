//! `SPEC`: a published port in Docker's form.
//!
//! Owns the grammar `[[HOSTIP:][HOSTPORT[-END]]:]CONTAINERPORT[-END][/PROTOCOL][,OPTION]...`. Does
//! not choose ports: [`crate::instance`] does when the host port is left open.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;
use netpath_common::tuple::keeps_ports;
use serde::{Deserialize, Serialize};

use super::{PortRange, Protocol};

/// The form, for messages.
pub const SPEC_FORM: &str =
    "[[HOSTIP:][HOSTPORT[-END]]:]CONTAINERPORT[-END][/tcp|udp|sctp][,allow=CIDR]...[,balance]";

/// A published port as the user asked for it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortSpec {
    /// Address of the host; `None` takes the network's.
    pub host_ip: Option<IpAddr>,
    /// Ports of the host; `None` has them chosen.
    pub host: Option<PortRange>,
    /// Ports of the container.
    pub container: PortRange,
    /// Protocol.
    pub proto: Protocol,
    /// Sources that are let in, in order and each once; empty: everybody.
    pub allow: Vec<IpNet>,
    /// Other endpoints may publish the same ports; flows are spread over all of them.
    pub balance: bool,
}

/// What is wrong with a SPEC.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Not of the form at all.
    #[error("the form is {SPEC_FORM}")]
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
    #[error("`{0}` is not an address of a host; write IPv6 addresses in brackets")]
    HostIp(String),
    /// An IPv4 address in the form of IPv6.
    #[error("`{0}` is an IPv4 address in the form of IPv6; write it as {1}")]
    Mapped(String, Ipv4Addr),
    /// Not a protocol with ports.
    #[error("`{0}` is not a protocol; the protocols are tcp, udp and sctp")]
    Protocol(String),
    /// Not an option.
    #[error("`{0}` is not an option; the options are allow=CIDR and balance")]
    Option(String),
    /// Not a prefix.
    #[error(
        "allow=`{0}` is neither an address nor a prefix such as 198.51.100.0/24 or 2001:db8::/32"
    )]
    Allow(String),
    /// A prefix with bits below its length.
    #[error("allow={0} has bits below its prefix; write allow={1}")]
    AllowBits(IpNet, IpNet),
    /// One of several ports is chosen for each endpoint, so they cannot share it.
    #[error(
        "balance needs its host ports given, as many as container ports; write HOSTPORT:CONTAINERPORT"
    )]
    Balance,
    /// Ports of SCTP cannot be translated.
    #[error(
        "the checksum of SCTP covers its ports, so a host port has to be the container's own; write \
         PORT:PORT/sctp"
    )]
    Sctp,
}

impl PortSpec {
    /// How many ports of the container are published.
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.container.width()
    }

    /// Whether both publish the same, whoever may use it.
    #[must_use]
    pub fn differs_in_allow_only(&self, other: &Self) -> bool {
        let ports = |s: &Self| (s.host_ip, s.host, s.container, s.proto, s.balance);
        self.allow != other.allow && ports(self) == ports(other)
    }
}

impl FromStr for PortSpec {
    type Err = SpecError;

    fn from_str(s: &str) -> Result<Self, SpecError> {
        let mut words = s.split(',');
        let s = words.next().unwrap_or_default();
        let (mut allow, mut balance) = (Vec::new(), false);
        for word in words {
            match word.split_once('=') {
                Some(("allow", net)) => allow.push(prefix(net)?),
                None if word == "balance" => balance = true,
                _ => return Err(SpecError::Option(word.to_owned())),
            }
        }
        allow.sort_unstable();
        allow.dedup();
        let (ports, proto) = match s.split_once('/') {
            None | Some((_, "tcp")) => (s.strip_suffix("/tcp").unwrap_or(s), Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some((ports, "sctp")) => (ports, Protocol::Sctp),
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
        if balance && host.is_none_or(|h| h.width() != container.width()) {
            return Err(SpecError::Balance);
        }
        if keeps_ports(proto.number()) && host != Some(container) {
            return Err(SpecError::Sctp);
        }
        Ok(Self {
            host_ip,
            host,
            container,
            proto,
            allow,
            balance,
        })
    }
}

/// A source: a prefix, or an address, which is the whole of its length.
fn prefix(s: &str) -> Result<IpNet, SpecError> {
    let bad = || SpecError::Allow(s.to_owned());
    let net = match s.parse::<IpAddr>() {
        Ok(addr) => IpNet::from(addr),
        Err(_) => s.parse::<IpNet>().map_err(|_| bad())?,
    };
    if net.trunc() != net {
        return Err(SpecError::AllowBits(net, net.trunc()));
    }
    Ok(net)
}

/// Takes `HOSTIP:` off the front, if it is there.
fn split_host(s: &str) -> Result<(Option<IpAddr>, &str), SpecError> {
    if let Some(rest) = s.strip_prefix('[') {
        let (addr, rest) = rest.split_once(']').ok_or(SpecError::Form)?;
        let rest = rest.strip_prefix(':').ok_or(SpecError::Form)?;
        let bad = || SpecError::HostIp(addr.to_owned());
        let ip: Ipv6Addr = addr.parse().map_err(|_| bad())?;
        if let Some(v4) = ip.to_ipv4_mapped() {
            return Err(SpecError::Mapped(addr.to_owned(), v4));
        }
        return if ip.is_multicast() {
            Err(bad())
        } else {
            Ok((Some(ip.into()), rest))
        };
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
            Ok((Some(ip.into()), rest))
        }
        _ => Err(SpecError::Form),
    }
}

/// An address before a colon and a port: IPv6 in brackets.
#[must_use]
pub fn host_text(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ip) = self.host_ip {
            write!(f, "{}:", host_text(ip))?;
        }
        if let Some(host) = self.host {
            write!(f, "{host}")?;
        }
        if self.host.is_some() || self.host_ip.is_some() {
            write!(f, ":")?;
        }
        write!(f, "{}", self.container)?;
        if self.proto != Protocol::Tcp {
            write!(f, "/{}", self.proto)?;
        }
        self.options(f)
    }
}

impl PortSpec {
    fn options(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for net in &self.allow {
            let whole = net.prefix_len() == net.max_prefix_len();
            if whole {
                write!(f, ",allow={}", net.addr())?;
            } else {
                write!(f, ",allow={net}")?;
            }
        }
        if self.balance {
            write!(f, ",balance")?;
        }
        Ok(())
    }

    /// The options as they stand in the SPEC, each with its comma.
    #[must_use]
    pub fn options_text(&self) -> String {
        struct Options<'a>(&'a PortSpec);
        impl fmt::Display for Options<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.options(f)
            }
        }
        Options(self).to_string()
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
#[path = "spec_tests.rs"]
mod tests;
