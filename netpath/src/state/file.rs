//! The state's file: read whole, replaced whole.

use std::{
    fs, io,
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;

use super::{Error, Lock, State, VERSION};

/// What every version of the file has.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    version: u64,
}

/// Where one instance keeps its state.
#[derive(Clone, Debug)]
pub struct Store {
    base: PathBuf,
    dir: PathBuf,
    read: Arc<Mutex<Option<(Version, State)>>>,
}

/// Tells one content of the file from another: each is a file of its own, written once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Version {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Store {
    /// The store of `instance` under `base`; touches nothing.
    #[must_use]
    pub fn new(base: &Path, instance: &str) -> Self {
        Self {
            base: base.to_owned(),
            dir: base.join(instance),
            read: Arc::default(),
        }
    }

    /// The state's file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    /// Takes the instance's lock, making its directory if needed.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process keeps it.
    pub fn lock(&self) -> Result<Lock, Error> {
        self.make_dir()?;
        Lock::take(&self.dir)
    }

    /// The remembered state; `None` when there is none.
    ///
    /// # Errors
    /// The file is damaged or of another version.
    pub fn load(&self) -> Result<Option<State>, Error> {
        let path = self.path();
        let reading = |source| Error::Io {
            what: "reading",
            path: path.clone(),
            source,
        };
        let mut file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(reading(e)),
        };
        let found = file.metadata().map_err(reading)?;
        let version = Version {
            inode: found.ino(),
            size: found.size(),
            changed: (found.ctime(), found.ctime_nsec()),
        };
        // The agent looks every few seconds, and the file hardly ever changes.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, state)) = &*read
            && *known == version
        {
            return Ok(Some(state.clone()));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(reading)?;
        let state = Self::parse(path, &text)?;
        *read = Some((version, state.clone()));
        Ok(Some(state))
    }

    fn parse(path: PathBuf, text: &str) -> Result<State, Error> {
        let damaged = |source| Error::Damaged {
            path: path.clone(),
            source,
        };
        // Read as a whole at once, which is all there is to do as a rule. Another version may have
        // another form, so its number is looked for where that fails.
        let state = serde_json::from_str::<State>(text);
        let found = match &state {
            Ok(state) => u64::from(state.version),
            Err(_) => serde_json::from_str::<Head>(text).map_err(damaged)?.version,
        };
        if found != u64::from(VERSION) {
            return Err(Error::Version {
                path,
                found,
                wanted: VERSION,
            });
        }
        state.map_err(damaged)
    }

    /// Replaces the remembered state. A crash leaves the old or the new one, never a part.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, state: &State) -> Result<(), Error> {
        self.make_dir()?;
        let (path, tmp) = (self.path(), self.dir.join("state.json.tmp"));
        let io = |what, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { what, path, source }
        };
        let mut text = serde_json::to_vec(state).map_err(|source| Error::Damaged {
            path: path.clone(),
            source,
        })?;
        text.push(b'\n');
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&tmp)
            .map_err(io("creating", &tmp))?;
        file.write_all(&text)
            .and_then(|()| file.sync_all())
            .map_err(io("writing", &tmp))?;
        fs::rename(&tmp, &path).map_err(io("replacing", &path))?;
        let dir = fs::File::open(&self.dir).map_err(io("opening", &self.dir))?;
        dir.sync_all().map_err(io("syncing", &self.dir))
    }

    /// Removes everything that the store has made, as long as nothing else lies there. Called with
    /// the lock held; the lock's file goes last.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove(&self) -> Result<(), Error> {
        for name in ["state.json.tmp", "state.json", Lock::FILE] {
            let path = self.dir.join(name);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::Io {
                        what: "removing",
                        path,
                        source,
                    });
                }
                _ => {}
            }
        }
        // Both may hold what is not netpath's, or another instance: then they stay.
        let _ = fs::remove_dir(&self.dir);
        let _ = fs::remove_dir(&self.base);
        Ok(())
    }

    /// Whether anything is remembered.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    /// Whether there is anything of the store, if only what a killed command has left of it.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.dir.exists()
    }

    /// Removes the directory and the lock's file of a command that changed nothing and found no
    /// state.
    pub fn remove_unused(&self) {
        if !self.exists() {
            let _ = self.remove();
        }
    }

    fn make_dir(&self) -> Result<(), Error> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|source| Error::Io {
                what: "creating",
                path: self.dir.clone(),
                source,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct TempDir(PathBuf);

    impl TempDir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("netpath-{name}-{}", std::process::id()));
            Self(dir)
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn round_trip_replace_and_remove() {
        let dir = TempDir::new("state-file");
        let store = Store::new(&dir.0, "default");
        assert_eq!(store.load().unwrap(), None);
        let mut state = State::new("boot".into(), 7);
        store.save(&state).unwrap();
        state.next_generation(0);
        store.save(&state).unwrap();
        assert_eq!(store.load().unwrap(), Some(state));
        assert!(!store.dir.join("state.json.tmp").exists());
        store.remove().unwrap();
        assert!(!dir.0.exists());
    }

    #[test]
    fn another_version_and_damage_are_told_apart() {
        let dir = TempDir::new("state-version");
        let store = Store::new(&dir.0, "default");
        store.make_dir().unwrap();
        fs::write(store.path(), r#"{"version": 99}"#).unwrap();
        assert!(matches!(
            store.load(),
            Err(Error::Version { found: 99, .. })
        ));
        fs::write(store.path(), r#"{"version": 1, "netw"#).unwrap();
        assert!(matches!(store.load(), Err(Error::Damaged { .. })));
        fs::write(store.path(), r#"{"version": 1}"#).unwrap();
        assert!(matches!(store.load(), Err(Error::Damaged { .. })));
    }

    #[test]
    fn the_lock_is_exclusive_and_survives_removal_of_its_file() {
        let dir = TempDir::new("state-lock");
        let store = Store::new(&dir.0, "default");
        let held = store.lock().unwrap();
        assert!(Lock::try_once(&store.dir).unwrap().is_none());
        store.remove().unwrap();
        drop(held);
        assert!(store.lock().is_ok());
    }
}
