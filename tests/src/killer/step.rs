//! Which system calls are steps: those by which something may outlive the process.
//!
//! Owns the list, and the proof that killing at each step is killing at every moment. What a process leaves
//! behind when it is killed is what its system calls have made of the world so far: its memory, threads,
//! descriptors, sockets, locks and pending signals end with it, whenever that is. So between two calls that
//! change something else it does not matter when it dies, and every moment of its life is like the one
//! before its first step, when nothing has changed, or the one after some step. A call counts unless it is
//! known to change nothing: [`OWN`], and what is told by its arguments below. One that fails does not count
//! where failing means that nothing was done. A kill in the middle of one call is the kernel's matter: it
//! looks at signals on its way back.

use std::{ffi::c_long, fs, path::Path};

use nix::unistd::Pid;

use super::look::{messages, socket, text};

/// A call that is about to be made.
#[derive(Debug)]
pub(super) struct Step {
    /// In words.
    pub(super) name: String,
    /// Where the call fails, it has done nothing at all.
    pub(super) whole: bool,
}

/// `ERESTARTSYS`, `ERESTARTNOINTR`, `ERESTARTNOHAND` and `ERESTART_RESTARTBLOCK` (`linux/errno.h`): the call
/// was not made, and is entered again by itself, or fails with EINTR. The settings of IPv4 and IPv6 below
/// /proc/sys are the case that matters: as long as anybody else holds the lock of all network namespaces
/// (RTNL), `restart_syscall` has one entered again at once, a thousand times if need be.
pub(super) const RESTARTED: [i64; 4] = [-512, -513, -514, -516];

/// Calls by which nothing outlives the process that does not end with it.
const OWN: &[c_long] = &[
    // Memory; mmap is told by its arguments.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Threads, children, whose own calls count, and the end.
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_vfork,
    libc::SYS_execve,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_arch_prctl,
    libc::SYS_prctl,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    // The namespaces that a thread is in.
    libc::SYS_setns,
    libc::SYS_unshare,
    // Signals to itself and waiting.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    // Descriptors. What closing the last one undoes, a link that is not pinned, death undoes as well; so it
    // does with a lock.
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup2,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_lseek,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    // Sockets, as long as nothing is sent; connect and setsockopt are told by their arguments.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    // Looking.
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_fadvise64,
    libc::SYS_access,
    libc::SYS_faccessat2,
    libc::SYS_stat,
    libc::SYS_fstat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    // What is written is seen by all before it is on the disk, and it is not the machine that is killed.
    libc::SYS_fsync,
    libc::SYS_fdatasync,
];

/// The commands of bpf(2) that make descriptors, or look.
const OWN_BPF: &[u64] = &[
    0, // MAP_CREATE
    1, // MAP_LOOKUP_ELEM
    4, // MAP_GET_NEXT_KEY
    5, // PROG_LOAD
    7, // OBJ_GET
    11, 12, 13, 14, 15, // PROG_GET_NEXT_ID to OBJ_GET_INFO_BY_FD
    16, // PROG_QUERY
    18, // BTF_LOAD
    19, // BTF_GET_FD_BY_ID
    20, // TASK_FD_QUERY
    23, // BTF_GET_NEXT_ID
    24, // MAP_LOOKUP_BATCH
    30, // LINK_GET_FD_BY_ID
    31, // LINK_GET_NEXT_ID
];

/// Those of the others that may have done a part when they fail.
const IN_PARTS: &[u64] = &[
    10, // PROG_TEST_RUN
    25, // MAP_LOOKUP_AND_DELETE_BATCH
    26, // MAP_UPDATE_BATCH
    27, // MAP_DELETE_BATCH
];

/// What a thread is about to do, if it is a step.
pub(super) fn step(tid: Pid, number: c_long, arguments: [u64; 6]) -> Option<Step> {
    if OWN.contains(&number) {
        return None;
    }
    let [a, b, c, d, ..] = arguments;
    let whole = |name: String| Some(Step { name, whole: true });
    let parts = |name: String| Some(Step { name, whole: false });
    let path = |address| text(tid, address);
    match number {
        libc::SYS_bpf if OWN_BPF.contains(&a) => None,
        libc::SYS_bpf => Some(Step {
            name: format!("bpf {}", bpf(a)),
            whole: !IN_PARTS.contains(&a),
        }),
        libc::SYS_sendto => sent(tid, a, b, c).and_then(parts),
        libc::SYS_connect => {
            let netlink = socket(tid, a).is_ok_and(|(domain, _)| domain == libc::AF_NETLINK);
            (!netlink).then(|| parts("connect".into())).flatten()
        }
        // The old way to change netfilter's rules: IPT_SO_SET_REPLACE and its like.
        libc::SYS_setsockopt => ([0, 41].contains(&b) && c >= 64)
            .then(|| whole(format!("setsockopt {c}")))
            .flatten(),
        libc::SYS_write | libc::SYS_writev | libc::SYS_pwrite64 => {
            let target = fs::read_link(format!("/proc/{tid}/fd/{a}")).unwrap_or_default();
            let target = target.to_string_lossy();
            // What it says, and what wakes its own threads.
            let own = target.starts_with("pipe:")
                || target.starts_with("anon_inode:")
                || target == "/dev/null"
                || target.ends_with(" (deleted)");
            (!own).then(|| whole(format!("write {target}"))).flatten()
        }
        // In /proc no file is made or emptied, whatever flags it is opened with.
        libc::SYS_openat => {
            let path = path(b);
            // One that is relative to whatever directory may be another file here.
            let there = Path::new(&path).is_absolute() && Path::new(&path).exists();
            let makes = c & libc::O_CREAT as u64 != 0 && !there && !path.starts_with("/proc/");
            let empties = c & libc::O_TRUNC as u64 != 0 && !path.starts_with("/proc/");
            (makes || empties)
                .then(|| whole(format!("create {path}")))
                .flatten()
        }
        // A page that others see is written without any call: nothing known does that.
        libc::SYS_mmap => {
            let shared = d & libc::MAP_SHARED as u64 != 0 && d & libc::MAP_ANONYMOUS as u64 == 0;
            (shared && c & libc::PROT_WRITE as u64 != 0)
                .then(|| parts("mmap of what is shared".into()))
                .flatten()
        }
        // Of the caller's own limits, by its own number or none.
        libc::SYS_prlimit64 => (a != 0 && a != tid.as_raw() as u64)
            .then(|| whole("prlimit64".into()))
            .flatten(),
        libc::SYS_mkdir => whole(format!("mkdir {}", path(a))),
        libc::SYS_rmdir => whole(format!("rmdir {}", path(a))),
        libc::SYS_unlink => whole(format!("unlink {}", path(a))),
        libc::SYS_unlinkat => whole(format!("unlink {}", path(b))),
        libc::SYS_rename => whole(format!("rename {}", path(a))),
        libc::SYS_renameat2 => whole(format!("rename {}", path(b))),
        libc::SYS_chmod => whole(format!("chmod {}", path(a))),
        // Which type these numbers have differs from one C library to the other.
        libc::SYS_ioctl
            if [
                i128::from(libc::TCGETS),
                i128::from(libc::FIONBIO),
                i128::from(libc::SIOCGIFINDEX),
            ]
            .contains(&i128::from(b)) =>
        {
            None
        }
        libc::SYS_ioctl => parts(format!("ioctl {b:#x}")),
        unknown => parts(format!("system call {unknown}")),
    }
}

fn bpf(command: u64) -> String {
    let name = match command {
        2 => "MAP_UPDATE_ELEM",
        3 => "MAP_DELETE_ELEM",
        6 => "OBJ_PIN",
        8 => "PROG_ATTACH",
        9 => "PROG_DETACH",
        10 => "PROG_TEST_RUN",
        22 => "MAP_FREEZE",
        26 => "MAP_UPDATE_BATCH",
        27 => "MAP_DELETE_BATCH",
        28 => "LINK_CREATE",
        29 => "LINK_UPDATE",
        34 => "LINK_DETACH",
        other => return other.to_string(),
    };
    name.into()
}

/// What is sent, unless it only asks.
fn sent(tid: Pid, descriptor: u64, address: u64, length: u64) -> Option<String> {
    let Ok((domain, protocol)) = socket(tid, descriptor) else {
        return Some("send".into());
    };
    if domain != libc::AF_NETLINK {
        return Some(format!("send by a socket of family {domain}"));
    }
    let asks = |kind: &u16| match protocol {
        // Of each four kinds the third asks; those below are netlink's own (linux/rtnetlink.h).
        libc::NETLINK_ROUTE => *kind >= 16 && kind % 4 == 2,
        // SOCK_DIAG_BY_FAMILY; the next one destroys.
        libc::NETLINK_SOCK_DIAG => *kind == 20,
        _ => false,
    };
    match messages(tid, address, length) {
        Ok(kinds) => {
            let first = kinds.iter().find(|kind| !asks(kind));
            first.map(|kind| format!("netlink {protocol}.{kind}"))
        }
        Err(error) => Some(format!("netlink {protocol}: {error}")),
    }
}
