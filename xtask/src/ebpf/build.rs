//! Building the eBPF object.
//!
//! Owns the inner cargo's command line and environment, and the check of what it made.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use super::{Toolchain, elf};

const TARGET: &str = "bpfel-unknown-none";
const PROFILE: &str = "bpf";

/// How to build the object of this workspace.
pub(crate) struct Build<'a> {
    /// What it is built with.
    pub(crate) toolchain: &'a Toolchain,
    /// The root of the workspace.
    pub(crate) workspace: &'a Path,
    /// Cargo's target directory; the object gets a directory of its own below it, since the outer
    /// cargo holds the lock of the others.
    pub(crate) target_dir: &'a Path,
}

/// Why there is no object.
#[derive(Debug)]
pub(crate) enum BuildError {
    /// The inner cargo could not be started.
    Start(PathBuf, io::Error),
    /// The inner cargo failed; it has said why on standard error.
    Failed(ExitStatus),
    /// The object cannot be read.
    Read(PathBuf, io::Error),
    /// The object contains panicking code, which no kernel loads.
    Panics(PathBuf, Vec<String>),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(cargo, error) => write!(f, "cannot run {}: {error}", cargo.display()),
            Self::Failed(status) => {
                write!(
                    f,
                    "building netpath-ebpf failed ({status}); see the messages above"
                )
            }
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Panics(path, symbols) => write!(
                f,
                "{} can panic, and no kernel loads such a program: it contains {}. Look for \
                 indexing, division by a variable, `unwrap` and slices of variable length, and \
                 use `get`, `checked_*` and iterators",
                path.display(),
                symbols.join(", ")
            ),
        }
    }
}

impl std::error::Error for BuildError {}

impl Build<'_> {
    /// Builds the object and says where it is.
    pub(crate) fn object(&self) -> Result<PathBuf, BuildError> {
        let mut command = self.cargo("build");
        let status = command
            .args(["--package", "netpath-ebpf"])
            .status()
            .map_err(|error| BuildError::Start(command.get_program().into(), error))?;
        if !status.success() {
            return Err(BuildError::Failed(status));
        }
        let object = self
            .target_dir
            .join("ebpf")
            .join(TARGET)
            .join(PROFILE)
            .join("netpath-ebpf");
        let bytes = fs::read(&object).map_err(|error| BuildError::Read(object.clone(), error))?;
        let symbols: Vec<_> = elf::strings(&bytes, ".strtab")
            .map(String::from_utf8_lossy)
            .filter(|name| name.contains("panic") || name.contains("rust_begin_unwind"))
            .map(String::from)
            .collect();
        if symbols.is_empty() {
            Ok(object)
        } else {
            Err(BuildError::Panics(object, symbols))
        }
    }

    /// A cargo command for the BPF target, with nothing of the outer cargo in its environment.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let Toolchain { compiler, linker } = self.toolchain;
        let cargo = compiler
            .sibling("cargo")
            .or_else(|| env::var_os("CARGO").map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from("cargo"));
        let mut rustflags = OsString::from("-Cdebuginfo=2\u{1f}-Clinker=");
        rustflags.push(&linker.path);
        rustflags.push("\u{1f}-Clink-arg=--btf\u{1f}-Clink-arg=--disable-expand-memcpy-in-order\u{1f}-Ctarget-cpu=v3");

        let mut command = Command::new(cargo);
        for (name, _) in env::vars_os() {
            if leaks(&name) {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.workspace)
            .arg(subcommand)
            .args([
                "--locked",
                "--profile",
                PROFILE,
                "--target",
                TARGET,
                "-Zbuild-std=core",
            ])
            .env("RUSTC", &compiler.rustc)
            // Permits unstable flags and features whatever the compiler's channel.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags)
            .env("CARGO_TARGET_DIR", self.target_dir.join("ebpf"));
        command
    }
}

/// Whether a variable belongs to the outer cargo or to the user's settings for host programs.
fn leaks(name: &OsStr) -> bool {
    const KEPT: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_TERM_",
    ];
    let Some(name) = name.to_str() else {
        return false;
    };
    match name {
        // Cargo adds the libraries of its own compiler, which may carry the names of this one's.
        "LD_LIBRARY_PATH" | "MAKEFLAGS" | "MFLAGS" | "RUSTFLAGS" | "RUSTUP_TOOLCHAIN" => true,
        _ if name.starts_with("RUSTC") || name.starts_with("RUSTDOC") => true,
        _ if name.starts_with("CLIPPY_") => true,
        _ => name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept)),
    }
}
