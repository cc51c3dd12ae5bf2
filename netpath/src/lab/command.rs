//! netpath itself, run as a user runs it.
//!
//! Owns the command lines and their output. The program is the one that is running, so the lab
//! shows exactly what the user has.

use std::{
    env,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;

use super::Error;

/// What a command printed, with the line that a user would type for it.
#[derive(Clone, Debug)]
pub(super) struct Printed {
    /// The command line.
    pub(super) command: String,
    /// Its standard output.
    pub(super) stdout: String,
}

impl Printed {
    /// The command line and below it the lines that `wanted` picks.
    pub(super) fn show(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let picked = self
            .stdout
            .lines()
            .filter(|line| wanted(line))
            .map(str::to_owned);
        std::iter::once(format!("$ {}", self.command))
            .chain(picked)
            .collect()
    }

    /// The output read as JSON.
    pub(super) fn json(&self) -> Result<serde_json::Value, Error> {
        serde_json::from_str(&self.stdout).map_err(|error| Error::Output {
            command: self.command.clone(),
            what: error.to_string(),
        })
    }
}

/// Runs this program on one instance.
#[derive(Debug)]
pub(super) struct Netpath {
    program: PathBuf,
    namespace: &'static str,
    state: PathBuf,
    config: PathBuf,
}

impl Netpath {
    /// For the host namespace `namespace`, with state and configuration in files of the lab.
    pub(super) fn new(
        namespace: &'static str,
        state: PathBuf,
        config: PathBuf,
    ) -> Result<Self, Error> {
        let program = env::current_exe().map_err(Error::io("find the running program"))?;
        Ok(Self {
            program,
            namespace,
            state,
            config,
        })
    }

    /// The running program's file.
    pub(super) const fn program(&self) -> &PathBuf {
        &self.program
    }

    /// `netpath up` with the lab's configuration.
    pub(super) fn up(&self) -> Result<Printed, Error> {
        let config = self.config.to_string_lossy();
        self.run(&["up", "-c", &config, "--yes"])
    }

    /// Runs one command to its end; anything but exit status 0 is an error.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Printed, Error> {
        let command = self.command_line(&arguments.join(" "));
        let mut child = Command::new(&self.program);
        // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
        unsafe {
            // A lab that is killed takes its command with it, or the two would meet the next lab.
            child.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        let output = child
            .args(["--netns", self.namespace, "--state-dir"])
            .arg(&self.state)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(Error::io(format!("run `{command}`")))?;
        if !output.status.success() {
            return Err(Error::Command {
                command,
                status: output.status.to_string(),
                stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            });
        }
        Ok(Printed {
            command,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        })
    }

    /// What a user types for this command.
    pub(super) fn command_line(&self, arguments: &str) -> String {
        let state = self.state.display();
        format!(
            "netpath --netns {} --state-dir {state} {arguments}",
            self.namespace
        )
    }
}
