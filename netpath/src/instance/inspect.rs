//! Networks and endpoints in Docker's words: what `network inspect` and `endpoint inspect` print.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
};

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use crate::{
    config::{Firewall, Mode, Pool, UplinkHook, Uplinks},
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
    pub status: NetworkUsage,
}

/// Address management.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ipam {
    pub driver: &'static str,
    pub options: Option<BTreeMap<String, String>>,
    /// `null` where there are no subnets, as Docker's.
    #[serde(serialize_with = "null_if_empty")]
    pub config: Vec<IpamConfig>,
}

fn null_if_empty<S: Serializer>(all: &[IpamConfig], to: S) -> Result<S::Ok, S::Error> {
    (!all.is_empty()).then_some(all).serialize(to)
}

/// A subnet.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamConfig {
    pub subnet: String,
    #[serde(rename = "IPRange", skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<String>,
    pub gateway: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub auxiliary_addresses: BTreeMap<String, String>,
}

/// How full the subnets are: of Docker's API since 1.52.
#[derive(Clone, Debug, Serialize)]
pub struct NetworkUsage {
    /// Address management.
    #[serde(rename = "IPAM")]
    pub ipam: IpamUsage,
}

/// By subnet.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamUsage {
    pub subnets: BTreeMap<String, SubnetUsage>,
}

/// How full a subnet is.
#[derive(Clone, Debug, Serialize)]
pub struct SubnetUsage {
    #[serde(rename = "IPsInUse")]
    pub ips_in_use: u64,
    #[serde(rename = "DynamicIPsAvailable")]
    pub dynamic_ips_available: u64,
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
            .chain(more_options(n))
            .collect(),
            labels: n.labels.clone(),
            status: usage(n),
        }
    }
}

fn joined(nets: &[IpNet]) -> String {
    let nets: Vec<_> = nets.iter().map(ToString::to_string).collect();
    nets.join(",")
}

/// How the gateways treat addresses, where that is not the default.
fn gateway_modes(n: &Network) -> impl Iterator<Item = (&'static str, String)> {
    let v4 = Some("com.docker.network.bridge.gateway_mode_ipv4");
    let v6 = n
        .ipv6
        .map(|_| "com.docker.network.bridge.gateway_mode_ipv6");
    let mode = match (n.isolated, n.mode) {
        (true, _) => Some("isolated"),
        (false, Mode::Routed) => Some("routed"),
        (false, Mode::Nat) => None,
    };
    let names = [v4, v6].into_iter().flatten();
    names.filter_map(move |name| Some((name, mode?.to_owned())))
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
    let pools = [Some(n.pool()), n.pool6()].into_iter().flatten();
    pools.map(|pool| ipam_of(&pool)).collect()
}

/// The addresses of one family.
pub(super) fn ipam_of(pool: &Pool<'_>) -> IpamConfig {
    let own = |(_, a): &(&String, &IpAddr)| a.is_ipv4() == pool.gateway.is_ipv4();
    let aux = pool.ipam.aux.iter().filter(own);
    let range = pool.dynamic();
    IpamConfig {
        subnet: pool.subnet.to_string(),
        ip_range: (range != pool.subnet).then(|| range.to_string()),
        gateway: pool.gateway.to_string(),
        auxiliary_addresses: aux.map(|(k, a)| (k.clone(), a.to_string())).collect(),
    }
}

fn usage(n: &Network) -> NetworkUsage {
    let v4 = Some(usage_of(&n.pool(), &n.taken()));
    let v6 = n.pool6().map(|pool| usage_of(&pool, &n.taken6()));
    let subnets = [v4, v6].into_iter().flatten().collect();
    NetworkUsage {
        ipam: IpamUsage { subnets },
    }
}

/// How full one subnet is.
pub(super) fn usage_of(pool: &Pool<'_>, taken: &HashSet<IpAddr>) -> (String, SubnetUsage) {
    let usage = pool.usage(taken);
    let shown = SubnetUsage {
        ips_in_use: usage.in_use,
        dynamic_ips_available: usage.available,
    };
    (pool.subnet.to_string(), shown)
}

/// What differs from the defaults: by Docker's name where it has one.
fn more_options(n: &Network) -> impl Iterator<Item = (&'static str, String)> {
    let set = |on: bool, value: &str| on.then(|| value.to_owned());
    let hook = match n.uplink_hook {
        UplinkHook::Auto => None,
        UplinkHook::Tc => Some("tc".to_owned()),
        UplinkHook::Xdp => Some("xdp".to_owned()),
    };
    let uplinks = match &n.uplinks {
        Uplinks::Auto => None,
        Uplinks::Named(names) => Some(names.join(",")),
    };
    let snat6 = n.ipv6.and_then(|v6| v6.snat);
    [
        (
            "com.docker.network.host_ipv4",
            n.snat.map(|a| a.to_string()),
        ),
        ("com.docker.network.host_ipv6", snat6.map(|a| a.to_string())),
        ("netpath.early_drop", set(n.early_drop, "true")),
        (
            "netpath.firewall",
            set(n.firewall == Firewall::Visible, "visible"),
        ),
        (
            "netpath.gso_max_size",
            n.gso_max_size.map(|size| size.to_string()),
        ),
        (
            "netpath.host_binding_ipv6",
            n.host_binding6.map(|a| a.to_string()),
        ),
        ("netpath.mapping", set(n.bindings, "endpoint-independent")),
        (
            "netpath.no_masquerade",
            (!n.no_masquerade.is_empty()).then(|| joined(&n.no_masquerade)),
        ),
        ("netpath.port_holder", set(n.ports_held, "engine")),
        ("netpath.uplink_hook", hook),
        ("netpath.uplinks", uplinks),
        ("netpath.xdp_translate", set(n.xdp_translate, "true")),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
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
    /// Bandwidth limits, which Docker has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_in: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_out: Option<String>,
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
    pub gw_priority: i32,
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
            gw_priority: e.gw_priority,
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
            rate_in: e.rates.into.map(|rate| rate.to_string()),
            rate_out: e.rates.out.map(|rate| rate.to_string()),
        }
    }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
