//! Finds the tools that build the eBPF object, and builds it.
//!
//! Owns the choice of compiler and linker and the command line that uses them. Installs nothing:
//! `setup` does. Uses the standard library only, because `netpath/build.rs` includes these files.

mod build;
mod compiler;
pub(crate) mod elf;
pub(crate) mod linker;

use std::{fmt, path::Path};

pub(crate) use self::{
    build::Build,
    compiler::{Compiler, PINNED_NIGHTLY},
    linker::Linker,
};

/// A compiler with the sources of `core`, and a linker that reads its bitcode.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// Compiles the crates to LLVM bitcode.
    pub(crate) compiler: Compiler,
    /// Makes the object from the bitcode.
    pub(crate) linker: Linker,
}

/// Why no complete toolchain was found.
#[derive(Debug)]
pub(crate) enum Missing {
    /// No compiler that has the sources of `core`.
    Compiler,
    /// No bpf-linker for this compiler.
    Linker(Compiler),
    /// An override in the environment cannot be used.
    Override(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compiler => write!(
                f,
                "no Rust compiler with the sources of `core` (rustup's {PINNED_NIGHTLY} with \
                 rust-src, or Debian's rustc-web with rust-web-src)"
            ),
            Self::Linker(compiler) => write!(
                f,
                "no bpf-linker with LLVM {} or later, which {} needs",
                compiler.llvm_major,
                compiler.rustc.display()
            ),
            Self::Override(message) => f.write_str(message),
        }
    }
}

impl Toolchain {
    /// The first compiler that has a linker to go with it.
    pub(crate) fn find(workspace: &Path) -> Result<Self, Missing> {
        let mut without_linker = None;
        for compiler in Compiler::candidates().map_err(Missing::Override)? {
            if let Some(linker) =
                Linker::find(workspace, compiler.llvm_major).map_err(Missing::Override)?
            {
                return Ok(Self { compiler, linker });
            }
            without_linker.get_or_insert(compiler);
        }
        Err(without_linker.map_or(Missing::Compiler, Missing::Linker))
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.compiler, self.linker)
    }
}
