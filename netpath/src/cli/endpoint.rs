//! `netpath endpoint`.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    Error,
    output::{self, table},
};
use crate::{
    config::{self, Mac, NetnsRef, PortSpec, SPEC_FORM},
    instance::{self, EndpointView, Instance, NewEndpoint},
    state::{Endpoint, Member, Network, Unbridged},
};

/// The commands on endpoints.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Connect a container's network namespace to a network
    Add(AddArgs),
    /// List endpoints
    #[command(visible_alias = "list")]
    Ls,
    /// Show endpoints in full, as JSON
    Inspect {
        /// Names
        #[arg(value_name = "ENDPOINT", required = true)]
        endpoints: Vec<String>,
    },
    /// Remove endpoints
    #[command(visible_alias = "remove")]
    Rm {
        /// Names
        #[arg(value_name = "ENDPOINT", required = true)]
        endpoints: Vec<String>,
    },
}

/// Options of `endpoint add`.
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// The network
    #[arg(long, value_name = "NETWORK")]
    network: String,
    /// The container's network namespace: a name under /run/netns, a path, or a process id
    #[arg(long, value_name = "NAME|PATH|PID")]
    pub(super) netns: NetnsRef,
    /// The endpoint's name
    #[arg(long)]
    name: String,
    /// Address; left out, the lowest that is free
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// IPv6 address; left out, the lowest that is free, where the network has IPv6
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// MAC address; left out, a random one
    #[arg(long)]
    mac: Option<Mac>,
    /// Name of the container's interface; left out, the lowest ethN that is free
    #[arg(long, value_name = "NAME", value_parser = ifname)]
    ifname: Option<String>,
    /// Of a container in several networks the one with the highest is its way out
    #[arg(long, value_name = "N", default_value_t, allow_negative_numbers = true)]
    gw_priority: i32,
    /// An option of Docker's for endpoints: com.docker.network.endpoint.ifname=NAME
    #[arg(long, value_name = "KEY=VALUE", value_parser = ifname_option)]
    driver_opt: Option<String>,
    /// Publish a port
    #[arg(short, long, value_name = "SPEC", long_help = format!("Publish a port: {SPEC_FORM}"))]
    publish: Vec<PortSpec>,
}

fn ifname(text: &str) -> Result<String, String> {
    config::check_ifname(text)?;
    Ok(text.to_owned())
}

/// The name of an interface in Docker's words.
pub(super) fn ifname_option(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some(("com.docker.network.endpoint.ifname", name)) => ifname(name),
        _ => Err("the one option is com.docker.network.endpoint.ifname=NAME".into()),
    }
}

pub(super) async fn run(instance: &Instance, command: &Command, json: bool) -> Result<(), Error> {
    match command {
        Command::Add(args) => add(instance, args, json).await,
        Command::Ls => ls(instance, json),
        Command::Inspect { endpoints } => inspect(instance, endpoints),
        Command::Rm { endpoints } => {
            // Those after one that is gone are removed all the same: the command before may have been killed
            // half-way.
            let mut failed = Ok(());
            for name in endpoints {
                match instance.remove_endpoint(name).await {
                    Ok(()) if json => {}
                    Ok(()) => output::lines([name])?,
                    Err(e @ instance::Error::NoEndpoint { .. }) if failed.is_ok() => {
                        failed = Err(e)
                    }
                    Err(instance::Error::NoEndpoint { .. }) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            failed?;
            if json {
                output::json(&serde_json::json!({ "removed": endpoints }))
            } else {
                Ok(())
            }
        }
    }
}

async fn add(instance: &Instance, args: &AddArgs, json: bool) -> Result<(), Error> {
    let new = NewEndpoint {
        network: args.network.clone(),
        endpoint: config::Endpoint {
            name: args.name.clone(),
            netns: args.netns.clone(),
            addr: args.ip,
            addr6: args.ip6,
            mac: args.mac,
            rates: config::Rates::default(),
            ifname: args.ifname.clone().or_else(|| args.driver_opt.clone()),
            gw_priority: args.gw_priority,
            publish: args.publish.clone(),
        },
    };
    let state = instance.add_endpoint(&new).await?;
    if let Some((n, m)) = state.member(&args.name) {
        if json {
            return output::json(&member_view(n, m));
        }
        let words = [m.name.clone(), member_addresses(m), member_mac(m)];
        let words: Vec<_> = words.into_iter().filter(|w| !w.is_empty()).collect();
        return output::lines([words.join(" ")]);
    }
    let gone = || instance::Error::no_endpoint(&args.name, state.endpoint_names());
    let (n, e) = state.endpoint(&args.name).ok_or_else(gone)?;
    if json {
        return output::json(&view(n, e));
    }
    output::lines(
        std::iter::once(format!("{} {} {}", e.name, addresses(e), e.mac)).chain(ports(n, e)),
    )
}

fn inspect(instance: &Instance, names: &[String]) -> Result<(), Error> {
    let state = instance.state()?.unwrap_or_default();
    let find = |name: &String| {
        let found = state.endpoint(name).map(EndpointView::from);
        let found = found.or_else(|| state.member(name).map(EndpointView::from));
        found.ok_or_else(|| instance::Error::no_endpoint(name, state.endpoint_names()))
    };
    let views = names.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    output::json(&views)
}

fn ls(instance: &Instance, json: bool) -> Result<(), Error> {
    let state = instance.state()?.unwrap_or_default();
    if json {
        return output::json(
            &state
                .endpoints()
                .map(|(n, e)| view(n, e))
                .chain(state.members().map(|(n, m)| member_view(n, m)))
                .collect::<Vec<_>>(),
        );
    }
    let row = |(n, e): (&Network, &Endpoint)| {
        let ports: Vec<String> = ports(n, e).collect();
        let gone = if e.is_present() { "" } else { " (gone)" };
        let netns = format!("{}{gone}", e.netns);
        let (addr, mac) = (addresses(e), e.mac.to_string());
        vec![
            e.name.clone(),
            n.name.clone(),
            addr,
            mac,
            e.ifname.clone(),
            netns,
            ports.join(", "),
        ]
    };
    let header = [
        "NAME",
        "NETWORK",
        "ADDRESS",
        "MAC",
        "INTERFACE",
        "NETNS",
        "PORTS",
    ];
    let members = state.members().map(|(n, m)| {
        let parent = n.lan.as_ref().map(|l| l.parent.clone());
        vec![
            m.name.clone(),
            n.name.clone(),
            member_addresses(m),
            member_mac(m),
            parent.unwrap_or_default(),
            m.netns.to_string(),
            String::new(),
        ]
    });
    let rows = state.endpoints().map(row).chain(members);
    output::lines(table(&header, rows))
}

/// The address of each family that it has.
fn member_addresses(m: &Member) -> String {
    let both = m.port.as_ref().map(|p| {
        let addr6 = p.addr6.map(|a| format!(" {a}")).unwrap_or_default();
        format!("{}{addr6}", p.addr)
    });
    both.unwrap_or_default()
}

fn member_mac(m: &Member) -> String {
    let mac = m.port.as_ref().and_then(|p| p.mac);
    mac.map(|mac| mac.to_string()).unwrap_or_default()
}

fn member_view(network: &Unbridged, m: &Member) -> serde_json::Value {
    let port = m.port.as_ref();
    serde_json::json!({
        "name": m.name,
        "network": network.name,
        "driver": network.driver.as_str(),
        "id": m.id,
        "address": port.map(|p| p.addr),
        "address6": port.and_then(|p| p.addr6),
        "mac": port.and_then(|p| p.mac),
        "interface": network.lan.as_ref().map(|l| l.parent.as_str()),
        "container_interface": port.map(|p| p.ifname.as_str()),
        "gw_priority": port.map(|p| p.gw_priority),
        "netns": m.netns,
        "ports": [],
    })
}

/// The published ports.
fn ports<'a>(n: &'a Network, e: &'a Endpoint) -> impl Iterator<Item = String> + 'a {
    let homes = e.homes(n);
    e.rules.iter().flat_map(move |r| r.summaries(&homes))
}

/// The address of each family that it has.
fn addresses(e: &Endpoint) -> String {
    let addr6 = e.addr6.map(|a| format!(" {a}")).unwrap_or_default();
    format!("{}{addr6}", e.addr)
}

fn view(network: &Network, e: &Endpoint) -> serde_json::Value {
    serde_json::json!({
        "name": e.name,
        "network": network.name,
        "driver": "bridge",
        "id": e.id,
        "address": e.addr,
        "address6": e.addr6,
        "mac": e.mac,
        "interface": e.ifname,
        "container_interface": e.container_ifname,
        "gw_priority": e.gw_priority,
        "netns": e.netns,
        "state": if e.is_present() { "up" } else { "gone" },
        "ports": ports(network, e).collect::<Vec<_>>(),
    })
}
