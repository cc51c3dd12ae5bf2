//! The run's working directory: its lock, its files, and the removal of what a killed run left.
//!
//! Owns /run/netpath-bench and the prefix of the namespaces. One run at a time: two would measure
//! each other.

use std::{
    fs::{self, File},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use netpath::{bpf::Datapath, lab::netns};
use nix::fcntl::{Flock, FlockArg};

/// Fixed, so that the next run finds what a killed one left.
const DIRECTORY: &str = "/run/netpath-bench";

/// Begins the name of every namespace, and so of every netpath instance.
pub(crate) const PREFIX: &str = "npb-";

/// Where netpath pins its instances.
const PINS: &str = "/sys/fs/bpf/netpath";

/// The working directory, locked for one run; removed when dropped.
pub(crate) struct Workdir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Workdir {
    /// Takes the lock and removes what an earlier run left.
    pub(crate) fn take() -> Result<Self> {
        let path = PathBuf::from(DIRECTORY);
        let lock = lock(&path)?;
        remove_leftovers()?;
        for entry in fs::read_dir(&path)
            .with_context(|| format!("cannot read {DIRECTORY}"))?
            .flatten()
        {
            remove(&entry.path())?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// A directory of its own for one site.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        if let Err(error) = remove_leftovers() {
            eprintln!("warning: {error:#}");
        }
        // Nothing can be done about it; the next run tries again.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Locks the directory itself: the lock dies with its holder, and leaves no file behind.
fn lock(path: &Path) -> Result<Flock<File>> {
    for _ in 0..16 {
        fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(path)
            .with_context(|| format!("cannot make {DIRECTORY}; measuring needs root"))?;
        // The run that held it may have just removed it.
        let Ok(file) = File::open(path) else { continue };
        let Ok(held) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
            bail!("{DIRECTORY} is locked: another benchmark is running; wait for its end");
        };
        let locked = held
            .metadata()
            .with_context(|| format!("cannot look at {DIRECTORY}"))?;
        if fs::metadata(path).is_ok_and(|found| found.ino() == locked.ino()) {
            return Ok(held);
        }
    }
    bail!("cannot lock {DIRECTORY}: it vanishes again and again")
}

/// Removes every namespace and every instance of this program's prefix.
fn remove_leftovers() -> Result<()> {
    for instance in names(PINS) {
        if let Err(errors) = Datapath::remove(&instance) {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            bail!(
                "cannot remove the pins of {instance}: {}",
                errors.join("; ")
            );
        }
    }
    for namespace in names(netns::DIRECTORY) {
        netns::remove(&namespace)?;
    }
    Ok(())
}

/// The names in a directory that begin with the prefix.
fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(PREFIX))
        .collect()
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}
