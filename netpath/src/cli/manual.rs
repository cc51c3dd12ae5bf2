//! `netpath completions` and `netpath man`: what a package installs beside the program.
//!
//! Owns no text: both are made of the commands' own help. Needs neither root nor a kernel.

use std::{fs, io, path::PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Error, output};

/// Options of `completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Options of `man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The directory to write them to; it is made if need be
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Prints the completions of a shell.
///
/// # Errors
/// Standard output is closed.
pub fn completions(args: &CompletionsArgs) -> Result<(), Error> {
    output::lines(script(args.shell).lines())
}

fn script(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "netpath", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Writes a manual page for the program and for each of its commands.
///
/// # Errors
/// A file cannot be written.
pub fn man(args: &ManArgs) -> Result<(), Error> {
    fs::create_dir_all(&args.directory)?;
    for (name, page) in pages()? {
        fs::write(args.directory.join(name), page)?;
    }
    Ok(())
}

/// Every page with the name of its file.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    collect(&root, "netpath", &mut pages)?;
    Ok(pages)
}

fn collect(
    command: &clap::Command,
    name: &str,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> io::Result<()> {
    let titled = command.clone().display_name(name.to_owned());
    let page = clap_mangen::Man::new(titled).title(name.to_uppercase());
    let mut text = Vec::new();
    page.render(&mut text)?;
    pages.push((format!("{name}.1"), text));
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        collect(sub, &format!("{name}-{}", sub.get_name()), pages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    /// The words of every command that users see.
    fn commands() -> Vec<Vec<String>> {
        fn walk(command: &clap::Command, words: &[String], all: &mut Vec<Vec<String>>) {
            for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
                let words = [words, &[sub.get_name().to_owned()]].concat();
                all.push(words.clone());
                walk(sub, &words, all);
            }
        }
        let mut all = Vec::new();
        walk(&Cli::command(), &[], &mut all);
        assert!(all.len() > 20, "{all:?}");
        all
    }

    #[test]
    fn every_command_has_a_page_of_its_own() {
        let pages = pages().unwrap();
        assert!(pages.iter().any(|(name, _)| name == "netpath.1"));
        for words in commands() {
            let name = format!("netpath-{}.1", words.join("-"));
            let (_, page) = pages
                .iter()
                .find(|(n, _)| *n == name)
                .unwrap_or_else(|| panic!("{name}"));
            let page = String::from_utf8_lossy(page);
            assert!(
                page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"),
                "{name}"
            );
            // What it does is said behind its name.
            assert!(page.contains(" \\- "), "{name}: {page}");
        }
        assert!(!pages.iter().any(|(name, _)| name == "netpath-man.1"));
    }

    #[test]
    fn every_shell_completes_every_command() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for words in commands() {
                let last = words.last().unwrap();
                assert!(script.contains(last.as_str()), "{shell}: {words:?}");
            }
        }
    }
}
