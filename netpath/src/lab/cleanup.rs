//! The lab's working directory: its lock, and the removal of what a killed lab left.
//!
//! Owns /run/netpath-lab and what is removed before and after; what is made is `topology`'s.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use super::{Error, datapath, netns, topology};

/// Fixed, so that the next lab finds what a killed one left.
const DIRECTORY: &str = "/run/netpath-lab";

/// The working directory, locked for one lab; removed when dropped.
#[derive(Debug)]
pub(super) struct Workdir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Workdir {
    /// Takes the lock, clears what an earlier lab left, and starts with an empty directory.
    pub(super) fn take() -> Result<Self, Error> {
        let path = PathBuf::from(DIRECTORY);
        let lock = lock(&path)?;
        remove_leftovers()?;
        for entry in fs::read_dir(&path)
            .map_err(Error::io(format!("read {DIRECTORY}")))?
            .flatten()
        {
            remove(&entry.path())?;
        }
        write(&path.join("pid"), &std::process::id().to_string())?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        let _ = remove_leftovers();
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Locks the directory itself: the lock dies with its holder, and leaves no file behind.
fn lock(path: &Path) -> Result<Flock<File>, Error> {
    loop {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io(format!("make {DIRECTORY}"))(error)),
        }
        let file = match File::open(path) {
            Ok(file) => file,
            // The lab that held it has just removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io(format!("open {DIRECTORY}"))(error)),
        };
        let held = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => held,
            Err((_, nix::Error::EWOULDBLOCK)) => return Err(Error::Busy { pid: holder(path) }),
            Err((_, errno)) => return Err(Error::sys(format!("lock {DIRECTORY}"))(errno)),
        };
        // Removed and made anew by another lab between open and lock: what is locked is gone.
        let locked = held
            .metadata()
            .map_err(Error::io(format!("look at {DIRECTORY}")))?;
        if fs::metadata(path).is_ok_and(|now| now.ino() == locked.ino()) {
            return Ok(held);
        }
    }
}

fn holder(path: &Path) -> String {
    let mut pid = String::new();
    match File::open(path.join("pid")).and_then(|mut file| file.read_to_string(&mut pid)) {
        Ok(_) => pid,
        Err(_) => "unknown".to_owned(),
    }
}

/// Removes pins and namespaces of the lab's fixed names.
fn remove_leftovers() -> Result<(), Error> {
    datapath::remove()?;
    for name in topology::NAMESPACES {
        netns::remove(name)?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.map_err(Error::io(format!("remove {}", path.display())))
}

/// Writes a file of the working directory.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io(format!("write {}", path.display())))
}
