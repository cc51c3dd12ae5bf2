//! The study of the default bridge network, from an empty host to an empty host, as docs/study.md tells it.
//!
//! Owns what has to be true of each step. Who types the commands is [`reader`], what they are typed at on a
//! reader's machine [`host`]. The commands are run in the page's order, and the page has to show
//! what they print: [`netpath_tests::page`]. What Docker prints was taken from a real one, version 28.5.2.

mod host;
mod reader;

use netpath_tests::{skip, wait};
use serde_json::{Value, json};

use self::reader::Reader;
use crate::lifecycle::{Snapshot, assert_same};

/// `iptables -t nat -S` of Docker with a container that has `-p 8080:80`.
const DOCKERS_RULES: &str = include_str!("docker-28.5.2.nat");
/// Its `docker network inspect bridge` with two containers.
const DOCKERS_NETWORK: &str = include_str!("docker-28.5.2.inspect.json");

fn missing_tools() -> bool {
    let tools = [
        "ip",
        "bridge",
        "ping",
        "curl",
        "busybox",
        "iptables",
        "conntrack",
    ];
    tools.into_iter().any(skip::missing)
}

/// The lines of a listing that translate something.
fn translating(text: &str) -> Vec<&str> {
    let does = |line: &&str| line.contains("-j MASQUERADE") || line.contains("-j DNAT");
    text.lines().filter(does).collect()
}

#[test]
fn from_an_empty_host_to_an_empty_host() {
    if missing_tools() {
        return;
    }
    let mut reader = Reader::new();
    let everything =
        |reader: &Reader| ["host", "web", "db"].map(|name| Snapshot::of(reader.place(name)));
    let empty = everything(&reader);
    let r = &mut reader;

    assert_eq!(r.types("host", "netpath network ls").lines().count(), 1);
    let outside_only = r.types("host", "ip route");
    assert_eq!(outside_only.lines().count(), 2, "{outside_only}");
    assert_eq!(r.types("host", "bridge link"), "");

    the_network(r);
    two_containers(r);
    a_neighbour(r);
    the_outside(r);
    a_published_port(r);
    what_is_refused(r);
    the_rules(r);

    let removed = r.types("host", "netpath down --all");
    assert_eq!(removed.matches("removed network ").count(), 3, "{removed}");
    assert_eq!(r.types("host", "netpath network ls").lines().count(), 1);
    assert_eq!(r.types("host", "bridge link"), "");
    assert_eq!(r.types("host", "ip route"), outside_only);
    assert!(!r.world.pins().exists());
    assert_same(&everything(r), &empty);

    by_rules(r);
    reader.finish();
}

fn the_network(r: &mut Reader) {
    r.types("host", "netpath up -c netpath.toml");
    let table = r.types("host", "netpath network ls");
    let cells = |line: &str| {
        let cells = line.split_whitespace().skip(1).map(str::to_owned);
        cells.collect::<Vec<_>>()
    };
    let rows: Vec<_> = table.lines().skip(1).map(cells).collect();
    let dockers = [
        ["bridge", "bridge", "local"],
        ["host", "host", "local"],
        ["none", "null", "local"],
    ];
    assert_eq!(rows, dockers, "{table}");
    assert!(
        table.starts_with("NETWORK ID     NAME      DRIVER    SCOPE\n"),
        "{table}"
    );
    let address = r.types("host", "ip -br address show docker0");
    assert!(address.contains(" 172.17.0.1/16"), "{address}");
    let routes = r.types("host", "ip route");
    let to_bridge = "172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1";
    assert!(routes.contains(to_bridge), "{routes}");
}

fn two_containers(r: &mut Reader) {
    let add = "netpath endpoint add --network bridge --netns";
    let web = r.types("host", &format!("{add} web --name web -p 8080:80"));
    assert!(web.starts_with("web 172.17.0.2 "), "{web}");
    assert!(web.contains("80/tcp -> 0.0.0.0:8080"), "{web}");
    let db = r.types("host", &format!("{add} db --name db"));
    assert!(db.starts_with("db 172.17.0.3 "), "{db}");
    let listed = r.types("host", "netpath endpoint ls");

    let ports = r.types("host", "bridge link");
    assert_eq!(ports.lines().count(), 2, "{ports}");
    for (port, endpoint) in ports.lines().zip(listed.lines().skip(1)) {
        assert!(port.contains("master docker0 state forwarding"), "{ports}");
        let veth = endpoint.split_whitespace().nth(4).unwrap();
        assert!(port.contains(&format!(": {veth}@")), "{ports}{listed}");
    }
    let own = r.types("web", "ip -br address");
    assert!(own.contains(" 172.17.0.2/16"), "{own}");
    let routes = r.types("web", "ip route");
    assert!(
        routes.starts_with("default via 172.17.0.1 dev eth0"),
        "{routes}"
    );

    let inspected = r.types("host", "netpath network inspect bridge");
    assert_eq!(
        what_docker_tells(&inspected),
        what_docker_tells(DOCKERS_NETWORK)
    );
}

/// A network without what is random or of the one engine alone; of each container what it is.
fn what_docker_tells(inspected: &str) -> Value {
    let mut all: Value = serde_json::from_str(inspected).unwrap();
    let network = all[0].as_object_mut().unwrap();
    for random in ["Id", "Created"] {
        assert!(network.remove(random).unwrap().is_string());
    }
    network.remove("Status");
    let containers = network["Containers"].as_object().unwrap().values();
    let mut shown: Vec<_> = containers
        .map(|c| json!([c["Name"], c["IPv4Address"], c["IPv6Address"]]))
        .collect();
    shown.sort_by_key(Value::to_string);
    network["Containers"] = shown.into();
    all
}

/// The MAC address of a container, as it says itself.
fn mac(r: &Reader, name: &str) -> String {
    let text = r.text(&r.output(name, "ip -br link show eth0"));
    text.split_whitespace().nth(2).unwrap().to_owned()
}

fn a_neighbour(r: &mut Reader) {
    let echoes = r.types("web", "ping -c 2 172.17.0.3");
    assert!(
        echoes.contains("2 packets transmitted, 2 received, 0% packet loss"),
        "{echoes}"
    );
    assert_eq!(echoes.matches("ttl=64").count(), 2, "{echoes}");
    for (asks, addr, other) in [("web", "172.17.0.3", "db"), ("db", "172.17.0.2", "web")] {
        let neighbour = r.types(asks, &format!("ip neigh show {addr}"));
        let known = format!("{addr} dev eth0 lladdr {} ", mac(r, other));
        assert!(neighbour.starts_with(&known), "{neighbour} {known}");
    }
    let flows = r.types("host", "netpath ct list");
    assert_eq!(flows.trim(), "netpath ct: 0 flow entries have been shown.");
}

/// The tuples of a line of conntrack: sources and destinations of both directions, or ports.
fn values<'t>(line: &'t str, key: &str) -> Vec<&'t str> {
    let words = line.split_whitespace();
    words
        .filter_map(|w| w.strip_prefix(key)?.strip_prefix('='))
        .collect()
}

/// The one flow of a listing is a ping of `web` that left with the host's address.
fn assert_masqueraded(listed: &str) {
    let flow = listed.lines().find(|l| l.starts_with("icmp ")).unwrap();
    assert_eq!(
        values(flow, "src"),
        ["172.17.0.2", "198.51.100.2"],
        "{flow}"
    );
    assert_eq!(
        values(flow, "dst"),
        ["198.51.100.2", "198.51.100.1"],
        "{flow}"
    );
    assert_eq!(values(flow, "type"), ["8", "0"], "{flow}");
    let id = values(flow, "id");
    assert!(id.len() == 2 && id[0] == id[1], "{flow}");
    assert!(
        listed.contains(": 1 flow entries have been shown"),
        "{listed}"
    );
}

/// The one flow of a listing is a question to the published port.
fn assert_published(listed: &str) {
    let flow = listed.lines().find(|l| l.starts_with("tcp ")).unwrap();
    assert_eq!(
        values(flow, "src"),
        ["198.51.100.2", "172.17.0.2"],
        "{flow}"
    );
    assert_eq!(
        values(flow, "dst"),
        ["198.51.100.1", "198.51.100.2"],
        "{flow}"
    );
    let (from, to) = (values(flow, "sport"), values(flow, "dport"));
    assert_eq!([to[0], from[1]], ["8080", "80"], "{flow}");
    assert_eq!(from[0], to[1], "{flow}");
    assert!(flow.contains("[ASSURED]"), "{flow}");
    assert!(
        listed.contains(": 1 flow entries have been shown"),
        "{listed}"
    );
}

/// Nobody serves the port yet that has just been begun.
fn until_it_listens(r: &Reader, place: &str, port: u16) {
    wait::until("the server listens", || {
        let listening = r.text(&r.output(place, &format!("ss -Hltn sport = :{port}")));
        !listening.is_empty()
    });
}

fn the_outside(r: &mut Reader) {
    let echoes = r.types("web", "ping -c 2 198.51.100.2");
    assert!(echoes.contains("2 received, 0% packet loss"), "{echoes}");
    assert_eq!(echoes.matches("ttl=63").count(), 2, "{echoes}");
    assert_masqueraded(&r.types("host", "netpath ct list -p icmp"));

    r.begins("outside", "busybox httpd -f -v -p 7000 2>outside.log &");
    until_it_listens(r, "outside", 7000);
    let format = r"-o /dev/null -w '%{local_ip} asked, status %{http_code}\n'";
    let asked = r.types(
        "web",
        &format!("curl -sS {format} http://198.51.100.2:7000/netpath.toml"),
    );
    assert!(asked.starts_with("172.17.0.2 asked"), "{asked}");
    let seen = r.types_when("outside", "cut -d: -f1-4 outside.log", |log| {
        !log.is_empty()
    });
    assert!(seen.starts_with("[::ffff:198.51.100.1]"), "{seen}");

    let kernels = r.types("host", "conntrack -L");
    assert!(kernels.contains(": 0 flow entries"), "{kernels}");
    let rules = r.types("host", "iptables -t nat -S");
    assert!(!rules.contains("-A "), "{rules}");
}

fn a_published_port(r: &mut Reader) {
    r.types("web", "echo 'this is web' >index.html");
    r.begins("web", "busybox httpd -f -v -p 80 2>web.log &");
    until_it_listens(r, "web", 80);
    let asks = |r: &mut Reader, place: &str, url: &str| {
        assert_eq!(r.types(place, &format!("curl -sS {url}")), "this is web\n");
    };
    asks(r, "outside", "http://198.51.100.1:8080/");
    let log = "cut -d: -f1-4 web.log";
    let seen = r.types_when("web", log, |log| !log.is_empty());
    assert_eq!(seen.matches("[::ffff:198.51.100.2]").count(), 1, "{seen}");
    let over = |listed: &str| listed.contains("TIME_WAIT");
    let list = "netpath ct list -p tcp --dport 8080";
    assert_published(&r.types_when("host", list, over));

    asks(r, "db", "http://198.51.100.1:8080/");
    asks(r, "host", "http://127.0.0.1:8080/");
    let seen = r.types_when("web", log, |log| log.contains("172.17.0.1]"));
    assert!(seen.contains("[::ffff:172.17.0.3]"), "{seen}");
}

fn what_is_refused(r: &mut Reader) {
    let refused = r.ends(7, "outside", "curl -sS http://198.51.100.1:8081/");
    assert!(refused.contains("8081"), "{refused}");
    r.types("outside", "ip route add 172.17.0.0/16 via 198.51.100.1");
    let lost = r.ends(1, "outside", "ping -c 1 -W 1 172.17.0.2");
    assert!(lost.contains("100% packet loss"), "{lost}");
    let drops = r.types("host", "netpath status | sed -n '/^drops/,$p'");
    let row: Vec<_> = drops.lines().nth(2).unwrap().split_whitespace().collect();
    assert_eq!(row[..2], ["direct-access", "1"], "{drops}");
    assert_eq!(drops.lines().count(), 3, "{drops}");
    // What is not masqueraded has to find no way back from here on.
    r.types("outside", "ip route del 172.17.0.0/16");
}

fn the_rules(r: &mut Reader) {
    let rules = r.types("host", "netpath rules");
    let cells: Vec<_> = rules
        .lines()
        .skip(1)
        .map(|l| l.split_whitespace())
        .collect();
    let [masquerade, publish] = [&cells[0], &cells[1]].map(|c| c.clone().collect::<Vec<_>>());
    let uplink = ["172.17.0.0/16", "198.51.100.1", "(uplink0)"];
    assert_eq!(masquerade[..3], ["masquerade", "bridge", "all"], "{rules}");
    assert_eq!(masquerade[3..6], uplink, "{rules}");
    let port = ["0.0.0.0:8080", "web", "172.17.0.2:80"];
    assert_eq!(publish[..3], ["publish", "bridge", "tcp"], "{rules}");
    assert_eq!(publish[3..6], port, "{rules}");
    // The ping, and a connection of at least SYN, its answer, ACK, question, answer and two FINs.
    assert!(masquerade[7].parse::<u64>().unwrap() >= 11, "{rules}");
    // The outside and the neighbour, each at least SYN, its answer, ACK, question, answer and two FINs.
    assert!(publish[7].parse::<u64>().unwrap() >= 14, "{rules}");

    let lines = r.types("host", "netpath rules --format iptables");
    assert_eq!(translating(&lines), translating(DOCKERS_RULES));
    let commands: Vec<_> = lines.lines().filter(|l| !l.starts_with('#')).collect();
    // Docker 29 does without it.
    let docker = DOCKERS_RULES
        .lines()
        .filter(|l| *l != "-A DOCKER -i docker0 -j RETURN");
    assert_eq!(commands, docker.collect::<Vec<_>>());
    let keep = "(echo '*nat'; netpath rules --format iptables; echo COMMIT) >nat.rules";
    assert_eq!(r.types("host", keep), "");
}

/// The same host, with the printed rules in netpath's place.
fn by_rules(r: &mut Reader) {
    for (place, line) in [
        ("host", "ip link add docker0 type bridge"),
        ("host", "ip address add 172.17.0.1/16 dev docker0"),
        ("host", "ip link set docker0 up"),
        (
            "host",
            "ip link add veth-web type veth peer name eth0 netns web",
        ),
        ("host", "ip link set veth-web master docker0 up"),
        ("host", "echo 1 >/proc/sys/net/ipv4/ip_forward"),
        ("web", "ip address add 172.17.0.2/16 dev eth0"),
        ("web", "ip link set eth0 up"),
        ("web", "ip route add default via 172.17.0.1"),
    ] {
        assert_eq!(r.types(place, line), "");
    }
    // Without the rules nothing works, so it is they that do it.
    assert_eq!(
        r.output("web", "ping -c 1 -W 1 198.51.100.2").status.code(),
        Some(1)
    );
    let asks = "curl -sS http://198.51.100.1:8080/";
    assert_eq!(r.output("outside", asks).status.code(), Some(7));

    assert_eq!(r.types("host", "iptables-restore <nat.rules"), "");
    let echoes = r.types("web", "ping -c 2 198.51.100.2");
    assert!(echoes.contains("2 received, 0% packet loss"), "{echoes}");
    assert_eq!(r.types("outside", asks), "this is web\n");
    let last = "tail -n 1 web.log | cut -d: -f1-4";
    let seen = r.types_when("web", last, |log| log.contains("198.51.100.2"));
    assert!(seen.starts_with("[::ffff:198.51.100.2]"), "{seen}");
    assert_masqueraded(&r.types("host", "conntrack -L -p icmp"));
    let over = |listed: &str| listed.contains("TIME_WAIT");
    assert_published(&r.types_when("host", "conntrack -L -p tcp --dport 8080", over));
    // The line of OUTPUT: the host by an address of its own, and not by 127.0.0.1.
    let own = r.text(&r.output("host", asks));
    assert_eq!(own, "this is web\n");
    let lo = r.output("host", "curl -sS http://127.0.0.1:8080/");
    assert_eq!(lo.status.code(), Some(7));
}
