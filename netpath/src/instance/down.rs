//! `down`: remove networks, or everything.

use super::{Error, Instance, forwarding, work::Work};
use crate::bpf::Datapath;

impl Instance {
    /// Removes networks with their endpoints; with the last network goes everything. Returns the
    /// names of what was removed.
    ///
    /// # Errors
    /// A name is unknown (then nothing is done), or something could not be removed.
    pub async fn down(&self, networks: &[String]) -> Result<Vec<String>, Error> {
        let mut work = Work::begin_running(self)?;
        for name in networks {
            if let Err(e) = work.existing_network(name) {
                return Err(work.settled_after(e).await);
            }
        }
        if work
            .state
            .networks
            .iter()
            .all(|n| networks.contains(&n.name))
        {
            return work.remove_all().await;
        }
        let done = work.remove_some(networks).await;
        work.finish(done.map(|()| networks.to_vec())).await
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
        let done = if self.state.networks.is_empty() {
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
        let names: Vec<String> = self.state.networks.iter().map(|n| n.name.clone()).collect();
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
