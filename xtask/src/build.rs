//! `build`: the eBPF object, then the program that contains it.
//!
//! Owns the order of the two. netpath's build script would build the object too, but in silence.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    context::{Context, run},
    ebpf::Build,
    setup,
};

/// Builds the eBPF object and says where it is.
pub(crate) fn object(context: &Context) -> Result<PathBuf> {
    let toolchain = setup::toolchain(context)?;
    let build = Build {
        toolchain: &toolchain,
        workspace: &context.workspace,
        target_dir: &context.target_dir,
    };
    Ok(build.object()?)
}

/// Builds the program and says where it is.
pub(crate) fn netpath(context: &Context, release: bool) -> Result<PathBuf> {
    object(context)?;
    let mut cargo = context.cargo();
    cargo.args(["build", "--package", "netpath"]);
    if release {
        cargo.arg("--release");
    }
    run(&mut cargo)?;
    Ok(context.netpath(if release { "release" } else { "debug" }))
}
