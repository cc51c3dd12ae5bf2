//! `netpath port`: published ports in Docker's form.

use super::{Error, output};
use crate::{
    instance::{self, Instance},
    state::{Rule, State},
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
            let ports = state.endpoints().map(|(_, e)| {
                (
                    e.name.clone(),
                    serde_json::Value::from(e.rules.iter().flat_map(lines).collect::<Vec<_>>()),
                )
            });
            return output::json(&ports.collect::<serde_json::Map<_, _>>());
        }
        let all = state
            .rules()
            .flat_map(|(e, r)| lines(r).map(|line| format!("{} {line}", e.name)));
        return output::lines(all.collect::<Vec<_>>());
    };
    let (_, e) = state.endpoint(name).ok_or_else(|| {
        instance::Error::no_endpoint(name, state.endpoints().map(|(_, e)| e.name.as_str()))
    })?;
    let ports: Vec<String> = e.rules.iter().flat_map(lines).collect();
    if json {
        output::json(&ports)
    } else {
        output::lines(ports)
    }
}

/// One line for each port: `80/tcp -> 0.0.0.0:8080`.
fn lines(rule: &Rule) -> impl Iterator<Item = String> + use<> {
    let (proto, addr) = (rule.proto(), rule.addr);
    rule.pairs()
        .map(move |(host, container)| format!("{container}/{proto} -> {addr}:{host}"))
}
