//! `run`: the program, as root.

use std::{os::unix::process::CommandExt as _, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    build,
    context::{Context, as_root, prefixed, show},
};

/// Builds netpath and becomes it.
pub(crate) fn run(context: &Context, arguments: &[String]) -> Result<ExitCode> {
    let program = build::netpath(context, false)?;
    let prefix = as_root("netpath")?;
    let mut command = prefixed(&prefix, &program);
    if arguments.is_empty() {
        command.arg("lab");
    }
    command.args(arguments);
    // Replacing this process leaves signals and the exit status to netpath alone.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run `{}`", show(&command)))
}
