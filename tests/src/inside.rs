//! A place with processes and files of its own in a network namespace.
//!
//! Owns its first process and its end. What is in it is its script's.

use std::{
    ffi::OsStr,
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    netns::{Namespace, within},
    topology::succeeded,
};

/// A running one; it is gone when this is dropped, with the mounts of its script.
#[derive(Debug)]
pub struct Inside {
    child: Child,
    init: Option<Pid>,
}

impl Inside {
    /// Runs a shell's words in `host`, which end in `unshare`; what that runs is the first process.
    /// What is printed goes to the file `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(host: &Namespace, words: &str, env: &[(&str, &OsStr)], log: &Path) -> Self {
        let log = fs::File::create(log).unwrap();
        let child = within(host, || {
            Command::new("sh")
                .args(["-c", words])
                .envs(env.iter().copied())
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .process_group(0)
                .spawn()
                .unwrap()
        });
        Self { child, init: None }
    }

    /// Whether the first process is there and has become the program of this name.
    #[must_use]
    pub fn is_running(&mut self, program: &str) -> bool {
        let outer = self.child.id();
        let children = format!("/proc/{outer}/task/{outer}/children");
        let children = fs::read_to_string(children).unwrap_or_default();
        let first = children.split_whitespace().next();
        let Some(init) = first.and_then(|pid| pid.parse::<i32>().ok()) else {
            return false;
        };
        self.init = Some(Pid::from_raw(init));
        fs::read_to_string(format!("/proc/{init}/comm")).is_ok_and(|name| name.trim() == program)
    }

    /// Runs a shell's command inside.
    ///
    /// # Panics
    /// When there is no inside yet.
    #[must_use]
    pub fn shell(&self, command: &str) -> Output {
        let init = self.init.expect("nobody has waited for it").to_string();
        Command::new("nsenter")
            .args(["--target", &init, "--root", "--wd=/"])
            .args(["--mount", "--pid", "--net", "--cgroup", "--uts", "--ipc"])
            .args(["/bin/sh", "-c", command])
            .output()
            .unwrap()
    }

    /// As [`Inside::shell`]; what it printed.
    ///
    /// # Panics
    /// When it failed.
    #[track_caller]
    pub fn run(&self, command: &str) -> String {
        succeeded(command, self.shell(command))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // With the first process goes whatever is in its namespace.
        if let Some(init) = self.init {
            let _ = kill(init, Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
