//! What `status` tells: everything about an instance, read at once.

use std::{
    collections::HashSet,
    net::{Ipv4Addr, Ipv6Addr},
};

use netpath_common::{V4, V6};

use serde::Serialize;

use super::{Drift, Error, Instance, gone::dead, host_access, unbridged::view, xdp};
use crate::{
    bpf::{Datapath, Family as _},
    config::{Firewall, Mode},
    ct, firewall,
    net::Link,
    state::{Network, State, Uplink},
};

/// An instance as `status` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The instance.
    pub instance: String,
    /// Networks.
    pub networks: Vec<NetworkStatus>,
    /// Endpoints.
    pub endpoints: Vec<EndpointStatus>,
    /// Uplinks.
    pub uplinks: Vec<UplinkStatus>,
    /// Programs on interfaces: hook and interface.
    pub attachments: Vec<(String, String)>,
    /// Conntrack.
    pub conntrack: ConntrackStatus,
    /// Counters that are not zero.
    pub counters: Vec<(String, u64)>,
    /// Drops by reason, those that are not zero.
    pub drops: Vec<DropCount>,
    /// What is not as netpath has made it; `netpath up` repairs it.
    pub drift: Vec<Drift>,
    /// What is not as it should be, with the remedy.
    pub warnings: Vec<String>,
}

/// A network.
#[derive(Clone, Debug, Serialize)]
pub struct NetworkStatus {
    /// Name.
    pub name: String,
    /// Driver.
    pub driver: &'static str,
    /// Bridge, or the parent of a network that has none.
    pub bridge: String,
    /// Subnet.
    pub subnet: Option<String>,
    /// Gateway.
    pub gateway: Option<Ipv4Addr>,
    /// IPv6 subnet.
    pub subnet6: Option<String>,
    /// IPv6 gateway.
    pub gateway6: Option<Ipv6Addr>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// What differs from the defaults.
    pub flags: Vec<&'static str>,
}

/// An endpoint.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointStatus {
    /// Name.
    pub name: String,
    /// Network.
    pub network: String,
    /// Address.
    pub addr: Option<Ipv4Addr>,
    /// IPv6 address.
    pub addr6: Option<Ipv6Addr>,
    /// MAC address.
    pub mac: String,
    /// Host side of the pair, or the parent in a network without a bridge.
    pub interface: String,
    /// Namespace.
    pub netns: String,
    /// `up`; or `gone`, when the namespace is, and it waits for it.
    pub state: &'static str,
    /// Published ports, as Docker's `port` shows them.
    pub ports: Vec<String>,
    /// Packets from the container that were translated.
    pub tx_packets: u64,
    /// Packets to the container that were translated.
    pub rx_packets: u64,
    /// Packets from the container that were dropped.
    pub drops: u64,
    /// Flows that the container began, or that were begun to it.
    pub flows: u64,
}

/// An uplink.
#[derive(Clone, Debug, Serialize)]
pub struct UplinkStatus {
    /// Interface.
    pub name: String,
    /// The address that masquerade uses.
    pub addr: Option<Ipv4Addr>,
    /// The IPv6 address that masquerade uses.
    pub addr6: Option<Ipv6Addr>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Hooks of its way in: `tc`, `tc, xdp` where nobody's packets are dropped early, or
    /// `tc, xdp with translation`.
    pub hook: &'static str,
    /// Containers leave by it.
    pub leads_out: bool,
}

/// The conntrack table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ConntrackStatus {
    /// Flows of IPv4 in their table.
    pub flows: usize,
    /// Flows of IPv6 in theirs.
    pub flows6: usize,
    /// Flows that each table can hold.
    pub limit: u32,
    /// Bytes of the entries of IPv4 when their table is full; the memory is taken when it is made.
    pub bytes: u64,
    /// Bytes of the entries of IPv6 that there are; their memory is taken one by one.
    pub bytes6: u64,
}

/// Drops of one reason.
#[derive(Clone, Debug, Serialize)]
pub struct DropCount {
    /// The reason's name.
    pub reason: &'static str,
    /// How many.
    pub packets: u64,
    /// What it means.
    pub help: &'static str,
}

impl Instance {
    /// Reads everything about the instance.
    ///
    /// # Errors
    /// It is not up, or a map cannot be read.
    pub async fn report(&self) -> Result<Report, Error> {
        let (datapath, state) = self.running()?;
        let links = self.netlink.links().await?;
        let name_of = |index: u32| {
            let link = links.iter().find(|l| l.index == index);
            link.map_or_else(|| format!("interface {index}"), |l| l.name.clone())
        };
        let mut attachments: Vec<_> = datapath
            .attachments()?
            .into_iter()
            .map(|(hook, index)| (hook.as_str().to_owned(), name_of(index)))
            .collect();
        attachments.sort();
        let drift = self
            .drift(&datapath, &state, &links, state.changing)
            .await?;
        let mut warnings = warnings(&state);
        if !state.networks.is_empty() {
            warnings.extend(host_access::warning(&datapath, &attachments)?);
        }
        warnings.extend(self.translation_warnings(&state, &links).await);
        warnings.extend(firewall::warning(&state));
        Ok(Report {
            instance: self.name.clone(),
            networks: networks(&state),
            endpoints: endpoints(&datapath, &state, &links)?,
            uplinks: state
                .uplinks
                .iter()
                .map(|u| uplink(&datapath, u))
                .collect::<Result<_, _>>()?,
            drift,
            warnings,
            attachments,
            conntrack: ConntrackStatus {
                flows: ct::count_of::<V4>(&datapath, &ct::Filter::default())?,
                flows6: ct::count_of::<V6>(&datapath, &ct::Filter::default())?,
                limit: state.conntrack,
                bytes: datapath.memory(V4::CT)?,
                bytes6: datapath.memory(V6::CT)?,
            },
            counters: datapath
                .counters()?
                .into_iter()
                .filter(|(_, n)| *n > 0)
                .map(|(c, n)| (c.as_str().to_owned(), n))
                .collect(),
            drops: datapath
                .drops()?
                .into_iter()
                .filter(|(_, n)| *n > 0)
                .map(|(r, packets)| DropCount {
                    reason: r.as_str(),
                    packets,
                    help: r.help().trim(),
                })
                .collect(),
        })
    }
}

/// The networks of all drivers.
fn networks(state: &State) -> Vec<NetworkStatus> {
    let others = state.unbridged.iter().map(view::network_status);
    state.networks.iter().map(network).chain(others).collect()
}

fn network(n: &crate::state::Network) -> NetworkStatus {
    let flags = [
        (!n.icc, "no-icc"),
        (!n.masquerade, "no-masquerade"),
        (n.bindings, "endpoint-independent"),
        (n.internal, "internal"),
        (n.isolated, "isolated"),
        (n.firewall == Firewall::Visible, "visible"),
        (!n.no_masquerade.is_empty(), "no-masquerade-list"),
        (n.mode == Mode::Routed, "routed"),
        (n.snat.is_some(), "snat"),
        (n.ipv6.is_some_and(|v6| v6.snat.is_some()), "snat6"),
        (n.adopted, "adopted-bridge"),
        (n.ports_held, "ports-held"),
    ];
    NetworkStatus {
        name: n.name.clone(),
        driver: "bridge",
        bridge: n.bridge.clone(),
        subnet: Some(n.subnet.to_string()),
        gateway: Some(n.gateway),
        subnet6: n.ipv6.map(|v6| v6.subnet.to_string()),
        gateway6: n.ipv6.map(|v6| v6.gateway),
        mtu: Some(n.mtu),
        flags: flags
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, name)| *name)
            .collect(),
    }
}

fn uplink(datapath: &Datapath, u: &crate::state::Uplink) -> Result<UplinkStatus, Error> {
    let addr = (!u.addr.is_unspecified()).then_some(u.addr);
    Ok(UplinkStatus {
        name: u.name.clone(),
        addr,
        addr6: u.addr6,
        mtu: u.mtu,
        hook: xdp::hook_in_use(datapath, u)?,
        leads_out: u.leads_out,
    })
}

fn endpoints(
    datapath: &Datapath,
    state: &State,
    links: &[Link],
) -> Result<Vec<EndpointStatus>, Error> {
    let dead: HashSet<&str> = dead(state, links).map(|e| e.name.as_str()).collect();
    state
        .endpoints()
        .map(|(n, e)| {
            let stats = datapath.endpoint_stats(e.slot)?;
            Ok(EndpointStatus {
                name: e.name.clone(),
                network: n.name.clone(),
                addr: Some(e.addr),
                addr6: e.addr6,
                mac: e.mac.to_string(),
                interface: e.ifname.clone(),
                netns: e.netns.to_string(),
                state: if e.is_present() && !dead.contains(e.name.as_str()) {
                    "up"
                } else {
                    "gone"
                },
                ports: e
                    .rules
                    .iter()
                    .flat_map(|r| r.summaries(&e.homes(n)))
                    .collect(),
                tx_packets: stats.sent().packets,
                rx_packets: stats.given().packets,
                drops: stats.drops,
                flows: stats.flows,
            })
        })
        .chain(state.members().map(|(n, m)| Ok(view::member_status(n, m))))
        .collect()
}

fn masquerades_ipv6(n: &Network) -> bool {
    let nat = n.masquerade && n.mode == Mode::Nat && !n.internal;
    nat && n.ipv6.is_some_and(|v6| v6.snat.is_none())
}

/// Uplinks by which nothing can leave, and the like: the host's own matters.
fn warnings(state: &State) -> Vec<String> {
    let mut warnings = Vec::new();
    if state.uplinks.is_empty() && state.networks.iter().any(|n| !n.internal) {
        warnings.push("there is no uplink: no default route leads out".into());
    }
    let mute = |u: &&Uplink| u.addr.is_unspecified() && u.addr6.is_none();
    for u in state.uplinks.iter().filter(mute) {
        warnings.push(format!(
            "uplink {} has no address: nothing can leave by it",
            u.name
        ));
    }
    // One uplink of a family is enough: containers leave by the routes.
    if !state.uplinks.is_empty()
        && state.uplinks.iter().all(|u| u.addr6.is_none())
        && let Some(n) = state.networks.iter().find(|n| masquerades_ipv6(n))
    {
        warnings.push(format!(
            "no uplink has a global IPv6 address: containers of network `{}` reach the outside by \
             IPv4 alone; give an uplink one, or set snat6",
            n.name
        ));
    }
    warnings.extend(xdp::warnings(state));
    warnings
}
