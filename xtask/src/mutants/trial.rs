//! Building and running the host's tests in the copy.
//!
//! Owns which tests are asked, in which order, and the reading of their output.

use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

use super::copy::Copy;
use crate::context::{Context, show};

/// Test programs, as words for `cargo test`, and which of their tests.
struct Stage {
    programs: &'static [&'static str],
    tests: &'static [&'static str],
}

/// The tests of the datapath's decisions. What is cheap and notices most first: few faults get beyond that.
const DATAPATH: &[Stage] = &[
    Stage {
        programs: &["--lib", "--test=packet6", "--test=datapath"],
        tests: &["--skip=port_choice::", "--skip=xdp_model::"],
    },
    Stage {
        programs: &["--test=datapath"],
        tests: &["port_choice::", "xdp_model::"],
    },
    Stage {
        programs: &["--test=cases"],
        tests: &[],
    },
    Stage {
        programs: &["--test=model"],
        tests: &[],
    },
];

/// Those of user space's that need neither root nor a kernel.
const USER: &[Stage] = &[Stage {
    programs: &["--lib"],
    tests: &[],
}];

/// The tests of a crate, and what they are built with.
fn stages(package: &str) -> Result<(&'static [Stage], &'static [&'static str])> {
    match package {
        "netpath-common" => Ok((DATAPATH, &["--features=testing"])),
        "netpath" => Ok((USER, &[])),
        other => bail!("no tests are known for a fault of `{other}`"),
    }
}

/// Names of tests in a report.
const NAMED: usize = 3;

/// The tests of a copy.
pub(super) struct Trial<'a> {
    pub(super) context: &'a Context,
    pub(super) copy: &'a Copy,
    /// Seconds that one stage may take.
    pub(super) limit: u32,
}

/// What the tests made of the copy.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// One failed, or did not end.
    Caught(String),
    /// All passed.
    Missed,
    /// They do not build; what the compiler says.
    Unbuilt(String),
}

impl Trial<'_> {
    /// Builds and tests a crate of the copy as it is, until something fails.
    pub(super) fn run(&self, package: &str) -> Result<Outcome> {
        let (stages, features) = stages(package)?;
        for stage in stages {
            let words = || {
                let package = format!("--package={package}");
                let words = features.iter().chain(stage.programs);
                let words = words.map(|word| (*word).to_owned());
                std::iter::once(package).chain(words)
            };
            let mut cargo = self.cargo(self.context.cargo());
            let built = execute(cargo.args(words()).arg("--no-run"))?;
            if !built.status.success() {
                return Ok(Outcome::Unbuilt(
                    String::from_utf8_lossy(&built.stderr).into_owned(),
                ));
            }
            // A fault may make a test run for ever: timeout(1) ends cargo and the test with it.
            let mut limited = Command::new("timeout");
            limited.arg("--signal=KILL").arg(self.limit.to_string());
            let cargo = self.context.cargo();
            limited.arg(cargo.get_program());
            for (name, value) in cargo.get_envs() {
                match value {
                    Some(value) => limited.env(name, value),
                    None => limited.env_remove(name),
                };
            }
            let mut tests = self.cargo(limited);
            let tested = execute(tests.args(words()).arg("--").args(stage.tests))?;
            if !tested.status.success() {
                return Ok(Outcome::Caught(by(&tested)));
            }
        }
        Ok(Outcome::Missed)
    }

    /// `cargo test` in the copy.
    fn cargo(&self, mut cargo: Command) -> Command {
        cargo
            .current_dir(self.copy.root())
            .arg("test")
            .env("CARGO_TARGET_DIR", self.copy.target())
            // Nobody debugs it, and it builds sooner.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            // Nobody reads the smallest case that fails.
            .env("PROPTEST_MAX_SHRINK_ITERS", "0");
        cargo
    }
}

fn execute(command: &mut Command) -> Result<Output> {
    let name = show(command);
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{name}`"))
}

/// What failed.
fn by(tested: &Output) -> String {
    let stdout = String::from_utf8_lossy(&tested.stdout);
    let failed: Vec<_> = stdout.lines().filter_map(failed_test).collect();
    if failed.is_empty() {
        return format!("no test by name, but they ended with {}", tested.status);
    }
    let more = failed.len().saturating_sub(NAMED);
    let named = failed[..failed.len() - more].join(", ");
    if more == 0 {
        named
    } else {
        format!("{named} and {more} more")
    }
}

/// The test that libtest says has failed in this line.
fn failed_test(line: &str) -> Option<&str> {
    let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
    // One that is to panic has more to its name.
    name.split(" - ").next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_read_from_the_lines_of_libtest() {
        assert_eq!(
            failed_test("test ports::order ... FAILED"),
            Some("ports::order")
        );
        assert_eq!(
            failed_test("test a - should panic ... FAILED"),
            Some("a"),
            "with a remark"
        );
        for line in [
            "test ports::order ... ok",
            "test result: FAILED. 1 passed; 1 failed",
            "---- ports::order stdout ----",
        ] {
            assert_eq!(failed_test(line), None, "{line}");
        }
    }
}
