//! `netpath port`: published ports in Docker's form.

use super::{Error, output};
use crate::{
    instance::{self, Instance},
    state::{Endpoint, Network, State},
};

/// Options of `port`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The endpoint; left out, all of them
    endpoint: Option<String>,
}

pub(super) fn run(instance: &Instance, args: &Args, json: bool) -> Result<(), Error> {
    let state: State = instance.state()?.unwrap_or_default();
    let Some(name) = &args.endpoint else {
        if json {
            let ports = state.endpoints().map(|(n, e)| {
                (
                    e.name.clone(),
                    serde_json::Value::from(lines_of(n, e).collect::<Vec<_>>()),
                )
            });
            return output::json(&ports.collect::<serde_json::Map<_, _>>());
        }
        let all = state
            .endpoints()
            .flat_map(|(n, e)| lines_of(n, e).map(|line| format!("{} {line}", e.name)));
        return output::lines(all.collect::<Vec<_>>());
    };
    let (n, e) = state.endpoint(name).ok_or_else(|| {
        instance::Error::no_endpoint(name, state.endpoints().map(|(_, e)| e.name.as_str()))
    })?;
    let ports: Vec<String> = lines_of(n, e).collect();
    if json {
        output::json(&ports)
    } else {
        output::lines(ports)
    }
}

/// Docker's lines, one for each place and a range as one: `80/tcp -> 0.0.0.0:8080`, and
/// `80/tcp -> [::]:8080` where the container has IPv6.
fn lines_of(n: &Network, e: &Endpoint) -> impl Iterator<Item = String> {
    let homes = e.homes(n);
    e.rules.iter().flat_map(move |r| r.lines(&homes))
}
