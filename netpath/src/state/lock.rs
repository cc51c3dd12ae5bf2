//! The lock of an instance: one change at a time.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::Error;

/// How long a command waits for another one.
const PATIENCE: Duration = Duration::from_secs(30);

/// The lock, held until it is dropped; the kernel frees it when the process dies.
#[derive(Debug)]
pub struct Lock {
    _held: Flock<fs::File>,
}

impl Lock {
    /// Name of the lock's file.
    pub(super) const FILE: &'static str = "lock";

    pub(super) fn take(dir: &Path) -> Result<Self, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(lock) = Self::try_once(dir)? {
                return Ok(lock);
            }
            if Instant::now() >= deadline {
                return Err(Error::Locked {
                    path: dir.join(Self::FILE),
                    seconds: PATIENCE.as_secs(),
                });
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// One attempt; `None` when another process holds the lock or has just removed its file.
    pub(super) fn try_once(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(Self::FILE);
        let error = |source| Error::Io {
            what: "locking",
            path: path.clone(),
            source,
        };
        // The holder may have removed the whole directory on its way out.
        fs::create_dir_all(dir).map_err(error)?;
        let file = match fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
        {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(error(e)),
        };
        let held = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => held,
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, e)) => return Err(error(e.into())),
        };
        // A lock on a file that is no longer the path's protects nothing.
        let ours = held.metadata().map_err(error)?.ino();
        match fs::metadata(&path) {
            Ok(m) if m.ino() == ours => Ok(Some(Self { _held: held })),
            _ => Ok(None),
        }
    }
}
