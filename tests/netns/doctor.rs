//! `netpath doctor`: what it finds on a host that is well, and what it says of each thing that is
//! broken.

use std::process::Output;

use aya::{
    EbpfLoader,
    programs::{SchedClassifier, TcAttachType, links::FdLink},
};
use netpath::bpf::OBJECT;
use netpath_tests::{
    dual_stack::set6,
    netns::{stdout, within},
    skip,
    topology::{UPLINK, World},
    ways::set,
};
use serde::Deserialize;

#[derive(Deserialize, Debug)]
struct Finding {
    check: String,
    level: String,
    found: String,
    remedy: Option<String>,
}

/// What the doctor finds, and whether its exit status says that nothing has failed.
fn examine(world: &World) -> (Vec<Finding>, bool) {
    let Output { status, stdout, .. } = world.netpath(&["--json", "doctor"]);
    let findings = serde_json::from_slice(&stdout).unwrap();
    (findings, status.success())
}

#[track_caller]
fn find<'f>(findings: &'f [Finding], check: &str) -> &'f Finding {
    let found = findings.iter().find(|it| it.check == check);
    found.unwrap_or_else(|| panic!("no {check} in {findings:?}"))
}

#[test]
fn a_host_that_is_well() {
    let world = World::dual_stack_with_ports(&["a"], &["8080:80"]);
    let (findings, healthy) = examine(&world);
    assert!(healthy, "{findings:?}");
    let all = [
        ("kernel", "."),
        ("capabilities", "all that are needed"),
        ("BTF", "/sys/kernel/btf/vmlinux"),
        ("BPF compiler", "on"),
        ("BPF file system", "at /sys/fs/bpf"),
        ("memory", "the maps are made"),
        ("IPv4 forwarding", "on"),
        ("IPv6 forwarding", "on"),
        ("uplink", UPLINK),
        ("rp_filter", ""),
        ("other programs", "none on netpath's hooks"),
        ("firewall", "no rules"),
    ];
    for (check, words) in all {
        let found = find(&findings, check);
        assert_eq!(found.level, "ok", "{found:?}");
        assert!(found.found.contains(words), "{found:?}");
        assert_eq!(found.remedy, None, "{found:?}");
    }
}

#[test]
fn before_anything_is_up() {
    let world = World::new(&["a"]);
    let (findings, healthy) = examine(&world);
    assert!(healthy, "{findings:?}");
    let memory = &find(&findings, "memory").found;
    assert!(
        memory.contains("MiB") || memory.contains("no limit"),
        "{memory}"
    );
    let printed = world.run(&["doctor"]);
    let last = printed.lines().last().unwrap();
    assert!(last.contains("checks: 0 failed"), "{printed}");
}

#[test]
fn forwarding_that_somebody_has_turned_off() {
    let world = World::dual_stack_with_ports(&["a"], &["8080:80"]);
    set(&world.host, "conf/uplink0/forwarding", "0");
    set6(&world.host, UPLINK, "forwarding", "0");
    let (findings, healthy) = examine(&world);
    assert!(!healthy, "{findings:?}");
    for (check, key) in [
        ("IPv4 forwarding", "net/ipv4/conf/uplink0/forwarding: 0"),
        ("IPv6 forwarding", "net/ipv6/conf/uplink0/forwarding: 0"),
    ] {
        let found = find(&findings, check);
        assert_eq!(found.level, "failed", "{found:?}");
        assert!(found.found.contains(key), "{found:?}");
        assert!(found.remedy.as_ref().unwrap().contains("netpath up"));
    }
}

#[test]
fn a_firewall_that_drops_what_is_forwarded() {
    if skip::missing("nft") {
        return;
    }
    let world = World::with_ports(&["a"], &["8080:80"]);
    stdout(&world.host, "nft", &["add", "table", "inet", "strict"]);
    let chain = "{ type filter hook forward priority 0; policy drop; }";
    let words = ["add", "chain", "inet", "strict", "forward", chain];
    stdout(&world.host, "nft", &words);
    let (findings, healthy) = examine(&world);
    assert!(healthy, "what netpath forwards does not go there");
    let found = find(&findings, "firewall");
    assert_eq!(found.level, "warning", "{found:?}");
    assert!(
        found.found.starts_with("inet strict forward drops"),
        "{found:?}"
    );
}

#[test]
fn an_interface_that_is_no_uplink() {
    let world = World::with_ports(&["a"], &["8080:80"]);
    let pair = "link add second type veth peer name third";
    stdout(&world.host, "ip", &pair.split(' ').collect::<Vec<_>>());
    stdout(&world.host, "ip", &["link", "set", "second", "up"]);
    // Nobody is behind it that could be answered.
    assert_eq!(find(&examine(&world).0, "uplink").level, "ok");
    let address = ["addr", "add", "192.0.2.1/24", "dev", "second"];
    stdout(&world.host, "ip", &address);
    let (findings, healthy) = examine(&world);
    assert!(healthy, "{findings:?}");
    let found = find(&findings, "uplink");
    assert_eq!(found.level, "warning", "{found:?}");
    assert!(found.found.contains("and not second:"), "{found:?}");
}

#[test]
fn a_strict_filter_on_one_of_two_uplinks() {
    let world = World::new(&["a"]);
    let pair = "link add second type veth peer name third";
    stdout(&world.host, "ip", &pair.split(' ').collect::<Vec<_>>());
    stdout(&world.host, "ip", &["link", "set", "second", "up"]);
    let uplinks = format!("uplinks = [\"{UPLINK}\", \"second\"]\n");
    world.up(&world.network("bridge", "netpath0", "172.17.0.0/16", &uplinks));
    set(&world.host, "conf/all/rp_filter", "0");
    set(&world.host, "conf/second/rp_filter", "1");
    set(&world.host, &format!("conf/{UPLINK}/rp_filter"), "2");
    let (findings, _) = examine(&world);
    let found = find(&findings, "rp_filter");
    assert_eq!(found.level, "warning", "{found:?}");
    assert_eq!(
        found.remedy.as_deref(),
        Some("sysctl -w net/ipv4/conf/second/rp_filter=2")
    );
}

#[test]
fn another_program_on_the_uplink() {
    let world = World::with_ports(&["a"], &["8080:80"]);
    // Not netpath's although its name begins so: what counts is what the instance has pinned.
    let mut ebpf = EbpfLoader::new()
        .map_max_entries(netpath_common::maps::CT4, 1)
        .load(OBJECT.unwrap())
        .unwrap();
    let program = ebpf.program_mut("np_time_empty").unwrap();
    let program: &mut SchedClassifier = program.try_into().unwrap();
    program.load().unwrap();
    let _link: FdLink = within(&world.host, || {
        let id = program.attach(UPLINK, TcAttachType::Egress).unwrap();
        program.take_link(id).unwrap().try_into().unwrap()
    });
    let (findings, healthy) = examine(&world);
    assert!(healthy, "{findings:?}");
    let found = find(&findings, "other programs");
    assert_eq!(found.level, "warning", "{found:?}");
    let words = format!("on {UPLINK}, tcx egress, after netpath's");
    assert!(
        found.found.contains("np_time_empty (") && found.found.contains(&words),
        "{found:?}"
    );
}
