//! `down`: remove networks, or everything.

use super::{Error, Instance, forwarding, gone, unbridged::is_alive, work::Work};
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
        if options.force && !(self.store.exists() && Datapath::exists(&self.name)) {
            return Ok(Vec::new());
        }
        let work = Work::begin_running(self)?;
        let links = self.netlink.links().await?;
        let (mut names, mut found) = (Vec::new(), Vec::new());
        for word in words {
            let n = match work.state.find_network(word) {
                Ok(n) => n,
                Err(LookupError::None { .. }) if options.force => continue,
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
        if !names.is_empty() {
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
        let work = Work::begin_running(self)?;
        for name in networks {
            let bridged = work.state.unbridged(name).is_none();
            if let Some(e) = bridged.then(|| work.existing_network(name).err()).flatten() {
                return Err(work.settled_after(e).await);
            }
        }
        work.remove_networks(networks).await
    }

    /// Removes everything: links, pins, settings, state. Goes on after a failure. Returns the names
    /// of the networks that were removed.
    ///
    /// # Errors
    /// What is left.
    pub async fn down_all(&self) -> Result<Vec<String>, Error> {
        if !self.store.is_there() && !Datapath::left(&self.name) {
            return Ok(Vec::new());
        }
        Work::begin(self)?.remove_all().await
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
    pub(super) async fn settled_after(mut self, e: Error) -> Error {
        if !self.interrupted {
            return e;
        }
        let done = if self.state.is_empty() {
            self.remove_all().await.map(|_| ())
        } else {
            let done = self.settle().await;
            self.finish(done).await
        };
        done.err().unwrap_or(e)
    }

    /// Takes from the host's own side what the networks that are left do not need.
    pub(super) async fn shrink(&mut self) -> Result<(), Error> {
        self.sync_host().await?;
        if !forwarding::needs_ipv6(&self.state.networks) {
            self.restore_forwarding6()?;
        }
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
        // Forwarding first: nothing may pass while the programs go.
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
