//! `netpath network rm` and `prune`.

use super::{
    super::{Error, output},
    filter::Filter,
};
use crate::{
    instance::{Instance, NetworkView, RemoveOptions},
    state::AnyNetwork,
};

/// Options of `network rm`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names, identifiers, or the beginnings of identifiers
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
    /// One that does not exist is no error
    #[arg(short, long)]
    force: bool,
    /// Remove their endpoints as well
    #[arg(long)]
    with_endpoints: bool,
}

/// Options of `network prune`.
#[derive(Debug, clap::Args)]
pub struct PruneArgs {
    /// Do it; without, only say what would be removed
    #[arg(short, long)]
    force: bool,
    /// Only those with this: label=NAME[=VALUE], label!=NAME[=VALUE], until=DURATION|TIME (made before)
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
}

pub(super) async fn run(instance: &Instance, args: &Args, json: bool) -> Result<(), Error> {
    let options = RemoveOptions {
        force: args.force,
        with_endpoints: args.with_endpoints,
    };
    let removed = instance.remove_networks(&args.networks, options).await?;
    if json {
        return output::json(&serde_json::json!({ "removed": removed }));
    }
    output::lines(removed)
}

pub(super) async fn prune(instance: &Instance, args: &PruneArgs, json: bool) -> Result<(), Error> {
    let filter = Filter::parse_prune(&args.filters)?;
    let state = instance.state()?.unwrap_or_default();
    let unused = state.all_networks().filter(AnyNetwork::is_unused);
    let unused = unused.filter(|n| filter.matches(&NetworkView::from(*n)));
    let unused: Vec<String> = unused.map(|n| n.name().to_owned()).collect();
    if !args.force && !unused.is_empty() {
        return Err(Error::NeedsForce {
            what: unused.join(", "),
        });
    }
    let removed = if args.force {
        let options = RemoveOptions {
            // Somebody else may have been faster.
            force: true,
            with_endpoints: false,
        };
        // None is a removal as well: the one before it may have been killed after the last of them.
        instance.remove_networks(&unused, options).await?
    } else {
        unused
    };
    if json {
        return output::json(&serde_json::json!({ "removed": removed }));
    }
    let head = (!removed.is_empty()).then(|| "Deleted Networks:".to_owned());
    output::lines(head.into_iter().chain(removed))
}
