//! Networks without a bridge in Docker's words, and in `status`.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    super::{
        inspect::{
            ConfigFrom, ContainerView, EndpointSettings, EndpointView, Ipam, IpamUsage,
            NetworkUsage, NetworkView, ipam_of, usage_of,
        },
        report::{EndpointStatus, NetworkStatus},
    },
    is_alive,
};
use crate::{
    config::Driver,
    state::{AnyNetwork, Lan, Member, Unbridged},
};

impl From<AnyNetwork<'_>> for NetworkView {
    fn from(n: AnyNetwork<'_>) -> Self {
        match n {
            AnyNetwork::Bridged(n) => Self::from(n),
            AnyNetwork::Unbridged(n) => Self::from(n),
        }
    }
}

impl From<&Unbridged> for NetworkView {
    fn from(n: &Unbridged) -> Self {
        let lan = n.lan.as_ref();
        let pools = || lan.into_iter().flat_map(|l| [Some(l.pool()), l.pool6()]);
        let taken = n.taken();
        let own = |v4: bool| {
            let of_family = taken.iter().filter(move |a| a.is_ipv4() == v4);
            of_family.copied().collect()
        };
        let usage = |pool: crate::config::Pool<'_>| usage_of(&pool, &own(pool.gateway.is_ipv4()));
        Self {
            name: n.name.clone(),
            id: n.id.clone(),
            created: n.created.clone(),
            scope: "local",
            driver: n.driver.as_str(),
            enable_ipv4: true,
            enable_ipv6: lan.is_some_and(|l| l.ipv6.is_some()),
            ipam: Ipam {
                driver: "default",
                options: None,
                config: pools()
                    .flatten()
                    .map(|pool| {
                        let mut config = ipam_of(&pool);
                        if n.driver.routes_by_device() {
                            config.gateway = String::new();
                        }
                        config
                    })
                    .collect(),
            },
            internal: lan.is_some_and(|l| l.internal),
            attachable: false,
            ingress: false,
            config_from: ConfigFrom {
                network: String::new(),
            },
            config_only: false,
            containers: n
                .members
                .iter()
                .map(|m| (m.id.clone(), container(lan, m)))
                .collect(),
            options: options(n),
            labels: n.labels.clone(),
            status: NetworkUsage {
                ipam: IpamUsage {
                    subnets: pools().flatten().map(usage).collect(),
                },
            },
        }
    }
}

fn options(n: &Unbridged) -> BTreeMap<&'static str, String> {
    let mut options = BTreeMap::new();
    match n.driver {
        Driver::Macvlan(mode) => {
            options.insert("macvlan_mode", mode.as_str().to_owned());
        }
        Driver::Ipvlan(mode) => {
            options.insert("ipvlan_mode", mode.as_str().to_owned());
        }
        Driver::Bridge | Driver::Host | Driver::None => {}
    }
    if let Some(lan) = &n.lan {
        options.insert("parent", lan.parent.clone());
        options.insert("com.docker.network.driver.mtu", lan.mtu.to_string());
    }
    options
}

/// An address with the length of its prefix.
fn with_prefix(addr: impl Into<IpAddr>, prefix: u8) -> String {
    format!("{}/{prefix}", addr.into())
}

fn container(lan: Option<&Lan>, m: &Member) -> ContainerView {
    let at = lan.zip(m.port.as_ref());
    let v6 = at.and_then(|(l, p)| Some((l.ipv6?, p.addr6?)));
    let mac = m.port.as_ref().and_then(|p| p.mac);
    ContainerView {
        name: m.name.clone(),
        endpoint_id: m.id.clone(),
        mac_address: mac.map(|mac| mac.to_string()).unwrap_or_default(),
        ipv4_address: at
            .map(|(l, p)| with_prefix(p.addr, l.subnet.prefix_len()))
            .unwrap_or_default(),
        ipv6_address: v6
            .map(|(v6, addr)| with_prefix(addr, v6.subnet.prefix_len()))
            .unwrap_or_default(),
    }
}

impl From<(&Unbridged, &Member)> for EndpointView {
    fn from((n, m): (&Unbridged, &Member)) -> Self {
        let (lan, port) = (n.lan.as_ref(), m.port.as_ref());
        let leads = lan.filter(|l| !l.internal && !n.driver.routes_by_device());
        let v6 = lan.and_then(|l| l.ipv6).zip(port.and_then(|p| p.addr6));
        let text = |value: Option<String>| value.unwrap_or_default();
        let settings = EndpointSettings {
            network_id: n.id.clone(),
            endpoint_id: m.id.clone(),
            mac_address: text(port.and_then(|p| Some(p.mac?.to_string()))),
            gateway: text(leads.map(|l| l.gateway.to_string())),
            ip_address: text(port.map(|p| p.addr.to_string())),
            ip_prefix_len: lan.map_or(0, |l| l.subnet.prefix_len()),
            ipv6_gateway: text(leads.and_then(|l| Some(l.ipv6?.gateway.to_string()))),
            global_ipv6_address: text(v6.map(|(_, addr)| addr.to_string())),
            global_ipv6_prefix_len: v6.map_or(0, |(v6, _)| v6.subnet.prefix_len()),
            gw_priority: port.map_or(0, |p| p.gw_priority),
        };
        Self {
            name: m.name.clone(),
            sandbox_key: m.netns.path().display().to_string(),
            ports: BTreeMap::new(),
            rate_in: None,
            rate_out: None,
            networks: BTreeMap::from([(n.name.clone(), settings)]),
        }
    }
}

/// A network as `status` shows it.
pub(in super::super) fn network_status(n: &Unbridged) -> NetworkStatus {
    let lan = n.lan.as_ref();
    let leads = lan.filter(|_| !n.driver.routes_by_device());
    let mode = match n.driver {
        Driver::Macvlan(mode) => Some(mode.as_str()),
        Driver::Ipvlan(mode) => Some(mode.as_str()),
        Driver::Bridge | Driver::Host | Driver::None => None,
    };
    let internal = lan.filter(|l| l.internal).map(|_| "internal");
    NetworkStatus {
        name: n.name.clone(),
        driver: n.driver.as_str(),
        bridge: lan.map(|l| l.parent.clone()).unwrap_or_default(),
        subnet: lan.map(|l| l.subnet.to_string()),
        gateway: leads.map(|l| l.gateway),
        subnet6: lan.and_then(|l| Some(l.ipv6?.subnet.to_string())),
        gateway6: leads.and_then(|l| Some(l.ipv6?.gateway)),
        mtu: lan.map(|l| l.mtu),
        flags: mode.into_iter().chain(internal).collect(),
    }
}

/// An endpoint as `status` shows it. What it sends and receives is not netpath's to count.
pub(in super::super) fn member_status(n: &Unbridged, m: &Member) -> EndpointStatus {
    let port = m.port.as_ref();
    let mac = port.and_then(|p| Some(p.mac?.to_string()));
    EndpointStatus {
        state: if is_alive(n.driver, m) { "up" } else { "gone" },
        name: m.name.clone(),
        network: n.name.clone(),
        addr: port.map(|p| p.addr),
        addr6: port.and_then(|p| p.addr6),
        mac: mac.unwrap_or_default(),
        interface: n.lan.as_ref().map(|l| l.parent.clone()).unwrap_or_default(),
        netns: m.netns.to_string(),
        ports: Vec::new(),
        tx_packets: 0,
        rx_packets: 0,
        drops: 0,
        flows: 0,
    }
}
