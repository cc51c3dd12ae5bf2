//! `verifier`: what the kernel's verifier says about each program.
//!
//! Owns the way there only. The loading is a program of its own, since it needs root and libraries
//! that no other command needs.

use anyhow::Result;

use crate::{
    build,
    context::{Context, as_root, prefixed, run},
};

/// Builds the object and has it loaded.
pub(crate) fn verifier(context: &Context) -> Result<()> {
    let object = build::object(context)?;
    let program = context.target_dir.join("debug/xtask-verifier");
    let arguments = [
        "build",
        "--package=xtask",
        "--features=verifier",
        "--bin=xtask-verifier",
    ];
    run(context.cargo().args(arguments))?;
    let prefix = as_root("loading eBPF programs")?;
    run(prefixed(&prefix, program).arg(object))
}
