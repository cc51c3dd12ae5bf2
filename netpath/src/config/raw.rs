//! The form of the configuration file: what serde reads, before anything is checked.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Error;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) nat: Nat,
    #[serde(default)]
    pub(super) timeouts: Timeouts,
    #[serde(default)]
    pub(super) network: Vec<Network>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) conntrack: Option<i64>,
    pub(super) endpoint_flows: Option<i64>,
    pub(super) endpoint_ports: Option<i64>,
    pub(super) inbound: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nat {
    pub(super) ports: Option<String>,
    pub(super) preserve_ports: Option<bool>,
    pub(super) mss_clamp: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    pub(super) profile: Option<String>,
    pub(super) tcp_syn_sent: Option<String>,
    pub(super) tcp_syn_recv: Option<String>,
    pub(super) tcp_established: Option<String>,
    pub(super) tcp_fin_wait: Option<String>,
    pub(super) tcp_close_wait: Option<String>,
    pub(super) tcp_last_ack: Option<String>,
    pub(super) tcp_time_wait: Option<String>,
    pub(super) tcp_close: Option<String>,
    pub(super) tcp_pickup: Option<String>,
    pub(super) udp: Option<String>,
    pub(super) udp_stream: Option<String>,
    pub(super) icmp: Option<String>,
    pub(super) frag: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Network {
    pub(super) name: String,
    pub(super) driver: Option<String>,
    pub(super) parent: Option<String>,
    pub(super) macvlan_mode: Option<String>,
    pub(super) ipvlan_mode: Option<String>,
    pub(super) bridge: Option<String>,
    pub(super) subnet: Option<String>,
    pub(super) gateway: Option<String>,
    pub(super) ipv6: Option<String>,
    pub(super) gateway6: Option<String>,
    pub(super) ip_range: Option<String>,
    pub(super) ip_range6: Option<String>,
    #[serde(default)]
    pub(super) aux_addresses: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) mtu: Option<i64>,
    pub(super) gso_max_size: Option<i64>,
    pub(super) icc: Option<bool>,
    pub(super) masquerade: Option<bool>,
    pub(super) no_masquerade: Option<Vec<String>>,
    pub(super) snat: Option<String>,
    pub(super) snat6: Option<String>,
    pub(super) internal: Option<bool>,
    pub(super) isolated: Option<bool>,
    pub(super) mode: Option<String>,
    pub(super) mapping: Option<String>,
    pub(super) firewall: Option<String>,
    pub(super) uplink_hook: Option<String>,
    pub(super) early_drop: Option<bool>,
    pub(super) xdp_translate: Option<bool>,
    pub(super) port_holder: Option<String>,
    pub(super) host_binding_ipv4: Option<String>,
    pub(super) host_binding_ipv6: Option<String>,
    pub(super) uplinks: Option<Vec<String>>,
    #[serde(default)]
    pub(super) endpoint: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    pub(super) name: String,
    #[serde(deserialize_with = "netns")]
    pub(super) netns: String,
    pub(super) ip: Option<String>,
    pub(super) ip6: Option<String>,
    pub(super) mac: Option<String>,
    pub(super) rate_in: Option<String>,
    pub(super) rate_out: Option<String>,
    pub(super) ifname: Option<String>,
    pub(super) gw_priority: Option<i32>,
    #[serde(default)]
    pub(super) publish: Vec<String>,
}

/// A namespace: a string, or a number that is a process id.
fn netns<'de, D: serde::Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    struct Text;

    impl serde::de::Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the name or path of a network namespace, or a process id")
        }

        fn visit_str<E>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_i64<E>(self, pid: i64) -> Result<String, E> {
            Ok(format!("pid:{pid}"))
        }
    }

    d.deserialize_any(Text)
}

pub(super) fn parse(text: &str, origin: &str) -> Result<File, Error> {
    toml::from_str(text).map_err(|e| describe(&e, text, origin))
}

/// One line out of the parser's report, with the unknown key taken apart.
fn describe(e: &toml::de::Error, text: &str, origin: &str) -> Error {
    let at = e.span().map_or(0, |s| s.start.min(text.len()));
    let line = text.as_bytes()[..at]
        .iter()
        .filter(|b| **b == b'\n')
        .count()
        + 1;
    let origin = origin.to_owned();
    let message = e.message().lines().collect::<Vec<_>>().join(" ");
    let unknown = message
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split_once('`'));
    match unknown {
        Some((key, rest)) => {
            let known = rest
                .trim_start_matches(", expected ")
                .trim_start_matches("one of ")
                .replace('`', "");
            Error::UnknownKey {
                origin,
                line,
                key: key.to_owned(),
                known,
            }
        }
        None => Error::Syntax {
            origin,
            line,
            message,
        },
    }
}
