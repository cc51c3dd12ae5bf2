//! Whether the memory limits of this process's cgroup leave room for the maps.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::util::nr_cpus;
use netpath_common::{Tuple, conntrack::CtEntry, maps::MAX_RULES, records::RuleStats};

use super::{Finding, Patient};
use crate::{bpf::cgroup2_root, config::default_conntrack, instance::memory};

/// Bytes that a flow of IPv4 takes when the table is made: two elements, each with the kernel's head (`struct
/// htab_elem`) and a bucket. The benchmark measures as many (`bytes_per_flow`).
const FLOW: u64 = 2 * (size_of::<Tuple>() + size_of::<CtEntry>() + 48 + 16) as u64;
const MIB: u64 = 1 << 20;
/// Everything but the flows of IPv4: rules, endpoints, leases, fragments, programs.
const REST: u64 = 16 * MIB;
/// What each processor counts for rules.
const COUNTERS: u64 = (MAX_RULES * size_of::<RuleStats>()) as u64;

pub(super) fn findings(patient: &Patient) -> Vec<Finding> {
    if patient
        .state
        .as_ref()
        .is_some_and(|state| state.loaded.is_some())
    {
        return vec![Finding::ok("memory", "the maps are made")];
    }
    let processors = nr_cpus().unwrap_or(1) as u64;
    let need = u64::from(default_conntrack(memory())) * FLOW + processors * COUNTERS + REST;
    let limit = own_cgroup().and_then(|at| tightest(&at));
    vec![judge(limit, need)]
}

/// Bytes that a cgroup's limit leaves, and the cgroup.
type Room = (u64, PathBuf);

/// The cgroup of this process (`0::/path` is that of version 2).
fn own_cgroup() -> Option<(PathBuf, PathBuf)> {
    let root = cgroup2_root().ok()??;
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some((root.clone(), root.join(path)))
}

/// The tightest limit from the cgroup up to the root.
fn tightest((root, own): &(PathBuf, PathBuf)) -> Option<Room> {
    own.ancestors()
        .take_while(|at| at.starts_with(root))
        .filter_map(room)
        .min()
}

/// What a cgroup's own limit leaves; `None` without one.
fn room(at: &Path) -> Option<Room> {
    let read = |name| fs::read_to_string(at.join(name)).ok();
    let most: u64 = read("memory.max")?.trim().parse().ok()?;
    let used: u64 = read("memory.current")?.trim().parse().ok()?;
    Some((most.saturating_sub(used), at.to_owned()))
}

fn judge(limit: Option<Room>, need: u64) -> Finding {
    const CHECK: &str = "memory";
    let Some((left, cgroup)) = limit else {
        return Finding::ok(CHECK, "no limit on this cgroup");
    };
    let found = format!(
        "{} allows {} MiB more; the maps of the default configuration take {} MiB",
        cgroup.display(),
        left / MIB,
        need / MIB
    );
    if left >= need {
        return Finding::ok(CHECK, found);
    }
    Finding::failed(
        CHECK,
        found,
        "raise its memory.max (systemd: MemoryMax=), or lower `[limits] conntrack`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn the_tightest_limit_on_the_way_up_counts() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("a/b");
        fs::create_dir_all(&own).unwrap();
        let set = |at: &Path, most: &str, used: &str| {
            fs::write(at.join("memory.max"), most).unwrap();
            fs::write(at.join("memory.current"), used).unwrap();
        };
        let find = || tightest(&(root.path().to_owned(), own.clone()));
        assert_eq!(find(), None, "no memory controller");
        set(&own, "max\n", "5\n");
        assert_eq!(find(), None, "no limit");
        set(&root.path().join("a"), "1000\n", "400\n");
        assert_eq!(find(), Some((600, root.path().join("a"))));
        set(&own, "700\n", "800\n");
        assert_eq!(find(), Some((0, own.clone())));
    }

    #[test]
    fn too_little_is_a_failure() {
        let room = |left| Some((left, PathBuf::from("/c")));
        assert_eq!(judge(None, 5).level, Level::Ok);
        assert_eq!(judge(room(90 * MIB), 90 * MIB).level, Level::Ok);
        let found = judge(room(10 * MIB), 90 * MIB);
        assert_eq!(found.level, Level::Failed);
        assert_eq!(
            found.found,
            "/c allows 10 MiB more; the maps of the default configuration take 90 MiB"
        );
    }
}
