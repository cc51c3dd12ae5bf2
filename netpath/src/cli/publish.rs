//! `netpath publish` and `netpath unpublish`.

use super::{Error, output};
use crate::{config::PortSpec, instance::Instance, state::Rule};

/// An endpoint and its ports.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The endpoint
    endpoint: String,
    /// Ports: [HOSTIP:]HOSTPORT[-END]:CONTAINERPORT[-END][/tcp|udp]
    #[arg(value_name = "SPEC", required = true)]
    specs: Vec<PortSpec>,
}

pub(super) async fn publish(instance: &Instance, args: &Args, json: bool) -> Result<(), Error> {
    let rules = instance.publish(&args.endpoint, &args.specs).await?;
    let state = instance.state()?.unwrap_or_default();
    let found = state.endpoint(&args.endpoint);
    let summary = |r: &Rule| found.map_or_else(Vec::new, |(n, e)| r.summary(n, e));
    let lines: Vec<String> = rules.iter().flat_map(summary).collect();
    if json {
        output::json(&lines)
    } else {
        output::lines(lines)
    }
}

pub(super) async fn unpublish(instance: &Instance, args: &Args, json: bool) -> Result<(), Error> {
    instance.unpublish(&args.endpoint, &args.specs).await?;
    let specs: Vec<String> = args.specs.iter().map(ToString::to_string).collect();
    if json {
        output::json(&serde_json::json!({ "unpublished": specs }))
    } else {
        Ok(())
    }
}
