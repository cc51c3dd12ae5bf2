//! Drivers of networks, and the modes of those that have any: Docker's words.

use serde::{Deserialize, Serialize};

use super::{Error, raw};

/// How a network connects its containers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// By a bridge of the host, with netpath's datapath.
    Bridge,
    /// Each has an interface with a MAC address of its own on an interface of the host.
    Macvlan(MacvlanMode),
    /// Each has an interface on one of the host's, with its MAC address.
    Ipvlan(IpvlanMode),
    /// They share the host's network namespace.
    Host,
    /// Not at all: each has its loopback.
    None,
}

/// Who of a macvlan network reaches whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// Containers reach each other.
    #[default]
    Bridge,
    /// They do not.
    Private,
    /// They do by a switch outside that sends frames back to where they came from.
    Vepa,
    /// There is one, and it has the parent for itself.
    Passthru,
}

/// What an ipvlan network does with packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanMode {
    /// It switches them, as a bridge does.
    #[default]
    L2,
    /// It routes them, past the host's firewall.
    L3,
    /// It routes them, through the host's firewall.
    L3s,
}

impl Driver {
    /// Docker's name for it in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan(_) => "macvlan",
            Self::Ipvlan(_) => "ipvlan",
            Self::Host => "host",
            Self::None => "null",
        }
    }

    /// Containers get an interface on one of the host's.
    #[must_use]
    pub const fn has_parent(self) -> bool {
        matches!(self, Self::Macvlan(_) | Self::Ipvlan(_))
    }

    /// Containers find the way out by themselves, without a gateway.
    #[must_use]
    pub const fn routes_by_device(self) -> bool {
        matches!(self, Self::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s))
    }
}

impl MacvlanMode {
    /// Docker's name for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Private => "private",
            Self::Vepa => "vepa",
            Self::Passthru => "passthru",
        }
    }
}

impl IpvlanMode {
    /// Docker's name for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::L3 => "l3",
            Self::L3s => "l3s",
        }
    }
}

/// The driver that a network names, with its mode.
pub(super) fn driver(raw: &raw::Network) -> Result<Driver, Error> {
    let invalid = |key, value: &str, reason: &str| Error::Invalid {
        object: format!("network `{}`", raw.name),
        key,
        value: format!("{value:?}"),
        reason: reason.to_owned(),
    };
    let name = raw.driver.as_deref().unwrap_or("bridge");
    let (macvlan, ipvlan) = (raw.macvlan_mode.as_deref(), raw.ipvlan_mode.as_deref());
    let driver = match name {
        "bridge" => Driver::Bridge,
        "host" => Driver::Host,
        "none" | "null" => Driver::None,
        "macvlan" => Driver::Macvlan(match macvlan {
            None | Some("bridge") => MacvlanMode::Bridge,
            Some("private") => MacvlanMode::Private,
            Some("vepa") => MacvlanMode::Vepa,
            Some("passthru") => MacvlanMode::Passthru,
            Some(other) => {
                let reason = "the modes are bridge, private, vepa, passthru";
                return Err(invalid("macvlan_mode", other, reason));
            }
        }),
        "ipvlan" => Driver::Ipvlan(match ipvlan {
            None | Some("l2") => IpvlanMode::L2,
            Some("l3") => IpvlanMode::L3,
            Some("l3s") => IpvlanMode::L3s,
            Some(other) => {
                let reason = "the modes are l2, l3, l3s";
                return Err(invalid("ipvlan_mode", other, reason));
            }
        }),
        "overlay" => {
            let reason = "an overlay is of several hosts, and netpath's networks are of one; the \
                          drivers are bridge, macvlan, ipvlan, host, none";
            return Err(invalid("driver", name, reason));
        }
        other => {
            let reason =
                "there is no such driver; the drivers are bridge, macvlan, ipvlan, host, none";
            return Err(invalid("driver", other, reason));
        }
    };
    let modes = [
        ("macvlan_mode", macvlan, "macvlan"),
        ("ipvlan_mode", ipvlan, "ipvlan"),
    ];
    for (key, value, owner) in modes {
        if let Some(value) = value.filter(|_| owner != name) {
            let reason =
                format!("it is of the driver {owner}, and this one is {name}; leave it out");
            return Err(invalid(key, value, &reason));
        }
    }
    if let Some(parent) = raw.parent.as_deref().filter(|_| !driver.has_parent()) {
        let reason = format!(
            "a parent is of the drivers macvlan and ipvlan, and this one is {name}; leave it out"
        );
        return Err(invalid("parent", parent, &reason));
    }
    Ok(driver)
}
