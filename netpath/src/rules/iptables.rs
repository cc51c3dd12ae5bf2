//! The rules as `iptables -t nat -S` would print them, had Docker made the same networks and ports.
//!
//! Owns the lines, in the form and the order that iptables itself prints, so that the text may be
//! compared with its own. What its rules cannot say stands in a line that begins with `#`.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{InForce, Leaving, NetworkRule, PortChoice, PublishedRule};
use crate::config::{PortRange, host_text};

/// Link-local clients of IPv6 reach no published port: a container could not answer them.
const LINK_LOCAL: &str = "! -s fe80::/10 ";

/// The lines of both families; of IPv6 only where a network has it.
#[must_use]
pub fn iptables(in_force: &InForce) -> Vec<String> {
    let mut lines = half(in_force, false);
    let six = |addr: &IpAddr| addr.is_ipv6();
    let has_ipv6 = in_force.networks.iter().any(|n| six(&n.source.addr()))
        || in_force.published.iter().any(|r| r.to.iter().any(six));
    if has_ipv6 {
        lines.extend(half(in_force, true));
    }
    lines
}

/// The lines of one family.
fn half(in_force: &InForce, v6: bool) -> Vec<String> {
    let tool = if v6 { "ip6tables" } else { "iptables" };
    let mut lines = vec![format!("# {tool} -t nat -S")];
    for chain in ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"] {
        lines.push(format!("-P {chain} ACCEPT"));
    }
    lines.push("-N DOCKER".into());
    lines.push("-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER".into());
    // Docker leaves what the host asks at loopback to its proxy.
    let loopback = if v6 { "::1/128" } else { "127.0.0.0/8" };
    lines.push(format!(
        "-A OUTPUT ! -d {loopback} -m addrtype --dst-type LOCAL -j DOCKER"
    ));
    if let Some(range) = in_force.ports.range {
        lines.push(format!("# ports of masquerade: {range}, of TCP and UDP"));
    }
    let of_family = |n: &&NetworkRule| n.source.addr().is_ipv6() == v6;
    for n in in_force.networks.iter().filter(of_family) {
        lines.push(postrouting(n, in_force.ports));
        if n.endpoint_independent {
            lines.push(format!(
                "# {} ({}): its outside ports do not depend on the destination",
                n.source, n.network
            ));
        }
    }
    lines.extend(destinations(in_force, v6));
    lines
}

fn postrouting(n: &NetworkRule, ports: PortChoice) -> String {
    let (source, name, bridge) = (&n.source, &n.network, &n.bridge);
    let random = if ports.random { " --random-fully" } else { "" };
    let head = format!("-A POSTROUTING -s {source} ! -o {bridge} -j");
    match (n.kind, n.to.first()) {
        (Leaving::Snat, Some(to)) => format!("{head} SNAT --to-source {}{random}", to.address),
        (Leaving::Masquerade | Leaving::Snat, _) => format!("{head} MASQUERADE{random}"),
        (Leaving::Routed, _) => format!("# {source} ({name}): routed, nothing is translated"),
        (Leaving::Unmasqueraded, _) => format!("# {source} ({name}): not masqueraded"),
        (Leaving::Internal, _) => format!("# {source} ({name}): internal, nothing leaves"),
    }
}

/// A published range at one address of the host.
struct Bound<'r> {
    rule: &'r PublishedRule,
    addr: IpAddr,
    to: IpAddr,
}

/// The lines of the chain DOCKER. iptables takes the first that matches: the more specific address
/// comes first.
fn destinations(in_force: &InForce, v6: bool) -> Vec<String> {
    let mut all = Vec::new();
    for rule in &in_force.published {
        let to = rule.to.iter().find(|to| to.is_ipv6() == v6);
        let addrs = rule.addresses.iter().filter(|a| a.is_ipv6() == v6);
        let bound = |addr: &IpAddr| {
            let to = *to?;
            Some(Bound {
                rule,
                addr: *addr,
                to,
            })
        };
        all.extend(addrs.filter_map(bound));
    }
    all.sort_by_key(|b| (b.addr.is_unspecified(), b.addr));
    // Those who share ports have a line each, one after the other.
    let mut groups: BTreeMap<_, usize> = BTreeMap::new();
    for b in all.iter().filter(|b| b.rule.group != 0) {
        *groups.entry((b.addr, b.rule.group)).or_default() += 1;
    }
    all.sort_by_key(|b| {
        let r = b.rule;
        let any = b.addr.is_unspecified();
        (any, b.addr, r.protocol, r.ports.first(), r.rule)
    });
    let mut lines = Vec::new();
    for b in &all {
        let left = groups.get_mut(&(b.addr, b.rule.group)).map(|left| {
            *left -= 1;
            *left + 1
        });
        lines.extend(destination(b, left, v6));
    }
    lines
}

/// The lines of one range. `left`: how many share it, those that have had their line left out.
fn destination(b: &Bound<'_>, left: Option<usize>, v6: bool) -> Vec<String> {
    let r = b.rule;
    let what = format!(
        "{} {}:{} to {}",
        r.protocol,
        host_text(b.addr),
        r.ports,
        r.endpoint
    );
    match r.leaving {
        Leaving::Routed => {
            return vec![format!("# {what}: routed, reached at its own address")];
        }
        Leaving::Internal => {
            return vec![format!("# {what}: its network is internal, nothing enters")];
        }
        Leaving::Masquerade | Leaving::Snat | Leaving::Unmasqueraded => {}
    }
    let mut lines = Vec::new();
    let sources = match &r.allow {
        None if v6 => vec![LINK_LOCAL.to_owned()],
        None => vec![String::new()],
        Some(list) => {
            let of_family = list.iter().filter(|net| net.addr().is_ipv6() == v6);
            let sources: Vec<_> = of_family.map(|net| source(*net)).collect();
            lines.push(if sources.is_empty() {
                format!("# {what}: nobody is let in by this family")
            } else {
                format!("# {what}: who is not let in below is dropped, also by other rules")
            });
            sources
        }
    };
    let share = match left {
        Some(left) if left > 1 => {
            // As the kernel keeps it: in parts of 2^31.
            let parts = (2f64.powi(31) / left as f64).round() / 2f64.powi(31);
            format!("-m statistic --mode random --probability {parts:.11} ")
        }
        _ => String::new(),
    };
    if left.is_some_and(|left| left > 1) {
        lines.push(format!(
            "# {what}: shared; a client's flow goes where the hash of both leads"
        ));
    }
    let addr = if b.addr.is_unspecified() {
        String::new()
    } else {
        format!("-d {} ", IpNet::from(b.addr))
    };
    let (proto, bridge, to) = (r.protocol, &r.bridge, target(b));
    let port = match r.ports.width() {
        1 => r.ports.first().to_string(),
        _ => format!("{}:{}", r.ports.first(), r.ports.last()),
    };
    lines.extend(sources.iter().map(|source| {
        format!(
            "-A DOCKER {source}{addr}! -i {bridge} -p {proto} -m {proto} --dport {port} {share}-j DNAT \
             --to-destination {to}"
        )
    }));
    lines
}

/// `-s NET `, and nothing for everybody.
fn source(net: IpNet) -> String {
    if net.prefix_len() == 0 {
        String::new()
    } else {
        format!("-s {net} ")
    }
}

/// The container's address and ports. A range is moved by its distance from the first port, which is
/// named where it has to be.
fn target(b: &Bound<'_>) -> String {
    let (from, to): (PortRange, PortRange) = (b.rule.ports, b.rule.to_ports);
    let addr = host_text(b.to);
    if from.width() == 1 || from == to {
        format!("{addr}:{to}")
    } else {
        format!("{addr}:{to}/{}", from.first())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use netpath_common::records::{NETWORK_BINDINGS, NETWORK_INTERNAL};

    use super::{
        super::{Names, Snapshot, gather, testing::*},
        *,
    };

    fn lines(maps: &Snapshot) -> Vec<String> {
        iptables(&gather(maps, &names()))
    }

    fn of_docker(maps: &Snapshot) -> Vec<String> {
        let mut lines = lines(maps);
        lines.retain(|l| l.starts_with("-A DOCKER"));
        lines
    }

    #[test]
    fn dockers_rules() {
        let mut maps = snapshot();
        maps.published = single(binding([0; 4], (8080, 8080), 6, &C1, 80, 1));
        assert_eq!(
            lines(&maps),
            [
                "# iptables -t nat -S",
                "-P PREROUTING ACCEPT",
                "-P INPUT ACCEPT",
                "-P OUTPUT ACCEPT",
                "-P POSTROUTING ACCEPT",
                "-N DOCKER",
                "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
                "-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER",
                "-A POSTROUTING -s 172.17.0.0/16 ! -o netpath0 -j MASQUERADE",
                "-A DOCKER ! -i netpath0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
            ]
        );
        maps.networks[1].snat = [192, 0, 2, 7];
        let snat = "-A POSTROUTING -s 172.17.0.0/16 ! -o netpath0 -j SNAT --to-source 192.0.2.7";
        assert!(lines(&maps).contains(&snat.to_owned()));
    }

    #[test]
    fn ranges_addresses_and_lists() {
        let mut maps = snapshot();
        maps.published = single(binding([0; 4], (9000, 9002), 17, &C1, 80, 1));
        maps.published.extend(single(binding(
            [127, 0, 0, 1],
            (9001, 9001),
            17,
            &C2,
            53,
            2,
        )));
        maps.published.extend(single(binding(
            [0; 4],
            (30_000, 30_999),
            17,
            &C2,
            30_000,
            3,
        )));
        let listed = netpath_common::records::RuleRecord {
            flags: netpath_common::records::RULE_ALLOW,
            ..Default::default()
        };
        maps.rules.insert(3, (listed, Default::default()));
        let list = ["198.51.100.0/24", "203.0.113.9/32", "2001:db8::/32"];
        let list = list.map(|net| net.parse().unwrap());
        maps.allowed.insert(3, list.into());
        assert_eq!(
            of_docker(&maps),
            [
                "-A DOCKER -d 127.0.0.1/32 ! -i netpath0 -p udp -m udp --dport 9001 -j DNAT \
                 --to-destination 172.17.0.3:53",
                "-A DOCKER ! -i netpath0 -p udp -m udp --dport 9000:9002 -j DNAT \
                 --to-destination 172.17.0.2:80-82/9000",
                "-A DOCKER -s 198.51.100.0/24 ! -i netpath0 -p udp -m udp --dport 30000:30999 -j DNAT \
                 --to-destination 172.17.0.3:30000-30999",
                "-A DOCKER -s 203.0.113.9/32 ! -i netpath0 -p udp -m udp --dport 30000:30999 -j DNAT \
                 --to-destination 172.17.0.3:30000-30999",
            ]
        );
    }

    #[test]
    fn shares_are_even() {
        let addr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let mut maps = snapshot();
        maps.published = single(binding([0; 4], (80, 80), 6, &C1, 80, 1));
        let mut rules = gather(&maps, &names());
        let one = rules.published[0].clone();
        rules.published = (1..=3)
            .map(|rule| PublishedRule {
                rule,
                group: 1,
                balance: Some(3),
                addresses: vec![addr],
                ..one.clone()
            })
            .collect();
        let found: Vec<_> = iptables(&rules)
            .iter()
            .filter(|l| l.contains("--dport"))
            .map(|l| l.split_once("--dport 80 ").unwrap().1.to_owned())
            .collect();
        assert_eq!(
            found,
            [
                "-m statistic --mode random --probability 0.33333333349 -j DNAT --to-destination 172.17.0.2:80",
                "-m statistic --mode random --probability 0.50000000000 -j DNAT --to-destination 172.17.0.2:80",
                "-j DNAT --to-destination 172.17.0.2:80",
            ]
        );
    }

    #[test]
    fn what_iptables_cannot_say_is_a_comment() {
        let mut maps = snapshot();
        maps.networks[1].flags |= NETWORK_INTERNAL | NETWORK_BINDINGS;
        maps.published = single(binding([0; 4], (80, 80), 6, &C1, 80, 1));
        let lines = lines(&maps);
        for want in [
            "# 172.17.0.0/16 (bridge): internal, nothing leaves",
            "# 172.17.0.0/16 (bridge): its outside ports do not depend on the destination",
            "# tcp 0.0.0.0:80 to PINK: its network is internal, nothing enters",
        ] {
            assert!(lines.iter().any(|l| l == want), "{want}: {lines:#?}");
        }
        assert!(!lines.iter().any(|l| l.starts_with("-A DOCKER")));
        assert!(!iptables(&gather(&Snapshot::default(), &Names::default())).is_empty());
    }
}
