//! What the kernel must offer, and small facts that it tells.
//!
//! Owns the checks before anything is loaded. Changes nothing but mounting bpffs if it is missing.

use std::{fs, io, path::Path};

use aya::util::KernelVersion;
use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{FsType, statfs},
    time::{ClockId, clock_gettime},
};

use super::Error;
pub(crate) use super::pins::BPFFS;

/// Magic number of bpffs (`linux/magic.h`).
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
/// Socket option that tells the network namespace's cookie (`asm-generic/socket.h`); Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;
/// Where the kernel shows the types of its own code.
pub(crate) const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Capabilities that netpath needs, by number; `CAP_SYS_ADMIN` (21) implies the BPF ones.
const CAPABILITIES: &[(u32, &str, bool)] = &[
    (12, "CAP_NET_ADMIN", false),
    (38, "CAP_PERFMON", true),
    (39, "CAP_BPF", true),
];
const CAP_SYS_ADMIN: u32 = 21;

/// Checks that this process and this kernel can run the datapath; mounts bpffs if it is missing.
///
/// # Errors
/// One error for the first thing that is missing, with its remedy.
pub fn check_kernel() -> Result<(), Error> {
    check_version()?;
    check_capabilities()?;
    if !Path::new(BTF).exists() {
        return Err(Error::NoBtf { path: BTF.into() });
    }
    mount_bpffs()
}

/// The cookie of the current network namespace, which no other namespace ever has.
///
/// # Errors
/// If the kernel is older than 5.14.
pub fn netns_cookie() -> Result<u64, Error> {
    use std::os::fd::AsRawFd as _;

    // One that takes no port: there may be none left.
    let socket = std::os::unix::net::UnixDatagram::unbound()
        .map_err(|e| Error::system("opening a socket", e))?;
    let mut cookie = 0u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: `cookie` is writable and `len` is its length; the descriptor is open.
    let rc = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if rc == 0 {
        return Ok(cookie);
    }
    Err(Error::system(
        "reading the network namespace's cookie",
        io::Error::last_os_error(),
    ))
}

/// CLOCK_MONOTONIC_COARSE in nanoseconds: the clock of every stamp in the datapath.
pub(crate) fn coarse_now() -> Result<u64, Error> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)
        .map_err(|e| Error::system("reading the clock", e))?;
    Ok(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

/// Whether the kernel is at least this version; a kernel that does not tell is taken as new.
pub(crate) fn at_least(major: u8, minor: u8) -> bool {
    KernelVersion::current().map_or(true, |v| v >= KernelVersion::new(major, minor, 0))
}

fn check_version() -> Result<(), Error> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
        |_| "of an unknown version".to_owned(),
        |s| s.trim().to_owned(),
    );
    if !at_least(5, 15) {
        return Err(Error::OldKernel { found: release });
    }
    if !at_least(6, 1) {
        tracing::warn!("the kernel is {release}; netpath is tested on 6.1 and later");
    }
    Ok(())
}

/// The capabilities that this process lacks.
///
/// # Errors
/// The kernel does not tell.
pub(crate) fn lacking() -> Result<Vec<&'static str>, Error> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|e| Error::system("reading /proc/self/status", e))?;
    Ok(missing_capabilities(effective(&status)))
}

fn check_capabilities() -> Result<(), Error> {
    let missing = lacking()?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::NotPrivileged {
        missing: missing.join(", "),
    })
}

fn effective(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

fn missing_capabilities(effective: u64) -> Vec<&'static str> {
    let has = |cap: u32| effective & (1 << cap) != 0;
    CAPABILITIES
        .iter()
        .filter(|(cap, _, implied)| !(has(*cap) || *implied && has(CAP_SYS_ADMIN)))
        .map(|(_, name, _)| *name)
        .collect()
}

/// Whether the BPF file system is where pins go.
pub(crate) fn has_bpffs() -> bool {
    statfs(BPFFS).is_ok_and(|s| s.filesystem_type() == FsType(BPF_FS_MAGIC as _))
}

fn mount_bpffs() -> Result<(), Error> {
    if has_bpffs() {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), BPFFS, Some("bpf"), flags, Some("mode=0700")).map_err(|e| {
        Error::NoBpffs {
            path: BPFFS.into(),
            source: e.into(),
        }
    })?;
    tracing::info!("mounted the BPF file system at {BPFFS}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_everything_and_a_user_nothing() {
        assert!(
            missing_capabilities(effective("Name:\tx\nCapEff:\t000001ffffffffff\n")).is_empty()
        );
        assert_eq!(
            missing_capabilities(effective("CapEff:\t0000000000000000\n")),
            ["CAP_NET_ADMIN", "CAP_PERFMON", "CAP_BPF"]
        );
        assert!(missing_capabilities(1 << 12 | 1 << CAP_SYS_ADMIN).is_empty());
    }

    #[test]
    fn the_cookie_is_stable_and_the_clock_runs() {
        assert_eq!(netns_cookie().unwrap(), netns_cookie().unwrap());
        assert!(coarse_now().unwrap() > 0);
    }
}
