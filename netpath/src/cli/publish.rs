//! `netpath publish` and `netpath unpublish`.

use super::{Error, output};
use crate::{
    config::{PortSpec, SPEC_FORM},
    instance::Instance,
};

/// An endpoint and its ports.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The endpoint
    endpoint: String,
    /// Ports
    #[arg(value_name = "SPEC", required = true, long_help = format!("Ports: {SPEC_FORM}"))]
    specs: Vec<PortSpec>,
}

pub(super) async fn publish(instance: &Instance, args: &Args, json: bool) -> Result<(), Error> {
    let (homes, rules) = instance.publish(&args.endpoint, &args.specs).await?;
    let lines: Vec<String> = rules.iter().flat_map(|r| r.summaries(&homes)).collect();
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
