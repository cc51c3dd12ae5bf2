//! `netpath rules`: what is in force.

use std::net::IpAddr;

use clap::ValueEnum;

use super::{
    Error,
    output::{self, table},
};
use crate::{
    config::host_text,
    instance::Instance,
    rules::{InForce, NetworkRule, PublishedRule, iptables},
};

/// Options of `rules`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The form: netpath's own table, what `iptables -t nat -S` would print for Docker's rules of the
    /// same networks, or JSON
    #[arg(long, value_enum, default_value_t = Format::Netpath)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    Netpath,
    Iptables,
    Json,
}

pub(super) async fn run(instance: &Instance, args: &Args, json: bool) -> Result<(), Error> {
    let in_force = instance.in_force().await?;
    match args.format {
        _ if json => output::json(&in_force.json()?),
        Format::Json => output::json(&in_force.json()?),
        Format::Iptables => output::lines(iptables(&in_force)),
        Format::Netpath => output::lines(text(&in_force)),
    }
}

const HEADER: &[&str] = &[
    "RULE", "NETWORK", "PROTO", "FROM", "TO", "OPTIONS", "PACKETS", "BYTES",
];

fn text(in_force: &InForce) -> Vec<String> {
    let networks = in_force.networks.iter().map(|n| row_of_network(n).to_vec());
    let published = in_force.published.iter().map(|r| row_of_port(r).to_vec());
    table(HEADER, networks.chain(published))
}

fn row_of_network(n: &NetworkRule) -> [String; 8] {
    let to = n.to.iter().map(|to| match &to.uplink {
        Some(uplink) => format!("{} ({uplink})", to.address),
        None => to.address.to_string(),
    });
    let to: Vec<_> = to.collect();
    let options = if n.endpoint_independent {
        "endpoint-independent"
    } else {
        "-"
    };
    let none = || "-".to_owned();
    [
        n.kind.as_str().to_owned(),
        n.network.clone(),
        "all".to_owned(),
        n.source.to_string(),
        if to.is_empty() { none() } else { to.join(" ") },
        options.to_owned(),
        n.packets.to_string(),
        n.bytes.to_string(),
    ]
}

fn row_of_port(r: &PublishedRule) -> [String; 8] {
    let at = |ports| move |ip: &IpAddr| format!("{}:{ports}", host_text(*ip));
    let from: Vec<_> = r.addresses.iter().map(at(r.ports)).collect();
    let to: Vec<_> = r.to.iter().map(at(r.to_ports)).collect();
    let mut options = Vec::new();
    match &r.allow {
        None => {}
        Some(list) if list.is_empty() => options.push("allow=nobody".to_owned()),
        Some(list) => options.extend(list.iter().map(|net| format!("allow={net}"))),
    }
    options.extend(r.balance.map(|n| format!("balance={n}")));
    if options.is_empty() {
        options.push("-".to_owned());
    }
    [
        "publish".to_owned(),
        r.network.clone(),
        r.protocol.to_string(),
        from.join(" "),
        format!("{} {}", r.endpoint, to.join(" ")),
        options.join(" "),
        r.packets.to_string(),
        r.bytes.to_string(),
    ]
}
