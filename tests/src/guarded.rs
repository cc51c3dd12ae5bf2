//! A host with ufw and firewalld, which need not be installed on this machine.
//!
//! Owns where their files come from and that they can be called. Rules are the tests'.

use std::{
    ffi::OsStr,
    fs,
    ops::Deref,
    path::{Path, PathBuf},
};

use crate::{inside::Inside, skip, topology::World, wait};

/// Where `cargo xtask test` unpacks them, beside the tests in the target directory.
const UNPACKED: &str = "firewalls/files";

/// A host's own place; it is gone when this is dropped.
#[derive(Debug)]
pub struct Guarded(Inside);

fn files() -> Option<PathBuf> {
    // target/PROFILE/deps/netns-HASH
    let tests = std::env::current_exe().unwrap();
    let files = tests.ancestors().nth(3)?.join(UNPACKED);
    files.is_dir().then_some(files)
}

impl Guarded {
    /// In the world's host. `None`, and a skip on record, without their files.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn new(world: &World) -> Option<Self> {
        let Some(files) = files() else {
            skip::record("ufw and firewalld are not unpacked: `cargo xtask test` does that");
            return None;
        };
        let root = world.file("guarded");
        fs::create_dir_all(&root).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guarded.sh");
        let words = format!(
            "exec unshare --pid --fork --kill-child --mount --uts --ipc sh {}",
            script.display()
        );
        let env: [(&str, &OsStr); 2] = [
            ("NPT_ROOT", root.as_os_str()),
            ("NPT_FIREWALLS", files.as_os_str()),
        ];
        let mut inside = Inside::start(&world.host, &words, &env, &world.file("guarded.log"));
        wait::until("its bus runs", || inside.is_running("dbus-daemon"));
        Some(Self(inside))
    }

    /// Starts firewalld, and waits until its rules are there.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_firewalld(&self) {
        self.run("firewalld --nofork --nopid > /tmp/firewalld.log 2>&1 &");
        wait::until_within(wait::DEADLINE * 4, "firewalld runs", || {
            let state = self.shell("firewall-cmd --state");
            String::from_utf8_lossy(&state.stdout).trim() == "running"
        });
    }
}

impl Deref for Guarded {
    type Target = Inside;

    fn deref(&self) -> &Inside {
        &self.0
    }
}
