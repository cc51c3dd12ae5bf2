//! `down`: remove networks, or everything.

use super::{Error, Instance, error::known, gone, unbridged::is_alive, work::Work};
use crate::{
    bpf::Datapath,
    state::{AnyNetwork, Endpoint, LookupError},
};

/// How `network rm` goes about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// A network that does not exist is no error.
    pub force: bool,
    /// Endpoints are no obstacle and go with their networks.
    pub with_endpoints: bool,
}

impl Instance {
    /// Removes networks by whatever a user calls them, with the last one everything. Returns the words
    /// that led to one.
    ///
    /// # Errors
    /// A word leads to no network, or endpoints are in one (then nothing is done), or something could
    /// not be removed.
    pub async fn remove_networks(
        &self,
        words: &[String],
        options: RemoveOptions,
    ) -> Result<Vec<String>, Error> {
        let work = match self.begin_removal().await {
            Err(Error::NotUp { .. }) if options.force => return Ok(Vec::new()),
            work => work?,
        };
        let links = self.netlink.links().await?;
        // The one before may have been killed half-way.
        let is_there = |word: &String| work.state.find_network(word).is_ok();
        let begun = work.interrupted && words.iter().any(is_there);
        let (mut names, mut found) = (Vec::new(), Vec::new());
        for word in words {
            let n = match work.state.find_network(word) {
                Ok(n) => n,
                Err(LookupError::None { .. }) if options.force || begun => continue,
                Err(e) => {
                    let e = e.into();
                    return Err(work.settled_after(e).await);
                }
            };
            // One whose container is gone has lost its interface, and nobody misses it.
            let is_live = |e: &&Endpoint| links.iter().any(|l| gone::is_alive(l, e));
            let live: Vec<_> = match n {
                AnyNetwork::Bridged(n) => {
                    let live = n.endpoints.iter().filter(is_live);
                    live.map(|e| e.name.as_str()).collect()
                }
                AnyNetwork::Unbridged(n) => {
                    let live = n.members.iter().filter(|m| is_alive(n.driver, m));
                    live.map(|m| m.name.as_str()).collect()
                }
            };
            if !live.is_empty() && !options.with_endpoints {
                return Err(Error::ActiveEndpoints {
                    network: n.name().to_owned(),
                    id: n.id().to_owned(),
                    endpoints: live.join(", "),
                });
            }
            found.push(word.clone());
            let name = n.name().to_owned();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() {
            work.settle_all().await?;
        } else {
            work.remove_networks(&names).await?;
        }
        Ok(found)
    }

    /// Removes networks with their endpoints; with the last network goes everything. Returns the
    /// names of what was removed.
    ///
    /// # Errors
    /// A name is unknown (then nothing is done), or something could not be removed.
    pub async fn down(&self, networks: &[String]) -> Result<Vec<String>, Error> {
        let work = self.begin_removal().await?;
        let is_there = |name: &&String| work.state.network_names().any(|n| n == *name);
        let there: Vec<String> = networks.iter().filter(is_there).cloned().collect();
        // The one before may have been killed half-way.
        let begun = work.interrupted && !there.is_empty();
        if let Some(name) = networks.iter().find(|n| !begun && !there.contains(n)) {
            let e = Error::NoNetwork {
                name: name.clone(),
                known: known("network", work.state.network_names()),
            };
            return Err(work.settled_after(e).await);
        }
        work.remove_networks(&there).await
    }

    /// Removes everything: links, pins, settings, state. Goes on after a failure. Returns the names
    /// of the networks that were removed.
    ///
    /// # Errors
    /// What is left.
    pub async fn down_all(&self) -> Result<Vec<String>, Error> {
        if !self.store.is_there() && !Datapath::left(&self.name) {
            // A command may have been killed that had made the directory of all instances.
            self.store.remove_unused();
            return Ok(Vec::new());
        }
        Work::begin(self)?.remove_all().await
    }

    /// As [`Work::begin_running`], for a removal. Where the one before it had removed the last network and
    /// was killed, nothing is up any more; what that has left goes first.
    async fn begin_removal(&self) -> Result<Work<'_>, Error> {
        let begun = Work::begin_running(self);
        if !matches!(begun, Err(Error::NotUp { .. })) {
            return begun;
        }
        if !self.store.is_there() && !Datapath::left(&self.name) {
            self.store.remove_unused();
            return begun;
        }
        let work = Work::begin(self)?;
        if work.is_remains() {
            work.remove_all().await?;
            return begun;
        }
        // Somebody was making it.
        work.abandon();
        Work::begin_running(self)
    }
}

impl Work<'_> {
    /// Removes networks that exist.
    async fn remove_networks(mut self, names: &[String]) -> Result<Vec<String>, Error> {
        let named = |name: &str| names.iter().any(|n| n == name);
        if self.state.network_names().all(named) {
            return self.remove_all().await;
        }
        let done = self.remove_some(names).await;
        self.finish(done.map(|()| names.to_vec())).await
    }

    async fn remove_some(&mut self, networks: &[String]) -> Result<(), Error> {
        for name in networks {
            self.remove_network(name).await?;
        }
        self.shrink().await?;
        self.settle().await
    }

    /// Ends a removal that finds nothing to remove with `e`: the command that has done it may have been
    /// killed before it was through.
    pub(super) async fn settled_after(self, e: Error) -> Error {
        self.settle_all().await.err().unwrap_or(e)
    }

    /// Ends a removal that has nothing to remove, likewise.
    async fn settle_all(mut self) -> Result<(), Error> {
        if !self.interrupted {
            return Ok(());
        }
        if self.state.is_empty() {
            return self.remove_all().await.map(|_| ());
        }
        let done = self.settle().await;
        self.finish(done).await
    }

    /// Takes from the host's own side what the networks that are left do not need.
    pub(super) async fn shrink(&mut self) -> Result<(), Error> {
        self.sync_host().await?;
        self.enable_forwarding().await?;
        self.sync_xdp().await
    }

    async fn remove_all(mut self) -> Result<Vec<String>, Error> {
        let names: Vec<String> = self.state.network_names().map(str::to_owned).collect();
        let mut left = Vec::new();
        let mut note = |result: Result<(), Error>| {
            if let Err(e) = result {
                left.push(e.to_string());
            }
        };
        if !self.is_new() {
            note(self.announce_change());
        }
        // Forwarding first: nothing may pass while the programs go.
        note(self.leave_to_host());
        note(self.restore_sysctls(None));
        for name in &names {
            note(self.remove_network(name).await);
        }
        note(self.reserve_ports(&[], &[]));
        note(self.unload());
        if left.is_empty() {
            self.forget()?;
            return Ok(names);
        }
        self.save()?;
        Err(Error::Teardown {
            left: left.join("; "),
        })
    }
}
