//! `netpath monitor`.

use tokio::signal::unix::{SignalKind, signal};

use super::Error;
use crate::{instance::Instance, monitor};

pub(super) async fn run(
    instance: &Instance,
    args: &monitor::Args,
    json: bool,
) -> Result<(), Error> {
    let (datapath, _) = instance.running()?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    // The state is read anew for each name: endpoints come and go while the command runs.
    let resolver = |slot| {
        let state = instance.state().ok().flatten()?;
        state.endpoint_in_slot(slot).map(ToOwned::to_owned)
    };
    let until = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let count = monitor::run(&datapath, resolver, &args.options(json), until).await?;
    if !json {
        eprintln!("{count} drops have been shown.");
    }
    Ok(())
}
