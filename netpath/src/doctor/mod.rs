//! `netpath doctor`: whether this host can run netpath, and what stands in its way.
//!
//! Owns the list of checks and what a finding is. Changes nothing, and needs neither an instance nor
//! a kernel that netpath runs on: what cannot be read is a finding itself.

mod hooks;
mod host;
mod kernel;
mod memory;
mod others;

use std::path::Path;

use serde::Serialize;

use crate::{
    instance::Instance,
    net::{Link, Netlink},
    state::State,
};

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, but not all that somebody may expect.
    Warning,
    /// netpath cannot run, or loses packets.
    Failed,
}

impl Level {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// What a check has found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What is there.
    pub found: String,
    /// What to do about it; `None` where nothing is to be done.
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Warning,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn failed(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Failed,
            ..Self::warning(check, found, remedy)
        }
    }
}

/// The instance that is examined, as far as there is one.
pub(crate) struct Patient {
    /// Its name.
    instance: String,
    /// What is remembered of it; `None` where nothing is up.
    state: Option<State>,
    /// Interfaces of the namespace.
    links: Vec<Link>,
    /// Those that lead out: in use, or of the default routes.
    uplinks: Vec<String>,
    /// Interfaces that have an IPv4 address.
    addressed: Vec<u32>,
}

impl Patient {
    /// Names of the interfaces that are netpath's: bridges and the host sides of veth pairs.
    fn own_links(&self) -> Vec<&str> {
        let networks = self.state.iter().flat_map(|state| &state.networks);
        networks
            .flat_map(|network| {
                let veths = network.endpoints.iter().map(|it| it.ifname.as_str());
                std::iter::once(network.bridge.as_str()).chain(veths)
            })
            .collect()
    }

    /// Names of other interfaces that lead to somebody: netpath does not look at what comes in by them.
    fn other_ways_in(&self) -> Vec<&str> {
        let own = self.own_links();
        let is_other = |link: &&Link| {
            let is_uplink = self.uplinks.contains(&link.name);
            let is_own = own.contains(&link.name.as_str());
            link.up && link.can_lead_out() && !is_uplink && !is_own
        };
        self.links
            .iter()
            .filter(is_other)
            .filter(|link| self.addressed.contains(&link.index))
            .map(|link| link.name.as_str())
            .collect()
    }

    fn index_of(&self, name: &str) -> Option<u32> {
        let link = self.links.iter().find(|link| link.name == name);
        link.map(|link| link.index)
    }
}

/// Examines the network namespace that the calling thread is in, as the host of the instance `name`.
/// Must be called within a tokio runtime.
pub async fn examine(name: &str, state_dir: &Path) -> Vec<Finding> {
    let mut findings = kernel::findings();
    match look(name, state_dir).await {
        Ok(patient) => {
            findings.extend(memory::findings(&patient));
            findings.extend(host::findings(&patient));
            findings.extend(hooks::findings(&patient));
            findings.extend(others::findings(&patient));
        }
        Err(why) => findings.push(Finding::failed(
            "network namespace",
            why,
            "run `netpath doctor` as root; what depends on interfaces was not looked at",
        )),
    }
    findings
}

async fn look(name: &str, state_dir: &Path) -> Result<Patient, String> {
    let netlink = Netlink::connect().map_err(|e| e.to_string())?;
    let links = netlink.links().await.map_err(|e| e.to_string())?;
    let instance = Instance::open(name, state_dir).map_err(|e| e.to_string())?;
    let state = instance.state().map_err(|e| e.to_string())?;
    let uplinks = match &state {
        Some(state) if !state.uplinks.is_empty() => {
            state.uplinks.iter().map(|it| it.name.clone()).collect()
        }
        Some(_) | None => {
            let found = netlink.uplinks(&crate::config::Uplinks::Auto, &[]).await;
            let found = found.map_err(|e| e.to_string())?;
            found.into_iter().map(|it| it.name).collect()
        }
    };
    let addresses = netlink.addresses().await.map_err(|e| e.to_string())?;
    Ok(Patient {
        instance: name.to_owned(),
        state,
        links,
        uplinks,
        addressed: addresses.iter().map(|it| it.index).collect(),
    })
}

/// Whether nothing has failed.
#[must_use]
pub fn is_healthy(findings: &[Finding]) -> bool {
    findings.iter().all(|it| it.level < Level::Failed)
}
