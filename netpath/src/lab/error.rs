//! What can go wrong around the lab itself; a check that does not hold is a finding, not an error.
//!
//! Owns the lab's error type. The wording names the object, what was found and what to do.

use std::io;

/// Why the lab could not be built or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call or file operation failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A netlink request failed.
    #[error("cannot {what}: {source}")]
    Netlink {
        /// What was attempted.
        what: String,
        /// What the kernel said.
        source: rtnetlink::Error,
    },
    /// A second lab was started.
    #[error(
        "another lab is running (process {pid}): stop it with Ctrl-C in its terminal or `kill {pid}`, then start again"
    )]
    Busy {
        /// Its process.
        pid: String,
    },
    /// The lab was started without root.
    #[error(
        "the lab builds network namespaces and needs root, but runs as user {uid}: run `sudo netpath lab`"
    )]
    NotRoot {
        /// Effective user.
        uid: u32,
    },
    /// netpath itself, run as a user would, failed.
    #[error("`{command}` ended with {status}: {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// What it said on standard error.
        stderr: String,
    },
    /// netpath printed something that cannot be understood.
    #[error("`{command}` printed something unexpected: {what}")]
    Output {
        /// The command line.
        command: String,
        /// What is wrong with it.
        what: String,
    },
    /// SIGINT, SIGTERM or SIGHUP arrived before the last step.
    #[error("interrupted; everything that the lab made has been removed")]
    Interrupted,
    /// The datapath could not be read or changed.
    #[error(transparent)]
    Datapath(#[from] crate::bpf::Error),
}

impl Error {
    /// Names what was attempted when an I/O error is handed on.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The same for the errors of `nix`.
    pub fn sys(what: impl Into<String>) -> impl FnOnce(nix::Error) -> Self {
        let what = what.into();
        move |source| Self::Io {
            what,
            source: source.into(),
        }
    }

    /// The same for netlink.
    pub fn netlink(what: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let what = what.into();
        move |source| Self::Netlink { what, source }
    }
}
