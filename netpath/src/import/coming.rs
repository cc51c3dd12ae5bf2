//! Rules of PREROUTING and OUTPUT: ports of the host that lead to containers.
//!
//! Owns which of them are a published port, and what one rule publishes. How several rules for one
//! port go together is [`super::settle`]'s.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{
    fate::{Fate, Fates},
    matches::Matches,
    names,
    rule::Rule,
    target::{Destination, Target},
    walk::{Base, Visit},
};
use crate::config::{PortRange, Protocol};

/// Ports of the host that lead to ports of a container, by one rule.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Port {
    /// The rule's place.
    pub(super) rule: usize,
    /// Address of the host; `None`: any of the family.
    pub(super) host: Option<IpAddr>,
    pub(super) ports: PortRange,
    pub(super) proto: Protocol,
    /// The container.
    pub(super) to: IpAddr,
    pub(super) to_ports: PortRange,
    /// The only clients.
    pub(super) allow: Option<IpNet>,
    /// The share of connections.
    pub(super) share: Option<f64>,
    /// The only interface that clients come in by.
    pub(super) input: Option<String>,
    /// The container's bridge.
    pub(super) bridge: Option<String>,
    /// The network's name.
    pub(super) network: Option<String>,
    /// The container's identifier.
    pub(super) container: Option<String>,
    /// It is asked for at the host's addresses or by one interface alone.
    pub(super) bounded: bool,
    /// Only the host's own connections are led there.
    pub(super) host_only: bool,
}

impl Port {
    /// What makes two of them the same port of the host.
    pub(super) fn key(&self) -> (bool, Protocol, u16, u16, Option<IpAddr>) {
        let (first, last) = (self.ports.first(), self.ports.last());
        (self.to.is_ipv6(), self.proto, first, last, self.host)
    }
}

/// Ports that a rule which leads several to one may be written out as.
const MOST: u32 = 1024;

/// Takes the published ports of a family, in the order of the rules.
pub(super) fn coming(
    rules: &[Rule],
    visits: &[Visit],
    bridges: &BTreeSet<String>,
    fates: &mut Fates,
) -> Vec<Port> {
    let mut all = Vec::new();
    for v in visits
        .iter()
        .filter(|v| v.base != Base::Postrouting && !v.matches.impossible)
    {
        let Some(rule) = rules.get(v.rule) else {
            continue;
        };
        match &rule.target {
            Target::Dnat(to) => match published(rule, v, *to) {
                Ok(ports) => all.extend(ports),
                Err(why) => fates.note(v.rule, Fate::Left(why)),
            },
            Target::Accept | Target::Return => fates.note(v.rule, passed(v, bridges)),
            _ => {}
        }
    }
    all
}

/// Packets that are left alone: with Docker's proxy process those that come out of a bridge.
fn passed(v: &Visit, bridges: &BTreeSet<String>) -> Fate {
    let m = &v.matches;
    let by_bridge = m.input.as_ref().is_some_and(|i| bridges.contains(i));
    let plain = m.source.is_none() && m.destination.is_none() && m.protocol.is_none();
    let end = v.last && m.input.is_none();
    if (by_bridge || end) && plain && m.others.is_empty() && m.mark.is_none() {
        Fate::Implied
    } else {
        Fate::left("keeps some packets from being translated; netpath knows no exceptions")
    }
}

/// What a DNAT rule publishes.
fn published(rule: &Rule, v: &Visit, to: Destination) -> Result<Vec<Port>, String> {
    let m = &v.matches;
    if v.base == Base::Input {
        return Err("has no meaning in this chain".into());
    }
    strange(m)?;
    let proto = match m.protocol.as_deref() {
        Some("tcp") => Protocol::Tcp,
        Some("udp") => Protocol::Udp,
        Some("sctp") => Protocol::Sctp,
        Some(other) => {
            return Err(format!(
                "is for {other}; netpath publishes tcp, udp and sctp"
            ));
        }
        None => return Err("is for every protocol; netpath publishes ports".into()),
    };
    let Some(ports) = &m.ports else {
        return Err(format!(
            "is for every port of {proto}, the host's own among them; name the ports"
        ));
    };
    let asked = m.source.iter().chain(&m.destination).map(|net| net.addr());
    if asked.chain([to.addr]).any(|addr| addr.is_ipv6() != rule.v6) {
        return Err("has an address of the other family".into());
    }
    if is_hosts(to.addr) {
        return Err("leads to the host itself; netpath publishes containers' ports alone".into());
    }
    let host = host(m)?;
    let allow = m.source.filter(|net| net.prefix_len() > 0);
    // The host's own connections are allowed by every list.
    let allow = allow.filter(|net| !(v.base == Base::Output && net.addr().is_loopback()));
    let mut all = Vec::new();
    for ports in ports {
        for (ports, to_ports) in led(*ports, to)? {
            all.push(Port {
                rule: v.rule,
                host,
                ports,
                proto,
                to: to.addr,
                to_ports,
                allow,
                share: m.share,
                input: m.input.clone(),
                bridge: m.not_input.first().cloned(),
                network: names::network(&m.comments),
                container: names::container(&m.comments),
                bounded: m.local_destination || host.is_some() || m.input.is_some(),
                host_only: v.base == Base::Output,
            });
        }
    }
    Ok(all)
}

/// What a rule that publishes may not ask for.
fn strange(m: &Matches) -> Result<(), String> {
    if let Some(other) = m.others.first() {
        return Err(format!("asks for `{other}`"));
    }
    if m.mark.is_some() {
        return Err("asks for a mark".into());
    }
    // Clients by link-local addresses a container could not answer; netpath leaves them out as well.
    let link_local =
        |net: &IpNet| matches!(net, IpNet::V6(n) if n.network().is_unicast_link_local());
    if let Some(net) = m.not_source.iter().find(|net| !link_local(net)) {
        return Err(format!(
            "leaves out the clients of {net}; netpath's lists name who is let in"
        ));
    }
    // By 127.0.0.1 Docker's proxy process is asked. netpath needs none.
    if let Some(net) = m
        .not_destination
        .iter()
        .find(|net| !net.addr().is_loopback())
    {
        return Err(format!("leaves out {net}"));
    }
    if m.not_input.len() > 1 || m.output.is_some() || !m.not_output.is_empty() {
        return Err("asks for several interfaces".into());
    }
    if m.local_source {
        return Err("asks for the source's kind".into());
    }
    Ok(())
}

/// The one address of the host that is asked.
fn host(m: &Matches) -> Result<Option<IpAddr>, String> {
    match m.destination.filter(|net| net.prefix_len() > 0) {
        None => Ok(None),
        Some(net) if net.prefix_len() == net.max_prefix_len() => Ok(Some(net.addr())),
        Some(net) => Err(format!(
            "is for all addresses of {net}; netpath publishes at one, or at any"
        )),
    }
}

fn is_hosts(addr: IpAddr) -> bool {
    addr.is_loopback() || addr.is_unspecified() || addr.is_multicast()
}

/// Which ports of the container a range of the host leads to, as the kernel does it.
fn led(from: PortRange, to: Destination) -> Result<Vec<(PortRange, PortRange)>, String> {
    let Some(range) = to.ports else {
        return Ok(vec![(from, from)]);
    };
    if let Some(base) = to.base {
        let moved = |port: u16| range.first().checked_add(port.checked_sub(base)?);
        let ends = moved(from.first()).zip(moved(from.last()));
        let fits = ends.filter(|(_, last)| *last <= range.last());
        let to = fits.and_then(|(first, last)| PortRange::new(first, last));
        return to
            .map(|to| vec![(from, to)])
            .ok_or_else(|| "leads ports past the end of the container's range".into());
    }
    if range.width() == 1 {
        if from.width() == 1 {
            return Ok(vec![(from, range)]);
        }
        if from.width() > MOST {
            return Err(format!("leads more than {MOST} ports to one"));
        }
        let single = |port| PortRange::new(port, port).map(|port| (port, range));
        return Ok((from.first()..=from.last()).filter_map(single).collect());
    }
    // A port that is one of the range is kept.
    if range.holds(from.first()) && range.holds(from.last()) {
        return Ok(vec![(from, from)]);
    }
    Err(format!("leads to a port of {range} by chance"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(from: &str, to: &str, base: Option<u16>) -> Result<Vec<String>, String> {
        let to = Destination {
            addr: IpAddr::from([10, 0, 0, 2]),
            ports: (!to.is_empty()).then(|| to.parse().unwrap()),
            base,
        };
        let led = led(from.parse().unwrap(), to)?;
        Ok(led.iter().map(|(h, c)| format!("{h}:{c}")).collect())
    }

    #[test]
    fn ports_lead_where_the_kernel_leads_them() {
        for (from, to, base, want) in [
            ("80", "", None, &["80:80"][..]),
            ("80-90", "", None, &["80-90:80-90"]),
            ("8080", "80", None, &["8080:80"]),
            ("8080-8082", "80", None, &["8080:80", "8081:80", "8082:80"]),
            ("80-90", "80-90", None, &["80-90:80-90"]),
            ("82-84", "80-90", None, &["82-84:82-84"]),
            ("9000-9002", "80-82", Some(9000), &["9000-9002:80-82"]),
            ("9001-9002", "80-82", Some(9000), &["9001-9002:81-82"]),
        ] {
            assert_eq!(ports(from, to, base).unwrap(), want, "{from} {to}");
        }
        for (from, to, base) in [
            ("80", "8000-8010", None),
            ("80-95", "80-90", None),
            ("9000-9003", "80-82", Some(9000)),
            ("9000", "80-82", Some(9001)),
            ("1-2000", "80", None),
        ] {
            assert!(ports(from, to, base).is_err(), "{from} {to}");
        }
    }
}
