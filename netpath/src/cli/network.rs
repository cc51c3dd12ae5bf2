//! `netpath network`.

use super::{
    Error,
    output::{self, table},
};
use crate::{
    config::NetworkOptions,
    instance::{self, Instance, NetworkView},
    net::{hex_id, random_subnet6},
    state::{Network, State},
};

/// Digits of an identifier in a list, as Docker's.
const SHORT_ID: usize = 12;

/// The commands on networks.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add a network and print its identifier
    Create(CreateArgs),
    /// Remove networks with their endpoints
    #[command(visible_alias = "remove")]
    Rm {
        /// Names
        #[arg(value_name = "NETWORK", required = true)]
        networks: Vec<String>,
    },
    /// List networks
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Show networks in full, as JSON
    Inspect {
        /// Names or identifiers
        #[arg(value_name = "NETWORK", required = true)]
        networks: Vec<String>,
    },
}

/// Options of `network create`: Docker's.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// Its name
    #[arg(value_name = "NETWORK")]
    name: String,
    /// Its driver: bridge
    #[arg(short, long)]
    driver: Option<String>,
    /// Subnet, one of each family; left out, one of IPv4 is chosen
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<String>,
    /// The bridge's address, one of each family; left out, the first of the subnet
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<String>,
    /// IPv6 as well; its subnet is chosen where --subnet names none
    #[arg(long)]
    ipv6: bool,
    /// Nothing leaves or enters
    #[arg(long)]
    internal: bool,
    /// An option of Docker's bridge driver
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    options: Vec<String>,
}

/// Options of `network ls`.
#[derive(Debug, clap::Args)]
pub struct LsArgs {
    /// Print identifiers only
    #[arg(short, long)]
    quiet: bool,
    /// Print identifiers in full
    #[arg(long)]
    no_trunc: bool,
}

pub(super) async fn run(instance: &Instance, command: &Command, json: bool) -> Result<(), Error> {
    let state = instance.state()?.unwrap_or_default();
    match command {
        Command::Create(args) => create(instance, args, json).await,
        Command::Rm { networks } => {
            let removed = instance.down(networks).await?;
            if json {
                return output::json(&serde_json::json!({ "removed": removed }));
            }
            output::lines(removed)
        }
        Command::Ls(args) => ls(&state, args, json),
        Command::Inspect { networks } => inspect(&state, networks),
    }
}

async fn create(instance: &Instance, args: &CreateArgs, json: bool) -> Result<(), Error> {
    let mut subnets = args.subnet.clone();
    if args.ipv6 && !subnets.iter().any(|s| s.contains(':')) {
        subnets.push(random_subnet6(64)?.to_string());
    }
    let options = NetworkOptions {
        name: args.name.clone(),
        // As Docker names them where no option does.
        bridge: format!("br-{}", hex_id()?.get(..SHORT_ID).unwrap_or_default()),
        driver: args.driver.clone(),
        subnets,
        gateways: args.gateway.clone(),
        internal: args.internal,
        options: args.options.clone(),
        ..NetworkOptions::default()
    };
    let n = instance.create_network(&options.check()?).await?;
    if json {
        return output::json(&NetworkView::from(&n));
    }
    output::lines([n.id])
}

fn ls(state: &State, args: &LsArgs, json: bool) -> Result<(), Error> {
    let id = |n: &Network| {
        let length = if args.no_trunc { n.id.len() } else { SHORT_ID };
        n.id.get(..length).unwrap_or(&n.id).to_owned()
    };
    if json {
        let view = |n: &Network| serde_json::json!({ "ID": id(n), "Name": n.name, "Driver": "bridge", "Scope": "local" });
        return output::json(&state.networks.iter().map(view).collect::<Vec<_>>());
    }
    if args.quiet {
        return output::lines(state.networks.iter().map(id));
    }
    let row = |n: &Network| {
        vec![
            id(n),
            n.name.clone(),
            "bridge".to_owned(),
            "local".to_owned(),
        ]
    };
    output::lines(table(
        &["NETWORK ID", "NAME", "DRIVER", "SCOPE"],
        state.networks.iter().map(row),
    ))
}

fn inspect(state: &State, names: &[String]) -> Result<(), Error> {
    let find = |name: &String| {
        let by_id = |n: &&Network| name.len() >= SHORT_ID && n.id.starts_with(name.as_str());
        let found = state
            .network(name)
            .or_else(|| state.networks.iter().find(by_id));
        found.map(NetworkView::from).ok_or_else(|| {
            let known = state.networks.iter().map(|n| n.name.as_str());
            instance::Error::no_network(name, known)
        })
    };
    let views = names.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    output::json(&views)
}
