//! `netpath lab` as a user runs it. Its namespaces have fixed names, so there is one test of it.

use std::process::{Command, Stdio};

use netpath_tests::{binary, wait};

fn leftovers() -> Vec<String> {
    let names = |directory: &str| {
        std::fs::read_dir(directory)
            .map(|entries| {
                entries
                    .flatten()
                    .map(|entry| entry.path().display().to_string())
                    .filter(|path| path.contains("netpath-lab"))
                    .collect::<Vec<_>>()
            })
            .unwrap_or_default()
    };
    [
        names("/run/netns"),
        names("/run"),
        names("/sys/fs/bpf/netpath"),
    ]
    .concat()
}

fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary::netpath());
    command.arg("lab").args(arguments).stdin(Stdio::null());
    command
}

#[test]
fn every_step_holds_and_nothing_is_left() {
    let output = lab(&["--once"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(
        text.contains("icmp") && text.contains("dport=8080"),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "colours on what is no terminal");
    assert_eq!(leftovers(), Vec::<String>::new());

    // The same as a document.
    let output = lab(&["--json"]).output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["ok"], true, "{document}");
    assert!(
        document["steps"]
            .as_array()
            .unwrap()
            .iter()
            .all(|step| step["ok"] == true)
    );

    // A second one at the same time is refused.
    let mut first = lab(&["--once"]).stdout(Stdio::null()).spawn().unwrap();
    wait::until("the first lab holds its lock", || {
        std::path::Path::new("/run/netpath-lab/pid").exists()
    });
    let second = lab(&["--once"]).output().unwrap();
    let errors = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        errors.contains(&format!("process {}", first.id())),
        "{errors}"
    );

    // Ended by a signal: nothing is left.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(first.id()).unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(1));
    assert_eq!(leftovers(), Vec::<String>::new());

    // Killed: the next lab removes what was left.
    let mut killed = lab(&["--once"]).stdout(Stdio::null()).spawn().unwrap();
    wait::until("the lab's datapath is pinned", || {
        std::path::Path::new("/sys/fs/bpf/netpath/netpath-lab-host").exists()
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!leftovers().is_empty());
    let output = lab(&["--once"]).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!(leftovers(), Vec::<String>::new());
}
