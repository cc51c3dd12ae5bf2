//! Network namespaces of the tests.
//!
//! Owns their names, unique to the test process, and entering them. Making and removing is the
//! lab's, in [`netpath::lab::netns`].

use std::{
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

pub use netpath::lab::Namespace;

/// A prefix that no other test, in this process or another, uses.
#[must_use]
pub fn unique_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "npt{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Runs `work` in `namespace`.
///
/// # Panics
/// When the namespace cannot be entered, and when `work` panics.
#[track_caller]
pub fn within<T: Send>(namespace: &Namespace, work: impl FnOnce() -> T + Send) -> T {
    namespace.run(work).unwrap()
}

/// Runs a program in `namespace`.
///
/// # Panics
/// When it cannot be started.
#[track_caller]
pub fn command(namespace: &Namespace, program: &str, arguments: &[&str]) -> Output {
    within(namespace, || {
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        Command::new(program)
            .args(arguments)
            .env("PATH", path)
            .output()
    })
    .unwrap_or_else(|error| panic!("cannot run {program}: {error}"))
}

/// What a program printed in `namespace`.
///
/// # Panics
/// When it fails.
#[track_caller]
pub fn stdout(namespace: &Namespace, program: &str, arguments: &[&str]) -> String {
    let output = command(namespace, program, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?} failed: {errors}"
    );
    String::from_utf8(output.stdout).unwrap()
}
