//! `netpath import iptables`: the program, and the way there and back.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    process::{Output, Stdio},
};

use netpath::config::{Config, Network};
use netpath_tests::{
    netns::{command, stdout},
    probe::{at, tcp, tcp_server, udp, udp_server},
    skip,
    topology::{A, B, HOST, OUTSIDE, World},
};

/// Runs `netpath import iptables` with text on its standard input.
fn import(world: &World, arguments: &[&str], text: &str) -> Output {
    let mut child = world
        .netpath_command()
        .args(["import", "iptables"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A network and what its containers publish, by address.
type Shape = (Network, BTreeSet<(String, Vec<String>)>);

/// What rules can tell of a configuration.
fn shapes(config: &str) -> Vec<Shape> {
    let config = Config::parse(config, "a test").unwrap();
    let shape = |mut n: Network| {
        let publishes = |e: &netpath::config::Endpoint| {
            let mut specs: Vec<_> = e.publish.iter().map(ToString::to_string).collect();
            specs.sort();
            (format!("{:?} {:?}", e.addr, e.addr6), specs)
        };
        let endpoints = n.endpoints.iter().map(publishes).collect();
        n.endpoints.clear();
        (n, endpoints)
    };
    config.networks.into_iter().map(shape).collect()
}

/// A host with two networks and every kind of published port.
fn configured(world: &World) -> String {
    let six = "ipv6 = \"fd00:17::/64\"\nsnat6 = \"2001:db8:1::99\"";
    let endpoint = |name: &str, v4: std::net::Ipv4Addr, v6: &str, publish: &[&str]| {
        world.endpoint(name, v4, publish) + &format!("ip6 = \"{v6}\"\n")
    };
    let ports = [
        "8080:80",
        "127.0.0.1:8443:443",
        "[::1]:8443:443",
        "0.0.0.0:5353:53/udp",
        "9000-9002:80-82",
        "30000-30999:30000-30999/udp,allow=198.51.100.0/24,allow=2001:db8::/32",
        "443:443,balance",
        "7000:7000/sctp",
    ];
    world.network("bridge", "netpath0", "172.17.0.0/16", six)
        + &endpoint("a", A, "fd00:17::2", &ports)
        + &endpoint(
            "b",
            B,
            "fd00:17::3",
            &["443:8443,balance", "198.51.100.1:8080:81"],
        )
        + &world.network(
            "br-other",
            "br-other",
            "10.5.0.0/24",
            "snat = \"198.51.100.77\"",
        )
        + &world.endpoint(
            "c",
            std::net::Ipv4Addr::new(10, 5, 0, 9),
            &["81:81", "82-84:92-94/udp"],
        )
}

#[test]
fn the_rules_of_a_running_instance_are_its_configuration() {
    let world = World::dual_stack(&["a", "b", "c"]);
    let config = configured(&world);
    world.up(&config);
    let rules = world.run(&["rules", "--format", "iptables"]);
    let found = import(&world, &[], &rules);
    assert_eq!(
        text(&found.stderr).lines().count(),
        1,
        "{}",
        text(&found.stderr)
    );
    assert_eq!(found.status.code(), Some(0));
    assert_eq!(shapes(&text(&found.stdout)), shapes(&config));
}

#[test]
fn the_rules_of_the_real_tools_are_taken() {
    if skip::missing("iptables-save") || skip::missing("ip6tables-save") {
        return;
    }
    let mut world = World::dual_stack(&["a", "b", "c"]);
    let config = configured(&world);
    world.up(&config);
    let rules = world.run(&["rules", "--format", "iptables"]);
    world.add_container("tables");
    let tables = world.container("tables");
    let mut saved = String::new();
    for (tool, half) in ["iptables", "ip6tables"]
        .iter()
        .zip(rules.split("# ip6tables"))
    {
        for line in half.lines().filter(|l| l.starts_with("-")) {
            let words: Vec<_> = ["-t", "nat"].into_iter().chain(line.split(' ')).collect();
            assert!(command(tables, tool, &words).status.success(), "{line}");
        }
        saved += &stdout(tables, &format!("{tool}-save"), &["-c"]);
    }
    let found = import(&world, &["-"], &saved);
    assert_eq!(found.status.code(), Some(0), "{}", text(&found.stderr));
    assert_eq!(shapes(&text(&found.stdout)), shapes(&config));
}

const DOCKER: &str = "*nat\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
    -A POSTROUTING -s 172.17.0.0/16 ! -o netpath0 -j MASQUERADE\n\
    -A DOCKER ! -i netpath0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80\n\
    -A DOCKER ! -i netpath0 -p udp -m udp --dport 5353 -j DNAT --to-destination 172.17.0.2:53\nCOMMIT\n";

#[test]
fn what_is_imported_works_once_the_namespaces_are_filled_in() {
    let world = World::new(&["a"]);
    let file = world.file("imported.toml");
    let path = file.to_str().unwrap();
    let found = import(&world, &["-o", path], DOCKER);
    assert_eq!(found.status.code(), Some(0), "{}", text(&found.stderr));
    assert_eq!(text(&found.stdout), "", "all of it is in the file");
    let refused = world.netpath(&["up", "-c", path, "--yes"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(
        said.contains("`FILL-IN-c-172-17-0-2` is a place to fill in"),
        "{said}"
    );
    let a = world.container("a");
    let config = fs::read_to_string(&file).unwrap();
    world.up(&config.replace("FILL-IN-c-172-17-0-2", a.name()));
    let _servers = (tcp_server(a, "a", 80), udp_server(a, "a", 53));
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    assert!(udp(&world.outside, at(HOST, 5353)).is_from("a", OUTSIDE));
    let _outside = tcp_server(&world.outside, "outside", 7000);
    assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
}

#[test]
fn what_remains_is_listed_and_tells_in_the_exit_status() {
    let world = World::new(&[]);
    let rules = DOCKER.replace(
        "COMMIT",
        "-A PREROUTING -p tcp -j REDIRECT --to-ports 3128\nCOMMIT",
    );
    let found = import(&world, &[], &rules);
    assert_eq!(found.status.code(), Some(1));
    let said = text(&found.stderr);
    assert!(
        said.contains("line 6: -A PREROUTING -p tcp -j REDIRECT"),
        "{said}"
    );
    assert!(said.contains("3 expressed, 1 implied, 1 left"), "{said}");
    // The configuration is written all the same, and says so itself.
    let config = text(&found.stdout);
    assert!(
        config.contains("# line 6: -A PREROUTING -p tcp -j REDIRECT"),
        "{config}"
    );
    assert_eq!(shapes(&config).len(), 1);
    let json = import(&world, &["--json"], &rules);
    assert_eq!(json.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["left"][0]["line"], 6);
    assert_eq!(json["implied"][0]["line"], 2);
    assert_eq!(json["config"], config);
    // Wrong usage, and files that are not there.
    assert_eq!(world.netpath(&["import"]).status.code(), Some(2));
    assert_eq!(world.netpath(&["import", "pf"]).status.code(), Some(2));
    let gone = import(&world, &["/nowhere/rules"], "");
    assert_eq!(gone.status.code(), Some(1));
    let said = text(&gone.stderr);
    assert!(said.contains("cannot read /nowhere/rules"), "{said}");
    let nowhere = import(&world, &["-o", "/nowhere/netpath.toml"], DOCKER);
    assert_eq!(nowhere.status.code(), Some(1));
}
