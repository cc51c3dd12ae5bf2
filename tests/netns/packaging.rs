//! What is installed beside the program: units, and the capabilities that they leave it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use netpath_tests::{
    binary,
    netns::stdout,
    probe::{SOON, at, pings, tcp, tcp_server},
    skip,
    topology::{HOST, OUTSIDE, World, succeeded},
    wait,
};

/// The units of the repository, each with its text.
fn units() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd");
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    let mut all: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|e| read(e.unwrap().path()))
        .collect();
    all.sort();
    assert_eq!(all.len(), 2);
    all
}

/// A copy of the units that runs the program under test.
fn copies(world: &World) -> Vec<String> {
    let program = binary::netpath().display().to_string();
    let copy = |(name, text): &(String, String)| {
        let path = world.file(name);
        fs::write(&path, text.replace("/usr/bin/netpath", &program)).unwrap();
        path.display().to_string()
    };
    units().iter().map(copy).collect()
}

#[test]
fn systemd_takes_the_units() {
    if skip::missing("systemd-analyze") {
        return;
    }
    let world = World::new(&[]);
    for unit in copies(&world) {
        let verify = Command::new("systemd-analyze")
            .args(["verify", "--man=no", &unit])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&verify.stderr).into_owned();
        // Whatever it says of this unit is too much; of others of this machine it may say anything.
        let name = Path::new(&unit).file_name().unwrap().to_str().unwrap();
        let ours: Vec<_> = text.lines().filter(|l| l.contains(name)).collect();
        assert!(ours.is_empty(), "{ours:?}");
        // An exposure of 10 is an unprotected service, 4.0 is "OK".
        let security = Command::new("systemd-analyze")
            .args([
                "security",
                "--offline=true",
                "--no-pager",
                "--threshold=40",
                &unit,
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&security.stdout).into_owned();
        assert!(security.status.success(), "{name}: {said}");
    }
}

/// The capabilities of a unit are enough for what it runs: `up` with a process's namespace, and the agent.
#[test]
fn the_capabilities_of_the_units_are_enough() {
    if skip::missing("setpriv") {
        return;
    }
    let world = World::dual_stack(&["a"]);
    let config = world.dual_stack_config(&["a"], &["8080:80"], "");
    let file = world.file("netpath.toml");
    fs::write(&file, format!("[limits]\nconntrack = 65536\n{config}")).unwrap();
    let bounding = |name: &str| {
        let (_, text) = units().into_iter().find(|(n, _)| n == name).unwrap();
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix("CapabilityBoundingSet="));
        let caps = line
            .unwrap()
            .split(' ')
            .map(|c| c.to_lowercase().replace("cap_", "+"));
        caps.collect::<Vec<_>>().join(",")
    };
    let run = |unit: &str, arguments: &[&str]| {
        let netpath = world.netpath_command();
        let caps = format!("-all,{}", bounding(unit));
        let mut command = Command::new("setpriv");
        command.args([
            "--bounding-set",
            &caps,
            "--inh-caps",
            "-all",
            "--no-new-privs",
        ]);
        command
            .arg(netpath.get_program())
            .args(netpath.get_args())
            .args(arguments);
        command
    };
    let up = ["up", "-y", "--absent-ok", "-c", file.to_str().unwrap()];
    succeeded("netpath up", run("netpath.service", &up).output().unwrap());
    let _server = tcp_server(world.container("a"), "a", 80);
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    assert!(pings(world.container("a"), OUTSIDE, SOON));
    // The agent sees the container end, and frees what it had.
    let log = world.file("agent.log");
    let mut agent = run("netpath-agent.service", &["agent"])
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let said = |what: &str| fs::read_to_string(&log).unwrap().contains(what);
    wait::until("the agent runs", || said("agent of instance"));
    stdout(world.container("a"), "ip", &["link", "del", "eth0"]);
    wait::until("it has noticed", || {
        said("endpoint a went with its container")
    });
    let text = fs::read_to_string(&log).unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(!text.contains("ERROR") && !text.contains("WARN"), "{text}");
}

#[test]
fn completions_and_manual_pages_are_made_without_root_or_kernel() {
    let world = World::new(&[]);
    for shell in ["bash", "zsh", "fish"] {
        let text = world.run(&["completions", shell]);
        assert!(
            text.contains("netpath") && text.contains("endpoint"),
            "{shell}"
        );
        if shell == "bash" {
            let file = world.file("netpath.bash");
            fs::write(&file, text).unwrap();
            let check = Command::new("bash")
                .args(["-n", file.to_str().unwrap()])
                .output();
            succeeded("bash -n", check.unwrap());
        }
    }
    let pages = world.file("man");
    world.run(&["man", pages.to_str().unwrap()]);
    for name in ["netpath.1", "netpath-up.1", "netpath-endpoint-add.1"] {
        assert!(pages.join(name).is_file(), "{name}");
    }
}
