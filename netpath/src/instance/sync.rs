//! What the agent does when the host changes under a running instance.

use super::{Error, Instance, work::Work};
use crate::net::Link;

impl Instance {
    /// Brings the datapath in line with the host: addresses, uplinks, and endpoints whose
    /// containers have gone. Returns what was changed, in words.
    ///
    /// # Errors
    /// The instance is not up, or a step failed.
    pub async fn sync(&self) -> Result<Vec<String>, Error> {
        let mut work = Work::begin_running(self)?;
        let done = work.sync().await;
        work.finish(done).await
    }
}

impl Work<'_> {
    async fn sync(&mut self) -> Result<Vec<String>, Error> {
        self.settle().await?;
        let mut changes = Vec::new();
        for name in self.retire_dead().await? {
            changes.push(format!("endpoint {name} went with its container"));
        }
        let links = self.instance.netlink.links().await?;
        let alive = |index: u32, name: &str| {
            links
                .iter()
                .any(|l: &Link| l.index == index && l.name == name)
        };
        for name in self.dead_members() {
            self.announce_change()?;
            self.remove_endpoint(&name).await?;
            changes.push(format!("endpoint {name} went with its container"));
        }
        for n in &self.state.networks {
            if !alive(n.ifindex, &n.bridge) {
                tracing::warn!(
                    "bridge {} of network {} is gone: run `netpath up`",
                    n.bridge,
                    n.name
                );
            }
        }
        if self.sync_host().await? {
            changes.push("addresses or uplinks of the host changed".into());
        }
        if !self.state.networks.is_empty() {
            self.enable_forwarding().await?;
        }
        // Without it everything works, only more slowly under a flood.
        if let Err(e) = self.sync_xdp().await {
            tracing::warn!("{e}");
        }
        Ok(changes)
    }
}
