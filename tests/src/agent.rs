//! A running `netpath agent`.
//!
//! Owns its start and its two ends: asked for, or by SIGKILL.

use std::{fs, process::Child};

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

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }

    /// Waits until it has begun: it catches signals from then on.
    ///
    /// # Panics
    /// When it does not begin in time.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        let pid = self.pid();
        wait::until("the agent catches SIGTERM", || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            caught.is_some_and(|mask| {
                u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << (libc::SIGTERM - 1)) != 0
            })
        });
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
