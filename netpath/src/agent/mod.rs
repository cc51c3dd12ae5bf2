//! The long-running half: collects expired flows and follows changes of the host.
//!
//! Owns when that happens, not how. Traffic does not need it: without the agent, expired flows are
//! removed when they are met, and the rest of the datapath goes on as it was loaded.

mod announcer;
mod collector;

use std::time::Duration;

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use self::{announcer::Announcer, collector::Collector};
use crate::{
    cli::Error,
    instance::{self, Instance},
    net::{Netlink, Watch},
};

/// Time between two looks at the host that nothing has asked for.
const LOOK: Duration = Duration::from_secs(5);
/// How long announcements are gathered: a container's start or end makes many at once.
const SETTLE: Duration = Duration::from_millis(100);

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// The instance is not up at the start, or signals and announcements cannot be subscribed to. A
/// pass that fails later is logged and tried again.
pub async fn run(instance: &Instance) -> Result<(), Error> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    // Subscribed before the first look, so that no change falls between.
    let mut watch = Watch::start()?;
    let (_, state) = instance.running()?;
    let mut announcer = Announcer::new(&state);
    sync(instance, &mut announcer).await;
    let netlink = Netlink::connect()?;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tracing::info!("agent of instance {} runs", instance.name());
    let mut collector = Collector::new();
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            open = watch.changed() => {
                if !open {
                    watch = Watch::start()?;
                }
                sleep(SETTLE).await;
                sync(instance, &mut announcer).await;
            }
            // Announcements can be lost when many come at once.
            _ = ticks.tick() => sync(instance, &mut announcer).await,
            () = announcer.due() => announcer.announce(&netlink, Instant::now()).await,
            () = collector.due() => collector.step(instance),
        }
    }
}

async fn sync(instance: &Instance, announcer: &mut Announcer) {
    match instance.sync().await {
        Ok(changes) => changes.iter().for_each(|change| tracing::info!("{change}")),
        Err(instance::Error::NotUp { .. }) => tracing::debug!("the instance is not up"),
        Err(e) => tracing::error!("{e}"),
    }
    // A command holds the lock until it is through: what is seen here is whole.
    if let Ok(Some(state)) = instance.state() {
        announcer.look(&state, Instant::now());
    }
}
