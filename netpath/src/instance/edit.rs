//! Single changes: one endpoint, one published port.

use super::{
    Error, Instance,
    error::known,
    facts::Facts,
    plan::{Plan, Planner, Step},
    work::Work,
};
use crate::{
    config::{self, PortSpec},
    state::{Endpoint, Homes, Rule, State},
};

/// An endpoint to be added by a command.
#[derive(Clone, Debug)]
pub struct NewEndpoint {
    /// Its network: a name, an identifier, or the beginning of one.
    pub network: String,
    /// The endpoint.
    pub endpoint: config::Endpoint,
}

impl Instance {
    /// Adds an endpoint and returns what there is then.
    ///
    /// # Errors
    /// After an error the host is as it was.
    pub async fn add_endpoint(&self, new: &NewEndpoint) -> Result<State, Error> {
        config::check_name(&new.endpoint.name).map_err(|reason| config::Error::Invalid {
            object: "endpoint".into(),
            key: "name",
            value: format!("{:?}", new.endpoint.name),
            reason,
        })?;
        self.plan_and_do(|p| p.add_endpoint(&new.network, &new.endpoint))
            .await
    }

    /// Removes an endpoint.
    ///
    /// # Errors
    /// It does not exist, or a step failed.
    pub async fn remove_endpoint(&self, name: &str) -> Result<(), Error> {
        let mut work = Work::begin_running(self)?;
        let bridged = work.state.member(name).is_none();
        if let Some(e) = bridged
            .then(|| work.existing_endpoint(name).err())
            .flatten()
        {
            return Err(work.settled_after(e).await);
        }
        let done = work.remove_one(name).await;
        work.finish(done).await
    }

    /// Publishes more ports of an endpoint, or gives ports that it publishes another allow list, and
    /// returns them with their choices made.
    ///
    /// # Errors
    /// After an error no port of `specs` is published that was not before.
    pub async fn publish(
        &self,
        endpoint: &str,
        specs: &[PortSpec],
    ) -> Result<(Homes, Vec<Rule>), Error> {
        let mut slots = Vec::new();
        self.refuse_ports(endpoint, specs)?;
        let state = self
            .plan_and_do(|p| {
                let plan = p.publish(endpoint, specs)?;
                for step in &plan.steps {
                    if let Step::Publish(_, rules) | Step::Allow(_, rules) = step {
                        slots.extend(rules.iter().map(|r| r.slot));
                    }
                }
                Ok(plan)
            })
            .await?;
        let (n, e) = state
            .endpoint(endpoint)
            .ok_or_else(|| no_endpoint(&state, endpoint))?;
        let rules = e.rules.iter().filter(|r| slots.contains(&r.slot));
        Ok((e.homes(n), rules.cloned().collect()))
    }

    /// Withdraws published ports, all or none, by the words that made them, or by ports and address
    /// whatever the allow list; a SPEC that left the host port open withdraws every rule that was made
    /// by it.
    ///
    /// # Errors
    /// One of them is not published.
    pub async fn unpublish(&self, endpoint: &str, specs: &[PortSpec]) -> Result<(), Error> {
        self.refuse_ports(endpoint, specs)?;
        let mut work = Work::begin_running(self)?;
        let (network, e) = work.existing_endpoint(endpoint)?;
        check_present(&e)?;
        let rules = work.state.endpoint(endpoint).map(|(_, e)| e.rules.clone());
        let rules = rules.unwrap_or_default();
        let mut slots = Vec::new();
        for spec in specs {
            let found = rules
                .iter()
                .filter(|r| r.spec == *spec || network.asks_for(spec, r));
            let before = slots.len();
            slots.extend(found.map(|r| r.slot));
            if slots.len() == before {
                let specs: Vec<String> = rules.iter().map(|r| r.spec.to_string()).collect();
                let e = Error::NotPublished {
                    endpoint: endpoint.to_owned(),
                    spec: spec.clone(),
                    known: known("published port", specs.iter().map(String::as_str)),
                };
                return Err(work.settled_after(e).await);
            }
        }
        let mut done = work.announce_change();
        if done.is_ok() {
            done = work.unpublish(endpoint, &slots);
        }
        if done.is_ok() {
            done = work.settle().await;
        }
        work.finish(done).await
    }

    /// Refuses ports of an endpoint whose network has none to publish.
    fn refuse_ports(&self, endpoint: &str, specs: &[PortSpec]) -> Result<(), Error> {
        let state = self.state()?.unwrap_or_default();
        match state.member(endpoint) {
            Some((n, m)) => Ok(config::check_publish(&m.name, n.driver, specs.first())?),
            None => Ok(()),
        }
    }

    async fn plan_and_do(
        &self,
        plan: impl FnOnce(Planner<'_>) -> Result<Plan, Error>,
    ) -> Result<State, Error> {
        let mut work = Work::begin_settled(self).await?;
        let facts = Facts::gather(self).await?;
        let before = work.state.clone();
        let planned = plan(Planner::new(&before, &facts));
        let plan = match planned {
            Ok(plan) => plan,
            // What was put right at first stays so.
            Err(e) => return work.finish(Ok(())).await.and(Err(e)),
        };
        // Adding an endpoint begins with writing the state as well.
        let adds = plan
            .steps
            .iter()
            .any(|s| matches!(s, Step::AddEndpoint(..)));
        let mut done = if adds { Ok(()) } else { work.announce_change() };
        for step in &plan.steps {
            if done.is_err() {
                break;
            }
            done = work.step(step).await;
        }
        let after = work.state.clone();
        work.finish(done.map(|()| after)).await
    }
}

impl Work<'_> {
    async fn remove_one(&mut self, name: &str) -> Result<(), Error> {
        self.announce_change()?;
        self.remove_endpoint(name).await?;
        self.settle().await
    }
}

/// One that waits for its namespace publishes nothing.
pub(super) fn check_present(e: &Endpoint) -> Result<(), Error> {
    if e.is_present() {
        return Ok(());
    }
    Err(Error::Gone {
        name: e.name.clone(),
        netns: e.netns.to_string(),
    })
}

fn no_endpoint(state: &State, name: &str) -> Error {
    Error::NoEndpoint {
        name: name.to_owned(),
        known: known("endpoint", state.endpoint_names()),
    }
}
