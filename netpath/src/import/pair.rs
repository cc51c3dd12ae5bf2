//! Which IPv4 and IPv6 addresses of a network are one container's.
//!
//! Owns the guess, since the rules of the two families do not know each other: the same identifier in
//! the comments, the same place in the subnet with a port in common, or the same ports as nobody else.

use std::{collections::BTreeSet, net::IpAddr};

use super::{assemble::Container, network::Net};
use crate::config::{PortRange, Protocol};

/// What a container publishes, whatever the address of the host.
type Ports = BTreeSet<(Protocol, u16, u16, u16)>;

fn ports(c: &Container) -> Ports {
    let port = |range: PortRange| (range.first(), range.last());
    let one = |p: &super::coming::Port| {
        let (first, last) = port(p.ports);
        (p.proto, first, last, p.to_ports.first())
    };
    c.ports.iter().map(|s| one(&s.port)).collect()
}

/// Where in its subnet a container's address is.
fn place(net: &Net, addr: IpAddr) -> Option<u128> {
    match addr {
        IpAddr::V4(a) => Some(u128::from(u32::from(a) - u32::from(net.v4?.network()))),
        IpAddr::V6(a) => Some(u128::from(a) - u128::from(net.v6?.network())),
    }
}

/// Puts containers of one address each together.
pub(super) fn pair(net: &Net, containers: Vec<Container>) -> Vec<Container> {
    let (mut four, six): (Vec<_>, Vec<_>) = containers.into_iter().partition(|c| c.v4.is_some());
    let mut alone = Vec::new();
    let of_four: Vec<Ports> = four.iter().map(ports).collect();
    let of_six: Vec<Ports> = six.iter().map(ports).collect();
    for (mut c, own) in six.into_iter().zip(&of_six) {
        let free = |at: &usize| four.get(*at).is_some_and(|f| f.v6.is_none());
        let same_id = |f: &Container| c.id().is_some() && f.id() == c.id();
        let here = c.addrs().next().and_then(|a| place(net, a));
        let neighbours = |f: &Container| {
            let there = f.v4.and_then(|a| place(net, a.into()));
            there.is_some() && there == here
        };
        let shares = |at: usize| of_four.get(at).is_some_and(|f| !f.is_disjoint(own));
        let by_id = four.iter().position(same_id).filter(free);
        let by_place = four.iter().position(neighbours).filter(free);
        let by_ports = || {
            let same: Vec<_> = (0..).zip(&of_four).filter(|(_, f)| *f == own).collect();
            let alone = of_six.iter().filter(|s| *s == own).count() == 1;
            match same[..] {
                [(at, _)] if alone => Some(at).filter(free),
                _ => None,
            }
        };
        let at = by_id
            .or_else(|| by_place.filter(|at| shares(*at)))
            .or_else(by_ports);
        match at.and_then(|at| four.get_mut(at)) {
            Some(f) => {
                f.v6 = c.v6;
                f.ports.append(&mut c.ports);
            }
            None => alone.push(c),
        }
    }
    four.extend(alone);
    four
}

#[cfg(test)]
mod tests {
    use super::{
        super::{coming::Port, settle::Settled},
        *,
    };

    /// One of one address, with a port that leads to its own of the same number.
    fn container(addr: &str, port: u16, id: Option<&str>) -> Container {
        let to: IpAddr = addr.parse().unwrap();
        let ports = PortRange::new(port, port).unwrap();
        let (v4, v6) = match to {
            IpAddr::V4(a) => (Some(a), None),
            IpAddr::V6(a) => (None, Some(a)),
        };
        let port = Port {
            rule: 0,
            host: None,
            ports,
            proto: Protocol::Tcp,
            to,
            to_ports: ports,
            allow: None,
            share: None,
            input: None,
            bridge: None,
            network: None,
            container: id.map(str::to_owned),
            bounded: false,
            host_only: false,
        };
        Container {
            v4,
            v6,
            ports: vec![Settled {
                port,
                rules: vec![0],
                allow: Vec::new(),
                balance: false,
            }],
            ..Container::default()
        }
    }

    fn addrs(containers: Vec<Container>) -> Vec<String> {
        let net = Net {
            v4: "172.17.0.0/16".parse().ok(),
            v6: "fd00::/64".parse().ok(),
            ..Net::default()
        };
        let words = |c: &Container| {
            c.addrs()
                .map(|a| a.to_string())
                .collect::<Vec<_>>()
                .join(" ")
        };
        pair(&net, containers).iter().map(words).collect()
    }

    #[test]
    fn two_of_one_container_are_known_by_place_identifier_or_ports() {
        let four = || container("172.17.0.2", 80, Some("a"));
        for (six, same) in [
            // The same place, and a port in common or none.
            (container("fd00::2", 80, None), true),
            (container("fd00::2", 53, None), false),
            // Another place: the identifier, or the only ones of that kind.
            (container("fd00::9", 53, Some("a")), true),
            (container("fd00::9", 80, None), true),
            (container("fd00::9", 53, Some("b")), false),
        ] {
            let text = six.v6.unwrap().to_string();
            let want = if same {
                vec![format!("172.17.0.2 {text}")]
            } else {
                vec!["172.17.0.2".to_owned(), text]
            };
            assert_eq!(addrs(vec![four(), six]), want);
        }
        let others = [
            container("fd00::8", 80, None),
            container("fd00::9", 80, None),
        ];
        let all = addrs([four()].into_iter().chain(others).collect());
        assert_eq!(all, ["172.17.0.2", "fd00::8", "fd00::9"]);
    }
}
