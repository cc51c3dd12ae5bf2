//! Commands of which every step is known.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, id},
    thread,
};

use nix::{
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};

use super::*;
use crate::wait;

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("npt{}-{name}", id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn shell(script: &str, directory: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(directory);
    command
}

/// Looking is no step, nor is failing; what a child does is one as what the command itself does.
#[test]
fn steps_are_what_was_changed() {
    let script =
        "cat /etc/hostname; test -e b; mkdir a; mkdir a; echo x > a/f; rmdir a; rm a/f; mv a b";
    let want = [
        "mkdir a",
        "create a/f",
        "write FILE",
        "unlink a/f",
        "rename a",
    ];
    for at in 0..=want.len() {
        let directory = Directory::new(&format!("steps-{at}"));
        let outcome = run(&mut shell(script, &directory.0), Some(at));
        let file = directory.0.join("a/f").display().to_string();
        let found: Vec<_> = outcome
            .steps
            .iter()
            .map(|s| s.replace(&file, "FILE"))
            .collect();
        let done = (at + 1).min(want.len());
        assert_eq!(found, want[..done], "{at}");
        assert_eq!(outcome.status.is_none(), at < want.len(), "{at}");
        let there = |name: &str| directory.0.join(name).exists();
        assert_eq!(there("a"), at < 4, "{at}");
        assert_eq!(there("a/f"), (1..3).contains(&at), "{at}");
        assert_eq!(there("b"), at >= 4, "{at}");
    }
}

/// A call that the kernel has made again is one step, however often it is entered.
#[test]
fn a_call_that_is_made_again_is_one_step() {
    let directory = Directory::new("again");
    let fifo = directory.0.join("fifo");
    mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let mut command = shell("echo $$ > pid; echo x > fifo", &directory.0);
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            let written = || fs::read_to_string(directory.0.join("pid")).unwrap_or_default();
            wait::until("the shell has said its number", || {
                written().ends_with('\n')
            });
            let pid = Pid::from_raw(written().trim().parse().unwrap());
            let opening = || {
                let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
                call.starts_with(&format!("{} ", libc::SYS_openat))
            };
            for _ in 0..5 {
                wait::until("it waits for the other end", opening);
                // Nobody handles it, but whoever is followed is woken.
                kill(pid, Signal::SIGWINCH).unwrap();
            }
            wait::until("it waits for the other end", opening);
            assert_eq!(fs::read_to_string(&fifo).unwrap(), "x\n");
        });
        run(&mut command, None)
    });
    assert!(outcome.status.unwrap().success(), "{}", outcome.errors);
    let opened = outcome
        .steps
        .iter()
        .filter(|step| *step == "create fifo")
        .count();
    assert_eq!(opened, 1, "{:?}", outcome.steps);
}

#[test]
fn a_call_counts_once_it_has_done_something() {
    let step = |whole| Step {
        name: String::new(),
        whole,
    };
    let (eexist, again) = (-17, -513);
    for whole in [true, false] {
        assert!(done(&step(whole), 0) && done(&step(whole), 5));
        assert!(!done(&step(whole), again));
        // A batch may have written a part of it.
        assert_eq!(done(&step(whole), eexist), !whole);
    }
}
