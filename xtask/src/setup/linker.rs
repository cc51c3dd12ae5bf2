//! Ways to get a bpf-linker for a compiler's LLVM.
//!
//! Owns the version, the download of a ready-made one and the build from source. It is put in the
//! workspace's `.tools`, where nothing outside the workspace sees it.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::apt;
use crate::{
    context::{Context, output, run, step, which},
    ebpf::{Linker, linker::llvm_of},
};

/// The bpf-linker that the project is built with.
pub(crate) const VERSION: &str = "0.13.0";

/// Installs a bpf-linker that reads the bitcode of this LLVM.
pub(crate) fn install(context: &Context, llvm_major: u32) -> Result<()> {
    let tools = context.workspace.join(".tools");
    fs::create_dir_all(tools.join("bin"))
        .with_context(|| format!("cannot create {}", tools.display()))?;
    if let Err(error) = ready_made(&tools, llvm_major) {
        step(&format!("setup: no ready-made bpf-linker: {error:#}"));
        from_source(context, &tools, llvm_major)?;
    }
    let linker = Linker::installed(&context.workspace);
    let Some(found) = llvm_of(&linker) else {
        bail!("cannot tell the LLVM of {}", linker.display());
    };
    if found < llvm_major {
        bail!(
            "{} has LLVM {found}, the compiler needs {llvm_major}",
            linker.display()
        );
    }
    let stamp = Linker::stamp(&context.workspace);
    fs::write(&stamp, format!("{found}\n"))
        .with_context(|| format!("cannot write {}", stamp.display()))
}

/// Downloads the release, with cargo-binstall where it is installed, else with curl.
fn ready_made(tools: &Path, llvm_major: u32) -> Result<()> {
    step(&format!("setup: downloading bpf-linker {VERSION}"));
    if which("cargo-binstall").is_some() {
        let crate_version = format!("bpf-linker@{VERSION}");
        run(Command::new("cargo")
            .args([
                "binstall",
                "--no-confirm",
                "--disable-strategies=compile",
                "--root",
            ])
            .arg(tools)
            .arg(crate_version)
            .stdin(Stdio::null()))?;
    } else {
        let url = format!(
            "https://github.com/aya-rs/bpf-linker/releases/download/v{VERSION}/\
             bpf-linker-{}-unknown-linux-musl.tar.zst",
            env::consts::ARCH
        );
        let archive = tools.join("bpf-linker.tar.zst");
        let unpack = run(Command::new("curl")
            .args([
                "--fail",
                "--silent",
                "--show-error",
                "--location",
                "--output",
            ])
            .arg(&archive)
            .arg(url))
        .and_then(|()| {
            run(Command::new("tar")
                .args(["--zstd", "-xf"])
                .arg(&archive)
                .arg("-C")
                .arg(tools.join("bin")))
        });
        // Absent when the download failed.
        let _ = fs::remove_file(&archive);
        unpack?;
    }
    let program = tools.join("bin/bpf-linker");
    let usable = llvm_of(&program).is_some_and(|found| found >= llvm_major)
        && output(Command::new(&program).arg("--version")).is_ok();
    if !usable {
        bail!("the release does not run here or has an LLVM before {llvm_major}");
    }
    Ok(())
}

/// Builds it against an installed LLVM, or Debian's.
fn from_source(context: &Context, tools: &Path, llvm_major: u32) -> Result<()> {
    let prefix = match installed_llvm(llvm_major) {
        Some(prefix) if cxx_library() => prefix,
        _ => {
            let llvm = format!("llvm-{llvm_major}-dev");
            apt::install(&[llvm.as_str(), "g++", "zlib1g-dev"])?;
            installed_llvm(llvm_major).with_context(|| {
                format!("{llvm} is installed, but there is no llvm-config of LLVM {llvm_major}")
            })?
        }
    };
    step(&format!(
        "setup: building bpf-linker {VERSION} with {}, about a minute",
        prefix.display()
    ));
    let mut path = OsString::from(prefix.join("bin"));
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    run(context
        .cargo()
        .args([
            "install",
            "bpf-linker",
            "--version",
            VERSION,
            "--locked",
            "--force",
        ])
        .arg("--no-default-features")
        .arg(format!("--features=llvm-{llvm_major}"))
        .arg("--root")
        .arg(tools)
        .env("PATH", path)
        .env("LLVM_PREFIX", &prefix)
        // Its release profile has full debug information, a third of the time.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("CARGO_TARGET_DIR"))
}

/// Where an LLVM of this version with its development files is.
fn installed_llvm(llvm_major: u32) -> Option<PathBuf> {
    let debian = PathBuf::from(format!("/usr/lib/llvm-{llvm_major}"));
    if debian.join("bin/llvm-config").is_file() && debian.join("include/llvm").is_dir() {
        return Some(debian);
    }
    [
        format!("llvm-config-{llvm_major}"),
        "llvm-config".to_owned(),
    ]
    .iter()
    .find_map(|config| {
        let version = output(Command::new(config).arg("--version")).ok()?;
        let prefix = output(Command::new(config).arg("--prefix")).ok()?;
        let prefix = PathBuf::from(prefix.trim());
        let same = version.split('.').next()?.trim() == llvm_major.to_string();
        (same && prefix.join("include/llvm").is_dir()).then_some(prefix)
    })
}

/// Whether the C++ compiler's library, with which bpf-linker is linked, is there.
fn cxx_library() -> bool {
    which("c++").is_some() || which("g++").is_some()
}
