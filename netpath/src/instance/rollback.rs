//! The undo stack: what a change has done, to be taken back in reverse when it fails.
//!
//! Owns the order. Each entry is noted before its step begins, because a step that fails may have
//! done its first half; taking back what was never done is harmless.

use super::{Error, work::Work};
use crate::{
    config::Rates,
    state::{Endpoint, Member, Network, Rule, Unbridged},
};

/// How to take one step back.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Undo {
    /// Remove the datapath that this change has loaded.
    Unload,
    /// Remove a network that was added.
    RemoveNetwork(String),
    /// Add a network that was removed, without its endpoints.
    AddNetwork(Box<Network>),
    /// Give a network its former properties.
    ChangeNetwork(Box<Network>),
    /// Add a network without a bridge that was removed, without its endpoints.
    AddUnbridged(Box<Unbridged>),
    /// Give a network without a bridge its former properties.
    ChangeUnbridged(Box<Unbridged>),
    /// Add an endpoint that was removed, to the network of this name, which has no bridge.
    Join(String, Box<Member>),
    /// Give an endpoint its former priority as its container's way out.
    Prefer(String, i32),
    /// Remove an endpoint that was added.
    RemoveEndpoint(String),
    /// Add an endpoint that was removed, to the network of this name.
    AddEndpoint(String, Box<Endpoint>),
    /// Remember again an endpoint that was gone, of the network of this name.
    Remember(String, Box<Endpoint>),
    /// Remove rules that were added to the endpoint of this name.
    Unpublish(String, Vec<u16>),
    /// Add rules that were removed from the endpoint of this name.
    Publish(String, Vec<Rule>),
    /// Give rules of the endpoint of this name their former allow lists.
    Allow(String, Vec<Rule>),
    /// Give the endpoint of this name its former bandwidth limits.
    Shape(String, Rates),
    /// Look at the uplinks and addresses of the host again, for the networks that are left.
    SyncHost,
    /// Look again at what the networks ask of the uplinks' drivers.
    SyncXdp,
    /// Give the setting of this name its former value.
    Sysctl(String),
}

/// The stack.
#[derive(Debug, Default)]
pub(super) struct Rollback(Vec<Undo>);

impl Rollback {
    pub(super) fn push(&mut self, undo: Undo) {
        self.0.push(undo);
    }

    fn take(&mut self) -> Vec<Undo> {
        let mut all = std::mem::take(&mut self.0);
        all.reverse();
        all
    }
}

impl Work<'_> {
    /// Takes everything back, the last step first; goes on after a failure.
    ///
    /// # Errors
    /// `source`, or both when taking back failed.
    pub(super) async fn roll_back(&mut self, source: Error) -> Error {
        let mut left = Vec::new();
        for undo in self.undo.take() {
            tracing::debug!("taking back: {undo:?}");
            if let Err(e) = self.take_back(undo).await {
                left.push(e.to_string());
            }
        }
        self.interrupted |= !left.is_empty();
        if let Err(e) = self.restore_state() {
            left.push(e.to_string());
        }
        if left.is_empty() {
            return source;
        }
        Error::Rollback {
            source: Box::new(source),
            left: left.join("; "),
        }
    }

    async fn take_back(&mut self, undo: Undo) -> Result<(), Error> {
        match undo {
            Undo::Unload => self.unload(),
            Undo::RemoveNetwork(name) => self.remove_network(&name).await,
            Undo::AddNetwork(network) => self.add_network(*network).await,
            Undo::ChangeNetwork(network) => self.change_network(*network).await,
            Undo::AddUnbridged(n) => self.add_unbridged(*n).await,
            Undo::ChangeUnbridged(n) => {
                self.change_unbridged(*n);
                Ok(())
            }
            Undo::Join(n, member) => self.join(&n, &member).await,
            Undo::Prefer(name, priority) => self.prefer(&name, priority),
            Undo::RemoveEndpoint(name) => self.remove_endpoint(&name).await,
            Undo::AddEndpoint(network, endpoint) => {
                self.add_endpoints(&[(&network, &endpoint)]).await
            }
            Undo::Remember(network, endpoint) => {
                if let Some(n) = self.state.network_mut(&network) {
                    n.endpoints.push(*endpoint);
                }
                Ok(())
            }
            Undo::Unpublish(endpoint, slots) => self.unpublish(&endpoint, &slots),
            Undo::Publish(endpoint, rules) => self.publish(&[(endpoint, rules)]),
            Undo::Allow(endpoint, rules) => self.change_lists(&endpoint, &rules),
            Undo::Shape(endpoint, rates) => self.shape(&endpoint, rates).await,
            Undo::SyncHost => self.sync_host().await.map(|_| ()),
            Undo::SyncXdp => self.sync_xdp().await,
            Undo::Sysctl(key) => self.restore_sysctl(&key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_is_taken_back_first_and_only_once() {
        let mut stack = Rollback::default();
        stack.push(Undo::Unload);
        stack.push(Undo::RemoveNetwork("n".into()));
        stack.push(Undo::RemoveEndpoint("e".into()));
        assert_eq!(
            stack.take(),
            [
                Undo::RemoveEndpoint("e".into()),
                Undo::RemoveNetwork("n".into()),
                Undo::Unload
            ]
        );
        assert_eq!(stack.take(), []);
    }
}
