//! Which subnets networks get, which addresses endpoints get, and at which of the host ports are
//! published.

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr},
    process::{Command, Output},
};

use netpath::lab::links;
use netpath_tests::{
    binary,
    dual_stack::{B6, HOST6, OUTSIDE6},
    netns::within,
    probe::{SOON, at, at6, pings, pings6, tcp, tcp_fails, tcp_server, tcp_server6},
    topology::{B, HOST, OUTSIDE, World, succeeded},
};

fn create(world: &World, words: &str) -> Output {
    let words = ["network", "create"].into_iter().chain(words.split(' '));
    world.netpath(&words.collect::<Vec<_>>())
}

fn subnet(world: &World, name: &str) -> String {
    let format = "{{(index .IPAM.Config 0).Subnet}}";
    world
        .run(&["network", "inspect", "-f", format, name])
        .trim()
        .to_owned()
}

fn add(world: &World, network: &str, name: &str) -> Output {
    let netns = world.container(name).name();
    world.netpath(&[
        "endpoint",
        "add",
        "--network",
        network,
        "--name",
        name,
        "--netns",
        netns,
    ])
}

/// A host's routes and name servers, and what a configuration gives to others, are left alone; the rest
/// comes in Docker's order.
#[test]
fn pools_avoid_what_the_host_reaches() {
    let world = World::new(&[]);
    within(&world.host, || {
        links::add_veth("lan0", "lan1").unwrap();
        links::add_address("lan0", Ipv4Addr::new(172, 17, 5, 1), 24).unwrap();
        links::up("lan0").unwrap();
    });
    let resolv = world.file("resolv.conf");
    fs::write(&resolv, "nameserver 172.18.0.53\n").unwrap();
    // A mount namespace of the command's own: /etc/resolv.conf of this machine is not touched.
    let run = |words: &[&str]| {
        let script = "mount --make-rprivate / && mount --bind \"$1\" /etc/resolv.conf && shift && \
                      exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "sh"]).arg(&resolv);
        command
            .arg(binary::netpath())
            .args(["--netns", world.instance(), "--state-dir"]);
        command.arg(world.file("state")).args(words);
        succeeded("unshare netpath", command.output().unwrap())
    };
    let file = world.file("netpath.toml");
    // The one that chooses comes before the one that knows.
    let config = "[limits]\nconntrack = 65536\n[[network]]\nname = \"chosen\"\nbridge = \"chosen0\"\n\
                  [[network]]\nname = \"fixed\"\nbridge = \"fixed0\"\nsubnet = \"172.19.0.0/16\"\n";
    fs::write(&file, config).unwrap();
    run(&["up", "-c", file.to_str().unwrap()]);
    assert_eq!(subnet(&world, "chosen"), "172.20.0.0/16");
    for (size, want) in [
        ("0.0.0.0/24", "172.17.0.0/24"),
        ("0.0.0.0/22", "172.17.8.0/22"),
    ] {
        run(&[
            "network",
            "create",
            "--subnet",
            size,
            &want.replace('/', "-"),
        ]);
        assert_eq!(subnet(&world, &want.replace('/', "-")), want);
    }
    run(&["network", "create", "next"]);
    assert_eq!(subnet(&world, "next"), "172.21.0.0/16");
    // Named, a subnet may hold a name server: that is the user's own matter.
    run(&["network", "create", "--subnet", "172.18.0.0/16", "named"]);
    let e = create(&world, "--subnet 0.0.0.0/8 large");
    let errors = String::from_utf8_lossy(&e.stderr);
    assert!(
        errors.contains("network `large`: no subnet of the address pools with a prefix of 8"),
        "{errors}"
    );
    // Up again keeps what was chosen.
    run(&["up", "-c", file.to_str().unwrap()]);
    assert_eq!(subnet(&world, "chosen"), "172.20.0.0/16");
}

#[test]
fn a_full_network_says_how_full() {
    let world = World::new(&["a", "b"]);
    succeeded("create", create(&world, "--subnet 10.1.0.0/30 small"));
    succeeded("add", add(&world, "small", "a"));
    let e = add(&world, "small", "b");
    let errors = String::from_utf8_lossy(&e.stderr);
    assert!(
        errors.contains(
            "network `small`: every address of 10.1.0.0/30 is taken: of its subnet \
                         10.1.0.0/30 endpoints have 1, something else has 0"
        ),
        "{errors}"
    );
    // One that is given back is given again, and the host knows whose it is.
    let addr = Ipv4Addr::new(10, 1, 0, 2);
    assert!(pings(&world.host, addr, SOON));
    world.run(&["endpoint", "rm", "a"]);
    succeeded("add", add(&world, "small", "b"));
    assert!(pings(&world.host, addr, SOON));
    assert!(pings(world.container("b"), OUTSIDE, SOON));
}

/// RFC 3021: a subnet of two addresses has no others.
#[test]
fn two_addresses_are_a_gateway_and_a_container() {
    let world = World::new(&["a"]);
    succeeded("create", create(&world, "--subnet 10.1.0.0/31 pair"));
    succeeded("add", add(&world, "pair", "a"));
    let a = world.container("a");
    assert!(pings(a, Ipv4Addr::new(10, 1, 0, 0), SOON));
    assert!(pings(a, OUTSIDE, SOON));
    let _out = tcp_server(&world.outside, "outside", 7000);
    assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
}

#[test]
fn an_ipv6_subnet_of_a_size_is_chosen_once() {
    let world = World::dual_stack(&["a"]);
    let netns = world.container("a").name();
    let config = world.network("bridge", "netpath0", "172.17.0.0/16", "ipv6 = \"::/96\"")
        + &format!("[[network.endpoint]]\nname = \"a\"\nnetns = \"{netns}\"\n");
    let chosen = || {
        let format = "{{(index .IPAM.Config 1).Subnet}}";
        world.run(&["network", "inspect", "-f", format, "bridge"])
    };
    world.up(&config);
    let first = chosen();
    assert!(
        first.starts_with("fd") && first.ends_with("::/96\n"),
        "{first}"
    );
    world.up(&config);
    assert_eq!(chosen(), first);
    assert!(pings6(world.container("a"), OUTSIDE6, SOON));
}

/// A SPEC without an address is published where the network says, and there alone.
#[test]
fn ports_are_published_at_the_network_s_addresses() {
    let world = World::dual_stack(&["a"]);
    let bound = |v4: &str, v6: &str| format!("host_binding_ipv4 = \"{v4}\"\n{v6}");
    let config = |more: &str| world.dual_stack_config(&["a"], &["8080:80", "[::]:9090:80"], more);
    world.up(&config(&bound(
        &HOST.to_string(),
        "host_binding_ipv6 = \"::1\"",
    )));
    assert_eq!(
        world.run(&["port", "a"]),
        format!("80/tcp -> {HOST}:8080\n80/tcp -> [::1]:8080\n80/tcp -> [::]:9090\n")
    );
    let one = world.run(&["port", "a", "80/tcp"]);
    assert_eq!(one, format!("{HOST}:8080\n[::1]:8080\n[::]:9090\n"));
    let none = world.netpath(&["port", "a", "80/udp"]);
    assert_eq!(none.status.code(), Some(1));
    let a = world.container("a");
    let _servers = (tcp_server(a, "a", 80), tcp_server6(a, "a", 80));
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    tcp_fails(
        &world.outside,
        at6(HOST6, 8080),
        ErrorKind::ConnectionRefused,
    );
    let own = tcp(&world.host, at6(Ipv6Addr::LOCALHOST, 8080));
    assert!(own.text.starts_with("a saw "), "{}", own.text);
    // What names an address is not the network's matter.
    assert!(tcp(&world.outside, at6(HOST6, 9090)).is_from("a", OUTSIDE6));

    // Docker's own key takes an address of either family.
    world.up(&config(&bound(&HOST6.to_string(), "")));
    assert_eq!(
        world.run(&["port", "a"]),
        format!("80/tcp -> [::]:9090\n80/tcp -> [{HOST6}]:8080\n")
    );
    assert!(tcp(&world.outside, at6(HOST6, 8080)).is_from("a", OUTSIDE6));
    tcp_fails(&world.outside, at(HOST, 8080), ErrorKind::ConnectionRefused);

    // Any address of IPv4, and one of IPv6: no other of IPv6 stands for it.
    let six = format!("host_binding_ipv6 = \"{HOST6}\"");
    world.up(&config(&bound("0.0.0.0", &six)));
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    assert!(tcp(&world.outside, at6(HOST6, 8080)).is_from("a", OUTSIDE6));
    let own = at6(Ipv6Addr::LOCALHOST, 8080);
    tcp_fails(&world.host, own, ErrorKind::ConnectionRefused);
}

/// The lowest free address is given at once, as Docker's, also to another container: whoever knew the
/// one before finds the new one without waiting for its neighbour entry to age.
#[test]
fn an_address_is_another_s_at_once() {
    let world = World::dual_stack(&["a", "b", "c"]);
    world.up(&world.dual_stack_config(&["a", "b"], &[], ""));
    let (a, host) = (world.container("a"), &world.host);
    for round in 0..5 {
        let (old, new) = if round % 2 == 0 {
            ("b", "c")
        } else {
            ("c", "b")
        };
        for from in [a, host] {
            assert!(pings(from, B, SOON), "{old}");
            assert!(pings6(from, B6, SOON), "{old}");
        }
        world.run(&["endpoint", "rm", old]);
        succeeded("add", add(&world, "bridge", new));
        for from in [a, host] {
            assert!(pings(from, B, SOON), "{new} from {}", from.name());
            assert!(pings6(from, B6, SOON), "{new} from {}", from.name());
        }
    }
    // What a container's kernel says while its interface goes, of multicast groups for one, is nobody's.
    let mut drops = world.drops();
    drops.remove("no-config");
    assert!(drops.is_empty(), "{drops:?}");
}
