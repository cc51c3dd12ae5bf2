//! The host's own firewall: which of its FORWARD chains drop what a network leaves to the kernel.
//!
//! Owns the questions to nft and iptables, by their own programs, and what their answers mean here.
//! Changes no rule.

mod iptables;
mod nft;

use std::process::{Command, Stdio};

use crate::{
    config::Firewall,
    lab::netfilter,
    state::{Network, State},
};

/// A chain that packets of a network may be dropped by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Dropping {
    /// Its name, with family and table.
    pub(crate) chain: String,
    /// It drops what no rule accepts, and no rule accepts all that is the network's. Otherwise some rule
    /// drops some of it.
    pub(crate) by_default: bool,
}

impl Dropping {
    /// The chain and what it does.
    pub(crate) fn text(&self) -> String {
        if self.by_default {
            format!("{} drops by default", self.chain)
        } else {
            format!("{} has a rule that drops", self.chain)
        }
    }
}

/// Why nothing is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unknown {
    /// The kernel does not tell which tables there are.
    Kernel,
    /// There are tables, and no program that prints them.
    Program(&'static str),
}

/// The FORWARD chains that may drop packets from or to one of these bridges; `None` without any rules
/// at all.
pub(crate) fn dropping(bridges: &[&str]) -> Result<Option<Vec<Dropping>>, Unknown> {
    let tables = netfilter::nft_tables().map_err(|_| Unknown::Kernel)?;
    let legacy = [
        ("ip_tables_names", "iptables-legacy-save", "iptables-legacy"),
        (
            "ip6_tables_names",
            "ip6tables-legacy-save",
            "ip6tables-legacy",
        ),
    ];
    let legacy = legacy.map(|(file, program, name)| {
        let filters = netfilter::legacy_tables(file)
            .iter()
            .any(|name| name == "filter");
        (
            filters,
            !netfilter::legacy_tables(file).is_empty(),
            program,
            name,
        )
    });
    if tables == 0 && legacy.iter().all(|(_, any, ..)| !any) {
        return Ok(None);
    }
    let mut found = Vec::new();
    if tables > 0 {
        // Without the elements of sets, which may be many.
        let text = output("nft", &["-j", "-t", "list", "ruleset"]);
        let chains = text.and_then(|text| nft::dropping(&text, bridges));
        found.extend(chains.ok_or(Unknown::Program("nft"))?);
    }
    for (filters, _, program, name) in legacy {
        if filters {
            let text = output(program, &["-t", "filter"]).ok_or(Unknown::Program(program))?;
            found.extend(iptables::dropping(name, &text, bridges));
        }
    }
    Ok(Some(found))
}

/// What the chains found do to networks that netpath forwards for by itself, and what to do about it.
pub(crate) fn judge(found: &[Dropping], bridges: &[&str]) -> Option<(String, String)> {
    if found.is_empty() {
        return None;
    }
    let chains: Vec<_> = found.iter().map(Dropping::text).collect();
    let what = format!(
        "{}: not what netpath forwards, but what it leaves to the kernel, such as packets to be \
         fragmented",
        chains.join(", ")
    );
    let remedy = format!(
        "accept there what comes from and goes to {}",
        bridges.join(", ")
    );
    Some((what, remedy))
}

/// What `status` says of the firewall; of what it does not know the doctor tells.
pub(crate) fn warning(state: &State) -> Option<String> {
    let bypassing = |n: &&Network| n.firewall == Firewall::Bypass && !n.internal;
    let bridges: Vec<_> = state
        .networks
        .iter()
        .filter(bypassing)
        .map(|n| n.bridge.as_str())
        .collect();
    if bridges.is_empty() {
        return None;
    }
    let found = dropping(&bridges).ok()??;
    let (what, remedy) = judge(&found, &bridges)?;
    Some(format!("firewall: {what}; {remedy}"))
}

/// Whether an interface that a rule names may be one of the bridges.
fn may_be(name: &str, wildcard: char, bridges: &[&str]) -> bool {
    match name.strip_suffix(wildcard) {
        Some(start) => bridges.iter().any(|bridge| bridge.starts_with(start)),
        None => bridges.contains(&name),
    }
}

/// What a tool prints; `None` where there is none, or it fails.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let run = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    run.status
        .success()
        .then(|| String::from_utf8_lossy(&run.stdout).into_owned())
}
