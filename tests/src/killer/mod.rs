//! A command that is killed at its N-th step.
//!
//! Owns following it with ptrace(2). A step is a system call by which something may outlive the process:
//! `step` has which. All threads count together, in the order in which they get there; the process is killed
//! on its way back from the call, so that this is the last thing it did.

mod hollow;
mod look;
mod step;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs::File,
    os::unix::{
        fs::FileExt as _,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Command, ExitStatus, Stdio},
    thread,
    time::Duration,
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

use self::{
    look::{Stop, stop},
    step::{RESTARTED, Step, step},
};

/// What became of the command.
#[derive(Debug)]
pub struct Outcome {
    /// Every step that it did, in words.
    pub steps: Vec<String>,
    /// How it ended by itself; `None` when it was killed.
    pub status: Option<ExitStatus>,
    /// What it said on standard error.
    pub errors: String,
}

/// How long a call that the kernel has made again waits. Without it, whoever waits for a lock in this way
/// and we who follow would wake each other without end, and on a kernel that preempts nobody the thread that
/// has the lock, or RCU's that it waits for, may not get to run for a minute.
const PAUSE: Duration = Duration::from_millis(1);

/// Runs a command and kills it right after its step `kill_at`, counted from 0; or lets it end.
///
/// # Panics
/// When it cannot be run or followed.
pub fn run(command: &mut Command, kill_at: Option<usize>) -> Outcome {
    follow(command, kill_at, false)
}

/// The same, and every BPF program that the command loads is hollow: it answers at once, whatever it is
/// asked, so that the verifier has nothing to do. It is pinned, attached and replaced as a whole one is. For
/// commands after which nothing is sent.
///
/// # Panics
/// When it cannot be run or followed.
pub fn run_hollow(command: &mut Command, kill_at: Option<usize>) -> Outcome {
    follow(command, kill_at, true)
}

#[expect(
    clippy::zombie_processes,
    reason = "it is waited for below, with its threads"
)]
fn follow(command: &mut Command, kill_at: Option<usize>, hollow: bool) -> Outcome {
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
    let mut under_way: HashMap<Pid, Option<Step>> = HashMap::new();
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
                match stop(tid) {
                    Some(Stop::Entry(number, arguments)) if !killed => {
                        if hollow && number == libc::SYS_bpf {
                            hollow::out(tid, arguments).unwrap();
                        }
                        under_way.insert(tid, step(tid, number, arguments));
                    }
                    Some(Stop::Exit(result)) => {
                        if RESTARTED.contains(&result) {
                            thread::sleep(PAUSE);
                        }
                        let step = under_way.remove(&tid).flatten();
                        if let Some(step) = step.filter(|s| !killed && done(s, result)) {
                            let at = outcome.steps.len();
                            outcome.steps.push(step.name);
                            if kill_at == Some(at) {
                                killed = true;
                                kill(main, Signal::SIGKILL).unwrap();
                            }
                        }
                    }
                    Some(Stop::Entry(..)) | None => {}
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

/// Whether a call with this result is a step that was done.
fn done(step: &Step, result: i64) -> bool {
    !RESTARTED.contains(&result) && (result >= 0 || !step.whole)
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
