//! A network for unit tests.

use super::{Endpoint, Ipv6, Network};
use crate::config::first_host6;

/// 172.17.0.0/16, with this IPv6 subnet, and endpoints with these IPv6 addresses.
pub(crate) fn network(ipv6: Option<&str>, addrs6: &[&str]) -> Network {
    let endpoint = |addr6: &&str| {
        let value = serde_json::json!({
            "id": "", "name": "e", "origin": "command", "netns": "x", "netns_ino": 0, "slot": 1,
            "addr": "172.17.0.2", "addr6": addr6, "mac": "02:00:00:00:00:02", "ifname": "v",
            "ifindex": 0, "rules": [],
        });
        serde_json::from_value::<Endpoint>(value).unwrap()
    };
    let value = serde_json::json!({
        "id": "", "created": "", "slot": 1, "name": "n", "bridge": "b", "ifindex": 0,
        "mac": "02:00:00:00:00:01", "adopted": false, "found": null, "subnet": "172.17.0.0/16",
        "gateway": "172.17.0.1", "mtu": 1500, "icc": true, "masquerade": true, "snat": null,
        "internal": false, "host_binding": "0.0.0.0", "uplinks": "auto", "endpoints": [],
    });
    let mut n: Network = serde_json::from_value(value).unwrap();
    n.ipv6 = ipv6.map(|text| {
        let subnet = text.parse().unwrap();
        Ipv6 {
            subnet,
            gateway: first_host6(subnet),
            snat: None,
        }
    });
    n.endpoints = addrs6.iter().map(endpoint).collect();
    n
}
