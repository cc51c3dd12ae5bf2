//! Network namespaces: opening, entering, and running a task inside one.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt as _,
    },
    thread,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::statfs::{FsType, fstatfs},
};

use super::{Error, Netlink};
use crate::config::NetnsRef;

/// Magic number of the file system of namespaces (`linux/magic.h`).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// An open network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
    ino: u64,
}

impl Namespace {
    /// Opens a namespace.
    ///
    /// # Errors
    /// It does not exist, or the file is none.
    pub fn open(netns: &NetnsRef) -> Result<Self, Error> {
        let (name, path) = (netns.to_string(), netns.path());
        let file = File::open(&path).map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound && netns.is_to_fill_in() {
                return Error::FillIn { name: name.clone() };
            }
            if source.kind() == io::ErrorKind::NotFound {
                if let Some(pid) = netns.pid() {
                    return Error::NoProcess {
                        name: name.clone(),
                        pid,
                    };
                }
                return Error::NoNamespace {
                    name: name.clone(),
                    path: path.clone(),
                };
            }
            Error::Enter {
                name: name.clone(),
                source,
            }
        })?;
        let is_nsfs = fstatfs(&file).is_ok_and(|s| s.filesystem_type() == FsType(NSFS_MAGIC as _));
        if !is_nsfs {
            return Err(Error::NotNamespace { path });
        }
        let ino = file
            .metadata()
            .map_err(|source| Error::Enter {
                name: name.clone(),
                source,
            })?
            .ino();
        Ok(Self { name, file, ino })
    }

    /// Whether there is something that the name means; what it is shows when it is opened.
    #[must_use]
    pub fn exists(netns: &NetnsRef) -> bool {
        netns.path().exists()
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn current() -> Result<Self, Error> {
        let path = "/proc/thread-self/ns/net".to_owned();
        let netns = NetnsRef::try_from(path).map_err(|e| Error::Connect(io::Error::other(e)))?;
        Self::open(&netns)
    }

    /// Its file descriptor, open as long as this lives.
    pub(super) fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.file)
    }

    /// What the user calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The inode that identifies it while it exists.
    #[must_use]
    pub fn ino(&self) -> u64 {
        self.ino
    }

    /// Moves the calling thread into it.
    ///
    /// # Errors
    /// The caller may not.
    pub fn enter(&self) -> Result<(), Error> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|e| Error::Enter {
            name: self.name.clone(),
            source: e.into(),
        })
    }

    /// Runs `task` inside it, on a thread of its own that ends with the task: a thread that has
    /// entered a namespace does nothing else.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the task's own error.
    pub fn run<T, F, E>(&self, task: F) -> Result<T, E>
    where
        T: Send,
        F: AsyncFnOnce(&Netlink) -> Result<T, E> + Send,
        E: From<Error> + Send,
    {
        let body = move || {
            self.enter()?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|e| self.thread_error(e))?;
            runtime.block_on(async {
                let netlink = Netlink::connect()?;
                task(&netlink).await
            })
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("netns".into())
                .spawn_scoped(scope, body)
                .map_err(|e| self.thread_error(e))?;
            thread
                .join()
                .map_err(|_| self.thread_error(io::Error::other("it panicked")))?
        })
    }

    fn thread_error(&self, source: io::Error) -> Error {
        Error::Thread {
            name: self.name.clone(),
            source,
        }
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
