//! What the kernel and this process must have.

use std::{fs, path::Path};

use super::Finding;
use crate::bpf::{
    cgroup2_root,
    kernel::{BPFFS, BTF, at_least, has_bpffs, lacking},
};

/// Kernels from which on netpath is tested.
const TESTED: (u8, u8) = (6, 1);
/// Kernels before which it does not load.
const OLDEST: (u8, u8) = (5, 15);

pub(super) fn findings() -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let release = read("/proc/sys/kernel/osrelease");
    vec![
        version(release.as_deref().map_or("", str::trim), at_least),
        match lacking() {
            Ok(missing) => capabilities(&missing),
            Err(e) => Finding::warning("capabilities", e.to_string(), "mount /proc"),
        },
        btf(Path::new(BTF).exists()),
        jit(read("/proc/sys/net/core/bpf_jit_enable").as_deref()),
        lockdown(read("/sys/kernel/security/lockdown").as_deref()),
        bpffs(has_bpffs()),
        cgroup(cgroup2_root().ok().flatten().as_deref()),
    ]
}

fn version(release: &str, at_least: impl Fn(u8, u8) -> bool) -> Finding {
    const CHECK: &str = "kernel";
    let release = if release.is_empty() {
        "of an unknown version"
    } else {
        release
    };
    if !at_least(OLDEST.0, OLDEST.1) {
        return Finding::failed(CHECK, release, "boot Linux 6.1 or later");
    }
    if !at_least(TESTED.0, TESTED.1) {
        let remedy = "boot Linux 6.1 or later: netpath is not tested on this one";
        return Finding::warning(CHECK, release, remedy);
    }
    Finding::ok(CHECK, release)
}

fn capabilities(missing: &[&str]) -> Finding {
    const CHECK: &str = "capabilities";
    if missing.is_empty() {
        return Finding::ok(CHECK, "all that are needed");
    }
    Finding::failed(
        CHECK,
        format!("{} missing", missing.join(", ")),
        "run netpath as root",
    )
}

fn btf(there: bool) -> Finding {
    const CHECK: &str = "BTF";
    if there {
        return Finding::ok(CHECK, BTF);
    }
    Finding::failed(
        CHECK,
        format!("no {}", BTF),
        "boot a kernel that was built with CONFIG_DEBUG_INFO_BTF=y",
    )
}

/// 1 and 2 compile; 2 also prints every program.
fn jit(setting: Option<&str>) -> Finding {
    const CHECK: &str = "BPF compiler";
    match setting.map(str::trim) {
        Some("0") => Finding::warning(
            CHECK,
            "off: programs are interpreted, at several times the cost",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        // Without the setting the kernel always compiles (CONFIG_BPF_JIT_ALWAYS_ON).
        Some(_) | None => Finding::ok(CHECK, "on"),
    }
}

/// `[none] integrity confidentiality`: the mode in force is in brackets. What BPF loses by it is
/// reading and writing the memory of kernel and users (`LOCKDOWN_BPF_READ_KERNEL`,
/// `LOCKDOWN_BPF_WRITE_USER`, `include/linux/security.h`), which netpath's programs never do.
fn lockdown(modes: Option<&str>) -> Finding {
    const CHECK: &str = "lockdown";
    let mode = modes.and_then(|modes| modes.split_once('[')?.1.split_once(']'));
    match mode {
        None => Finding::ok(CHECK, "not in this kernel"),
        Some(("none", _)) => Finding::ok(CHECK, "none"),
        Some((mode, _)) => Finding::ok(
            CHECK,
            format!("{mode}; netpath's programs read no memory that it keeps from them"),
        ),
    }
}

fn bpffs(mounted: bool) -> Finding {
    const CHECK: &str = "BPF file system";
    if mounted {
        return Finding::ok(CHECK, format!("at {}", BPFFS));
    }
    Finding::warning(
        CHECK,
        format!("not mounted at {}; `netpath up` mounts it", BPFFS),
        format!("mount -t bpf bpf {}", BPFFS),
    )
}

fn cgroup(root: Option<&Path>) -> Finding {
    const CHECK: &str = "cgroup v2";
    match root {
        Some(root) => Finding::ok(CHECK, format!("at {}", root.display())),
        None => Finding::warning(
            CHECK,
            "not mounted: the host reaches published ports by its loopback device alone, and others \
             may bind them",
            "mount -t cgroup2 none /sys/fs/cgroup, then `netpath up`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn from(major: u8, minor: u8) -> impl Fn(u8, u8) -> bool {
        move |a, b| (major, minor) >= (a, b)
    }

    #[test]
    fn kernels() {
        assert_eq!(version("6.1.0", from(6, 1)).level, Level::Ok);
        assert_eq!(version("5.15.9", from(5, 15)).level, Level::Warning);
        assert_eq!(version("5.10.1", from(5, 10)).level, Level::Failed);
        assert_eq!(version("", from(6, 18)).found, "of an unknown version");
    }

    #[test]
    fn what_is_missing_is_named() {
        let found = capabilities(&["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(found.level, Level::Failed);
        assert_eq!(found.found, "CAP_BPF, CAP_PERFMON missing");
        assert_eq!(capabilities(&[]).level, Level::Ok);
        assert_eq!(btf(false).level, Level::Failed);
        assert_eq!(btf(true).level, Level::Ok);
        assert_eq!(cgroup(None).level, Level::Warning);
        assert_eq!(bpffs(false).level, Level::Warning);
    }

    #[test]
    fn the_compiler_and_lockdown() {
        assert_eq!(jit(Some("0\n")).level, Level::Warning);
        assert_eq!(jit(Some("1\n")).level, Level::Ok);
        assert_eq!(jit(None).level, Level::Ok);
        assert_eq!(lockdown(Some("[none] integrity\n")).found, "none");
        assert!(
            lockdown(Some("none [integrity] c\n"))
                .found
                .starts_with("integrity;")
        );
        assert_eq!(lockdown(None).found, "not in this kernel");
    }
}
