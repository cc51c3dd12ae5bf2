//! The IPv6 half of a network, and whether its addresses are translated.
//!
//! Owns the values that only IPv6 has. The rules that both families share are in [`super::rules`].

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use super::{Error, Mode, raw};

/// Smallest MTU of IPv6, bytes (RFC 8200, 5); the kernel has no IPv6 on a device with less.
pub const IPV6_MTU_MIN: u32 = 1280;
/// Prefix lengths that a subnet may have: at least the subnet's own address, the gateway and a
/// container find room.
const PREFIX: std::ops::RangeInclusive<u8> = 16..=126;

/// Prefix lengths of a subnet that is chosen: 48 bits are the prefix and the random part of a unique
/// local address (RFC 4193, 3.1).
const CHOSEN: std::ops::RangeInclusive<u8> = 48..=126;

/// What a subnet may share no address with, and why.
const FORBIDDEN: &[(Ipv6Addr, u8, &str)] = &[
    // `::/96` holds the unspecified and the loopback address as well.
    (
        Ipv6Addr::UNSPECIFIED,
        96,
        "::/96, the unspecified, loopback and IPv4-compatible addresses",
    ),
    (
        Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0),
        96,
        "::ffff:0:0/96, the IPv4-mapped addresses",
    ),
    (
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0),
        10,
        "fe80::/10, the link-local addresses",
    ),
    (
        Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0),
        8,
        "ff00::/8, the multicast addresses",
    ),
];

/// The checked values.
pub(super) struct Ipv6 {
    pub(super) subnet: Option<Ipv6Net>,
    pub(super) size: Option<u8>,
    pub(super) gateway: Option<Ipv6Addr>,
    pub(super) snat: Option<Ipv6Addr>,
    pub(super) mode: Mode,
}

/// Checks what a network and its endpoints say about IPv6 and translation.
pub(super) fn ipv6(raw: &raw::Network) -> Result<Ipv6, Error> {
    let invalid = |key: &'static str, value: &str, reason: String| Error::Invalid {
        object: format!("network `{}`", raw.name),
        key,
        value: format!("{value:?}"),
        reason,
    };
    let mode = match raw.mode.as_deref() {
        None | Some("nat") => Mode::Nat,
        Some("routed") => Mode::Routed,
        Some(other) => {
            return Err(invalid("mode", other, "the values are nat, routed".into()));
        }
    };
    if mode == Mode::Routed {
        let fixed = [("snat", &raw.snat), ("snat6", &raw.snat6)];
        if let Some((key, value)) = fixed.iter().find_map(|(k, v)| Some((*k, v.as_deref()?))) {
            let reason =
                "in a routed network nothing is translated; leave it out, or set mode = \"nat\"";
            return Err(invalid(key, value, reason.into()));
        }
        if raw.masquerade == Some(true) {
            let reason =
                "in a routed network nothing is translated; leave it out, or set mode = \"nat\"";
            return Err(Error::Invalid {
                object: format!("network `{}`", raw.name),
                key: "masquerade",
                value: "true".into(),
                reason: reason.into(),
            });
        }
    }
    let size = raw.ipv6.as_deref().and_then(|t| t.parse::<Ipv6Net>().ok());
    let size = size.filter(|net| net.addr().is_unspecified());
    let size = size.map(|net| net.prefix_len());
    if let Some(size) = size.filter(|size| !CHOSEN.contains(size)) {
        let (least, most) = (CHOSEN.start(), CHOSEN.end());
        let reason =
            format!("the prefix length of a subnet that is chosen lies within {least} and {most}");
        return Err(invalid("ipv6", &format!("::/{size}"), reason));
    }
    let fixed = raw.ipv6.as_deref().filter(|_| size.is_none());
    let subnet = fixed
        .map(|t| subnet(t).map_err(|r| invalid("ipv6", t, r)))
        .transpose()?;
    let address = |key: &'static str, text: &Option<String>| {
        let Some(t) = text.as_deref() else {
            return Ok(None);
        };
        if size.is_some() && key == "gateway6" {
            let reason = "it needs a fixed subnet to lie in; set ipv6 to one, or leave it out";
            return Err(invalid(key, t, reason.into()));
        }
        if subnet.is_none() && size.is_none() {
            let reason = "the network has no IPv6; set ipv6 to its subnet, or leave it out";
            return Err(invalid(key, t, reason.into()));
        }
        let addr: Ipv6Addr = t
            .parse()
            .map_err(|_| invalid(key, t, "it must be an IPv6 address".into()))?;
        match forbidden(Ipv6Net::from(addr)) {
            None => Ok(Some(addr)),
            Some(what) => Err(invalid(
                key,
                t,
                format!("it must be a unicast address of more than one link, outside {what}"),
            )),
        }
    };
    let (gateway, snat) = (
        address("gateway6", &raw.gateway6)?,
        address("snat6", &raw.snat6)?,
    );
    if subnet.is_none()
        && let Some((e, ip6)) = raw
            .endpoint
            .iter()
            .find_map(|e| Some((e, e.ip6.as_deref()?)))
    {
        return Err(Error::Invalid {
            object: format!("endpoint `{}`", e.name),
            key: "ip6",
            value: format!("{ip6:?}"),
            reason: if size.is_some() {
                "it needs a fixed subnet to lie in; set the network's ipv6 to one, or leave ip6 out"
                    .into()
            } else {
                format!(
                    "network `{}` has no IPv6; set its ipv6 to a subnet, or leave ip6 out",
                    raw.name
                )
            },
        });
    }
    Ok(Ipv6 {
        subnet,
        size,
        gateway,
        snat,
        mode,
    })
}

/// Parses an IPv6 subnet and checks that containers can have its addresses.
fn subnet(text: &str) -> Result<Ipv6Net, String> {
    let net: Ipv6Net = text
        .parse()
        .map_err(|_| "it must be an IPv6 subnet such as fd00:17::/64".to_owned())?;
    if net.trunc() != net {
        let trunc = net.trunc();
        return Err(format!("it has bits below its prefix; write {trunc}"));
    }
    if !PREFIX.contains(&net.prefix_len()) {
        let (least, most) = (PREFIX.start(), PREFIX.end());
        return Err(format!("the prefix length lies within {least} and {most}"));
    }
    match forbidden(net) {
        None => Ok(net),
        Some(what) => Err(format!(
            "it must hold unicast addresses of more than one link, outside {what}"
        )),
    }
}

/// What of [`FORBIDDEN`] a subnet shares an address with.
fn forbidden(net: Ipv6Net) -> Option<&'static str> {
    FORBIDDEN.iter().find_map(|(addr, prefix, what)| {
        let no = Ipv6Net::new(*addr, *prefix).ok()?;
        (no.contains(&net.network()) || net.contains(&no.network())).then_some(*what)
    })
}

/// The first address of an IPv6 subnet that a host can have: the one before belongs to any router of
/// the subnet (RFC 4291, 2.6.1).
#[must_use]
pub fn first_host6(subnet: Ipv6Net) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(subnet.network()).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_of_containers() {
        for good in [
            "fd00:17::/64",
            "2001:db8::/126",
            "64:ff9b:1::/48",
            "fd00::/16",
        ] {
            assert!(subnet(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("fd00:17::1/64", "write fd00:17::/64"),
            ("fd00:17::/127", "within 16 and 126"),
            ("fc00::/7", "within 16 and 126"),
            ("fe80::/64", "link-local"),
            ("ff05::/64", "multicast"),
            ("::/96", "loopback"),
            ("::/64", "loopback"),
            ("::ffff:192.0.2.0/120", "IPv4-mapped"),
            ("192.0.2.0/24", "IPv6 subnet"),
            ("fd00:17::", "IPv6 subnet"),
            ("fd00:17::/129", "IPv6 subnet"),
        ] {
            let reason = subnet(bad).unwrap_err();
            assert!(reason.contains(why), "{bad}: {reason}");
        }
    }

    #[test]
    fn the_first_host_comes_after_the_routers_address() {
        let first = first_host6("fd00:17::/64".parse().unwrap());
        assert_eq!(first, "fd00:17::1".parse::<Ipv6Addr>().unwrap());
    }
}
