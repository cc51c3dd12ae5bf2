//! A running `netpath agent`.
//!
//! Owns its start and its two ends, asked for or by SIGKILL, and what the kernel says of its process.

use std::{
    fs::{self, File},
    path::Path,
    process::Child,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{topology::World, wait};

/// A running agent, ended with the test.
#[derive(Debug)]
pub struct Agent(Child);

impl Agent {
    /// Starts the agent of `world`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(world: &World) -> Self {
        Self(world.netpath_command().arg("agent").spawn().unwrap())
    }

    /// The same, and everything that it logs, up to its own details, goes into `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_with_log(world: &World, log: &Path) -> Self {
        let mut command = world.netpath_command();
        command.env("NETPATH_LOG", "netpath=debug").arg("agent");
        let log = File::create(log).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }

    /// Waits until it has begun: it catches signals from then on.
    ///
    /// # Panics
    /// When it does not begin in time.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        wait::until("the agent catches SIGTERM", || {
            self.status("SigCgt").is_some_and(|mask| {
                u64::from_str_radix(&mask, 16).unwrap() & (1 << (libc::SIGTERM - 1)) != 0
            })
        });
    }

    /// A line of `/proc/PID/status`, without its name and unit.
    fn status(&self, name: &str) -> Option<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next().map(str::to_owned)
    }

    /// A number of `/proc/PID/status`.
    ///
    /// # Panics
    /// When there is none of this name.
    #[must_use]
    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        let text = self.status(name);
        let text = text.unwrap_or_else(|| panic!("no {name} of the agent"));
        text.parse().unwrap()
    }

    /// Clock ticks (of 10 ms) of processor time that it has used.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // The second field is the name in parentheses; user and system time are 14 and 15.
        let (_, after) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<_> = after.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Asks it to end, and says whether it ended well.
    ///
    /// # Panics
    /// When it is gone already.
    #[track_caller]
    pub fn terminate(mut self) -> bool {
        kill(self.pid(), Signal::SIGTERM).unwrap();
        self.0.wait().unwrap().success()
    }

    /// Kills it, so that it can clean nothing up.
    ///
    /// # Panics
    /// When it is gone already.
    #[track_caller]
    pub fn kill(mut self) {
        assert!(self.0.try_wait().unwrap().is_none(), "the agent had ended");
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
