//! Wrong configurations and surroundings: one clear error, exit status 1, the host as it was.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Output,
    thread,
};

use netpath::lab::links;
use netpath_tests::{
    binary,
    netns::within,
    probe::tcp_server,
    topology::{A, B, World},
};

use crate::lifecycle::{Snapshot, assert_same};

/// One `error:` line that holds every one of `words`.
#[track_caller]
pub(crate) fn refused(output: &Output, words: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(1),
        "exit status; stderr: {errors}"
    );
    let count = errors
        .lines()
        .filter(|line| line.starts_with("error:"))
        .count();
    assert_eq!(
        count, 1,
        "one message that starts with `error:`, got: {errors}"
    );
    for word in words {
        assert!(errors.contains(word), "`{word}` is not in: {errors}");
    }
    assert!(!errors.contains("panicked"), "{errors}");
}

/// `netpath up` with this configuration is refused and changes nothing.
#[track_caller]
pub(crate) fn refused_config(world: &World, config: &str, words: &[&str]) {
    let before = [Snapshot::of_host(world), Snapshot::of(world.container("a"))];
    refused(&world.try_up(config), words);
    assert_same(
        &[Snapshot::of_host(world), Snapshot::of(world.container("a"))],
        &before,
    );
}

fn network(world: &World, more: &str) -> String {
    world.network("bridge", "netpath0", "172.17.0.0/16", more)
}

#[test]
fn subnets_that_overlap() {
    let world = World::new(&["a"]);
    let config = network(&world, "") + &world.network("second", "netpath1", "172.17.128.0/17", "");
    refused_config(
        &world,
        &config,
        &["second", "172.17.128.0/17", "172.17.0.0/16", "choose"],
    );
}

#[test]
fn a_subnet_that_overlaps_the_uplinks() {
    let world = World::new(&["a"]);
    let config = world.network("bridge", "netpath0", "198.51.100.0/25", "");
    refused_config(&world, &config, &["bridge", "198.51.100.0"]);
}

#[test]
fn an_address_outside_the_subnet() {
    let world = World::new(&["a"]);
    let config =
        network(&world, "") + &world.endpoint("a", std::net::Ipv4Addr::new(172, 18, 0, 2), &[]);
    refused_config(&world, &config, &["`a`", "172.18.0.2", "172.17.0.0/16"]);
}

#[test]
fn the_gateways_address() {
    let world = World::new(&["a"]);
    let config =
        network(&world, "") + &world.endpoint("a", std::net::Ipv4Addr::new(172, 17, 0, 1), &[]);
    refused_config(&world, &config, &["`a`", "172.17.0.1", "gateway"]);
}

#[test]
fn one_address_twice() {
    let world = World::new(&["a", "b"]);
    let config = network(&world, "") + &world.endpoint("a", A, &[]) + &world.endpoint("b", A, &[]);
    refused_config(&world, &config, &["`b`", "`a`", "172.17.0.2"]);
}

#[test]
fn a_namespace_that_is_not_there() {
    let world = World::new(&["a"]);
    let config =
        network(&world, "") + &world.endpoint("a", A, &[]) + &world.endpoint("nobody", B, &[]);
    refused_config(&world, &config, &["nobody", "namespace", "ip netns"]);
}

#[test]
fn a_port_published_twice() {
    let world = World::new(&["a", "b"]);
    let config = network(&world, "")
        + &world.endpoint("a", A, &["8080:80"])
        + &world.endpoint("b", B, &["8080:81"]);
    refused_config(&world, &config, &["8080", "already allocated", "`b`", "a"]);
    // A range clashes by its members.
    let config = network(&world, "")
        + &world.endpoint("a", A, &["8000-8100:8000-8100"])
        + &world.endpoint("b", B, &["8080:81"]);
    refused_config(&world, &config, &["8080", "already allocated"]);
}

#[test]
fn a_port_that_the_host_itself_listens_on() {
    let world = World::new(&["a"]);
    let _server = tcp_server(&world.host, "host", 8080);
    let config = network(&world, "") + &world.endpoint("a", A, &["8080:80"]);
    refused_config(
        &world,
        &config,
        &["failed to bind host port 0.0.0.0:8080/tcp: address already in use"],
    );
    let config = network(&world, "") + &world.endpoint("a", A, &["8000-8100:8000-8100"]);
    refused_config(&world, &config, &["0.0.0.0:8080/tcp", "already in use"]);
}

#[test]
fn a_bridge_name_that_something_else_has() {
    let world = World::new(&["a"]);
    within(&world.host, || {
        links::add_veth("netpath0", "other").unwrap()
    });
    let config = network(&world, "") + &world.endpoint("a", A, &[]);
    refused_config(&world, &config, &["netpath0"]);
}

#[test]
fn an_interface_in_the_container_that_is_in_the_way() {
    let world = World::new(&["a"]);
    within(world.container("a"), || {
        links::add_veth("eth0", "other").unwrap()
    });
    let config = network(&world, "") + &world.endpoint("a", A, &[]);
    refused_config(&world, &config, &["eth0"]);
}

#[test]
fn a_key_that_does_not_exist() {
    let world = World::new(&["a"]);
    refused_config(
        &world,
        &network(&world, "subnett = \"10.0.0.0/8\""),
        &["subnett", "line"],
    );
    refused_config(
        &world,
        &(network(&world, "") + "[extra]\nx = 1\n"),
        &["extra"],
    );
}

#[test]
fn a_file_that_is_not_toml() {
    let world = World::new(&["a"]);
    refused_config(&world, "[[network]\n", &["netpath.toml", "line"]);
}

#[test]
fn a_file_that_is_not_there() {
    let world = World::new(&["a"]);
    let output = world.netpath(&["up", "-c", "/nonexistent/netpath.toml", "--yes"]);
    refused(&output, &["/nonexistent/netpath.toml"]);
}

#[test]
fn values_that_make_no_sense() {
    let world = World::new(&["a"]);
    let cases = [
        (
            world.network("bridge", "netpath0", "172.17.0.0/33", ""),
            "172.17.0.0/33",
        ),
        (
            world.network("bridge", "a-name-that-is-too-long", "172.17.0.0/16", ""),
            "too-long",
        ),
        (network(&world, "gateway = \"10.0.0.1\""), "10.0.0.1"),
        (network(&world, "mtu = 1"), "mtu"),
        (
            network(&world, "") + &world.endpoint("a", A, &["99999:80"]),
            "99999",
        ),
        (
            network(&world, "") + &world.endpoint("a", A, &["80-82:80-81"]),
            "80-82",
        ),
        (
            network(&world, "") + &world.endpoint("a", A, &["80:80/icmp"]),
            "icmp",
        ),
    ];
    for (config, word) in cases {
        refused_config(&world, &config, &[word]);
    }
}

#[test]
fn objects_that_are_not_there() {
    let world = World::with_ports(&["a"], &["8080:80"]);
    let before = Snapshot::of_host(&world);
    let cases: [(&[&str], &str); 7] = [
        (&["down", "nothing"], "nothing"),
        (&["network", "inspect", "nothing"], "nothing"),
        (&["endpoint", "rm", "nobody"], "nobody"),
        (&["publish", "nobody", "80:80"], "nobody"),
        (&["unpublish", "a", "81:81"], "81"),
        (&["port", "nobody"], "nobody"),
        (&["publish", "a", "8080:81"], "8080"),
    ];
    for (arguments, word) in cases {
        refused(&world.netpath(arguments), &[word]);
    }
    assert_same(&[Snapshot::of_host(&world)], &[before]);
}

#[test]
fn a_host_namespace_that_is_not_there() {
    let output = std::process::Command::new(binary::netpath())
        .args(["--netns", "npt-nowhere", "status"])
        .output()
        .unwrap();
    refused(&output, &["npt-nowhere"]);
}

#[test]
fn without_root() {
    let world = World::new(&["a"]);
    let before = Snapshot::of_host(&world);
    // Where the program and its input can be read by everyone.
    let program = world.file("netpath");
    // By another process: one that is started meanwhile by this one would have the file open for writing, and
    // then it cannot be run.
    let copied = std::process::Command::new("cp")
        .args([binary::netpath(), program.clone()])
        .status()
        .unwrap();
    assert!(copied.success());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(program.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
    let file = world.file("netpath.toml");
    fs::write(&file, network(&world, "")).unwrap();
    let file = file.to_str().unwrap();
    for arguments in [
        &["up", "-c", file, "--yes"][..],
        &["lab", "--once"],
        &["down", "--all"],
    ] {
        // In the host's namespace already: what is refused is the work, not the way there.
        let output = within(&world.host, || {
            std::process::Command::new(&program)
                .args(["--state-dir", world.file("state").to_str().unwrap()])
                .args(arguments)
                .uid(65_534)
                .gid(65_534)
                .current_dir("/")
                .output()
                .unwrap()
        });
        refused(&output, &["root"]);
    }
    assert_same(&[Snapshot::of_host(&world)], &[before]);
}

#[test]
fn without_btf() {
    let world = World::new(&["a"]);
    let before = Snapshot::of_host(&world);
    let file = world.file("netpath.toml");
    fs::write(&file, network(&world, "")).unwrap();
    // On a thread whose own view of the file system has no BTF.
    let output = thread::scope(|scope| {
        scope
            .spawn(|| {
                use nix::{
                    mount::{MsFlags, mount},
                    sched::{CloneFlags, unshare},
                };
                unshare(CloneFlags::CLONE_NEWNS).unwrap();
                let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
                mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
                let btf = "/sys/kernel/btf";
                mount(
                    Some("none"),
                    btf,
                    Some("tmpfs"),
                    MsFlags::empty(),
                    None::<&str>,
                )
                .unwrap();
                world.netpath(&["up", "-c", file.to_str().unwrap(), "--yes"])
            })
            .join()
            .unwrap()
    });
    refused(&output, &["BTF", "CONFIG_DEBUG_INFO_BTF"]);
    assert_same(&[Snapshot::of_host(&world)], &[before]);
}
