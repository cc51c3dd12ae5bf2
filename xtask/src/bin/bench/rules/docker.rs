//! Docker's iptables rules, as Docker 28 writes them for its default bridge.
//!
//! Owns their text for `iptables-restore`. The order within the chains is Docker's: DNAT rules are
//! appended, accept rules are inserted before the bridge's own drop rule. The port published last
//! is thus found last in the one and first in the other; for any other port the sum is the same.

use std::{fmt::Write as _, net::SocketAddr};

use crate::{
    family::Family,
    variant::{BRIDGE, CONTAINER_PORT, Published},
};

/// All of them.
pub(super) fn rules(ports: Published, family: Family) -> String {
    let (container, subnet) = (family.container(), family.subnet());
    let (alone, loopback) = (family.alone(container), family.loopback());
    let measured = ports.measured();
    // In the order in which they are published: host port, protocol, container port.
    let published: Vec<(u16, &str, u16)> = std::iter::once((measured, "udp", CONTAINER_PORT))
        .chain(ports.others().map(|port| (port, "tcp", port)))
        .chain([(measured, "tcp", CONTAINER_PORT)])
        .collect();
    let mut dnat = String::new();
    for (host, protocol, port) in &published {
        let to = SocketAddr::new(container, *port);
        let _ = writeln!(
            dnat,
            "-A DOCKER ! -i {BRIDGE} -p {protocol} -m {protocol} --dport {host} \
             -j DNAT --to-destination {to}"
        );
    }
    let mut accept = String::new();
    for (_, protocol, port) in published.iter().rev() {
        let _ = writeln!(
            accept,
            "-A DOCKER -d {alone} ! -i {BRIDGE} -o {BRIDGE} -p {protocol} -m {protocol} \
             --dport {port} -j ACCEPT"
        );
    }
    format!(
        "*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -d {alone} ! -i {BRIDGE} -j DROP
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-INTERNAL - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
{accept}-A DOCKER ! -i {BRIDGE} -o {BRIDGE} -j DROP
-A DOCKER-BRIDGE -o {BRIDGE} -j DOCKER
-A DOCKER-CT -o {BRIDGE} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-INTERNAL
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i {BRIDGE} -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d {loopback} -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s {subnet} ! -o {BRIDGE} -j MASQUERADE
{dnat}COMMIT
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of one chain that hold `word`, in order.
    fn lines<'a>(rules: &'a str, word: &str) -> Vec<&'a str> {
        rules
            .lines()
            .filter(|line| line.starts_with("-A DOCKER ") && line.contains(word))
            .collect()
    }

    #[test]
    fn the_measured_port_is_last_in_nat_and_first_in_filter() {
        let rules = rules(Published::new(3), Family::V4);
        let dnat = lines(&rules, "DNAT");
        assert_eq!(dnat.len(), 4);
        assert!(dnat[0].contains("udp --dport 10002 -j DNAT --to-destination 172.17.0.2:80"));
        assert!(dnat[3].contains("tcp --dport 10002 -j DNAT --to-destination 172.17.0.2:80"));
        let accept = lines(&rules, "ACCEPT");
        assert_eq!(accept.len(), 4);
        assert!(accept[0].contains("tcp --dport 80 -j ACCEPT"));
        assert!(accept[3].contains("udp --dport 80 -j ACCEPT"));
    }

    #[test]
    fn ipv6_has_the_same_rules_with_its_own_addresses() {
        let [four, six] = [Family::V4, Family::V6].map(|family| rules(Published::new(3), family));
        assert!(six.contains("-j DNAT --to-destination [fd00:17::2]:80"));
        assert!(six.contains("-A DOCKER -d fd00:17::2/128 ! -i docker0"));
        let words = [
            ("172.17.0.2:", "[fd00:17::2]:"),
            ("172.17.0.2/32", "fd00:17::2/128"),
            ("172.17.0.0/16", "fd00:17::/64"),
            ("127.0.0.0/8", "::1/128"),
        ];
        let replaced = words
            .iter()
            .fold(four, |text, (from, to)| text.replace(from, to));
        assert_eq!(replaced, six);
    }

    #[test]
    fn one_port_is_one_rule_a_protocol() {
        let rules = rules(Published::new(1), Family::V4);
        assert_eq!(lines(&rules, "--dport 8080").len(), 2);
        assert_eq!(lines(&rules, "--dport").len(), 4);
    }
}
