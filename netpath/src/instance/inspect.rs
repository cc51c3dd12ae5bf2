//! Networks in Docker's words: what `network inspect` prints.

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
