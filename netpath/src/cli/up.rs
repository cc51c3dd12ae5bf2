//! `netpath up`.

use std::path::PathBuf;

use super::{Error, output};
use crate::{
    config::{Config, DEFAULT_PATH},
    instance::{Done, Instance, UpOptions},
};

/// Options of `up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Agree to the removal of networks and endpoints that the configuration does not have
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(instance: &Instance, args: &Args, json: bool) -> Result<(), Error> {
    let config = Config::load(&args.config)?;
    let options = UpOptions {
        dry_run: args.dry_run,
        yes: args.yes,
    };
    let Done { plan, maps } = instance.up(&config, options).await?;
    let changes: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    if json {
        return output::json(&serde_json::json!({
            "dry_run": args.dry_run,
            "changes": changes,
            "published_ports": {
                "written": maps.entries,
                "system_calls": maps.calls,
                "microseconds": maps.time.as_micros() as u64,
            },
        }));
    }
    if changes.is_empty() {
        return output::lines(["nothing to change"]);
    }
    output::lines(changes)
}
