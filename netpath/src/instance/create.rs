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
    config::{AnyNetwork, Config},
    state::{Origin, State},
};

impl Instance {
    /// Adds a network and returns what there is then. It stays until a command removes it, whatever the configuration
    /// says.
    ///
    /// # Errors
    /// After an error the host is as it was.
    pub async fn create_network(&self, wanted: &AnyNetwork) -> Result<State, Error> {
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
            // What was put right at first stays so.
            Err(e) if is_up => return work.finish(Ok(())).await.and(Err(e)),
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
        let made = work.state.clone();
        work.finish(done).await?;
        Ok(made)
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

    async fn plan_network(&self, state: &State, wanted: &AnyNetwork) -> Result<Plan, Error> {
        let name = match wanted {
            AnyNetwork::Bridged(n) => &n.name,
            AnyNetwork::Unbridged(n) => &n.common.name,
        };
        if let Some(n) = state.network(name).filter(|n| !n.unfinished) {
            return Err(Error::NetworkExists {
                name: n.name.clone(),
                place: format!("on bridge {}", n.bridge),
            });
        }
        if let Some(n) = state.unbridged(name) {
            return Err(Error::NetworkExists {
                name: n.name.clone(),
                place: format!("of driver {}", n.driver.as_str()),
            });
        }
        let facts = Facts::gather(self).await?;
        Planner::new(state, &facts).create_network(wanted)
    }
}

impl Planner<'_> {
    fn create_network(mut self, wanted: &AnyNetwork) -> Result<Plan, Error> {
        self.remove_unfinished();
        self.revive_networks(&[])?;
        match wanted.clone() {
            AnyNetwork::Bridged(mut n) => {
                self.settle6(&mut n)?;
                self.add_network(&n, Origin::Command)?;
            }
            AnyNetwork::Unbridged(mut n) => {
                self.settle6(&mut n.common)?;
                self.add_unbridged(&n, Origin::Command)?;
            }
        }
        Ok(self.finish())
    }
}
