//! `netpath network`: Docker's commands on networks, one file each.

mod connect;
mod create;
mod filter;
mod inspect;
mod ls;
mod rm;

pub(super) use filter::FilterError;

use super::Error;
use crate::instance::Instance;

/// Digits of an identifier in a list, as Docker's.
const SHORT_ID: usize = 12;

/// The commands on networks.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add a network and print its identifier
    Create(Box<create::Args>),
    /// Remove networks that no endpoint is in
    #[command(visible_alias = "remove")]
    Rm(rm::Args),
    /// Remove networks that no endpoint is in and no configuration has
    Prune(rm::PruneArgs),
    /// Connect a container that has an endpoint to one more network
    Connect(connect::Args),
    /// Disconnect a container from a network
    Disconnect(connect::DisconnectArgs),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    /// Show networks in full, as JSON
    Inspect(inspect::Args),
}

pub(super) async fn run(instance: &Instance, command: &Command, json: bool) -> Result<(), Error> {
    match command {
        Command::Create(args) => create::run(instance, args, json).await,
        Command::Rm(args) => rm::run(instance, args, json).await,
        Command::Prune(args) => rm::prune(instance, args, json).await,
        Command::Connect(args) => connect::connect(instance, args, json).await,
        Command::Disconnect(args) => connect::disconnect(instance, args, json).await,
        Command::Ls(args) => ls::run(instance, args, json),
        Command::Inspect(args) => inspect::run(instance, args),
    }
}
