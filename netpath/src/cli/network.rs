//! `netpath network`.

use super::{
    Error,
    output::{self, table},
};
use crate::{
    instance::{self, Instance, NetworkView},
    state::{Network, State},
};

/// Digits of an identifier in a list, as Docker's.
const SHORT_ID: usize = 12;

/// The commands on networks.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
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

pub(super) fn run(instance: &Instance, command: &Command, json: bool) -> Result<(), Error> {
    let state = instance.state()?.unwrap_or_default();
    match command {
        Command::Ls(args) => ls(&state, args, json),
        Command::Inspect { networks } => inspect(&state, networks),
    }
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
