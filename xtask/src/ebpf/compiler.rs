//! Compilers that can build `core` for the BPF target.
//!
//! Owns where they are looked for and in which order. The user's default toolchain is never
//! changed: a compiler is called by its path.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The nightly that `setup` installs: a dated one, since unstable features change under a moving
/// name, and the program that a kernel accepts should not depend on the day of the build.
pub(crate) const PINNED_NIGHTLY: &str = "nightly-2026-05-20";

/// The environment variable that names a compiler instead of those found.
const OVERRIDE: &str = "NETPATH_BPF_RUSTC";

/// The oldest compiler of the 2024 edition that the workspace asks for (`rust-version`).
const OLDEST: (u32, u32) = (1, 88);

/// A Rust compiler whose sysroot contains the sources of `core`.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    /// The compiler itself, not a rustup proxy.
    pub(crate) rustc: PathBuf,
    /// As in `1.96.0`.
    pub(crate) release: String,
    /// The major version of the LLVM that writes its bitcode.
    pub(crate) llvm_major: u32,
}

impl Compiler {
    /// Every usable compiler, best first: the pinned nightly, Debian's, any other nightly.
    ///
    /// An override stands alone; an error says why it cannot be used.
    pub(crate) fn candidates() -> Result<Vec<Self>, String> {
        if let Some(rustc) = env::var_os(OVERRIDE) {
            let rustc = PathBuf::from(rustc);
            return match Self::inspect(&rustc) {
                Ok(compiler) => Ok(vec![compiler]),
                Err(why) => Err(format!("{OVERRIDE}={}: {why}", rustc.display())),
            };
        }
        let mut paths = Vec::new();
        let toolchains = rustup_toolchains();
        let (pinned, other): (Vec<_>, Vec<_>) = toolchains
            .into_iter()
            .partition(|(name, _)| name.starts_with(PINNED_NIGHTLY));
        paths.extend(pinned.into_iter().map(|(_, path)| path));
        paths.push(PathBuf::from("/usr"));
        paths.extend(other.into_iter().map(|(_, path)| path));
        Ok(paths
            .iter()
            .filter(|sysroot| has_sources(sysroot))
            .filter_map(|sysroot| Self::inspect(&sysroot.join("bin/rustc")).ok())
            .collect())
    }

    /// The tool of this name that was installed with the compiler.
    pub(crate) fn sibling(&self, name: &str) -> Option<PathBuf> {
        let path = self.rustc.with_file_name(name);
        path.is_file().then_some(path)
    }

    /// Asks a compiler who it is, and looks for the sources.
    fn inspect(rustc: &Path) -> Result<Self, String> {
        let version = query(rustc, &["-vV"])?;
        let field = |name: &str| {
            version
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(str::to_owned)
                .ok_or_else(|| format!("`rustc -vV` has no line `{name}`"))
        };
        let release = field("release")?;
        if numbers(&release).is_none_or(|version| version < OLDEST) {
            let (major, minor) = OLDEST;
            return Err(format!(
                "found rustc {release}, need {major}.{minor} or later"
            ));
        }
        let llvm_major = field("LLVM version")?
            .split('.')
            .next()
            .and_then(|major| major.parse().ok())
            .ok_or("`rustc -vV` has an LLVM version that is no number")?;
        let sysroot = PathBuf::from(query(rustc, &["--print", "sysroot"])?.trim());
        if !has_sources(&sysroot) {
            return Err(format!("no sources of `core` in {}", sysroot.display()));
        }
        // A rustup proxy has no tools beside it, and would obey overrides; take the real one.
        let real = sysroot.join("bin/rustc");
        let rustc = if real.is_file() {
            real
        } else {
            rustc.to_path_buf()
        };
        Ok(Self {
            rustc,
            release,
            llvm_major,
        })
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}, LLVM {})",
            self.rustc.display(),
            self.release,
            self.llvm_major
        )
    }
}

/// The nightlies that rustup has installed, `nightly` first, then by date with the latest first.
fn rustup_toolchains() -> Vec<(String, PathBuf)> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".rustup")));
    let Some(entries) = home.and_then(|home| fs::read_dir(home.join("toolchains")).ok()) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .filter(|(name, _)| name.starts_with("nightly"))
        .collect();
    // `nightly-x86_64…` sorts after `nightly-2026…`.
    found.sort_by(|a, b| b.0.cmp(&a.0));
    found
}

fn has_sources(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
}

/// Major and minor of `1.96.0` or `1.97.0-nightly`.
fn numbers(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn query(rustc: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new(rustc)
        .args(args)
        .output()
        .map_err(|error| format!("cannot run {}: {error}", rustc.display()))?;
    if !output.status.success() {
        return Err(format!(
            "{} {}: {}",
            rustc.display(),
            args.join(" "),
            output.status
        ));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{}: {error}", rustc.display()))
}
