//! `netpath import`: the rules of others as a configuration.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde::Serialize as _;

use super::{Error, output};
use crate::import::{Import, import};

/// Whose rules.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Turn what `iptables-save` and `ip6tables-save` print into a configuration
    ///
    /// The configuration goes to standard output. What it does not express is listed line by line, on
    /// standard error and at its end. Exit status: 0 when everything is expressed, 1 when lines remain.
    Iptables(Args),
}

/// Options of `import iptables`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file; `-`, or left out: standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Write the configuration to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Whether everything was expressed. Needs no instance, no privileges and no particular kernel.
///
/// # Errors
/// A file cannot be read or written.
pub fn run(command: &Command, json: bool) -> Result<bool, Error> {
    let Command::Iptables(args) = command;
    let bytes = read(&args.file)?;
    let found = import(&String::from_utf8_lossy(&bytes))?;
    if let Some(path) = &args.output {
        write(path, &found.config).map_err(|source| Error::File {
            what: "write",
            path: path.clone(),
            source,
        })?;
    }
    if json {
        let value = found.serialize(serde_json::value::Serializer)?;
        output::json(&value)?;
    } else if args.output.is_none() {
        output::lines(found.config.lines())?;
    }
    summary(&found)?;
    Ok(found.left.is_empty())
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let done = if path == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        fs::read(path).map(|read| bytes = read)
    };
    done.map(|()| bytes).map_err(|source| Error::File {
        what: "read",
        path: path.to_owned(),
        source,
    })
}

/// Writes a file whole or not at all; a device or a pipe as it is.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return fs::OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(text.as_bytes());
    }
    // What a link leads to is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut beside = path.clone().into_os_string();
    beside.push(format!(".{}", std::process::id()));
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

fn summary(found: &Import) -> io::Result<()> {
    let mut err = io::stderr().lock();
    for l in &found.left {
        writeln!(err, "line {}: {}\n    {}", l.line, l.rule, l.why())?;
    }
    let left = found.left.len() - found.dropped;
    let (used, implied) = (found.used, found.implied.len());
    writeln!(
        err,
        "rules of the nat table: {used} expressed, {implied} implied, {left} left"
    )?;
    let others = found.others.iter().filter(|(_, n)| **n > 0);
    for (table, n) in others {
        let mut but_for = String::new();
        if table == "filter" && found.noticed > 0 {
            but_for += &format!(", {} of them told of networks", found.noticed);
        }
        if table == "filter" && found.dropped > 0 {
            but_for += &format!(", {} of them listed above", found.dropped);
        }
        writeln!(
            err,
            "rules of table {table}: {n}, not netpath's business{but_for}"
        )?;
    }
    Ok(())
}
