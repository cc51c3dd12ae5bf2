//! How a user names a network namespace: by name, by path or by process.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// Where `ip netns` keeps its names.
const NETNS_DIR: &str = "/run/netns";

/// A network namespace as the user named it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetnsRef(String);

/// How a namespace begins that nobody has named yet: what `netpath import` writes.
pub const FILL_IN: &str = "FILL-IN";

impl NetnsRef {
    /// The place of a namespace that has to be filled in.
    #[must_use]
    pub fn fill_in(container: &str) -> Self {
        Self(format!("{FILL_IN}-{container}"))
    }

    /// Whether it is one that has to be filled in.
    #[must_use]
    pub fn is_to_fill_in(&self) -> bool {
        self.0.starts_with(FILL_IN)
    }

    /// The file that stands for the namespace.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        if self.0.starts_with('/') {
            PathBuf::from(&self.0)
        } else {
            Path::new(NETNS_DIR).join(&self.0)
        }
    }

    /// The name under `/run/netns`, if it is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let name = ["/run/netns/", "/var/run/netns/"]
            .iter()
            .find_map(|dir| self.0.strip_prefix(dir))
            .unwrap_or(&self.0);
        (!name.contains('/')).then_some(name)
    }
}

impl FromStr for NetnsRef {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        if s.starts_with('/') || (!s.is_empty() && !s.contains('/') && s != "." && s != "..") {
            return Ok(Self(s.to_owned()));
        }
        Err(
            "a namespace is a name under /run/netns, or an absolute path such as /proc/PID/ns/net"
                .into(),
        )
    }
}

impl fmt::Display for NetnsRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for NetnsRef {
    type Error = String;

    fn try_from(s: String) -> Result<Self, String> {
        s.parse()
    }
}

impl From<NetnsRef> for String {
    fn from(n: NetnsRef) -> Self {
        n.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let name: NetnsRef = "pink".parse().unwrap();
        assert_eq!(name.path(), Path::new("/run/netns/pink"));
        assert_eq!(name.name(), Some("pink"));
        let path: NetnsRef = "/proc/1/ns/net".parse().unwrap();
        assert_eq!(path.path(), Path::new("/proc/1/ns/net"));
        assert_eq!(path.name(), None);
        assert_eq!(
            "/var/run/netns/x".parse::<NetnsRef>().unwrap().name(),
            Some("x")
        );
        for bad in ["", "a/b", "../x", ".."] {
            assert!(bad.parse::<NetnsRef>().is_err(), "{bad}");
        }
    }
}
