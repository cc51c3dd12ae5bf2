//! `netpath endpoint`.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    Error,
    output::{self, table},
};
use crate::{
    config::{self, Mac, NetnsRef, PortSpec, SPEC_FORM},
    instance::{self, EndpointView, Instance, NewEndpoint},
    state::{Endpoint, Network},
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
    /// Publish a port
    #[arg(short, long, value_name = "SPEC", long_help = format!("Publish a port: {SPEC_FORM}"))]
    publish: Vec<PortSpec>,
}

pub(super) async fn run(instance: &Instance, command: &Command, json: bool) -> Result<(), Error> {
    match command {
        Command::Add(args) => add(instance, args, json).await,
        Command::Ls => ls(instance, json),
        Command::Inspect { endpoints } => inspect(instance, endpoints),
        Command::Rm { endpoints } => {
            for name in endpoints {
                instance.remove_endpoint(name).await?;
                if !json {
                    output::lines([name])?;
                }
            }
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
            publish: args.publish.clone(),
        },
    };
    let e = instance.add_endpoint(&new).await?;
    let state = instance.state()?.unwrap_or_default();
    let gone = || instance::Error::no_endpoint(&e.name, std::iter::empty());
    let (n, e) = state.endpoint(&e.name).ok_or_else(gone)?;
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
        found.ok_or_else(|| {
            let known = state.endpoints().map(|(_, e)| e.name.as_str());
            instance::Error::no_endpoint(name, known)
        })
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
    output::lines(table(&header, state.endpoints().map(row)))
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
        "id": e.id,
        "address": e.addr,
        "address6": e.addr6,
        "mac": e.mac,
        "interface": e.ifname,
        "netns": e.netns,
        "state": if e.is_present() { "up" } else { "gone" },
        "ports": ports(network, e).collect::<Vec<_>>(),
    })
}
