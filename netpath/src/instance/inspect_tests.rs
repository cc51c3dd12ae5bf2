//! Unit tests of what `inspect` prints.

use serde_json::{Value, json};

use super::*;
use crate::{config::NetworkOptions, state::testing::network};

#[test]
fn an_endpoint_is_shown_in_dockers_words() {
    let mut n = network(Some("fd00:17::/64"), &["fd00:17::2"]);
    let rule = serde_json::json!({
        "slot": 1, "spec": "8080:80", "origin": "command", "addr": "0.0.0.0", "host": 8080,
    });
    n.endpoints[0].rules = vec![serde_json::from_value(rule).unwrap()];
    let shown =
        |n: &Network| serde_json::to_value(EndpointView::from((n, &n.endpoints[0]))).unwrap();
    let view = shown(&n);
    assert_eq!(view["SandboxKey"], "/run/netns/x");
    assert_eq!(
        view["Ports"]["80/tcp"],
        serde_json::json!([
            { "HostIp": "0.0.0.0", "HostPort": "8080" },
            { "HostIp": "::", "HostPort": "8080" },
        ])
    );
    let settings = &view["Networks"]["n"];
    for (key, value) in [
        ("IPAddress", "172.17.0.2"),
        ("Gateway", "172.17.0.1"),
        ("GlobalIPv6Address", "fd00:17::2"),
        ("IPv6Gateway", "fd00:17::1"),
        ("MacAddress", "02:00:00:00:00:02"),
    ] {
        assert_eq!(settings[key], value, "{key}");
    }
    assert_eq!(settings["IPPrefixLen"], 16);
    assert_eq!(settings["GlobalIPv6PrefixLen"], 64);
    n.ipv6 = None;
    n.endpoints[0].addr6 = None;
    let settings = &shown(&n)["Networks"]["n"];
    assert_eq!(settings["GlobalIPv6Address"], "");
    assert_eq!(settings["GlobalIPv6PrefixLen"], 0);
}

/// Docker's default network as its documentation shows it, with what its API has had since 1.52.
#[test]
fn the_default_network_is_shown_as_docker_documents_it() {
    let mut n = network(None, &[]);
    let id = "b2b1a2cba717161d984383fd68218cf70bbbd17d328496885f7c921333228b0f";
    (n.name, n.id, n.bridge) = ("bridge".into(), id.into(), "docker0".into());
    n.created = "2026-01-02T03:04:05.678901234Z".into();
    let mut documented = json!({
        "Name": "bridge",
        "Id": id,
        "Created": "2026-01-02T03:04:05.678901234Z",
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": true,
        "EnableIPv6": false,
        "IPAM": {
            "Driver": "default",
            "Options": null,
            "Config": [{ "Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1" }],
        },
        "Internal": false,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": {},
        "Options": {
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.enable_icc": "true",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
            "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
            "com.docker.network.bridge.name": "docker0",
            "com.docker.network.driver.mtu": "1500",
        },
        "Labels": {},
        "Status": { "IPAM": { "Subnets": {
            "172.17.0.0/16": { "IPsInUse": 3, "DynamicIPsAvailable": 65533 },
        } } },
    });
    let shown = |n: &Network| serde_json::to_value(NetworkView::from(n)).unwrap();
    assert_eq!(shown(&n), documented);

    // With a container in it.
    n.endpoints = network(None, &["fd00::2"]).endpoints;
    n.endpoints[0].addr6 = None;
    n.endpoints[0].id = "7c1694a6765228de".into();
    documented["Containers"] = json!({
        "7c1694a6765228de": {
            "Name": "e",
            "EndpointID": "7c1694a6765228de",
            "MacAddress": "02:00:00:00:00:02",
            "IPv4Address": "172.17.0.2/16",
            "IPv6Address": "",
        },
    });
    documented["Status"]["IPAM"]["Subnets"]["172.17.0.0/16"] =
        json!({ "IPsInUse": 4, "DynamicIPsAvailable": 65532 });
    assert_eq!(shown(&n), documented);
}

#[test]
fn what_is_set_is_shown_and_by_dockers_name_where_it_has_one() {
    let mut n = network(Some("fd00:17::/64"), &[]);
    n.ipam.range = "172.17.5.0/24".parse().ok();
    n.ipam.range6 = "fd00:17::5:0/112".parse().ok();
    n.ipam.aux = [("r", "172.17.0.9"), ("six", "fd00:17::9")]
        .map(|(name, addr)| (name.to_owned(), addr.parse().unwrap()))
        .into();
    n.labels = [("team".to_owned(), "net".to_owned())].into();
    n.snat = "192.0.2.7".parse().ok();
    n.host_binding6 = "::1".parse().ok();
    n.mode = Mode::Routed;
    n.bindings = true;
    n.early_drop = true;
    n.firewall = Firewall::Visible;
    n.gso_max_size = Some(100_000);
    n.no_masquerade = vec!["192.0.2.0/24".parse().unwrap()];
    n.ports_held = true;
    n.uplink_hook = UplinkHook::Xdp;
    n.uplinks = Uplinks::Named(vec!["eth0".into(), "eth1".into()]);
    let shown: Value = serde_json::to_value(NetworkView::from(&n)).unwrap();
    // `network create` takes what is shown.
    let options = shown["Options"].as_object().unwrap();
    let options: Vec<_> = options
        .iter()
        .filter(|(key, _)| key.starts_with("netpath."))
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap()))
        .collect();
    let made = NetworkOptions {
        name: "n".into(),
        bridge: "br-1".into(),
        subnets: vec!["fd00:17::/64".into()],
        options,
        ..NetworkOptions::default()
    };
    let made = made.check();
    assert!(made.is_ok(), "{made:?}");
    assert_eq!(shown["EnableIPv6"], true);
    assert_eq!(
        shown["IPAM"]["Config"],
        json!([
            {
                "Subnet": "172.17.0.0/16", "IPRange": "172.17.5.0/24", "Gateway": "172.17.0.1",
                "AuxiliaryAddresses": { "r": "172.17.0.9" },
            },
            {
                "Subnet": "fd00:17::/64", "IPRange": "fd00:17::5:0/112", "Gateway": "fd00:17::1",
                "AuxiliaryAddresses": { "six": "fd00:17::9" },
            },
        ])
    );
    assert_eq!(shown["Labels"], json!({ "team": "net" }));
    let options = &shown["Options"];
    for (key, value) in [
        ("com.docker.network.bridge.default_bridge", "false"),
        ("com.docker.network.bridge.gateway_mode_ipv4", "routed"),
        ("com.docker.network.bridge.gateway_mode_ipv6", "routed"),
        ("com.docker.network.host_ipv4", "192.0.2.7"),
        ("netpath.host_binding_ipv6", "::1"),
        ("netpath.mapping", "endpoint-independent"),
        ("netpath.uplinks", "eth0,eth1"),
    ] {
        assert_eq!(options[key], value, "{key}");
    }
    assert_eq!(options.as_object().unwrap().len(), 6 + 12);
}
