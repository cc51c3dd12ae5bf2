//! What a command can end with.

use std::{io, path::PathBuf};

use crate::{bpf, config, instance};

/// An error of a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The instance refused.
    #[error(transparent)]
    Instance(#[from] instance::Error),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The datapath refused.
    #[error(transparent)]
    Bpf(#[from] bpf::Error),
    /// The host's network refused.
    #[error(transparent)]
    Net(#[from] crate::net::Error),
    /// A file that was named cannot be used.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was to be done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard output is closed.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
    /// A result cannot be shown as JSON.
    #[error("cannot show the result as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Signals cannot be caught.
    #[error("cannot listen for signals: {0}")]
    Signal(io::Error),
}
