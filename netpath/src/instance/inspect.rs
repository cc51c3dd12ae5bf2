//! Networks in Docker's words: what `network inspect` prints.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::state::{Endpoint, Network};

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
            enable_ipv6: false,
            ipam: Ipam {
                driver: "default",
                options: None,
                config: vec![IpamConfig {
                    subnet: n.subnet.to_string(),
                    gateway: n.gateway.to_string(),
                }],
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

fn container(n: &Network, e: &Endpoint) -> ContainerView {
    ContainerView {
        name: e.name.clone(),
        endpoint_id: e.id.clone(),
        mac_address: e.mac.to_string(),
        ipv4_address: format!("{}/{}", e.addr, n.subnet.prefix_len()),
        ipv6_address: String::new(),
    }
}
