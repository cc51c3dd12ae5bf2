//! `netpath endpoint`.

use std::net::Ipv4Addr;

use super::{
    Error,
    output::{self, table},
};
use crate::{
    config::{self, Mac, NetnsRef, PortSpec, SPEC_FORM},
    instance::{Instance, NewEndpoint},
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
    /// The container's network namespace: a name under /run/netns or a path
    #[arg(long, value_name = "NAME|PATH")]
    pub(super) netns: NetnsRef,
    /// The endpoint's name
    #[arg(long)]
    name: String,
    /// Address; left out, the lowest that is free
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
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
            mac: args.mac,
            publish: args.publish.clone(),
        },
    };
    let e = instance.add_endpoint(&new).await?;
    if json {
        return output::json(&view(&args.network, &e));
    }
    let ports = summaries(&e);
    output::lines(std::iter::once(format!("{} {} {}", e.name, e.addr, e.mac)).chain(ports))
}

fn ls(instance: &Instance, json: bool) -> Result<(), Error> {
    let state = instance.state()?.unwrap_or_default();
    if json {
        return output::json(
            &state
                .endpoints()
                .map(|(n, e)| view(&n.name, e))
                .collect::<Vec<_>>(),
        );
    }
    let row = |(n, e): (&Network, &Endpoint)| {
        let ports = summaries(e);
        let (addr, mac, netns) = (e.addr.to_string(), e.mac.to_string(), e.netns.to_string());
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

fn summaries(e: &Endpoint) -> Vec<String> {
    let homes = e.homes();
    e.rules.iter().flat_map(|r| r.summaries(&homes)).collect()
}

fn view(network: &str, e: &Endpoint) -> serde_json::Value {
    serde_json::json!({
        "name": e.name,
        "network": network,
        "id": e.id,
        "address": e.addr,
        "mac": e.mac,
        "interface": e.ifname,
        "netns": e.netns,
        "ports": summaries(e),
    })
}
