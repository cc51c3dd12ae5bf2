//! A network by a command.

use super::{
    Error, Instance,
    facts::Facts,
    plan::{Plan, Planner},
    up::load_options,
    work::Work,
};
use crate::{
    bpf::{self, Datapath},
    config::{self, Config},
    state::{Network, Origin, State},
};

impl Instance {
    /// Adds a network and returns it. It stays until a command removes it, whatever the configuration
    /// says.
    ///
    /// # Errors
    /// After an error the host is as it was.
    pub async fn create_network(&self, wanted: &config::Network) -> Result<Network, Error> {
        bpf::check_kernel()?;
        // An instance that is up keeps its settings; else it comes up with the defaults.
        let is_up = self.is_up()?;
        let mut work = if is_up {
            Work::begin_settled(self).await?
        } else {
            Work::begin(self)?
        };
        let planned = self.plan_network(&work.state, wanted).await;
        let plan = match planned {
            Ok(plan) => plan,
            Err(e) => {
                work.abandon();
                return Err(e);
            }
        };
        let load = if is_up {
            None
        } else {
            let defaults = Config::parse("", "the defaults")?;
            Some(load_options(&work.state, &defaults, self.cookie)?)
        };
        let done = work.converge(&plan, load.as_ref()).await;
        let made = work.state.network(&wanted.name).cloned();
        work.finish(done).await?;
        made.ok_or_else(|| Error::no_network(&wanted.name, std::iter::empty()))
    }

    /// Whether the instance is loaded for this namespace and this boot.
    fn is_up(&self) -> Result<bool, Error> {
        if !self.store.exists() {
            return Ok(false);
        }
        match Datapath::open(&self.name) {
            Ok(found) => Ok(found.is_some()),
            Err(bpf::Error::Stale { .. }) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    async fn plan_network(&self, state: &State, wanted: &config::Network) -> Result<Plan, Error> {
        if let Some(n) = state.network(&wanted.name).filter(|n| !n.unfinished) {
            return Err(Error::NetworkExists {
                name: n.name.clone(),
                bridge: n.bridge.clone(),
            });
        }
        let facts = Facts::gather(self).await?;
        Planner::new(state, &facts).create_network(wanted)
    }
}

impl Planner<'_> {
    fn create_network(mut self, wanted: &config::Network) -> Result<Plan, Error> {
        self.remove_unfinished();
        self.revive_networks(&[])?;
        self.add_network(wanted, Origin::Command)?;
        Ok(self.finish())
    }
}
