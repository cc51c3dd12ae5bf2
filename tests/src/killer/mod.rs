//! A command that is killed at its N-th step.
//!
//! Owns following it with ptrace(2). A step is a system call by which something outlives the process:
//! netlink requests that change, maps written and objects pinned or attached, files made, written, renamed
//! or removed, settings. All threads count together, in the order in which they get there; the process is
//! killed at the entry of the call, so that it is not done.

use std::{
    fs::{self, File},
    os::unix::{
        fs::FileExt as _,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Command, ExitStatus, Stdio},
};

use nix::{
    errno::Errno,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// What became of the command.
#[derive(Debug)]
pub struct Outcome {
    /// Every step that it got to, in words; the last one was not done if it was killed.
    pub steps: Vec<String>,
    /// How it ended by itself; `None` when it was killed.
    pub status: Option<ExitStatus>,
    /// What it said on standard error.
    pub errors: String,
}

/// `struct ptrace_syscall_info` (`linux/ptrace.h`), as far as an entry goes.
#[repr(C)]
#[derive(Default)]
struct SyscallInfo {
    op: u8,
    reserved: u8,
    flags: u16,
    arch: u32,
    instruction: u64,
    stack: u64,
    number: u64,
    arguments: [u64; 6],
    more: [u64; 4],
}

/// `PTRACE_GET_SYSCALL_INFO` and `PTRACE_SYSCALL_INFO_ENTRY`.
const GET_SYSCALL_INFO: libc::c_uint = 0x420e;
const ENTRY: u8 = 1;

/// Runs a command and kills it at its step `kill_at`, counted from 0; or lets it end.
///
/// # Panics
/// When it cannot be run or followed.
#[expect(
    clippy::zombie_processes,
    reason = "it is waited for below, with its threads"
)]
pub fn run(command: &mut Command, kill_at: Option<usize>) -> Outcome {
    let log = tempfile();
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(log.try_clone().unwrap());
    // SAFETY: only asks to be followed, which allocates nothing.
    unsafe {
        command.pre_exec(|| ptrace::traceme().map_err(Into::into));
    }
    let child = command.spawn().unwrap();
    let main = Pid::from_raw(i32::try_from(child.id()).unwrap());
    assert_eq!(
        waitpid(main, None).unwrap(),
        WaitStatus::Stopped(main, Signal::SIGTRAP)
    );
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(main, options).unwrap();
    ptrace::syscall(main, None).unwrap();
    let mut outcome = Outcome {
        steps: Vec::new(),
        status: None,
        errors: String::new(),
    };
    let mut killed = false;
    loop {
        // This thread's own children and tracees, not those of tests beside it.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let status = match waitpid(None, Some(flags)) {
            Err(Errno::ECHILD) => break,
            Err(Errno::EINTR) => continue,
            status => status.unwrap(),
        };
        let (tid, signal) = match status {
            WaitStatus::PtraceSyscall(tid) => {
                if let Some(step) = step(tid).filter(|_| !killed) {
                    let at = outcome.steps.len();
                    outcome.steps.push(step);
                    if kill_at == Some(at) {
                        killed = true;
                        kill(main, Signal::SIGKILL).unwrap();
                        continue;
                    }
                }
                (tid, None)
            }
            // A new thread stops once.
            WaitStatus::Stopped(tid, Signal::SIGSTOP | Signal::SIGTRAP)
            | WaitStatus::PtraceEvent(tid, ..) => (tid, None),
            WaitStatus::Stopped(tid, signal) => (tid, Some(signal)),
            WaitStatus::Exited(pid, code) => {
                if pid == main {
                    outcome.status = Some(ExitStatus::from_raw(code << 8));
                }
                continue;
            }
            WaitStatus::Signaled(..) | WaitStatus::Continued(_) | WaitStatus::StillAlive => {
                continue;
            }
        };
        // One that has been killed meanwhile is not there to go on.
        match ptrace::syscall(tid, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(e) => panic!("following {tid}: {e}"),
        }
    }
    let mut text = vec![0; usize::try_from(log.metadata().unwrap().len()).unwrap()];
    log.read_exact_at(&mut text, 0).unwrap();
    outcome.errors = String::from_utf8_lossy(&text).into_owned();
    if killed {
        outcome.status = None;
    }
    outcome
}

/// A file without a name.
fn tempfile() -> File {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(std::env::temp_dir())
        .unwrap()
}

/// What a thread is about to do, if it is a step.
fn step(tid: Pid) -> Option<String> {
    let mut info = SyscallInfo::default();
    // SAFETY: the kernel writes no more than the size given.
    let got = unsafe {
        libc::ptrace(
            GET_SYSCALL_INFO as _,
            tid.as_raw(),
            size_of::<SyscallInfo>(),
            std::ptr::from_mut(&mut info),
        )
    };
    if got <= 0 || info.op != ENTRY {
        return None;
    }
    let [a, b, c, ..] = info.arguments;
    let number = libc::c_long::try_from(info.number).ok()?;
    let path = |address| text(tid, address);
    match number {
        libc::SYS_bpf => bpf(a).map(|name| format!("bpf {name}")),
        libc::SYS_sendto => netlink(tid, b).map(|kind| format!("netlink {kind}")),
        libc::SYS_write | libc::SYS_pwrite64 => {
            let target = fs::read_link(format!("/proc/{tid}/fd/{a}")).ok()?;
            let target = target.to_str()?;
            let lasting = target.starts_with("/proc/sys/") || target.contains("state.json");
            lasting.then(|| format!("write {target}"))
        }
        libc::SYS_openat if c & libc::O_CREAT as u64 != 0 => Some(format!("create {}", path(b))),
        libc::SYS_rename | libc::SYS_unlink | libc::SYS_mkdir | libc::SYS_rmdir => {
            Some(format!("{} {}", name(number), path(a)))
        }
        libc::SYS_renameat | libc::SYS_renameat2 | libc::SYS_unlinkat | libc::SYS_mkdirat => {
            Some(format!("{} {}", name(number), path(b)))
        }
        // SIOCETHTOOL
        libc::SYS_ioctl if b == 0x8946 => Some("ethtool".into()),
        _ => None,
    }
}

fn name(number: libc::c_long) -> &'static str {
    match number {
        libc::SYS_mkdir | libc::SYS_mkdirat => "mkdir",
        libc::SYS_rmdir => "rmdir",
        libc::SYS_unlink | libc::SYS_unlinkat => "unlink",
        _ => "rename",
    }
}

/// The commands of bpf(2) whose effect outlives the process; the others make descriptors, or look.
fn bpf(command: u64) -> Option<&'static str> {
    Some(match command {
        2 => "MAP_UPDATE_ELEM",
        3 => "MAP_DELETE_ELEM",
        6 => "OBJ_PIN",
        8 => "PROG_ATTACH",
        9 => "PROG_DETACH",
        10 => "PROG_TEST_RUN",
        26 => "MAP_UPDATE_BATCH",
        27 => "MAP_DELETE_BATCH",
        28 => "LINK_CREATE",
        29 => "LINK_UPDATE",
        34 => "LINK_DETACH",
        _ => return None,
    })
}

/// The kind of an rtnetlink request that changes something: of each four, the third asks.
fn netlink(tid: Pid, address: u64) -> Option<u16> {
    let mut header = [0; 16];
    let memory = File::open(format!("/proc/{tid}/mem")).ok()?;
    memory.read_exact_at(&mut header, address).ok()?;
    let kind = u16::from_ne_bytes([header[4], header[5]]);
    (kind >= 16 && kind % 4 != 2).then_some(kind)
}

/// A string in a thread's memory.
fn text(tid: Pid, address: u64) -> String {
    let mut bytes = [0; 256];
    let read = File::open(format!("/proc/{tid}/mem"))
        .and_then(|memory| memory.read_at(&mut bytes, address))
        .unwrap_or(0);
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(read);
    String::from_utf8_lossy(&bytes[..end.min(read)]).into_owned()
}
