//! Kernel settings under `/proc/sys` of the calling thread's network namespace.

use std::{fs, path::PathBuf};

use super::Error;

/// Whether the host forwards IPv4.
pub const IP_FORWARD: &str = "net/ipv4/ip_forward";
/// Whether the host forwards IPv6, on every interface.
pub const FORWARDING6: &str = "net/ipv6/conf/all/forwarding";
/// The ports from which a host port is chosen.
pub const LOCAL_PORT_RANGE: &str = "net/ipv4/ip_local_port_range";
/// Ports that are never chosen.
pub const LOCAL_RESERVED_PORTS: &str = "net/ipv4/ip_local_reserved_ports";

/// The setting that turns IPv6 off on an interface. Keys use `/`: an interface name may hold dots.
#[must_use]
pub fn disable_ipv6(ifname: &str) -> String {
    ipv6(ifname, "disable_ipv6")
}

/// An IPv4 setting of an interface (`Documentation/networking/ip-sysctl.rst`).
#[must_use]
pub fn ipv4(ifname: &str, setting: &str) -> String {
    format!("net/ipv4/conf/{ifname}/{setting}")
}

/// An IPv6 setting of an interface (`Documentation/networking/ip-sysctl.rst`).
#[must_use]
pub fn ipv6(ifname: &str, setting: &str) -> String {
    format!("net/ipv6/conf/{ifname}/{setting}")
}

/// Reads a setting.
///
/// # Errors
/// It does not exist or cannot be read.
pub fn read(key: &str) -> Result<String, Error> {
    fs::read_to_string(path(key))
        .map(|s| s.trim().to_owned())
        .map_err(|source| Error::Sysctl {
            what: "reading",
            key: key.to_owned(),
            source,
        })
}

/// Reads a setting; `None` where the kernel has none (IPv6 may be compiled out).
///
/// # Errors
/// It exists and cannot be read.
pub fn read_optional(key: &str) -> Result<Option<String>, Error> {
    match read(key) {
        Err(Error::Sysctl { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// Writes a setting.
///
/// # Errors
/// It does not exist or cannot be written.
pub fn write(key: &str, value: &str) -> Result<(), Error> {
    fs::write(path(key), value).map_err(|source| Error::Sysctl {
        what: "writing",
        key: key.to_owned(),
        source,
    })
}

fn path(key: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(key)
}
