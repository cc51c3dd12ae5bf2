//! Where an instance's objects are pinned.
//!
//! Owns the names and directories on bpffs. Opens and makes no BPF object.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use netpath_common::maps;

use super::Error;

/// Mount point of bpffs.
pub(crate) const BPFFS: &str = "/sys/fs/bpf";
/// Directory of all instances.
const ROOT: &str = "/sys/fs/bpf/netpath";
/// Appended to the name of what is being made; never part of an encoded instance name.
const PENDING: &str = "%new";

/// The pin directory of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pins {
    dir: PathBuf,
}

impl Pins {
    /// The directory of `instance`.
    pub(crate) fn of(instance: &str) -> Result<Self, Error> {
        if instance.is_empty() || instance.len() > 200 || instance.contains(['/', '\0']) {
            return Err(Error::BadInstance {
                name: instance.to_owned(),
            });
        }
        Ok(Self {
            dir: Path::new(ROOT).join(encode(instance)),
        })
    }

    /// Where the instance is put together before it takes its name.
    pub(crate) fn pending(&self) -> Self {
        let mut name = self.dir.as_os_str().to_owned();
        name.push(PENDING);
        Self { dir: name.into() }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn programs(&self) -> PathBuf {
        self.dir.join("progs")
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs().join(name)
    }

    /// Where a program waits until it replaces the one of its name.
    pub(crate) fn pending_program(&self, name: &str) -> PathBuf {
        self.programs().join(format!("{name}{PENDING}"))
    }

    /// Where a map waits until it replaces the one of its name.
    pub(crate) fn pending_map(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}{PENDING}"))
    }

    pub(crate) fn links(&self) -> PathBuf {
        self.dir.join("links")
    }

    pub(crate) fn link(&self, name: &str) -> PathBuf {
        self.links().join(name)
    }

    pub(crate) fn exists(&self) -> bool {
        self.dir.is_dir()
    }

    /// Whether there is an instance and not what a killed [`Pins::remove`] has left of one.
    pub(crate) fn are_whole(&self) -> bool {
        self.map(maps::CONFIG).exists()
    }

    /// Makes the directories, readable by root alone.
    pub(crate) fn create(&self) -> Result<(), Error> {
        // Whoever removes the last instance takes the common directory away, perhaps right now.
        for _ in 0..16 {
            make_dir(Path::new(ROOT))?;
            match make_dir(&self.dir) {
                Err(Error::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                made => {
                    made?;
                    break;
                }
            }
        }
        make_dir(&self.programs())?;
        make_dir(&self.links())
    }

    /// Gives the pending directory its final name, in one step.
    pub(crate) fn commit(&self, pending: &Self) -> Result<(), Error> {
        fs::rename(&pending.dir, &self.dir).map_err(|e| system("renaming", &pending.dir, e))
    }

    /// Gives a pin its final name, over the pin that has it.
    pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
        fs::rename(from, to).map_err(|e| system("renaming", from, e))
    }

    /// Names in a directory; none when it does not exist.
    pub(crate) fn names(dir: &Path) -> Result<Vec<String>, Error> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(system("reading", dir, e)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| system("reading", dir, e))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Removes the instance's pins and directories, and goes on after errors. The configuration goes first:
    /// all the others are pinned when it is given its place, and without it they are remains.
    pub(crate) fn remove(&self) -> Vec<Error> {
        let mut errors = Vec::new();
        errors.extend(unlink(&self.map(maps::CONFIG)).err());
        for dir in [self.links(), self.programs(), self.dir.clone()] {
            let names = Self::names(&dir).unwrap_or_else(|e| {
                errors.push(e);
                Vec::new()
            });
            for path in names.iter().map(|n| dir.join(n)).filter(|p| !p.is_dir()) {
                errors.extend(unlink(&path).err());
            }
            match fs::remove_dir(&dir) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    errors.push(system("removing", &dir, e));
                }
                Ok(()) | Err(_) => {}
            }
        }
        // The last instance takes the common directory with it.
        let _not_the_last = fs::remove_dir(ROOT);
        errors
    }
}

fn make_dir(dir: &Path) -> Result<(), Error> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let mode = fs::Permissions::from_mode(0o700);
            fs::set_permissions(dir, mode).map_err(|e| system("securing", dir, e))
        }
        other => other.map_err(|e| system("making", dir, e)),
    }
}

/// Removes a pin; one that is not there is fine.
pub(crate) fn unlink(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(system("removing", path, e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn system(action: &str, path: &Path, source: io::Error) -> Error {
    Error::system(format!("{action} {}", path.display()), source)
}

/// bpffs refuses names with a dot, namespaces may have one.
fn encode(instance: &str) -> String {
    instance.replace('%', "%25").replace('.', "%2e")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_names_become_directories_without_dots() {
        assert_eq!(encode("blue.1"), "blue%2e1");
        assert_eq!(encode("a%new"), "a%25new");
        assert_eq!(
            Pins::of("default").unwrap().dir,
            Path::new("/sys/fs/bpf/netpath/default")
        );
        for bad in ["", "a/b", "..\0"] {
            assert!(
                matches!(Pins::of(bad), Err(Error::BadInstance { .. })),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn what_is_pending_never_meets_an_instance() {
        let pins = Pins::of("a").unwrap();
        assert_eq!(pins.pending().dir, Path::new("/sys/fs/bpf/netpath/a%new"));
        assert_ne!(pins.pending(), Pins::of("a%new").unwrap());
    }
}
