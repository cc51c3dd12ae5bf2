//! How a user names a network namespace: by name, by path or by process.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// Where `ip netns` keeps its names.
pub(crate) const NETNS_DIR: &str = "/run/netns";
/// How a process id begins where it must not be taken for anything else.
const PID: &str = "pid:";

/// A network namespace as the user named it: a name, a path, or `pid:NUMBER`. A number alone means the
/// process too, unless there is a namespace of that name: then neither is guessed.
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
        if let Some(pid) = self.pid() {
            PathBuf::from(format!("/proc/{pid}/ns/net"))
        } else if self.0.starts_with('/') {
            PathBuf::from(&self.0)
        } else {
            Path::new(NETNS_DIR).join(&self.0)
        }
    }

    /// The name under `/run/netns`, if it is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        if self.pid().is_some() {
            return None;
        }
        let name = ["/run/netns/", "/var/run/netns/"]
            .iter()
            .find_map(|dir| self.0.strip_prefix(dir))
            .unwrap_or(&self.0);
        (!name.contains('/')).then_some(name)
    }

    /// The process whose namespace it is, if it is named so.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.0.strip_prefix(PID)?.parse().ok()
    }

    /// Whether the name means the same tomorrow: that of a process does not.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        self.pid().is_none() && !self.0.starts_with("/proc/")
    }
}

impl FromStr for NetnsRef {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        let number = s.strip_prefix(PID).unwrap_or(s);
        if digits(s) && Path::new(NETNS_DIR).join(s).exists() {
            return Err(format!(
                "{s} is a name under {NETNS_DIR} and may be a process as well; write {NETNS_DIR}/{s} or \
                 {PID}{s}"
            ));
        }
        if s.starts_with(PID) || digits(s) {
            return match number.parse::<u32>() {
                Ok(pid) if digits(number) && pid > 0 && pid <= i32::MAX.unsigned_abs() => {
                    Ok(Self(format!("{PID}{pid}")))
                }
                _ => Err(format!(
                    "a process id is a number from 1 to {}, such as pid:1234; a namespace whose name is \
                     a number is {NETNS_DIR}/NUMBER",
                    i32::MAX
                )),
            };
        }
        if s.starts_with('/') || (!s.is_empty() && !s.contains('/') && s != "." && s != "..") {
            return Ok(Self(s.to_owned()));
        }
        Err(
            "a namespace is a name under /run/netns, an absolute path such as /proc/PID/ns/net, or a \
             process id such as pid:1234"
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

    #[test]
    fn a_number_is_a_process_and_nothing_else() {
        for text in ["1234", "pid:1234", "pid:01234"] {
            let by: NetnsRef = text.parse().unwrap();
            assert_eq!(by.to_string(), "pid:1234");
            assert_eq!(by.path(), Path::new("/proc/1234/ns/net"));
            assert_eq!((by.name(), by.pid()), (None, Some(1234)));
        }
        // The way to a name that is a number.
        let named: NetnsRef = "/run/netns/1234".parse().unwrap();
        assert_eq!((named.name(), named.pid()), (Some("1234"), None));
        for bad in [
            "0",
            "pid:0",
            "pid:",
            "pid:x",
            "pid:-1",
            "4294967296",
            "pid:+1",
        ] {
            assert!(bad.parse::<NetnsRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_process_has_its_number_for_a_time_only() {
        let lasting = |s: &str| s.parse::<NetnsRef>().unwrap().is_lasting();
        assert!(lasting("pink") && lasting("/run/netns/pink") && lasting("/srv/netns/x"));
        assert!(!lasting("pid:12") && !lasting("12") && !lasting("/proc/12/ns/net"));
    }
}
