//! Nothing of netfilter, no process, maps that read like documentation.

use netpath_tests::{
    binary,
    netns::{command, stdout, within},
    probe::{at, tcp, tcp_server, udp_server, udp_socket},
    skip,
    topology::{HOST, OUTSIDE, World},
};

fn busy_world() -> (World, impl Sized) {
    let world = World::with_ports(&["a"], &["8080:80", "5353:53/udp"]);
    let a = world.container("a");
    let servers = [
        tcp_server(a, "a", 80),
        udp_server(a, "a", 53),
        tcp_server(&world.outside, "outside", 7000),
    ];
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
    (world, servers)
}

#[test]
fn the_kernel_itself_holds_no_rule_and_no_connection() {
    let (world, _servers) = busy_world();
    let found = within(&world.host, || netpath::lab::netfilter::look().unwrap());
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn iptables_save_is_empty() {
    if skip::missing("iptables-save") {
        return;
    }
    let (world, _servers) = busy_world();
    let printed = stdout(&world.host, "iptables-save", &[]);
    assert_eq!(
        printed.lines().filter(|line| line.starts_with('-')).count(),
        0,
        "{printed}"
    );
}

#[test]
fn nft_list_ruleset_is_empty() {
    if skip::missing("nft") {
        return;
    }
    let (world, _servers) = busy_world();
    assert_eq!(stdout(&world.host, "nft", &["list", "ruleset"]), "");
}

#[test]
fn conntrack_lists_nothing() {
    if skip::missing("conntrack") {
        return;
    }
    let (world, _servers) = busy_world();
    assert_eq!(stdout(&world.host, "conntrack", &["-L"]), "");
}

#[test]
fn bpftool_prints_the_fields_of_conntrack() {
    if skip::missing("bpftool") {
        return;
    }
    let (world, _servers) = busy_world();
    let map = world.pins().join("np_ct4");
    let printed = stdout(
        &world.host,
        "bpftool",
        &["map", "dump", "pinned", map.to_str().unwrap()],
    );
    for field in [
        "\"src\"",
        "\"dst\"",
        "\"sport\"",
        "\"dport\"",
        "\"proto\"",
        "\"state\"",
        "\"packets\"",
    ] {
        assert!(printed.contains(field), "no field {field} in\n{printed}");
    }
    assert!(
        printed.contains("8080"),
        "ports read as people write them:\n{printed}"
    );
}

#[test]
fn a_killed_agent_takes_nothing_with_it() {
    let (world, _servers) = busy_world();
    let client = udp_socket(&world.outside, 0, Some(at(HOST, 5353)));
    let ask = || netpath::lab::probe::udp_again(&client, netpath_tests::probe::SOON).unwrap();
    assert!(ask().is_from("a", OUTSIDE));
    let mut agent = world.netpath_command().arg("agent").spawn().unwrap();
    assert!(ask().is_from("a", OUTSIDE));
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(ask().is_from("a", OUTSIDE), "an old flow");
    assert!(
        tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE),
        "a new one in"
    );
    assert!(
        tcp(world.container("a"), at(OUTSIDE, 7000)).is_from("outside", HOST),
        "and one out"
    );
}

#[test]
fn real_programs_work() {
    if skip::missing("ping") || skip::missing("curl") || skip::missing("nsenter") {
        return;
    }
    let (world, _servers) = busy_world();
    stdout(
        world.container("a"),
        "ping",
        &["-c", "2", "-i", "0.05", "-W", "2", "198.51.100.2"],
    );
    let arguments = ["-sS", "-m", "3", "http://198.51.100.1:8080/"];
    let printed = stdout(&world.outside, "curl", &arguments);
    assert!(printed.starts_with("a saw 198.51.100.2:"), "{printed}");
    let path = format!("--net=/run/netns/{}", world.host.name());
    let binary = binary::netpath();
    let state = world.file("state");
    // As a user who has entered the namespace by hand; the instance is still the namespace's.
    let listed = command(
        &world.outside,
        "nsenter",
        &[
            &path,
            binary.to_str().unwrap(),
            "--netns",
            world.host.name(),
            "--state-dir",
            state.to_str().unwrap(),
            "ct",
            "list",
        ],
    );
    assert!(listed.status.success());
}
