//! Networks and endpoints in Docker's words: what `network inspect` and `endpoint inspect` print.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    config::Mode,
    state::{Endpoint, Network},
};

/// A network as Docker's `network inspect` shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are Docker's")]
pub struct NetworkView {
    pub name: String,
    pub id: String,
    pub created: String,
    pub scope: &'static str,
    pub driver: &'static str,
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    pub internal: bool,
    pub attachable: bool,
    pub ingress: bool,
    pub config_from: ConfigFrom,
    pub config_only: bool,
    pub containers: BTreeMap<String, ContainerView>,
    pub options: BTreeMap<&'static str, String>,
    pub labels: BTreeMap<String, String>,
}

/// Address management.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ipam {
    pub driver: &'static str,
    pub options: Option<BTreeMap<String, String>>,
    pub config: Vec<IpamConfig>,
}

/// A subnet.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamConfig {
    pub subnet: String,
    pub gateway: String,
}

/// Never set: netpath has no networks that only hold a configuration.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConfigFrom {
    pub network: String,
}

/// An endpoint as Docker's `network inspect` shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are Docker's")]
pub struct ContainerView {
    pub name: String,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    pub mac_address: String,
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
}

impl From<&Network> for NetworkView {
    fn from(n: &Network) -> Self {
        // Docker's default network is the one named "bridge".
        let default = n.name == "bridge";
        Self {
            name: n.name.clone(),
            id: n.id.clone(),
            created: n.created.clone(),
            scope: "local",
            driver: "bridge",
            enable_ipv4: true,
            enable_ipv6: n.ipv6.is_some(),
            ipam: Ipam {
                driver: "default",
                options: None,
                config: ipam(n),
            },
            internal: n.internal,
            attachable: false,
            ingress: false,
            config_from: ConfigFrom {
                network: String::new(),
            },
            config_only: false,
            containers: n
                .endpoints
                .iter()
                .filter(|e| e.is_present())
                .map(|e| (e.id.clone(), container(n, e)))
                .collect(),
            options: [
                (
                    "com.docker.network.bridge.default_bridge",
                    default.to_string(),
                ),
                ("com.docker.network.bridge.enable_icc", n.icc.to_string()),
                (
                    "com.docker.network.bridge.enable_ip_masquerade",
                    n.masquerade.to_string(),
                ),
                (
                    "com.docker.network.bridge.host_binding_ipv4",
                    n.host_binding.to_string(),
                ),
                ("com.docker.network.bridge.name", n.bridge.clone()),
                ("com.docker.network.driver.mtu", n.mtu.to_string()),
            ]
            .into_iter()
            .chain(gateway_modes(n))
            // Docker has no name for it.
            .chain(
                n.gso_max_size
                    .map(|size| ("netpath.gso_max_size", size.to_string())),
            )
            .collect(),
            labels: BTreeMap::new(),
        }
    }
}

/// How the gateways treat addresses, where that is not the default.
fn gateway_modes(n: &Network) -> impl Iterator<Item = (&'static str, String)> {
    let v4 = Some("com.docker.network.bridge.gateway_mode_ipv4");
    let v6 = n
        .ipv6
        .map(|_| "com.docker.network.bridge.gateway_mode_ipv6");
    let routed = n.mode == Mode::Routed;
    let names = [v4, v6].into_iter().flatten().filter(move |_| routed);
    names.map(|name| (name, "routed".to_owned()))
}

fn container(n: &Network, e: &Endpoint) -> ContainerView {
    ContainerView {
        name: e.name.clone(),
        endpoint_id: e.id.clone(),
        mac_address: e.mac.to_string(),
        ipv4_address: format!("{}/{}", e.addr, n.subnet.prefix_len()),
        ipv6_address: n
            .ipv6
            .zip(e.addr6)
            .map(|(v6, addr)| format!("{addr}/{}", v6.subnet.prefix_len()))
            .unwrap_or_default(),
    }
}

fn ipam(n: &Network) -> Vec<IpamConfig> {
    let v4 = IpamConfig {
        subnet: n.subnet.to_string(),
        gateway: n.gateway.to_string(),
    };
    let v6 = n.ipv6.map(|v6| IpamConfig {
        subnet: v6.subnet.to_string(),
        gateway: v6.gateway.to_string(),
    });
    std::iter::once(v4).chain(v6).collect()
}

/// A container's side of an endpoint, as `NetworkSettings` of Docker's `container inspect` shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are Docker's")]
pub struct EndpointView {
    pub name: String,
    pub sandbox_key: String,
    pub ports: BTreeMap<String, Vec<PortBinding>>,
    pub networks: BTreeMap<String, EndpointSettings>,
}

/// Where a port of a container is published.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PortBinding {
    pub host_ip: String,
    pub host_port: String,
}

/// An endpoint's addresses.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EndpointSettings {
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    pub mac_address: String,
    pub gateway: String,
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
}

impl From<(&Network, &Endpoint)> for EndpointView {
    fn from((n, e): (&Network, &Endpoint)) -> Self {
        // An internal network has no gateway in the container, and Docker shows none.
        let gateway = |addr: String| if n.internal { String::new() } else { addr };
        let v6 = n.ipv6.zip(e.addr6);
        let settings = EndpointSettings {
            network_id: n.id.clone(),
            endpoint_id: e.id.clone(),
            mac_address: e.mac.to_string(),
            gateway: gateway(n.gateway.to_string()),
            ip_address: e.addr.to_string(),
            ip_prefix_len: n.subnet.prefix_len(),
            ipv6_gateway: v6
                .map(|(v6, _)| gateway(v6.gateway.to_string()))
                .unwrap_or_default(),
            global_ipv6_address: v6.map(|(_, a)| a.to_string()).unwrap_or_default(),
            global_ipv6_prefix_len: v6.map_or(0, |(v6, _)| v6.subnet.prefix_len()),
        };
        let mut ports: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
        for rule in &e.rules {
            for at in rule.addrs(&e.homes(n)) {
                for (host, container) in rule.pairs() {
                    let port = format!("{container}/{}", rule.proto());
                    ports.entry(port).or_default().push(PortBinding {
                        host_ip: at.to_string(),
                        host_port: host.to_string(),
                    });
                }
            }
        }
        Self {
            name: e.name.clone(),
            sandbox_key: e.netns.path().display().to_string(),
            ports,
            networks: BTreeMap::from([(n.name.clone(), settings)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::network;

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
}
