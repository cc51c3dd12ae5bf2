//! A systemd of its own in a network namespace, which has booted with the units of netpath.
//!
//! Owns its control group, and that it has come up. What is asked of it is the tests'.

use std::{
    ffi::OsStr,
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{binary, inside::Inside, netns::Namespace, skip, wait};

/// Where Debian and others have it.
const SYSTEMD: &str = "/lib/systemd/systemd";
/// What a machine takes that does other things too.
const BOOT: Duration = Duration::from_secs(60);

/// A running one; it is gone when this is dropped.
#[derive(Debug)]
pub struct Booted {
    inside: Option<Inside>,
    cgroup: PathBuf,
}

/// The root of the cgroup v2 hierarchy; a skip on record where there is none.
fn cgroup_root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let mut mounts = mounts.lines().map(|line| line.split(' '));
    let root = mounts.find_map(|mut words| {
        let place = words.nth(1)?;
        (words.next()? == "cgroup2").then(|| PathBuf::from(place))
    });
    if root.is_none() {
        skip::record("cgroup v2 is not mounted");
    }
    root
}

impl Booted {
    /// Boots in `host`, and waits until netpath's networks are there. `dir` has `etc` and `lib`, which
    /// become /etc/netpath and /var/lib/netpath. `None`, and a skip on record, where that cannot be.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn boot(host: &Namespace, dir: &Path) -> Option<Self> {
        let systemd = fs::canonicalize(SYSTEMD).ok().filter(|path| path.is_file());
        let Some(systemd) = systemd else {
            skip::record("systemd is not installed");
            return None;
        };
        let cgroup = cgroup_root()?.join(format!("npt-{}", host.name()));
        fs::create_dir_all(&cgroup).unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        // In the group before the namespace of groups is made, whose root that is.
        let words = format!(
            "echo $$ > {}/cgroup.procs && exec unshare --pid --fork --kill-child --mount --uts --ipc \
             --cgroup sh {}",
            cgroup.display(),
            here.join("src/booted.sh").display()
        );
        let (units, program) = (here.join("../packaging/systemd"), binary::netpath());
        let env: [(&str, &OsStr); 4] = [
            ("NPT_DIR", dir.as_os_str()),
            ("NPT_UNITS", units.as_os_str()),
            ("NPT_PROGRAM", program.as_os_str()),
            ("NPT_SYSTEMD", systemd.as_os_str()),
        ];
        let mut inside = Inside::start(host, &words, &env, &dir.join("log"));
        wait::until_within(BOOT, "systemd runs", || inside.is_running("systemd"));
        let booted = Self {
            inside: Some(inside),
            cgroup,
        };
        wait::until_within(BOOT, "systemd has booted", || {
            booted.is_active("netpath.service")
        });
        Some(booted)
    }

    /// Whether a unit is active.
    #[must_use]
    pub fn is_active(&self, unit: &str) -> bool {
        let output = self.shell(&format!("systemctl is-active {unit}"));
        String::from_utf8_lossy(&output.stdout).trim() == "active"
    }

    /// What a unit has logged.
    #[must_use]
    pub fn journal(&self, unit: &str) -> String {
        self.run(&format!("journalctl --no-pager -o cat -u {unit}"))
    }
}

impl Deref for Booted {
    type Target = Inside;

    fn deref(&self) -> &Inside {
        self.inside.as_ref().expect("until it is dropped")
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs =
                self.shell("systemctl --failed --no-pager; journalctl --no-pager -u 'netpath*'");
            eprintln!("{}", String::from_utf8_lossy(&logs.stdout));
        }
        self.inside = None;
        wait::until("its control groups are empty", || {
            remove_groups(&self.cgroup)
        });
    }
}

/// Removes a control group and those in it; whether it is gone.
fn remove_groups(group: &Path) -> bool {
    let Ok(entries) = fs::read_dir(group) else {
        return true;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok()
}
