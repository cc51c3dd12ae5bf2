//! What can go wrong with the state's files.

use std::{io, path::PathBuf};

/// An error of the state's files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed.
    #[error("{what} {path}: {source}; --state-dir names another place", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file is damaged.
    #[error(
        "the state {path} cannot be understood: {source}; move it away and run `netpath down --all`",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser found.
        source: serde_json::Error,
    },
    /// Another version wrote it.
    #[error(
        "the state {path} has version {found}, this netpath reads {wanted}; use the netpath that \
         wrote it",
        path = path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The version that this netpath writes.
        wanted: u32,
    },
    /// Another process holds the lock.
    #[error(
        "another netpath holds {path} and has not let go for {seconds} s; let it finish, or end it",
        path = path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
}
