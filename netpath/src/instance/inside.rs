//! What the interfaces of containers are called, inside.

use std::collections::HashSet;

use super::{Error, plan::Planner};
use crate::{
    config,
    net::{self, container, namespace::Namespace},
    state::State,
};

impl Planner<'_> {
    /// The name of a new interface: the one asked for, else `ethN` with the lowest number that is free.
    /// A first interface is `eth0`, as with Docker: where something else has that name, it may be
    /// another engine's container.
    pub(super) fn inside_name(
        &self,
        netns: &Namespace,
        wanted: &config::Endpoint,
    ) -> Result<String, Error> {
        let there = container::interfaces(netns).map_err(|source| Error::Container {
            endpoint: wanted.name.clone(),
            source,
        })?;
        let (before, next) = (
            names_in(self.before, netns.ino()),
            names_in(&self.next, netns.ino()),
        );
        // What was netpath's and goes in this plan is in no way.
        let others = there.into_iter().filter(|name| !before.contains(name));
        choose(&others.collect(), &next, wanted.ifname.as_deref()).map_err(|ifname| {
            Error::Container {
                endpoint: wanted.name.clone(),
                source: net::Error::InterfaceTaken {
                    netns: wanted.netns.to_string(),
                    ifname,
                },
            }
        })
    }
}

/// The name, or the one that is in the way.
fn choose(
    others: &HashSet<String>,
    own: &HashSet<String>,
    wanted: Option<&str>,
) -> Result<String, String> {
    let taken = |name: &String| others.contains(name) || own.contains(name);
    let first = container::IFNAME.to_owned();
    match wanted.map(str::to_owned) {
        Some(name) if taken(&name) => Err(name),
        Some(name) => Ok(name),
        None if own.is_empty() && others.contains(&first) => Err(first),
        None => {
            let mut all = (0u32..).map(|n| format!("eth{n}"));
            all.find(|name| !taken(name)).ok_or(first)
        }
    }
}

/// The names of netpath's interfaces in a namespace.
fn names_in(state: &State, ino: u64) -> HashSet<String> {
    let members = state.members().filter(|(_, m)| m.netns_ino == ino);
    let ports = members.filter_map(|(_, m)| m.port.as_ref());
    let here = state
        .endpoints()
        .filter(|(_, e)| e.is_present() && e.netns_ino == ino);
    ports
        .map(|p| p.ifname.clone())
        .chain(here.map(|(_, e)| e.container_ifname.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_inside() {
        let set = |names: &[&str]| {
            names
                .iter()
                .map(|n| (*n).to_owned())
                .collect::<HashSet<_>>()
        };
        let name = |others: &[&str], own: &[&str], wanted| choose(&set(others), &set(own), wanted);
        assert_eq!(name(&["lo"], &[], None), Ok("eth0".into()));
        assert_eq!(name(&["lo"], &["eth0"], None), Ok("eth1".into()));
        assert_eq!(name(&["lo"], &["eth0", "eth2"], None), Ok("eth1".into()));
        assert_eq!(name(&["lo"], &["eth1"], None), Ok("eth0".into()));
        assert_eq!(name(&["lo", "eth1"], &["eth0"], None), Ok("eth2".into()));
        assert_eq!(name(&["lo", "eth0"], &[], None), Err("eth0".into()));
        assert_eq!(name(&["lo", "eth0"], &[], Some("net1")), Ok("net1".into()));
        assert_eq!(name(&["lo"], &["net1"], Some("net1")), Err("net1".into()));
        assert_eq!(name(&["lo"], &[], Some("lo")), Err("lo".into()));
    }
}
