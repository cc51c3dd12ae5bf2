//! `up`: make the host be as the configuration says.

use std::fs;

use super::{
    Drift, Error, Instance, Plan,
    facts::Facts,
    needs,
    plan::{Planner, Step},
    work::{MapWork, Work},
};
use crate::{
    bpf::{self, Datapath, LoadOptions, Needs},
    config::{Config, default_conntrack},
    state::State,
};

/// How `up` goes about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpOptions {
    /// Remove networks and endpoints without asking back.
    pub yes: bool,
    /// Endpoints whose namespaces are not there wait for them.
    pub absent_ok: bool,
}

/// What `up` did.
#[derive(Clone, PartialEq, Debug)]
pub struct Done {
    /// The steps.
    pub plan: Plan,
    /// What of it was writing published ports.
    pub maps: MapWork,
}

impl Instance {
    /// What [`Instance::up`] would do. Nothing is changed, and nobody is kept waiting.
    ///
    /// # Errors
    /// The configuration cannot be had on this host.
    pub async fn plan(&self, config: &Config, options: UpOptions) -> Result<Plan, Error> {
        bpf::check_kernel()?;
        let state = self.state()?.unwrap_or_else(|| self.fresh_state());
        let (plan, _) = self
            .plan_up(&state, state.changing, config, options)
            .await?;
        Ok(plan)
    }

    /// Makes everything be as `config` says and returns what was done. A second call does nothing.
    ///
    /// `agreed` is a plan that somebody has seen and agreed to: no other one is carried out. Without one,
    /// `show` sees the plan before anything is done.
    ///
    /// # Errors
    /// After an error the host is as it was.
    pub async fn up(
        &self,
        config: &Config,
        options: UpOptions,
        agreed: Option<&Plan>,
        show: impl FnOnce(&Plan),
    ) -> Result<Done, Error> {
        bpf::check_kernel()?;
        let mut work = Work::begin(self)?;
        let planned = self
            .plan_up(&work.state, work.interrupted, config, options)
            .await
            .and_then(|(plan, load)| match agreed {
                Some(agreed) if agreed.says(&plan) => Ok((plan, load)),
                Some(_) => Err(Error::PlanChanged),
                None if plan.losses.is_empty() || options.yes => Ok((plan, load)),
                None => Err(Error::NeedsYes {
                    what: plan.losses.join(", "),
                }),
            });
        let (plan, load) = match planned {
            Ok(planned) => planned,
            Err(e) => {
                work.abandon();
                return Err(e);
            }
        };
        show(&plan);
        let done = work.converge(&plan, Some(&load)).await;
        let maps = work.maps;
        work.finish(done).await.map(|()| Done { plan, maps })
    }

    async fn plan_up(
        &self,
        state: &State,
        interrupted: bool,
        config: &Config,
        options: UpOptions,
    ) -> Result<(Plan, LoadOptions), Error> {
        let load = load_options(state, config, self.cookie)?;
        let facts = Facts::gather(self).await?;
        let mut planner = Planner::new(state, &facts);
        planner.absent_ok = options.absent_ok;
        let mut plan = planner.converge(config)?;
        // Nothing has drifted that was never made, or that is loaded anew as a whole.
        if state.loaded.is_some()
            && let Ok(Some(datapath)) = Datapath::open(&self.name)
        {
            let drifts = self
                .drift(&datapath, state, &facts.links, interrupted)
                .await?;
            let stays = |d: &Drift| !plan.removes(&d.object);
            let drifts = drifts.into_iter().filter(stays).map(Step::Repair);
            plan.steps = drifts
                .collect::<Vec<_>>()
                .into_iter()
                .chain(plan.steps)
                .collect();
        }
        Ok((plan, load))
    }
}

impl Work<'_> {
    /// Carries a plan out. The order keeps the host closed: programs before links, forwarding last.
    /// Without `load` the instance is up and stays loaded as it is.
    pub(super) async fn converge(
        &mut self,
        plan: &Plan,
        load: Option<&LoadOptions>,
    ) -> Result<(), Error> {
        if !plan.steps.is_empty() || self.interrupted {
            self.announce_change()?;
        }
        if let Some(load) = load {
            self.load(load)?;
        }
        // A command's network is not among what is loaded for.
        let needs = plan.steps.iter().filter_map(|step| match step {
            Step::AddNetwork(n) | Step::ChangeNetwork(n) => Some(needs::of_network(n)),
            _ => None,
        });
        self.extend(needs.fold(Needs::default(), Needs::or))?;
        // The last thing to be done, below, and what is done by it all.
        let forwarding = |step: &&Step| matches!(step, Step::ForwardIpv6(_) | Step::Repair(_));
        let (endpoints, networks): (Vec<_>, Vec<_>) = plan
            .steps
            .iter()
            .filter(|step| !forwarding(step))
            .partition(|s| {
                matches!(
                    s,
                    Step::AddEndpoint(..)
                        | Step::Await(..)
                        | Step::Join(..)
                        | Step::Prefer(..)
                        | Step::Publish(..)
                )
            });
        let going: Vec<&str> = networks
            .iter()
            .filter_map(|step| match step {
                Step::RemoveEndpoint(name) => Some(name.as_str()),
                Step::Repair(_)
                | Step::Retire(_)
                | Step::Await(..)
                | Step::Unpublish(..)
                | Step::RemoveNetwork(_)
                | Step::AddNetwork(_)
                | Step::ChangeNetwork(_)
                | Step::AddUnbridged(_)
                | Step::ChangeUnbridged(_)
                | Step::AddEndpoint(..)
                | Step::Join(..)
                | Step::Prefer(..)
                | Step::Publish(..)
                | Step::Allow(..)
                | Step::Shape(..)
                | Step::ForwardIpv6(_) => None,
            })
            .collect();
        self.withdraw_all(&going)?;
        for step in networks {
            self.step(step).await?;
        }
        let names: Vec<String> = self.state.networks.iter().map(|n| n.name.clone()).collect();
        for name in &names {
            self.put_network(name).await?;
        }
        let names = self.state.unbridged.iter().map(|n| n.name.clone());
        for name in names.collect::<Vec<_>>() {
            self.put_unbridged(&name).await?;
        }
        self.sync_host().await?;
        self.sync_xdp().await?;
        for name in self.present() {
            self.put_endpoint(&name).await?;
        }
        self.grow(&endpoints).await?;
        self.put_rules()?;
        if self.interrupted {
            self.reserve_ports(&[], &[])?;
            self.sweep()?;
            self.interrupted = false;
        }
        if self.state.networks.is_empty() {
            return Ok(());
        }
        self.put_host_access().await?;
        self.enable_forwarding().await
    }

    /// Adds endpoints and publishes ports: one step for all of each kind, for one more must not cost
    /// as much as all that are there.
    pub(super) async fn grow(&mut self, steps: &[&Step]) -> Result<(), Error> {
        let (mut endpoints, mut ports) = (Vec::new(), Vec::new());
        for step in steps {
            tracing::debug!("{step}");
            match step {
                Step::AddEndpoint(network, e) => endpoints.push((network.as_str(), &**e)),
                Step::Publish(endpoint, rules) => ports.push((endpoint.clone(), rules.clone())),
                Step::Repair(_)
                | Step::Retire(_)
                | Step::Await(..)
                | Step::Unpublish(..)
                | Step::RemoveEndpoint(_)
                | Step::RemoveNetwork(_)
                | Step::AddNetwork(_)
                | Step::ChangeNetwork(_)
                | Step::AddUnbridged(_)
                | Step::ChangeUnbridged(_)
                | Step::Join(..)
                | Step::Prefer(..)
                | Step::Allow(..)
                | Step::Shape(..)
                | Step::ForwardIpv6(_) => self.step(step).await?,
            }
        }
        self.add_endpoints(&endpoints).await?;
        self.publish(&ports)
    }

    /// Carries one step out.
    pub(super) async fn step(&mut self, step: &Step) -> Result<(), Error> {
        tracing::debug!("{step}");
        match step {
            Step::Repair(_) => Ok(()),
            Step::Retire(name) => self.retire_endpoint(name).await,
            Step::Await(network, e) => {
                self.await_endpoint(network, e.as_ref().clone());
                Ok(())
            }
            Step::Unpublish(endpoint, rules) => {
                let slots: Vec<u16> = rules.iter().map(|r| r.slot).collect();
                self.unpublish(endpoint, &slots)
            }
            Step::RemoveEndpoint(name) => self.remove_endpoint(name).await,
            Step::RemoveNetwork(name) => self.remove_network(name).await,
            Step::AddNetwork(n) => self.add_network(n.as_ref().clone()).await,
            Step::ChangeNetwork(n) => self.change_network(n.as_ref().clone()).await,
            Step::AddUnbridged(n) => self.add_unbridged(n.as_ref().clone()).await,
            Step::ChangeUnbridged(n) => {
                self.change_unbridged(n.as_ref().clone());
                Ok(())
            }
            Step::Join(n, m) => self.join(n, m).await,
            Step::Prefer(name, priority) => self.prefer(name, *priority),
            Step::AddEndpoint(n, e) => self.add_endpoints(&[(n, e)]).await,
            Step::Publish(endpoint, rules) => self.publish(&[(endpoint.clone(), rules.clone())]),
            Step::Allow(endpoint, rules) => self.change_lists(endpoint, rules),
            Step::Shape(endpoint, rates) => self.shape(endpoint, *rates).await,
            Step::ForwardIpv6(_) => self.enable_forwarding().await,
        }
    }
}

/// What an instance is loaded with for a configuration.
pub(super) fn load_options(
    state: &State,
    config: &Config,
    netns_cookie: u64,
) -> Result<LoadOptions, Error> {
    let conntrack_flows = match (config.conntrack, state.conntrack) {
        (None, 0) => default_conntrack(memory()),
        (None, found) => found,
        (Some(wanted), 0) => wanted,
        (Some(wanted), found) if wanted == found => found,
        (Some(wanted), found) => return Err(Error::ConntrackSize { wanted, found }),
    };
    Ok(LoadOptions {
        conntrack_flows,
        netns_cookie,
        timeouts: config.timeouts,
        nat: config.nat,
        quotas: config.quotas,
        needs: config
            .networks
            .iter()
            .map(needs::of_wanted)
            .chain(state.networks.iter().map(needs::of_network))
            .fold(Needs::default(), Needs::or),
    })
}

/// Bytes of memory of this machine; 0 when the kernel does not tell.
pub(crate) fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()
        })
        .map_or(0, |kb| kb * 1024)
}
