//! Tests of the choice of host ports.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::{config::Protocol, net::listeners::Listener};

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const FOUR: Homes = Homes {
    v4: Some(Ipv4Addr::new(172, 17, 0, 2)),
    v6: None,
    routed: false,
};
const BOTH: Homes = Homes {
    v6: Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)),
    ..FOUR
};

fn facts() -> Facts {
    Facts {
        listeners: vec![Listener {
            proto: Protocol::Tcp,
            addr: LOCAL,
            port: 22,
            only6: false,
        }],
        local_range: PortRange::new(40_000, 40_009).unwrap(),
        reserved: vec![PortRange::new(40_000, 40_001).unwrap()],
        ..Facts::none()
    }
}

fn ask(ports: &mut Ports<'_>, endpoint: &str, homes: &Homes, spec: &str) -> Result<Chosen, String> {
    let spec: PortSpec = spec.parse().unwrap();
    let at = HostBinding::one(spec.host_ip.unwrap_or(ANY));
    ports
        .allocate(endpoint, homes, &spec, at, false)
        .map_err(|e| e.to_string())
}

fn host(ports: &mut Ports<'_>, spec: &str) -> Result<u16, String> {
    ask(ports, "e", &FOUR, spec).map(|c| c.host)
}

#[track_caller]
fn refused(ports: &mut Ports<'_>, spec: &str, words: &str) {
    let e = host(ports, spec).unwrap_err();
    assert!(e.starts_with(words), "{spec}: {e}");
}

#[test]
fn a_port_is_given_once_in_docker_s_words() {
    let (facts, state) = (facts(), State::default());
    let mut ports = Ports::new(&state, &facts);
    assert_eq!(host(&mut ports, "8080:80"), Ok(8080));
    refused(
        &mut ports,
        "8080:81",
        "Bind for 0.0.0.0:8080 failed: port is already allocated",
    );
    assert_eq!(host(&mut ports, "8080:80/udp"), Ok(8080));
    assert_eq!(host(&mut ports, "8080:8080/sctp"), Ok(8080));
    refused(
        &mut ports,
        "20-30:20-30",
        "failed to bind host port 0.0.0.0:22/tcp: address already in use (endpoint `e`; a socket of the \
         host is bound to 127.0.0.1;",
    );
    assert_eq!(host(&mut ports, "192.0.2.1:22:22"), Ok(22));
    // A range against what is within it, and what is within a range.
    refused(
        &mut ports,
        "8000-8100:8000-8100",
        "Bind for 0.0.0.0:8080 failed: port is already allocated",
    );
    assert_eq!(host(&mut ports, "9000-9100:9000-9100"), Ok(9000));
    for spec in ["9050:80", "9100-9200:1-101", "8999-9000:1-2"] {
        refused(&mut ports, spec, "Bind for 0.0.0.0:9");
    }
    assert_eq!(host(&mut ports, "9101:80"), Ok(9101));
}

#[test]
fn a_port_that_somebody_holds_for_netpath_is_given() {
    let (facts, state) = (facts(), State::default());
    let mut ports = Ports::new(&state, &facts);
    let spec = "22:22".parse().unwrap();
    let chosen = ports
        .allocate("e", &FOUR, &spec, HostBinding::default(), true)
        .unwrap();
    assert_eq!(chosen.host, 22);
    // But once.
    let e = ports
        .allocate("f", &FOUR, &spec, HostBinding::default(), true)
        .unwrap_err();
    assert!(e.to_string().contains("already allocated"), "{e}");
}

#[test]
fn the_specific_address_goes_first() {
    let (facts, state) = (facts(), State::default());
    let mut ports = Ports::new(&state, &facts);
    for spec in [
        "8080:80",
        "127.0.0.1:8080:81",
        "192.0.2.1:8080:82",
        "192.0.2.1:8000-8079:1-80",
    ] {
        assert!(host(&mut ports, spec).is_ok(), "{spec}");
    }
    refused(
        &mut ports,
        "127.0.0.1:8080:83",
        "Bind for 127.0.0.1:8080 failed: port is already allocated",
    );
}

#[test]
fn both_families_where_the_container_has_both() {
    let (mut facts, state) = (facts(), State::default());
    facts.listeners.push(Listener {
        proto: Protocol::Tcp,
        addr: Ipv6Addr::LOCALHOST.into(),
        port: 7000,
        only6: false,
    });
    let mut ports = Ports::new(&state, &facts);
    assert!(ask(&mut ports, "a", &BOTH, "8080:80").is_ok());
    let e = ask(&mut ports, "b", &BOTH, "[::]:8080:80").unwrap_err();
    assert!(e.starts_with("Bind for [::]:8080 failed"), "{e}");
    assert!(ask(&mut ports, "b", &BOTH, "[::1]:8080:80").is_ok());
    let e = ask(&mut ports, "b", &FOUR, "[::1]:8081:80").unwrap_err();
    assert!(
        e.contains("`b`") && e.contains("has no IPv6 address"),
        "{e}"
    );
    assert!(ask(&mut ports, "a", &FOUR, "7000:80").is_ok());
    let e = ask(&mut ports, "b", &BOTH, "[::]:7000:80").unwrap_err();
    assert!(
        e.starts_with("failed to bind host port [::]:7000/tcp: address already in use"),
        "{e}"
    );
}

#[test]
fn open_ports_are_chosen_around_taken_and_reserved_ones() {
    let (facts, state) = (facts(), State::default());
    let mut ports = Ports::new(&state, &facts);
    assert_eq!(host(&mut ports, "80"), Ok(40_002));
    assert_eq!(host(&mut ports, "80-82"), Ok(40_003));
    assert_eq!(host(&mut ports, "40002-40009:80"), Ok(40_006));
    let e = host(&mut ports, "80-83").unwrap_err();
    assert!(e.contains("no 4 free ports"), "{e}");
    // At one address they are free.
    let spec: PortSpec = "127.0.0.1::80-83".parse().unwrap();
    let chosen = ports
        .allocate("e", &FOUR, &spec, HostBinding::one(LOCAL), false)
        .unwrap();
    assert_eq!(chosen.host, 40_002);
}

#[test]
fn shared_ports_are_a_group_and_everything_else_a_conflict() {
    let (facts, state) = (facts(), State::default());
    let mut ports = Ports::new(&state, &facts);
    let one = |ports: &mut Ports<'_>, endpoint: &str, spec: &str| {
        ask(ports, endpoint, &FOUR, spec).map(|c| (c.group, c.member))
    };
    assert_eq!(one(&mut ports, "a", "8080:80,balance"), Ok((1, 0)));
    assert_eq!(one(&mut ports, "b", "8080:80,balance"), Ok((1, 1)));
    assert_eq!(one(&mut ports, "b", "8080:81,balance"), Ok((1, 2)));
    assert_eq!(one(&mut ports, "a", "9000-9009:80-89,balance"), Ok((2, 0)));
    assert_eq!(
        one(&mut ports, "a", "127.0.0.1:8080:80,balance"),
        Ok((3, 0))
    );
    for (endpoint, spec) in [
        ("b", "8080:80,balance"),
        ("c", "8080:80"),
        ("c", "9000:80,balance"),
        ("c", "9000-9010:80-90,balance"),
    ] {
        let e = one(&mut ports, endpoint, spec).unwrap_err();
        assert!(e.contains("port is already allocated"), "{spec}: {e}");
    }
    for n in 0..13 {
        assert_eq!(
            one(&mut ports, &format!("e{n}"), "8080:80,balance"),
            Ok((1, 3 + n))
        );
    }
    let e = one(&mut ports, "more", "8080:80,balance").unwrap_err();
    assert!(e.contains("16"), "{e}");
}

#[test]
fn a_binding_of_each_family_takes_both() {
    let (state, facts) = (State::default(), facts());
    let mut ports = Ports::new(&state, &facts);
    let both = HostBinding {
        addr: LOCAL,
        addr6: Some(Ipv6Addr::LOCALHOST),
    };
    let spec: PortSpec = "8080:80".parse().unwrap();
    let chosen = ports.allocate("e", &BOTH, &spec, both, false).unwrap();
    assert_eq!(chosen.host, 8080);
    for taken in ["127.0.0.1:8080:80", "[::1]:8080:80"] {
        let e = ask(&mut ports, "f", &BOTH, taken).unwrap_err();
        assert!(e.contains("endpoint `e` publishes it"), "{e}");
    }
    // One without IPv6 takes the other address alone; one that is of IPv6 alone needs it.
    let spec: PortSpec = "8081:80".parse().unwrap();
    ports.allocate("e", &FOUR, &spec, both, false).unwrap();
    assert!(ask(&mut ports, "f", &BOTH, "[::1]:8081:80").is_ok());
    let six = HostBinding::one(Ipv6Addr::LOCALHOST.into());
    let e = ports.allocate("e", &FOUR, &spec, six, false).unwrap_err();
    assert!(e.to_string().contains("has no IPv6 address"), "{e}");
}
