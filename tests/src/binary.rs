//! The netpath program under test.
//!
//! Owns finding it: `NETPATH_BIN`, else next to the tests in the target directory.

use std::{env, path::PathBuf};

/// Its path.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn netpath() -> PathBuf {
    if let Some(path) = env::var_os("NETPATH_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "NETPATH_BIN={} is no file", path.display());
        return path;
    }
    // target/PROFILE/deps/netns-HASH
    let tests = env::current_exe().unwrap();
    let profile = tests.ancestors().nth(2).unwrap();
    let target = profile.parent().unwrap();
    [
        profile.join("netpath"),
        target.join("debug/netpath"),
        target.join("release/netpath"),
    ]
    .into_iter()
    .find(|path| path.is_file())
    .unwrap_or_else(|| {
        panic!(
            "no netpath program in {}: run `cargo xtask build`",
            target.display()
        )
    })
}
