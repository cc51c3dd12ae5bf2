//! `netpath down`.

use super::{Error, output};
use crate::instance::Instance;

/// Options of `down`.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Args {
    /// Networks to remove
    #[arg(
        value_name = "NETWORK",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    networks: Vec<String>,
    /// Remove everything
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(instance: &Instance, args: &Args, json: bool) -> Result<(), Error> {
    let removed = if args.all {
        instance.down_all().await?
    } else {
        instance.down(&args.networks).await?
    };
    if json {
        return output::json(&serde_json::json!({ "removed": removed }));
    }
    output::lines(removed.iter().map(|name| format!("removed network {name}")))
}
