//! Where ports are published that name no address of the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Error, raw};

/// Addresses of the host at which a port is published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostBinding {
    /// The first one. 0.0.0.0 alone stands for every address of both families, as Docker's does, where
    /// a SPEC names none.
    pub addr: IpAddr,
    /// One of IPv6 beside it.
    pub addr6: Option<Ipv6Addr>,
}

impl Default for HostBinding {
    fn default() -> Self {
        Self::one(Ipv4Addr::UNSPECIFIED.into())
    }
}

impl HostBinding {
    /// One address.
    #[must_use]
    pub const fn one(addr: IpAddr) -> Self {
        Self { addr, addr6: None }
    }

    /// All of them.
    pub fn addrs(self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.addr).chain(self.addr6.map(IpAddr::V6))
    }
}

/// Checks `host_binding_ipv4`, which takes an address of either family as Docker's, and
/// `host_binding_ipv6`.
pub(super) fn host_binding(raw: &raw::Network, ipv6: bool) -> Result<HostBinding, Error> {
    let invalid = |key: &'static str, value: &str, reason: &str| Error::Invalid {
        object: format!("network `{}`", raw.name),
        key,
        value: format!("{value:?}"),
        reason: reason.into(),
    };
    const NO_IPV6: &str = "the network has no IPv6; set ipv6 to its subnet, or leave it out";
    let mut binding = HostBinding::default();
    if let Some(text) = raw.host_binding_ipv4.as_deref() {
        let wrong = |reason| invalid("host_binding_ipv4", text, reason);
        let addr: IpAddr = text
            .parse()
            .map_err(|_| wrong("it must be an address of the host"))?;
        if addr.is_multicast() {
            return Err(wrong("it must be a unicast address of the host"));
        }
        if addr.is_ipv6() && !ipv6 {
            return Err(wrong(NO_IPV6));
        }
        binding.addr = addr;
    }
    if let Some(text) = raw.host_binding_ipv6.as_deref() {
        let wrong = |reason| invalid("host_binding_ipv6", text, reason);
        let addr: Ipv6Addr = text
            .parse()
            .map_err(|_| wrong("it must be an IPv6 address of the host"))?;
        if addr.is_multicast() || addr.to_ipv4_mapped().is_some() {
            return Err(wrong("it must be a unicast IPv6 address of the host"));
        }
        if !ipv6 {
            return Err(wrong(NO_IPV6));
        }
        if binding.addr.is_ipv6() {
            return Err(wrong("host_binding_ipv4 is of IPv6 already; give one"));
        }
        binding.addr6 = Some(addr);
    }
    Ok(binding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(more: &str) -> Result<HostBinding, String> {
        let text = format!("[[network]]\nname = \"n\"\n{more}\n");
        let config = super::super::Config::parse(&text, "test").map_err(|e| e.to_string())?;
        Ok(config.networks[0].host_binding)
    }

    #[test]
    fn addresses_of_either_family() {
        let found = |more: &str| {
            let addrs: Vec<_> = binding(more).unwrap().addrs().collect();
            addrs.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        const SIX: &str = "ipv6 = \"fd00::/64\"\n";
        assert_eq!(found(""), ["0.0.0.0"]);
        assert_eq!(found("host_binding_ipv4 = \"127.0.0.1\""), ["127.0.0.1"]);
        assert_eq!(
            found(&format!("{SIX}host_binding_ipv4 = \"2001:db8::1\"")),
            ["2001:db8::1"]
        );
        assert_eq!(
            found(&format!(
                "{SIX}host_binding_ipv4 = \"127.0.0.1\"\nhost_binding_ipv6 = \"::1\""
            )),
            ["127.0.0.1", "::1"]
        );
        for (more, why) in [
            ("host_binding_ipv6 = \"::1\"".to_owned(), "has no IPv6"),
            ("host_binding_ipv4 = \"::1\"".to_owned(), "has no IPv6"),
            (
                format!("{SIX}host_binding_ipv6 = \"127.0.0.1\""),
                "an IPv6 address",
            ),
            (
                format!("{SIX}host_binding_ipv6 = \"::ffff:127.0.0.1\""),
                "a unicast IPv6 address",
            ),
            (
                "host_binding_ipv4 = \"lo\"".to_owned(),
                "an address of the host",
            ),
            (
                "host_binding_ipv4 = \"224.0.0.1\"".to_owned(),
                "a unicast address",
            ),
            (
                format!("{SIX}host_binding_ipv4 = \"::1\"\nhost_binding_ipv6 = \"::1\""),
                "give one",
            ),
        ] {
            let e = binding(&more).unwrap_err();
            assert!(e.contains(why), "{more}: {e}");
        }
    }
}
