//! The list of faults, `xtask/mutants.toml`.
//!
//! Owns its form. A fault is a text of the code that decides and what stands there instead; the text
//! occurs once, so that a change of the code which moves it is noticed at once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

const LIST: &str = "xtask/mutants.toml";

/// The crate whose code decides about packets.
const DATAPATH: &str = "netpath-common";

/// One fault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mutant {
    /// What it is called on the command line and in the report.
    pub(super) name: String,
    /// The crate that it is in.
    #[serde(default = "datapath")]
    pub(super) package: String,
    /// The file, below the sources of the crate.
    pub(super) file: String,
    /// What goes wrong.
    pub(super) breaks: String,
    find: String,
    replace: String,
}

fn datapath() -> String {
    DATAPATH.to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutant: Vec<Mutant>,
}

/// Reads the list of a workspace.
pub(super) fn read(workspace: &Path) -> Result<Vec<Mutant>> {
    let path = workspace.join(LIST);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let list: List =
        toml::from_str(&text).with_context(|| format!("cannot parse {}", path.display()))?;
    Ok(list.mutant)
}

/// Those whose name contains one of `words`, all where there are none.
pub(super) fn chosen(all: Vec<Mutant>, words: &[String]) -> Result<Vec<Mutant>> {
    let is_meant = |mutant: &Mutant, word: &String| mutant.name.contains(word.as_str());
    if let Some(word) = words
        .iter()
        .find(|word| !all.iter().any(|m| is_meant(m, word)))
    {
        bail!("no fault of {LIST} has `{word}` in its name; `cargo xtask mutants --list` has them");
    }
    let wanted = |m: &Mutant| words.is_empty() || words.iter().any(|word| is_meant(m, word));
    Ok(all.into_iter().filter(wanted).collect())
}

impl Mutant {
    /// Its file in a workspace.
    pub(super) fn path(&self, workspace: &Path) -> PathBuf {
        workspace.join(&self.package).join("src").join(&self.file)
    }

    /// The text of its file.
    pub(super) fn text(&self, workspace: &Path) -> Result<String> {
        let path = self.path(workspace);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The text with the fault.
    pub(super) fn apply(&self, text: &str) -> Result<String> {
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.replace, 1)),
            found => bail!(
                "{LIST}: the text of `{}` occurs {found} times in {}, not once",
                self.name,
                self.file
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn workspace() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    fn fault(find: &str) -> Mutant {
        Mutant {
            name: "a-fault".to_owned(),
            package: datapath(),
            file: "a.rs".to_owned(),
            breaks: String::new(),
            find: find.to_owned(),
            replace: "b".to_owned(),
        }
    }

    #[test]
    fn every_fault_fits_the_code() {
        let all = read(workspace()).unwrap();
        assert!(all.len() >= 40, "{} faults", all.len());
        let mut names = HashSet::new();
        for mutant in &all {
            assert!(names.insert(&mutant.name), "two are called {}", mutant.name);
            assert!(!mutant.breaks.is_empty(), "{}", mutant.name);
            let text = mutant.text(workspace()).unwrap();
            assert_ne!(mutant.apply(&text).unwrap(), text, "{}", mutant.name);
        }
    }

    #[test]
    fn a_text_that_is_not_there_once_is_refused() {
        assert_eq!(fault("a").apply("cat").unwrap(), "cbt");
        assert!(fault("a").apply("dog").is_err());
        assert!(fault("a").apply("banana").is_err());
    }

    #[test]
    fn names_are_chosen_by_a_part_of_them() {
        let all = || vec![fault("a")];
        assert_eq!(chosen(all(), &[]).unwrap().len(), 1);
        assert_eq!(chosen(all(), &["fault".to_owned()]).unwrap().len(), 1);
        assert!(chosen(all(), &["other".to_owned()]).is_err());
    }
}
