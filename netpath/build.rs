//! Builds the eBPF object and hands it to the program.
//!
//! Without the tools for it the program is built all the same; it then says so when it is asked to
//! load the datapath. How the object is built is xtask's business, shared by including its files.

#[path = "../xtask/src/ebpf/mod.rs"]
mod ebpf;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

fn main() -> ExitCode {
    println!("cargo:rustc-check-cfg=cfg(netpath_ebpf)");
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the object and names it to the compiler.
fn embed() -> Result<(), String> {
    let variable = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .ok_or(format!("cargo did not set {name}"))
    };
    let manifest = variable("CARGO_MANIFEST_DIR")?;
    let out = variable("OUT_DIR")?;
    let workspace = manifest
        .parent()
        .ok_or("netpath is not inside the workspace")?;
    watch(workspace);

    let toolchain = match ebpf::Toolchain::find(workspace) {
        Ok(toolchain) => toolchain,
        Err(missing) => {
            println!(
                "cargo:warning=built without the eBPF datapath: {missing}. Run `cargo xtask setup`"
            );
            // A file that is not there makes cargo ask again on every build.
            println!("cargo:rerun-if-changed={}", out.join("retry").display());
            return Ok(());
        }
    };
    println!(
        "cargo:rerun-if-changed={}",
        toolchain.compiler.rustc.display()
    );
    println!("cargo:rerun-if-changed={}", toolchain.linker.path.display());

    let target_dir = target_dir(&out).unwrap_or_else(|| workspace.join("target"));
    let object = ebpf::Build {
        toolchain: &toolchain,
        workspace,
        target_dir: &target_dir,
    }
    .object()
    .map_err(|error| error.to_string())?;
    // A copy, so that a build with other settings cannot change it under this one.
    let embedded = out.join("netpath-ebpf.o");
    fs::copy(&object, &embedded)
        .map_err(|error| format!("cannot copy {}: {error}", object.display()))?;
    println!("cargo:rustc-env=NETPATH_EBPF_OBJECT={}", embedded.display());
    println!("cargo:rustc-cfg=netpath_ebpf");
    Ok(())
}

/// Names what the object depends on.
fn watch(workspace: &Path) {
    const INPUTS: [&str; 7] = [
        "Cargo.toml",
        "Cargo.lock",
        "netpath-common/Cargo.toml",
        "netpath-common/src",
        "netpath-ebpf/Cargo.toml",
        "netpath-ebpf/src",
        "xtask/src/ebpf",
    ];
    for input in INPUTS {
        println!("cargo:rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo:rerun-if-env-changed=NETPATH_BPF_RUSTC");
    println!("cargo:rerun-if-env-changed=NETPATH_BPF_LINKER");
}

/// The target directory that contains cargo's output directory of this crate.
fn target_dir(out: &Path) -> Option<PathBuf> {
    out.ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .map(Path::to_path_buf)
}
