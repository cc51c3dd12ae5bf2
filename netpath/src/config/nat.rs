//! `[nat]` and the quotas of `[limits]`: which ports masquerade gives, and how many flows one
//! container and the outside may have.

use super::{Error, raw};

/// How masquerade translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nat {
    /// The ports that TCP and UDP flows get, both ends among them; `None` keeps to the class of the
    /// flow's own port (below 512, below 1024, the rest).
    pub ports: Option<(u16, u16)>,
    /// A flow keeps its own port where that is free, and within `ports`.
    pub preserve_ports: bool,
    /// The MSS of translated SYNs is lowered to what the way's MTU allows.
    pub mss_clamp: bool,
}

impl Default for Nat {
    fn default() -> Self {
        Self {
            ports: None,
            preserve_ports: true,
            mss_clamp: false,
        }
    }
}

/// How much of the conntrack table one container, or strangers, may use. `None` takes the default;
/// 0 is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quotas {
    /// Flows that one endpoint has begun.
    pub endpoint_flows: Option<u32>,
    /// Outside ports (tuples) that masquerade has given one endpoint.
    pub endpoint_ports: Option<u32>,
    /// Flows from the outside to published ports that are not established.
    pub inbound: Option<u32>,
}

/// Most flows from the outside that wait to be established, whatever the table's size: as many are
/// remembered in the order in which they came.
const INBOUND_MAX: u32 = netpath_common::maps::MAX_RECLAIM_IN as u32;

impl Quotas {
    /// The limits for a table of `conntrack` flows, 0 for none: (flows, ports, inbound).
    ///
    /// By default one container may have half of the table, so that the others have the rest, and
    /// what strangers have begun a quarter.
    #[must_use]
    pub fn of(self, conntrack: u32) -> (u32, u32, u32) {
        (
            self.endpoint_flows.unwrap_or(conntrack / 2),
            self.endpoint_ports.unwrap_or(conntrack / 2),
            self.inbound.unwrap_or((conntrack / 4).min(INBOUND_MAX)),
        )
    }
}

pub(super) fn quotas(limits: &raw::Limits) -> Result<Quotas, Error> {
    let quota = |key: &'static str, value: Option<i64>, max: u32| match value {
        None => Ok(None),
        Some(n) => match u32::try_from(n) {
            Ok(n) if n <= max => Ok(Some(n)),
            _ => Err(Error::Invalid {
                object: "[limits]".into(),
                key,
                value: n.to_string(),
                reason: format!("a number of flows lies within 1 and {max}, or is 0 for no limit"),
            }),
        },
    };
    Ok(Quotas {
        endpoint_flows: quota("endpoint_flows", limits.endpoint_flows, u32::MAX)?,
        endpoint_ports: quota("endpoint_ports", limits.endpoint_ports, u32::MAX)?,
        inbound: quota("inbound", limits.inbound, INBOUND_MAX)?,
    })
}

pub(super) fn nat(raw: &raw::Nat) -> Result<Nat, Error> {
    let mut nat = Nat {
        preserve_ports: raw.preserve_ports.unwrap_or(true),
        ..Nat::default()
    };
    if let Some(text) = &raw.ports {
        let range = text
            .split_once('-')
            .and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)))
            .filter(|(min, max): &(u16, u16)| *min > 0 && min <= max);
        nat.ports = Some(range.ok_or_else(|| {
            invalid(
                "ports",
                text,
                "write the lowest and the highest port, such as \"32768-60999\"",
            )
        })?);
    }
    nat.mss_clamp = match raw.mss_clamp.as_deref() {
        None | Some("off") => false,
        Some("auto") => true,
        Some(other) => return Err(invalid("mss_clamp", other, "it is \"off\" or \"auto\"")),
    };
    Ok(nat)
}

fn invalid(key: &'static str, value: &str, reason: &str) -> Error {
    Error::Invalid {
        object: "[nat]".into(),
        key,
        value: format!("{value:?}"),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_a_range() {
        let ports = |text: &str| {
            nat(&raw::Nat {
                ports: Some(text.into()),
                ..Default::default()
            })
            .map(|n| n.ports)
        };
        assert_eq!(ports("50000-50063").unwrap(), Some((50_000, 50_063)));
        assert_eq!(ports("1 - 65535").unwrap(), Some((1, 65_535)));
        for bad in ["", "80", "0-5", "9-8", "1-65536", "a-b"] {
            let e = ports(bad).unwrap_err().to_string();
            assert!(
                e.contains("[nat]: ports") && e.contains("32768-60999"),
                "{e}"
            );
        }
    }

    #[test]
    fn quotas_follow_the_table_where_nothing_is_said() {
        assert_eq!(Quotas::default().of(65_536), (32_768, 32_768, 16_384));
        assert_eq!(Quotas::default().of(1_048_576).2, INBOUND_MAX);
        let said = quotas(&raw::Limits {
            endpoint_flows: Some(10),
            inbound: Some(0),
            ..Default::default()
        });
        assert_eq!(said.unwrap().of(65_536), (10, 32_768, 0));
        let bad = raw::Limits {
            inbound: Some(1 << 40),
            ..Default::default()
        };
        assert!(quotas(&bad).unwrap_err().to_string().contains("no limit"));
    }
}
