//! Loud skips: a test that cannot run says so, on its output and in a file.
//!
//! Owns the list in the file that `NETPATH_SKIP_LOG` names, which `cargo xtask test` counts.

use std::{
    env,
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
};

/// Whether `tool` is not on the PATH; then the caller returns, and the skip is on record.
#[must_use]
pub fn missing(tool: &str) -> bool {
    if on_path(tool) {
        return false;
    }
    record(&format!("{tool} is not installed"));
    true
}

/// Whether the kernel is older than this version; then the caller returns, and the skip is on record.
///
/// # Panics
/// When the kernel does not tell.
#[must_use]
pub fn older_than(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().unwrap().unwrap();
    let found: (u32, u32) = (next(), next());
    if found >= (major, minor) {
        return false;
    }
    record(&format!(
        "the kernel is {}, this needs {major}.{minor}",
        release.trim()
    ));
    true
}

/// Puts a skip on record. The name of the test is the name of its thread.
pub fn record(why: &str) {
    let thread = std::thread::current();
    let line = format!("SKIPPED: {}: {why}", thread.name().unwrap_or("a test"));
    println!("{line}");
    let Some(log) = env::var_os("NETPATH_SKIP_LOG") else {
        return;
    };
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .unwrap();
    writeln!(file, "{line}").unwrap();
}

fn on_path(tool: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // Administrators' tools are not on every root's PATH.
    let places = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places
        .into_iter()
        .any(|place| Path::new(&place).join(OsStr::new(tool)).is_file())
}
