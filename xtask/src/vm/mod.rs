//! x
use crate::context::Context;
use anyhow::Result;
#[derive(clap::Args)]
pub(crate) struct Options {
    kernel: String,
}
pub(crate) fn vm(_c: &Context, o: &Options) -> Result<std::process::ExitCode> {
    let _ = &o.kernel;
    Ok(std::process::ExitCode::SUCCESS)
}
