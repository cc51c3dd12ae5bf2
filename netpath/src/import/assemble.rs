//! Networks and published ports become a configuration.
//!
//! Owns endpoints: which addresses are one container's, and the SPECs of its ports. Every SPEC is
//! checked by the configuration's own parser, and every host port for who else has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    fate::{Fate, Fates},
    given::Names,
    leaving::Leaving,
    network::{self, Net, Nets},
    pair::pair,
    rule::Rule,
    settle::Settled,
};
use crate::config::{Claim, Claims, Ipam, Pool, PortSpec, Taker, check_endpoint_addr};

/// A network with everything chosen.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) net: Net,
    pub(super) name: String,
    pub(super) bridge: String,
    pub(super) gateway: Option<IpAddr>,
    pub(super) gateway6: Option<IpAddr>,
    pub(super) endpoints: Vec<Container>,
}

/// An endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) v4: Option<Ipv4Addr>,
    pub(super) v6: Option<Ipv6Addr>,
    pub(super) publish: Vec<PortSpec>,
    pub(super) ports: Vec<Settled>,
}

impl Container {
    pub(super) fn addrs(&self) -> impl Iterator<Item = IpAddr> {
        [self.v4.map(IpAddr::V4), self.v6.map(IpAddr::V6)]
            .into_iter()
            .flatten()
    }

    pub(super) fn id(&self) -> Option<&String> {
        self.ports.iter().find_map(|s| s.port.container.as_ref())
    }
}

/// What is published at an address of any family by `8080:80` has both where the container has; a port
/// of one alone says so.
pub(super) fn assemble(
    rules: &[Rule],
    mut nets: Nets,
    settled: Vec<Settled>,
    leaving: &Leaving,
    fates: &mut Fates,
) -> Vec<Drawn> {
    let mut containers: BTreeMap<usize, BTreeMap<IpAddr, Container>> = BTreeMap::new();
    for s in settled {
        let p = &s.port;
        let home = nets.home(p.to, p.bridge.as_deref(), p.network.as_deref());
        let home = home.and_then(|at| match nets.0.get(at) {
            Some(n) if n.internal => Err("its network is internal: nothing enters".to_owned()),
            _ => Ok(at),
        });
        match home {
            Err(why) => note_all(&s, &Fate::Left(why), fates),
            Ok(at) => {
                let there = containers.entry(at).or_default();
                let c = there.entry(p.to).or_default();
                match p.to {
                    IpAddr::V4(a) => c.v4 = Some(a),
                    IpAddr::V6(a) => c.v6 = Some(a),
                }
                c.ports.push(s);
            }
        }
    }
    whoever(&mut nets, leaving, fates);
    let mut claims = Claims::default();
    let mut names = Names::of(&nets);
    let mut drawn = Vec::new();
    for (at, mut net) in nets.0.into_iter().enumerate() {
        let there = containers.remove(&at).unwrap_or_default();
        both_families(&net, fates);
        let mut endpoints = pair(&net, there.into_values().collect());
        let gateway = gateway(&net, false, &endpoints);
        let gateway6 = self::gateway(&net, true, &endpoints);
        for c in &mut endpoints {
            c.ports.sort_by_key(|s| s.port.rule);
            publish(rules, c, &mut net, (gateway, gateway6), &mut claims, fates);
            if !c.publish.is_empty() {
                c.name = names.endpoint(c);
            }
        }
        endpoints.retain(|c| !c.publish.is_empty());
        let bridge = names.bridge(&net);
        drawn.push(Drawn {
            name: names.network(&net, &bridge),
            gateway: gateway.filter(|(_, own)| *own).map(|(g, _)| g),
            gateway6: gateway6.filter(|(_, own)| *own).map(|(g, _)| g),
            bridge,
            net,
            endpoints,
        });
    }
    // What only a port that is not published spoke of.
    drawn.retain(|d| {
        let known =
            d.net.guessed.len() < usize::from(d.net.v4.is_some()) + usize::from(d.net.v6.is_some());
        known || !d.endpoints.is_empty()
    });
    drawn
}

fn note_all(s: &Settled, fate: &Fate, fates: &mut Fates) {
    for rule in &s.rules {
        fates.note(*rule, fate.clone());
    }
}

/// Gives networks that no rule names a source for what a rule for everybody gives.
fn whoever(nets: &mut Nets, leaving: &Leaving, fates: &mut Fates) {
    let mut given = BTreeSet::new();
    for (rule, v6, uplink, source) in &leaving.whoever {
        let family = usize::from(*v6);
        let mut taken = false;
        for (at, n) in nets.0.iter_mut().enumerate() {
            let mut with = n.clone();
            with.uplinks.insert(uplink.clone());
            let (Some(on), Some(snat)) =
                (with.masquerade.get_mut(family), with.snat.get_mut(family))
            else {
                continue;
            };
            let open = !*on && (!n.masquerades() || n.uplinks.contains(uplink));
            // By another interface as well.
            let again = *on && given.contains(&(at, *v6)) && *snat == source.addr;
            (*on, *snat) = (true, source.addr);
            let fits = n.subnet(*v6).is_some() && !n.internal && (open || again);
            if fits && network::check(&with).is_ok() {
                taken = true;
                given.insert((at, *v6));
                *n = with;
            }
        }
        fates.note(
            *rule,
            if taken {
                Fate::Partly(format!(
                    "is for whatever leaves by {uplink}; netpath masquerades its own networks alone, of \
                     which these have no other rule"
                ))
            } else {
                Fate::left("names no source: netpath masquerades its own networks alone")
            },
        );
    }
    for (rule, net) in &leaving.of_protocol {
        let whole = |n: &Net| {
            let v6 = net.addr().is_ipv6();
            n.subnet(v6) == Some(*net) && n.masquerade.get(usize::from(v6)) == Some(&true)
        };
        fates.note(
            *rule,
            if nets.0.iter().any(whole) {
                Fate::Used
            } else {
                Fate::left("is for one protocol; netpath masquerades all of them")
            },
        );
    }
}

/// One setting is for both families.
fn both_families(net: &Net, fates: &mut Fates) {
    for (family, v6) in [(0, false), (1, true)] {
        if net.masquerades()
            && net.masquerade.get(family) == Some(&false)
            && let Some(subnet) = net.subnet(v6)
        {
            for rule in &net.rules {
                fates.note(
                    *rule,
                    Fate::Partly(format!(
                        "{subnet} of the same network is not masqueraded by any rule; netpath masquerades \
                         both families or none"
                    )),
                );
            }
        }
    }
}

/// The gateway, and whether it has to be named: where a container has the first address.
fn gateway(net: &Net, v6: bool, endpoints: &[Container]) -> Option<(IpAddr, bool)> {
    let taken: BTreeSet<IpAddr> = endpoints.iter().flat_map(Container::addrs).collect();
    let (first, last): (IpAddr, IpAddr) = if v6 {
        let net = net.v6?;
        (
            crate::config::first_host6(net).into(),
            net.broadcast().into(),
        )
    } else {
        let net = net.v4?;
        let last = u32::from(net.broadcast()).saturating_sub(1);
        (
            crate::config::first_host(net).into(),
            Ipv4Addr::from(last).into(),
        )
    };
    if !taken.contains(&first) {
        return Some((first, false));
    }
    let below = |addr: &IpAddr| match addr {
        IpAddr::V4(a) => Some(IpAddr::V4(u32::from(*a).checked_sub(1)?.into())),
        IpAddr::V6(a) => Some(IpAddr::V6(u128::from(*a).checked_sub(1)?.into())),
    };
    // The subnet's own address, which is below the first, is nobody's.
    let from_above = std::iter::successors(Some(last), below).take_while(|addr| *addr >= first);
    let mut free = from_above.take(taken.len() + 1);
    free.find(|addr| !taken.contains(addr))
        .map(|addr| (addr, true))
}

type Gateways = (Option<(IpAddr, bool)>, Option<(IpAddr, bool)>);

/// Makes the SPECs of a container.
fn publish(
    rules: &[Rule],
    c: &mut Container,
    net: &mut Net,
    gateways: Gateways,
    claims: &mut Claims<usize>,
    fates: &mut Fates,
) {
    let grounds = [
        (net.subnet(false), gateways.0),
        (net.subnet(true), gateways.1),
    ];
    let ports = std::mem::take(&mut c.ports);
    for addr in c.addrs() {
        let fits = match grounds[usize::from(addr.is_ipv6())] {
            (None, _) => Ok(()),
            (Some(subnet), None) => Err(format!("{subnet} has no address left for the gateway")),
            (Some(subnet), Some((gateway, _))) => {
                let pool = Pool {
                    subnet,
                    gateway,
                    ipam: &Ipam::default(),
                };
                let fits = check_endpoint_addr("", addr, "", &pool);
                fits.map_err(|e| e.to_string().replace("endpoint ``: ", ""))
            }
        };
        if let Err(why) = fits {
            let fate = Fate::Left(why);
            ports.iter().for_each(|s| note_all(s, &fate, fates));
            return;
        }
    }
    for (spec, parts) in specs(&ports, net) {
        let first = parts.first().map_or(0, |s| s.port.rule);
        if let Err(why) = claim(rules, &spec, first, claims) {
            parts
                .iter()
                .for_each(|s| note_all(s, &Fate::Left(why.clone()), fates));
            continue;
        }
        for s in parts {
            note_all(s, &Fate::Used, fates);
            bounds(s, net, fates);
        }
        c.publish.push(spec);
    }
    c.ports = ports;
}

/// Takes the host's ports, if nobody has them.
fn claim(
    rules: &[Rule],
    spec: &PortSpec,
    rule: usize,
    claims: &mut Claims<usize>,
) -> Result<(), String> {
    spec.to_string()
        .parse::<PortSpec>()
        .map_err(|e| e.to_string())?;
    let line = rules.get(rule).map_or(0, |r| r.line);
    let ports = spec.host.ok_or("it names no port of the host")?;
    let claim = Claim {
        proto: spec.proto,
        ports,
        addr: spec.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
        by: Taker::Rule {
            balance: spec.balance,
        },
        holder: line,
    };
    if let Some(other) = claims.in_the_way_of(claim.clone()).next() {
        return Err(format!("the host's port is taken by line {}", other.holder));
    }
    claims.add(claim);
    Ok(())
}

/// Notes what a SPEC lets in beyond its rule.
fn bounds(s: &Settled, net: &mut Net, fates: &mut Fates) {
    if let Some(input) = &s.port.input {
        if net.uplinks.is_empty() && !net.masquerades() {
            net.uplinks.insert(input.clone());
        }
        let alone = net.uplinks.len() == 1 && net.uplinks.contains(input);
        if !alone {
            let why = format!(
                "is for what comes in by {input}; netpath publishes at every uplink of the network"
            );
            note_all(s, &Fate::Partly(why), fates);
        }
    }
    if !s.port.bounded && !s.port.host_only {
        let why = "is for what is forwarded to other hosts as well; netpath publishes at the host's own addresses";
        note_all(s, &Fate::Partly(why.into()), fates);
    }
}

/// The SPECs of a container, each with what it says. A port that is at any address by both families is
/// one SPEC where both let in whom the other does not speak of.
fn specs<'p>(ports: &'p [Settled], net: &Net) -> Vec<(PortSpec, Vec<&'p Settled>)> {
    let dual = net.v6.is_some();
    let mut all: Vec<(PortSpec, Vec<&Settled>)> = Vec::new();
    let mut open: BTreeMap<_, usize> = BTreeMap::new();
    for s in ports {
        let p = &s.port;
        let v6 = p.to.is_ipv6();
        let mut spec = PortSpec {
            host_ip: p.host,
            host: Some(p.ports),
            container: p.to_ports,
            proto: p.proto,
            allow: s.allow.clone(),
            balance: s.balance,
        };
        let any: IpAddr = if v6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        if p.host.is_some() || !dual {
            all.push((spec, vec![s]));
            continue;
        }
        spec.host_ip = Some(any);
        let key = (
            p.proto,
            p.ports.first(),
            p.ports.last(),
            p.to_ports.first(),
            s.balance,
        );
        let other = open.remove(&(key, !v6)).and_then(|at| all.get_mut(at));
        match other {
            Some((known, parts)) if known.allow.is_empty() == s.allow.is_empty() => {
                known.host_ip = None;
                known.allow.extend(spec.allow);
                known.allow.sort_unstable();
                parts.push(s);
            }
            _ => {
                open.insert((key, v6), all.len());
                all.push((spec, vec![s]));
            }
        }
    }
    all
}
