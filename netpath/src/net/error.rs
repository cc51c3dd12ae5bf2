//! What can go wrong on the host's network.

use std::{io, path::PathBuf};

/// An error of a network operation; the message names the object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No netlink socket.
    #[error("cannot open a netlink socket: {0}; run netpath as root")]
    Connect(io::Error),
    /// The kernel refused a request.
    #[error("{what}: {source}")]
    Request {
        /// What was asked.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A kernel setting cannot be read or written.
    #[error("{what} the kernel setting {key}: {source}")]
    Sysctl {
        /// Reading or writing.
        what: &'static str,
        /// Its dotted name.
        key: String,
        /// Why.
        source: io::Error,
    },
    /// The namespace is not there.
    #[error(
        "network namespace `{name}` does not exist: there is no {path}; create it with `ip netns add` \
         or name an existing one",
        path = path.display()
    )]
    NoNamespace {
        /// As the user named it.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The namespace is still to be named.
    #[error(
        "network namespace `{name}` is a place to fill in that `netpath import` has left: put the \
         container's there, a name under /run/netns or a path such as /proc/PID/ns/net"
    )]
    FillIn {
        /// What stands there.
        name: String,
    },
    /// The process is not there.
    #[error(
        "there is no process {pid}, so no network namespace `{name}`; name a process that runs, or a \
         namespace of /run/netns"
    )]
    NoProcess {
        /// As the user named it.
        name: String,
        /// Its number.
        pid: u32,
    },
    /// The file is no network namespace.
    #[error("{path} is not a network namespace; name one of /run/netns or /proc/PID/ns/net", path = path.display())]
    NotNamespace {
        /// The file.
        path: PathBuf,
    },
    /// The namespace cannot be entered.
    #[error("cannot enter the network namespace `{name}`: {source}; run netpath as root")]
    Enter {
        /// As the user named it.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A thread or its runtime could not be started.
    #[error("cannot start a thread for the network namespace `{name}`: {source}")]
    Thread {
        /// As the user named it.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The container has an interface of the name that netpath gives.
    #[error(
        "network namespace `{netns}` has an interface {ifname} already; netpath makes its own: remove \
         that one first"
    )]
    InterfaceTaken {
        /// The namespace.
        netns: String,
        /// The interface.
        ifname: String,
    },
    /// The kernel has no interfaces of a kind.
    #[error(
        "{what}: this kernel has no interfaces of the kind {kind}; load its module with `modprobe \
         {module}`, or use a kernel that has it"
    )]
    NoKind {
        /// What was asked.
        what: String,
        /// The kind.
        kind: &'static str,
        /// What has it.
        module: &'static str,
    },
    /// An interface is somebody else's already.
    #[error(
        "{what}: {parent} is in use: it is a port of a bridge or bond, or another kind of interface is \
         on it; name another parent"
    )]
    ParentBusy {
        /// What was asked.
        what: String,
        /// The interface.
        parent: String,
    },
    /// No randomness.
    #[error("cannot read /dev/urandom: {0}")]
    Random(io::Error),
    /// A table of sockets cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Sockets {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// The error of a netlink request that was made to do `what`.
    pub(super) fn request(what: impl Into<String>, e: &rtnetlink::Error) -> Self {
        let source = if let rtnetlink::Error::NetlinkError(m) = e {
            m.to_io()
        } else {
            io::Error::other(e.to_string())
        };
        Self::Request {
            what: what.into(),
            source,
        }
    }
}

/// Whether the kernel answered with this errno.
pub(super) fn is_errno(e: &rtnetlink::Error, errno: nix::errno::Errno) -> bool {
    matches!(e, rtnetlink::Error::NetlinkError(m) if m.raw_code() == -(errno as i32))
}
