//! What every Rust file has to look like.
//!
//! Owns the limit on a file's length and the demand that it says what it is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::context::Context;

/// Lines that a file may have: more is a sign of two subjects in one file.
const LONGEST: usize = 400;

/// Directories of the workspace that hold no sources of the project.
const NOT_OURS: [&str; 3] = ["target", ".tools", ".git"];

/// Checks every Rust file of the workspace.
pub(crate) fn check(context: &Context) -> Result<()> {
    let mut files = Vec::new();
    for entry in read_dir(&context.workspace)? {
        let ours = entry
            .file_name()
            .is_some_and(|name| NOT_OURS.iter().all(|it| name != *it));
        if ours && entry.is_dir() {
            collect(&entry, &mut files)?;
        }
    }
    let mut faults = Vec::new();
    for file in &files {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file
            .strip_prefix(&context.workspace)
            .unwrap_or(file)
            .display();
        faults.extend(
            judge(&text)
                .into_iter()
                .map(|fault| format!("{name}: {fault}")),
        );
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// What is wrong with a file.
fn judge(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST {
        faults.push(format!("{lines} lines; split it, {LONGEST} is the limit"));
    }
    if !text.starts_with("//! ") {
        faults.push("begins without `//!` and what the file owns".to_owned());
    }
    faults
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for path in read_dir(dir)? {
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn read_dir(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let mut paths: Vec<_> = fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        paths.sort();
        Ok(paths)
    };
    read().with_context(|| format!("cannot list {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_documented_short_file_is_good() {
        assert_eq!(
            judge("//! One thing.\nfn main() {}\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn length_and_silence_are_faults() {
        assert_eq!(judge("fn main() {}\n").len(), 1);
        assert_eq!(judge(&"// line\n".repeat(LONGEST + 1)).len(), 2);
    }
}
