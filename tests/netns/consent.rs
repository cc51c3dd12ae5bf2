//! What `up` removes it removes with somebody's consent.

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use netpath_tests::topology::World;

/// Runs `up` at a terminal that `answer` is typed at.
fn up_at_a_terminal(world: &World, file: &str, answer: &str) -> Output {
    // script(1) gives its command a terminal of its own.
    let line = world.netpath_command();
    let line: Vec<String> = std::iter::once(line.get_program())
        .chain(line.get_args())
        .map(|a| a.to_string_lossy().into_owned())
        .chain(["up".into(), "-c".into(), file.into()])
        .collect();
    let mut script = Command::new("script")
        .args(["-q", "-e", "-c", &line.join(" "), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = script.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, format!("{answer}\n").as_bytes()).unwrap();
    let output = script.wait_with_output().unwrap();
    drop(stdin);
    output
}

#[test]
fn a_removal_is_asked_for_at_a_terminal_and_refused_without() {
    if netpath_tests::skip::missing("script") {
        return;
    }
    let world = World::dual_stack(&["a", "b"]);
    let config = world.dual_stack_config(&["a", "b"], &["8080:80"], "");
    world.up(&config);
    let file = world.file("less.toml");
    let less = world.dual_stack_config(&["a"], &["8080:80"], "");
    fs::write(&file, format!("[limits]\nconntrack = 65536\n{less}")).unwrap();
    let file = file.to_str().unwrap();
    let refused = world.netpath(&["up", "-c", file]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text.contains("would remove endpoint b") && text.contains("--yes"),
        "{text}"
    );

    let said_no = up_at_a_terminal(&world, file, "n");
    let text = String::from_utf8_lossy(&said_no.stdout).into_owned();
    assert!(
        text.contains("remove endpoint b") && text.contains("nothing was changed"),
        "{text}"
    );
    assert_eq!(said_no.status.code(), Some(1), "{text}");
    assert_eq!(world.up(&config).trim(), "nothing to change");

    let dry = world.run(&["up", "-c", file, "--dry-run"]);
    assert_eq!(dry.trim(), "remove endpoint b");
    let said_yes = up_at_a_terminal(&world, file, "y");
    let text = String::from_utf8_lossy(&said_yes.stdout).into_owned();
    assert_eq!(said_yes.status.code(), Some(0), "{text}");
    assert_eq!(world.run(&["up", "-c", file]).trim(), "nothing to change");
}
