//! Up, up again, down, and failures half-way.

use std::{collections::BTreeMap, fs, path::Path};

use netpath::lab::links;
use netpath_tests::{
    dual_stack::{addresses6, routes6},
    netns::{Namespace, within},
    probe::{SOON, at, pings, tcp, tcp_server, udp_socket},
    topology::{A, B, HOST, OUTSIDE, World},
};

/// Everything about a namespace that netpath could have changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    links: Vec<links::Link>,
    routes: Vec<links::Route>,
    ipv6: Vec<String>,
    sysctls: BTreeMap<String, String>,
    pins: bool,
}

impl Snapshot {
    /// Of the host, without its pins' contents.
    pub(crate) fn of_host(world: &World) -> Self {
        Self {
            pins: world.pins().exists(),
            ..Self::of(&world.host)
        }
    }

    /// Of any namespace.
    pub(crate) fn of(namespace: &Namespace) -> Self {
        let addresses = addresses6(namespace, None).into_iter();
        // One that was advertised settles by itself.
        let addresses = addresses.map(|line| line.replace(" tentative", ""));
        let ipv6 = addresses.chain(routes6(namespace)).collect();
        let rest = within(namespace, || {
            let mut sysctls = BTreeMap::new();
            read_sysctls(Path::new("/proc/sys/net/ipv4"), &mut sysctls);
            read_sysctls(Path::new("/proc/sys/net/ipv6/conf"), &mut sysctls);
            Self {
                links: links::links().unwrap(),
                routes: links::routes().unwrap(),
                ipv6: Vec::new(),
                sysctls,
                pins: false,
            }
        });
        Self { ipv6, ..rest }
    }
}

impl Snapshot {
    /// IPv6 addresses and routes.
    pub(crate) fn ipv6(&self) -> &[String] {
        &self.ipv6
    }
}

fn read_sysctls(directory: &Path, into: &mut BTreeMap<String, String>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_sysctls(&path, into);
        } else if let Ok(value) = fs::read_to_string(&path) {
            // These move by themselves.
            if !path.ends_with("tcp_fastopen_key") && !path.ends_with("flush") {
                into.insert(path.display().to_string(), value);
            }
        }
    }
}

fn config(world: &World) -> String {
    world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &world.endpoint("a", A, &["8080:80", "5353:53/udp"])
        + &world.endpoint("b", B, &[])
}

#[test]
fn up_twice_changes_nothing() {
    let world = World::new(&["a", "b"]);
    world.up(&config(&world));
    let _server = tcp_server(world.container("a"), "a", 80);
    // A flow that lives through it.
    let server = udp_socket(world.container("a"), 53, None);
    let client = udp_socket(&world.outside, 0, Some(at(HOST, 5353)));
    let mut buffer = [0; 10];
    client.send(b"1").unwrap();
    let (_, peer) = server.recv_from(&mut buffer).unwrap();

    let before = [
        Snapshot::of_host(&world),
        Snapshot::of(world.container("a")),
    ];
    let flows = world.run(&["ct", "list"]).lines().count();
    world.up(&config(&world));
    assert_eq!(
        [
            Snapshot::of_host(&world),
            Snapshot::of(world.container("a"))
        ],
        before
    );
    assert_eq!(
        world.run(&["ct", "list"]).lines().count(),
        flows,
        "flows were lost"
    );

    server.send_to(b"2", peer).unwrap();
    assert_eq!(client.recv(&mut buffer).unwrap(), 1);
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
}

#[test]
fn a_dry_run_changes_nothing() {
    let world = World::new(&["a", "b"]);
    let before = [
        Snapshot::of_host(&world),
        Snapshot::of(world.container("a")),
    ];
    let file = world.file("netpath.toml");
    fs::write(&file, config(&world)).unwrap();
    let printed = world.run(&["up", "-c", file.to_str().unwrap(), "--dry-run"]);
    assert!(printed.contains("netpath0"), "{printed}");
    assert_eq!(
        [
            Snapshot::of_host(&world),
            Snapshot::of(world.container("a"))
        ],
        before
    );
}

#[test]
fn down_leaves_nothing() {
    let world = World::new(&["a", "b"]);
    let everything = || {
        [
            Snapshot::of_host(&world),
            Snapshot::of(world.container("a")),
            Snapshot::of(world.container("b")),
        ]
    };
    let before = everything();
    for _ in 0..2 {
        world.up(&config(&world));
        assert!(pings(world.container("a"), OUTSIDE, SOON));
        world.run(&["down", "--all"]);
        assert_same(&everything(), &before);
    }
    let state = fs::read_dir(world.file("state")).map_or(0, |entries| {
        // A lock file may stay.
        entries
            .flatten()
            .filter(|entry| !entry.path().to_string_lossy().ends_with(".lock"))
            .count()
    });
    assert_eq!(state, 0, "state is left");
    // Nothing to do is fine.
    world.run(&["down", "--all"]);
}

#[test]
fn forwarding_that_was_on_stays_on() {
    let world = World::new(&["a", "b"]);
    let knob = "/proc/sys/net/ipv4/ip_forward";
    within(&world.host, || fs::write(knob, "1").unwrap());
    world.up(&config(&world));
    world.run(&["down", "--all"]);
    assert_eq!(
        within(&world.host, || fs::read_to_string(knob).unwrap()).trim(),
        "1"
    );
}

#[test]
fn down_of_one_network_keeps_the_other() {
    let world = World::new(&["a", "c"]);
    let c = std::net::Ipv4Addr::new(172, 18, 0, 2);
    let config = world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &world.endpoint("a", A, &["8080:80"])
        + &world.network("second", "netpath1", "172.18.0.0/16", "")
        + &world.endpoint("c", c, &["9090:80"]);
    world.up(&config);
    let _server = tcp_server(world.container("c"), "c", 80);
    world.run(&["down", "bridge"]);
    let links = within(&world.host, || links::links().unwrap());
    assert!(!links.iter().any(|link| link.name == "netpath0"));
    assert!(tcp(&world.outside, at(HOST, 9090)).is_from("c", OUTSIDE));
    assert!(pings(world.container("c"), OUTSIDE, SOON));
}

#[test]
fn down_without_a_name_is_a_usage_error() {
    let world = World::new(&[]);
    assert_eq!(world.netpath(&["down"]).status.code(), Some(2));
}

#[test]
fn a_second_endpoint_that_cannot_be_made_undoes_the_first() {
    let world = World::new(&["a", "b"]);
    // b has an interface of the name that its endpoint needs.
    within(world.container("b"), || {
        links::add_veth("eth0", "other").unwrap()
    });
    let before = [
        Snapshot::of_host(&world),
        Snapshot::of(world.container("a")),
        Snapshot::of(world.container("b")),
    ];
    let output = world.try_up(&config(&world));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("eth0"), "{errors}");
    let after = [
        Snapshot::of_host(&world),
        Snapshot::of(world.container("a")),
        Snapshot::of(world.container("b")),
    ];
    assert_same(&after, &before);
}

#[test]
fn a_failed_change_leaves_what_was_there() {
    let world = World::new(&["a", "b"]);
    let first = world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &world.endpoint("a", A, &["8080:80"]);
    world.up(&first);
    let _server = tcp_server(world.container("a"), "a", 80);
    within(world.container("b"), || {
        links::add_veth("eth0", "other").unwrap()
    });
    let before = Snapshot::of_host(&world);
    assert_eq!(world.try_up(&config(&world)).status.code(), Some(1));
    assert_same(&[Snapshot::of_host(&world)], &[before]);
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
}

#[test]
fn inspect_and_ls_are_dockers() {
    let world = World::new(&["a", "b"]);
    world.up(&config(&world));
    let printed = world.run(&["network", "inspect", "bridge"]);
    let json: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let network = &json[0];
    assert_eq!(network["Name"], "bridge");
    assert_eq!(network["Driver"], "bridge");
    assert_eq!(network["IPAM"]["Config"][0]["Subnet"], "172.17.0.0/16");
    assert_eq!(network["IPAM"]["Config"][0]["Gateway"], "172.17.0.1");
    let containers = network["Containers"].as_object().unwrap();
    let addresses: Vec<_> = containers
        .values()
        .map(|c| c["IPv4Address"].clone())
        .collect();
    assert_eq!(addresses.len(), 2, "{printed}");
    assert!(addresses.contains(&"172.17.0.2/16".into()), "{printed}");
    let table = world.run(&["network", "ls"]);
    assert!(
        table.contains("NAME") && table.contains("DRIVER"),
        "{table}"
    );
    assert!(world.run(&["status"]).contains("bridge"));
}

/// Compares part by part, for a message that can be read.
#[track_caller]
pub(crate) fn assert_same(after: &[Snapshot], before: &[Snapshot]) {
    for (after, before) in after.iter().zip(before) {
        assert_eq!(after.links, before.links);
        assert_eq!(after.routes, before.routes);
        assert_eq!(after.ipv6, before.ipv6);
        assert_eq!(after.pins, before.pins, "pins");
        let changed: Vec<_> = after
            .sysctls
            .iter()
            .filter(|(name, value)| before.sysctls.get(*name) != Some(value))
            .collect();
        assert!(changed.is_empty(), "changed sysctls: {changed:?}");
        assert_eq!(after, before);
    }
}
