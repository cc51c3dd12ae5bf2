//! What a command can end with.

use std::{io, path::PathBuf};

use crate::{bpf, config, instance, state};

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
    /// The state has no such network.
    #[error(transparent)]
    Lookup(#[from] state::LookupError),
    /// More than one thing is wrong.
    #[error("{0}")]
    Several(String),
    /// A format cannot be understood.
    #[error(transparent)]
    Template(#[from] super::template::Error),
    /// A filter cannot be understood.
    #[error(transparent)]
    Filter(#[from] super::network::FilterError),
    /// A port is not published; Docker's words.
    #[error(
        "no public port '{port}' published for {endpoint}; `netpath port {endpoint}` lists all"
    )]
    NoPublicPort {
        /// Whose.
        endpoint: String,
        /// The port.
        port: String,
    },
    /// A container is not in a network; Docker's words.
    #[error(
        "container {container} is not connected to network {network}; `netpath endpoint ls` shows who is"
    )]
    NotConnected {
        /// The container.
        container: String,
        /// The network.
        network: String,
    },
    /// Networks would be removed.
    #[error("this would remove {what}; say so with --force")]
    NeedsForce {
        /// Which.
        what: String,
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
