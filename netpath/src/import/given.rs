//! The names that networks, bridges and endpoints are given.
//!
//! Owns that each is given once. Names that the rules tell are [`super::names`]'s.

use std::collections::BTreeSet;

use super::{
    assemble::Container,
    network::{Net, Nets},
};
use crate::config::check_name;

/// Names that have been given.
pub(super) struct Names {
    networks: BTreeSet<String>,
    bridges: BTreeSet<String>,
    endpoints: BTreeSet<String>,
}

impl Names {
    pub(super) fn of(nets: &Nets) -> Self {
        Self {
            networks: BTreeSet::new(),
            bridges: nets.0.iter().filter_map(|n| n.bridge.clone()).collect(),
            endpoints: BTreeSet::new(),
        }
    }

    pub(super) fn bridge(&mut self, net: &Net) -> String {
        net.bridge.clone().unwrap_or_else(|| {
            let free = (0..).map(|n| format!("netpath{n}"));
            let name = free.into_iter().find(|name| !self.bridges.contains(name));
            let name = name.unwrap_or_default();
            self.bridges.insert(name.clone());
            name
        })
    }

    pub(super) fn network(&mut self, net: &Net, bridge: &str) -> String {
        let name = net.name.clone().unwrap_or_else(|| match bridge {
            "docker0" | "netpath0" => "bridge".to_owned(),
            other if check_name(other).is_ok() => other.to_owned(),
            _ => "network".to_owned(),
        });
        once(&mut self.networks, name)
    }

    pub(super) fn endpoint(&mut self, c: &Container) -> String {
        let name = c.id().cloned().unwrap_or_else(|| {
            let addr = c.addrs().next().map(|a| a.to_string()).unwrap_or_default();
            format!("c-{}", addr.replace(['.', ':'], "-"))
        });
        once(&mut self.endpoints, name)
    }
}

fn once(given: &mut BTreeSet<String>, name: String) -> String {
    if given.insert(name.clone()) {
        return name;
    }
    let short: String = name.chars().take(100).collect();
    let numbered = (2..).map(|n| format!("{short}-{n}"));
    let free = numbered.into_iter().find(|name| given.insert(name.clone()));
    free.unwrap_or(name)
}
