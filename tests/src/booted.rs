//! A systemd of its own in a network namespace, which has booted with the units of netpath.
//!
//! Owns its namespaces, files and end. What is asked of it is the tests'.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    binary,
    netns::{Namespace, within},
    skip,
    topology::succeeded,
    wait,
};

/// Where Debian and others have it.
const SYSTEMD: &str = "/lib/systemd/systemd";
/// What a machine takes that does other things too.
const BOOT: Duration = Duration::from_secs(60);

/// A running one; it is gone when this is dropped.
#[derive(Debug)]
pub struct Booted {
    child: Child,
    init: Pid,
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
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/booted.sh");
        let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd");
        let log = fs::File::create(dir.join("log")).unwrap();
        // In the group before the namespace of groups is made, whose root that is.
        let enter = format!(
            "echo $$ > {}/cgroup.procs && exec unshare --pid --fork --kill-child --mount --uts --ipc \
             --cgroup sh {}",
            cgroup.display(),
            script.display()
        );
        let child = within(host, || {
            Command::new("sh")
                .args(["-c", &enter])
                .env("NPT_DIR", dir)
                .env("NPT_UNITS", units)
                .env("NPT_PROGRAM", binary::netpath())
                .env("NPT_SYSTEMD", systemd)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .process_group(0)
                .spawn()
                .unwrap()
        });
        let mut booted = Self {
            init: Pid::from_raw(0),
            child,
            cgroup,
        };
        wait::until_within(BOOT, "systemd has booted", || {
            booted.find_init() && booted.is_active("netpath.service")
        });
        Some(booted)
    }

    /// Whether the first process of its namespace is there.
    fn find_init(&mut self) -> bool {
        let outer = self.child.id();
        let children = format!("/proc/{outer}/task/{outer}/children");
        let children = fs::read_to_string(children).unwrap_or_default();
        let found = children
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok());
        let Some(init) = found else {
            return false;
        };
        self.init = Pid::from_raw(init);
        fs::read_to_string(format!("/proc/{init}/comm")).is_ok_and(|name| name.trim() == "systemd")
    }

    /// Runs a shell's command inside.
    ///
    /// # Panics
    /// When there is no inside.
    #[must_use]
    pub fn shell(&self, command: &str) -> Output {
        Command::new("nsenter")
            .args(["--target", &self.init.to_string()])
            .args([
                "--mount", "--pid", "--net", "--cgroup", "--uts", "--ipc", "--root",
            ])
            .args(["--wd=/", "/bin/sh", "-c", command])
            .env("NO_COLOR", "1")
            .output()
            .unwrap()
    }

    /// As [`Booted::shell`]; what it printed.
    ///
    /// # Panics
    /// When it failed.
    #[track_caller]
    pub fn run(&self, command: &str) -> String {
        succeeded(command, self.shell(command))
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

impl Drop for Booted {
    fn drop(&mut self) {
        if std::thread::panicking() && self.init.as_raw() != 0 {
            let logs =
                self.shell("systemctl --failed --no-pager; journalctl --no-pager -u 'netpath*'");
            eprintln!("{}", String::from_utf8_lossy(&logs.stdout));
        }
        // With it goes whatever is in its namespace, and the mounts with the last of them.
        if self.init.as_raw() != 0 {
            let _ = kill(self.init, Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
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
