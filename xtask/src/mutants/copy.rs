//! The copy of the workspace that faults are put into.
//!
//! Owns `target/mutants`: the sources that git knows or would know, and what is built of them. Both
//! stay between runs, so that only what differs is built again.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::context::{Context, output};

/// The copy.
pub(super) struct Copy {
    root: PathBuf,
    target: PathBuf,
}

impl Copy {
    /// Makes it what the workspace is.
    pub(super) fn new(context: &Context) -> Result<Self> {
        let base = context.target_dir.join("mutants");
        let copy = Self {
            root: base.join("sources"),
            target: base.join("build"),
        };
        let files = sources(&context.workspace)?;
        for file in &files {
            let from = context.workspace.join(file);
            let bytes =
                fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
            let to = copy.root.join(file);
            // A file that is as it was keeps its time, and what was built of it.
            if fs::read(&to).is_ok_and(|old| old == bytes) {
                continue;
            }
            write(&to, &bytes)?;
        }
        let files = files.into_iter().map(|file| copy.root.join(file)).collect();
        prune(&copy.root, &files)
            .with_context(|| format!("cannot clean up {}", copy.root.display()))?;
        Ok(copy)
    }

    /// The workspace of the copy.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Its target directory.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }
}

/// The files of the workspace, those that are not committed yet among them.
fn sources(workspace: &Path) -> Result<Vec<PathBuf>> {
    let words = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--deduplicate",
    ];
    let names = output(Command::new("git").args(words).current_dir(workspace))?;
    let files = names.split('\0').filter(|name| !name.is_empty());
    // One that is deleted but not committed is still listed.
    let there = |file: &PathBuf| workspace.join(file).is_file();
    Ok(files.map(PathBuf::from).filter(there).collect())
}

/// Writes a file, with the directories to it.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let all = || -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, bytes)
    };
    all().with_context(|| format!("cannot write {}", path.display()))
}

/// Removes every file that is not one of `files`.
fn prune(directory: &Path, files: &HashSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            prune(&path, files)?;
        } else if !files.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_knows_is_copied_and_the_target_directory_is_not() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let files = sources(workspace).unwrap();
        assert!(files.contains(&PathBuf::from("xtask/src/mutants/copy.rs")));
        assert!(!files.iter().any(|file| file.starts_with("target")));
    }
}
