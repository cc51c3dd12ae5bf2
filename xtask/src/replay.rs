//! `replay`: captures through the eBPF programs, and the time that they take.
//!
//! Owns the way there only. The replay is a program of its own, since it needs root and libraries
//! that no other command needs; it has the command line.

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    build,
    context::{Context, as_root, prefixed, run, show},
};

/// Names the object to the program.
const OBJECT: &str = "NETPATH_EBPF_OBJECT_PATH";

/// Builds the object and the replay, and runs it; its exit status is the verdict.
pub(crate) fn replay(context: &Context, arguments: &[OsString]) -> Result<ExitCode> {
    let object = build::object(context)?;
    let program = context.target_dir.join("debug/xtask-replay");
    let build = [
        "build",
        "--quiet",
        "--package=xtask",
        "--features=replay",
        "--bin=xtask-replay",
    ];
    run(context.cargo().args(build))?;
    let asks_for_help = arguments
        .iter()
        .any(|word| word == "--help" || word == "-h");
    let prefix = if asks_for_help {
        Vec::new()
    } else {
        as_root("running eBPF programs")?
    };
    // sudo drops variables of the environment, but not those that `env` sets.
    let mut command = prefixed(&prefix, "env");
    let mut variable = OsString::from(format!("{OBJECT}="));
    variable.push(object);
    command.arg(variable).arg(program).args(arguments);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{}`", show(&command)))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(
            status
                .code()
                .and_then(|code| code.try_into().ok())
                .unwrap_or(1),
        )
    })
}
