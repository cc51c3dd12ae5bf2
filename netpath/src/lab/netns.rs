//! Network namespaces made without any external program.
//!
//! Owns their life: made by `unshare` on a thread, named by a bind mount below /run/netns as
//! `ip netns` does, entered by `setns` on a thread. Does not fill them: `links` and `topology` do.

use std::{
    fs::{self, File},
    io, panic,
    path::{Path, PathBuf},
    thread,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

use super::{Error, links};

/// Where named namespaces live, for `ip netns` and everyone else.
pub const DIRECTORY: &str = "/run/netns";

/// A named network namespace, removed when dropped.
///
/// Sockets that were opened in it keep it alive in the kernel until they are closed.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes a namespace of this name, with its loopback interface up.
    ///
    /// # Errors
    /// When the name is taken, or when the caller may not make namespaces.
    pub fn create(name: &str) -> Result<Self, Error> {
        share_directory()?;
        let path = path_of(name);
        File::options()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(Error::io(format!(
                "make the namespace file {}",
                path.display()
            )))?;
        let made = thread::scope(|scope| {
            join(scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET)
                    .map_err(Error::sys("make a network namespace"))?;
                links::up("lo")?;
                mount(
                    Some("/proc/thread-self/ns/net"),
                    &path,
                    None::<&str>,
                    MsFlags::MS_BIND,
                    None::<&str>,
                )
                .map_err(Error::sys(format!("name the namespace {}", path.display())))
            }))
        });
        let opened = made.and_then(|()| {
            File::open(&path).map_err(Error::io(format!("open the namespace {}", path.display())))
        });
        match opened {
            Ok(file) => Ok(Self {
                name: name.to_owned(),
                file,
            }),
            Err(error) => {
                let _ = remove(name);
                Err(error)
            }
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Runs `work` on a thread inside the namespace. A panic in there goes on in the caller.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        thread::scope(|scope| {
            join(scope.spawn(|| {
                self.enter()?;
                Ok(work())
            }))
        })
    }

    /// Moves the calling thread into the namespace for good.
    ///
    /// # Errors
    /// When the caller may not.
    pub fn enter(&self) -> Result<(), Error> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .map_err(Error::sys(format!("enter the namespace {}", self.name)))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = remove(&self.name);
    }
}

/// Removes the name; true if there was one.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove(name: &str) -> Result<bool, Error> {
    let path = path_of(name);
    // EINVAL: a file of that name which nothing is mounted on, left by a half-made namespace.
    match umount2(&path, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
        Err(errno) => return Err(Error::sys(format!("unmount {}", path.display()))(errno)),
    }
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(format!("remove {}", path.display()))(error)),
    }
}

/// The file of the namespace of this name.
#[must_use]
pub fn path_of(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Makes [`DIRECTORY`] a shared mount, so that names appear and vanish in every mount namespace.
fn share_directory() -> Result<(), Error> {
    fs::create_dir_all(DIRECTORY).map_err(Error::io(format!("make {DIRECTORY}")))?;
    let share = || {
        mount(
            None::<&str>,
            DIRECTORY,
            None::<&str>,
            MsFlags::MS_SHARED | MsFlags::MS_REC,
            None::<&str>,
        )
    };
    match share() {
        // Not a mount point yet.
        Err(nix::Error::EINVAL) => mount(
            Some(DIRECTORY),
            DIRECTORY,
            None::<&str>,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            None::<&str>,
        )
        .and_then(|()| share()),
        other => other,
    }
    .map_err(Error::sys(format!("share the mount {DIRECTORY}")))
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|payload| panic::resume_unwind(payload))
}
