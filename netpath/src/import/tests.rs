//! Rules as the generators print them, with the configuration and the list of what is left, both
//! exact.

use std::collections::BTreeSet;

use super::*;

macro_rules! fixture {
    ($name:ident) => {
        #[test]
        fn $name() {
            check(
                include_str!(concat!("fixtures/", stringify!($name), ".save")),
                include_str!(concat!("fixtures/", stringify!($name), ".toml")),
                include_str!(concat!("fixtures/", stringify!($name), ".left")),
            );
        }
    };
}

fixture!(docker20);
fixture!(docker28);
fixture!(docker29);
fixture!(netavark);
fixture!(cni);
fixture!(router);

/// The configuration between its first comment and the list of what is left.
fn body(config: &str) -> &str {
    let (_, rest) = config.split_once("FILL-IN.\n").unwrap();
    rest.split("\n# Not expressed:").next().unwrap()
}

fn check(save: &str, config: &str, left: &str) {
    let found = import(save).unwrap();
    assert_eq!(body(&found.config), config);
    let reasons: Vec<_> = found
        .left
        .iter()
        .map(|l| format!("{} {}", l.line, l.why()))
        .collect();
    assert_eq!(reasons, left.lines().collect::<Vec<_>>());
    accounted(save, &found);
    // Each is a comment at the end as well.
    for l in &found.left {
        assert!(
            found
                .config
                .contains(&format!("# line {}: {}", l.line, l.rule))
        );
    }
}

/// Every rule of a nat table has one fate.
pub(super) fn accounted(save: &str, found: &Import) {
    let saved = read(save);
    // Drops of the filter table are listed besides.
    let filter: BTreeSet<usize> = saved.filter.iter().map(|r| r.line).collect();
    let left = found.left.iter().filter(|l| !filter.contains(&l.line));
    let all = found.used + found.implied.len() + left.count();
    assert_eq!(all, saved.nat.len() + saved.odd.len());
    let lines: Vec<usize> = found
        .implied
        .iter()
        .map(|l| l.line)
        .chain(found.left.iter().map(|l| l.line))
        .collect();
    let once: BTreeSet<usize> = lines.iter().copied().collect();
    assert_eq!(once.len(), lines.len(), "{lines:?}");
}

/// What is left of rules of the nat table, by line and reason.
fn left(rules: &str) -> Vec<(usize, String)> {
    let found = import(rules).unwrap();
    accounted(rules, &found);
    found.left.iter().map(|l| (l.line, l.why())).collect()
}

/// The networks of rules of the nat table.
fn networks(rules: &str) -> Vec<config::Network> {
    let found = import(rules).unwrap();
    accounted(rules, &found);
    Config::parse(&found.config, "").unwrap().networks
}

fn specs(n: &config::Network) -> Vec<String> {
    let all = n.endpoints.iter().flat_map(|e| &e.publish);
    all.map(ToString::to_string).collect()
}

const DOCKER: &str = "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
    -A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER\n\
    -A POSTROUTING -s 172.17.0.0/16 ! -o netpath0 -j MASQUERADE\n";

#[test]
fn shared_ports_are_shared() {
    let rules = DOCKER.to_owned()
        + "-A DOCKER -p tcp --dport 80 -m statistic --mode random --probability 0.33333333349 -j DNAT --to-destination 172.17.0.2:80\n\
           -A DOCKER -p tcp --dport 80 -m statistic --mode random --probability 0.50000000000 -j DNAT --to-destination 172.17.0.3:80\n\
           -A DOCKER -p tcp --dport 80 -j DNAT --to-destination 172.17.0.4:80\n";
    let found = networks(&rules);
    assert_eq!(specs(&found[0]), ["80:80,balance"; 3]);
    assert_eq!(left(&rules), []);
    let uneven = rules.replace("0.33333333349", "0.90000000000");
    assert_eq!(left(&uneven).len(), 3);
    assert_eq!(specs(&networks(&uneven)[0]), [""; 0]);
}

#[test]
fn networks_that_no_rule_masquerades() {
    let found = networks(
        "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
         -A DOCKER ! -i br-0123456789ab -p tcp --dport 80 -j DNAT --to-destination 172.21.0.1:80\n\
         -A DOCKER -p tcp --dport 81 -j DNAT --to-destination 172.21.0.9:81\n",
    );
    let [n] = &found[..] else { panic!("{found:?}") };
    assert!(!n.masquerade);
    assert_eq!(n.bridge, "br-0123456789ab");
    assert_eq!(n.subnet, "172.21.0.0/16".parse().ok());
    // A container has the first address, so the gateway is another.
    assert_eq!(n.gateway, "172.21.255.254".parse().ok());
    assert_eq!(specs(n), ["80:80", "81:81"]);
}

#[test]
fn what_leaves_by_an_interface_is_every_network_that_has_no_other_rule() {
    let rules = "-A PREROUTING -i eth0 -p tcp --dport 80 -j DNAT --to-destination 10.1.2.3:80\n\
                 -A POSTROUTING -o eth0 -j MASQUERADE\n";
    let found = networks(rules);
    assert!(found[0].masquerade);
    assert_eq!(
        found[0].uplinks,
        config::Uplinks::Named(vec!["eth0".into()])
    );
    let left = left(rules);
    assert_eq!(left.len(), 1);
    assert!(
        left[0]
            .1
            .starts_with("expressed in part: is for whatever leaves by eth0"),
        "{left:?}"
    );
}

#[test]
fn several_interfaces_and_nets_without_room() {
    let rules = "-A POSTROUTING -o eth0 -j MASQUERADE\n-A POSTROUTING -o ppp0 -j MASQUERADE\n\
                 -A POSTROUTING -o wan0 -j SNAT --to-source 0.0.0.0\n\
                 -A PREROUTING -i eth0 -p tcp --dport 80 -j DNAT --to-destination 10.1.2.3:80\n";
    let found = networks(rules);
    let both = vec!["eth0".to_owned(), "ppp0".to_owned()];
    assert_eq!(found[0].uplinks, config::Uplinks::Named(both));
    assert_eq!(
        left(rules).len(),
        4,
        "by one interface alone: {:?}",
        left(rules)
    );
    // Two addresses are no network of two containers and a gateway.
    let small = "-A POSTROUTING -s 10.0.0.0/30 -j MASQUERADE\n\
        -A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport 80 -j DNAT --to-destination 10.0.0.1\n\
        -A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport 81 -j DNAT --to-destination 10.0.0.2\n";
    assert_eq!(left(small).len(), 2);
    assert!(left(small)[0].1.contains("no address left for the gateway"));
}

#[test]
fn libvirt_s_rules_are_one_network() {
    let rules = "-A POSTROUTING -j LIBVIRT_PRT\n\
        -A LIBVIRT_PRT -s 192.168.122.0/24 -d 224.0.0.0/24 -j RETURN\n\
        -A LIBVIRT_PRT -s 192.168.122.0/24 -d 255.255.255.255/32 -j RETURN\n\
        -A LIBVIRT_PRT -s 192.168.122.0/24 ! -d 192.168.122.0/24 -p tcp -j MASQUERADE --to-ports 1024-65535\n\
        -A LIBVIRT_PRT -s 192.168.122.0/24 ! -d 192.168.122.0/24 -p udp -j MASQUERADE --to-ports 1024-65535\n\
        -A LIBVIRT_PRT -s 192.168.122.0/24 ! -d 192.168.122.0/24 -j MASQUERADE\n";
    assert_eq!(left(rules), []);
    assert_eq!(networks(rules)[0].subnet, "192.168.122.0/24".parse().ok());
    // One protocol alone is none.
    let tcp = "-A POSTROUTING -s 10.0.0.0/24 -p tcp -j MASQUERADE\n";
    assert_eq!(
        left(tcp)[0].1,
        "is for one protocol; netpath masquerades all of them"
    );
}

#[test]
fn random_ports_are_a_setting_of_all() {
    let random = "-A POSTROUTING -s 10.1.0.0/24 -j MASQUERADE --random-fully\n";
    let config = |rules: &str| Config::parse(&import(rules).unwrap().config, "").unwrap();
    assert!(!config(random).nat.preserve_ports);
    let mixed = random.to_owned() + "-A POSTROUTING -s 10.2.0.0/24 -j MASQUERADE\n";
    assert!(config(&mixed).nat.preserve_ports);
    assert_eq!(left(&mixed).len(), 1);
    let ranged = "-A POSTROUTING -s 10.1.0.0/24 -j SNAT --to-source 192.0.2.7:40000-50000\n";
    assert_eq!(config(ranged).nat.ports, Some((40_000, 50_000)));
}

#[test]
fn the_host_s_own_connections() {
    let loopback =
        "-A OUTPUT -d 127.0.0.1/32 -p tcp --dport 80 -j DNAT --to-destination 10.0.0.2:80\n";
    assert_eq!(specs(&networks(loopback)[0]), ["127.0.0.1:80:80"]);
    let open = "-A OUTPUT -p tcp --dport 80 -j DNAT --to-destination 10.0.0.2:80\n";
    assert_eq!(networks(open), []);
    assert!(left(open)[0].1.contains("the host's own connections"));
    let both = open.to_owned()
        + "-A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport 80 -j DNAT --to-destination 10.0.0.2:80\n";
    assert_eq!(left(&both), []);
}

#[test]
fn reasons() {
    for (rule, why) in [
        (
            "PREROUTING -p tcp -j DNAT --to-destination 10.0.0.2",
            "every port of tcp",
        ),
        (
            "PREROUTING -p tcp --dport 80 -j DNAT --to-destination 127.0.0.1:80",
            "the host itself",
        ),
        (
            "PREROUTING -d 192.0.2.0/29 -p tcp --dport 80 -j DNAT --to-destination 10.0.0.2",
            "all addresses of 192.0.2.0/29",
        ),
        (
            "PREROUTING ! -s 192.0.2.0/24 -p tcp --dport 80 -j DNAT --to-destination 10.0.0.2",
            "leaves out the clients",
        ),
        (
            "PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.0.0.2",
            "forwarded to other hosts",
        ),
        (
            "PREROUTING -i eth0 -p sctp --dport 80 -j DNAT --to-destination 10.0.0.2:81",
            "checksum of SCTP",
        ),
        (
            "PREROUTING -i eth0 -p tcp --dport 80 -j DNAT --to-destination 10.0.0.0:81",
            "the network's own",
        ),
        (
            "PREROUTING -i eth0 -p tcp --dport 80 -j DNAT --to-destination [fd00::2]:81",
            "other family",
        ),
        ("PREROUTING -p tcp --dport 80 -j LOG", "neither a chain"),
        (
            "PREROUTING -p tcp --dport 80 -j LOG --log-prefix x",
            "not understood",
        ),
        (
            "PREROUTING -m mark --mark 7 -j MARK --set-mark 8",
            "marks packets",
        ),
        (
            "INPUT -s 10.0.0.0/24 -j SNAT --to-source 192.0.2.1",
            "the host itself",
        ),
        (
            "POSTROUTING -s 10.0.0.0/24 -d 192.0.2.0/24 -j MASQUERADE",
            "some destinations",
        ),
        (
            "POSTROUTING -s 10.0.0.0/24 ! -d 192.0.2.0/24 -j MASQUERADE",
            "spares 192.0.2.0/24",
        ),
        (
            "POSTROUTING ! -s 10.0.0.0/24 -o eth0 -j MASQUERADE",
            "all sources but some",
        ),
        (
            "POSTROUTING -m mark --mark 1 -j MASQUERADE",
            "no rule of this table sets",
        ),
        (
            "POSTROUTING -s 10.0.0.0/31 -j MASQUERADE",
            "10.0.0.0/31 has no room for a bridge and a container",
        ),
        (
            "POSTROUTING -m geoip --src-cc X -j MASQUERADE",
            "asks for `-m geoip --src-cc X`",
        ),
        ("POSTROUTING -j MASQUERADE", "neither a source"),
        (
            "NOWHERE -j MASQUERADE",
            "no rule leads to the chain NOWHERE",
        ),
        (
            "POSTROUTING -s 10.0.0.0/24 -j NETMAP --to 192.0.2.0/24",
            "not understood",
        ),
    ] {
        let found = left(&format!("# Generated by iptables-save\n-A {rule}\n"));
        assert_eq!(found.len(), 1, "{rule}: {found:?}");
        assert!(found[0].1.contains(why), "{rule}: {found:?}");
    }
}
