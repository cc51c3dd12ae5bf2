//! The bpf-linker that makes an object of the compiler's bitcode.
//!
//! Owns where it is looked for and how the LLVM inside it is told. Installs nothing.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

use super::elf;

/// The environment variable that names a linker instead of those found.
const OVERRIDE: &str = "NETPATH_BPF_LINKER";

/// A bpf-linker.
#[derive(Clone, Debug)]
pub(crate) struct Linker {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The major version of its LLVM, where it can be told.
    pub(crate) llvm_major: Option<u32>,
}

impl Linker {
    /// Where `setup` installs it.
    pub(crate) fn installed(workspace: &Path) -> PathBuf {
        workspace.join(".tools/bin/bpf-linker")
    }

    /// The file beside it with its LLVM's major version, which spares reading the program.
    pub(crate) fn stamp(workspace: &Path) -> PathBuf {
        workspace.join(".tools/bpf-linker.llvm")
    }

    /// The first linker that reads bitcode of this LLVM: the override, `setup`'s, those on PATH.
    ///
    /// LLVM reads the bitcode of older versions, not of newer ones. A linker whose LLVM cannot be
    /// told is used only when the override names it.
    pub(crate) fn find(workspace: &Path, llvm_major: u32) -> Result<Option<Self>, String> {
        if let Some(path) = env::var_os(OVERRIDE) {
            let path = PathBuf::from(path);
            if !path.is_file() {
                return Err(format!("{OVERRIDE}={}: no such file", path.display()));
            }
            let llvm_major = llvm_of(&path);
            return Ok(Some(Self { path, llvm_major }));
        }
        let ours = Self::installed(workspace);
        let stamped = fs::read_to_string(Self::stamp(workspace))
            .ok()
            .and_then(|stamp| stamp.trim().parse().ok());
        let on_path = env::var_os("PATH").unwrap_or_default();
        let on_path = env::split_paths(&on_path).map(|dir| dir.join("bpf-linker"));
        let found = std::iter::once((ours, stamped))
            .chain(on_path.map(|path| (path, None)))
            .filter(|(path, _)| path.is_file())
            .map(|(path, stamped)| {
                let llvm_major = stamped.or_else(|| llvm_of(&path));
                Self { path, llvm_major }
            })
            .find(|linker| linker.llvm_major.is_some_and(|major| major >= llvm_major));
        Ok(found)
    }
}

impl fmt::Display for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        match self.llvm_major {
            Some(major) => write!(f, " (LLVM {major})"),
            None => write!(f, " (LLVM unknown)"),
        }
    }
}

/// The LLVM of a linker: from the shared library that it needs, or from the version that LLVM
/// writes into bitcode, which a statically linked one contains.
pub(crate) fn llvm_of(program: &Path) -> Option<u32> {
    let bytes = fs::read(program).ok()?;
    let shared = elf::strings(&bytes, ".dynstr")
        .find_map(|name| leading_number(name.strip_prefix(b"libLLVM.so.".as_slice())?))
        .or_else(|| {
            elf::strings(&bytes, ".dynstr")
                .find_map(|name| leading_number(name.strip_prefix(b"libLLVM-".as_slice())?))
        });
    shared.or_else(|| {
        elf::strings(&bytes, ".rodata").find_map(|text| {
            let version = text.strip_prefix(b"LLVM".as_slice())?;
            version
                .contains(&b'.')
                .then(|| leading_number(version))
                .flatten()
        })
    })
}

fn leading_number(text: &[u8]) -> Option<u32> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(text.get(..digits)?).ok()?.parse().ok()
}
