//! Rules of POSTROUTING: what leaves a network, and with which address.
//!
//! Owns which of them say no more than netpath does. Those of containers' published ports are
//! [`super::coming`]'s.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{
    fate::{Fate, Fates},
    matches::Matches,
    names,
    network::{Leave, Nets},
    rule::Rule,
    target::{Source, Target},
    walk::{Base, Visit},
};
use crate::config::PortRange;

/// How masquerade chooses ports; netpath has one setting for all networks.
pub(super) type Choice = (bool, Option<PortRange>);

/// What the rules of POSTROUTING come to beside networks.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// Of each rule that translates, by family.
    pub(super) choices: Vec<(usize, Choice)>,
    /// Rules for whatever leaves by an interface: family, interface, source.
    pub(super) whoever: Vec<(usize, bool, String, Source)>,
    /// Rules for one protocol of a network.
    pub(super) of_protocol: Vec<(usize, IpNet)>,
}

/// Takes what leaves by the rules of a family.
pub(super) fn leaving(
    rules: &[Rule],
    visits: &[Visit],
    nets: &mut Nets,
    fates: &mut Fates,
) -> Leaving {
    let mut leaving = Leaving::default();
    let marked = Marks::of(rules);
    for v in visits.iter().filter(|v| !v.matches.impossible) {
        let Some(rule) = rules.get(v.rule) else {
            continue;
        };
        let fate = match (&rule.target, v.base) {
            (Target::None, _) => Fate::Implied,
            (Target::Mark(value, mask), _) if marked.asked.contains(&(rule.v6, *value & *mask)) => {
                Fate::Implied
            }
            (Target::Mark(..), _) => Fate::left("marks packets for rules elsewhere"),
            (Target::Source(source), Base::Postrouting) => {
                translated(rule, v, source, &marked, nets, &mut leaving)
            }
            (Target::Accept | Target::Return, Base::Postrouting) => spared(v),
            (Target::Source(_), _) => Fate::left("translates what comes to the host itself"),
            (Target::Dnat(_) | Target::Accept | Target::Return, _)
                if v.base != Base::Postrouting =>
            {
                continue;
            }
            (Target::Redirect, _) => {
                Fate::left("leads to the host itself; netpath publishes containers' ports alone")
            }
            (Target::Drop, _) => Fate::left("drops packets; netpath has no such rule"),
            (Target::Other(text), _) => Fate::left(format!("`-j {text}` is not understood")),
            (Target::Dnat(_) | Target::Accept | Target::Return | Target::Jump(_), _) => {
                Fate::left("has no meaning in this chain")
            }
        };
        fates.note(v.rule, fate);
    }
    leaving
}

/// Marks that rules ask for and set, to have connections masqueraded that would not find back.
struct Marks {
    asked: BTreeSet<(bool, u32)>,
    set: BTreeSet<(bool, u32)>,
}

impl Marks {
    fn of(rules: &[Rule]) -> Self {
        let asked = |r: &Rule| {
            let (value, mask) = r
                .matches
                .mark
                .filter(|_| matches!(r.target, Target::Source(_)))?;
            Some((r.v6, value & mask))
        };
        let set = |r: &Rule| match r.target {
            Target::Mark(value, mask) => Some((r.v6, value & mask)),
            _ => None,
        };
        Self {
            asked: rules.iter().filter_map(asked).collect(),
            set: rules.iter().filter_map(set).collect(),
        }
    }
}

/// Destinations that are left alone: those of the own network, and those that nobody translates.
fn spared(v: &Visit) -> Fate {
    let m = &v.matches;
    let own = match (m.source, m.destination) {
        (Some(source), Some(net)) => net.contains(&source) || is_for_all(net),
        (None, Some(net)) => is_for_all(net),
        (_, None) => v.last && m.input.is_none() && m.output.is_none() && m.protocol.is_none(),
    };
    if own && m.others.is_empty() && m.mark.is_none() && m.ports.is_none() {
        Fate::Implied
    } else {
        Fate::left("keeps some packets from being translated; netpath knows no exceptions")
    }
}

fn translated(
    rule: &Rule,
    v: &Visit,
    source: &Source,
    marked: &Marks,
    nets: &mut Nets,
    leaving: &mut Leaving,
) -> Fate {
    let m = &v.matches;
    if let Some(why) = strange(m) {
        return Fate::left(why);
    }
    if let Some((value, mask)) = m.mark {
        return if marked.set.contains(&(rule.v6, value & mask)) {
            Fate::Implied
        } else {
            Fate::left("asks for a mark that no rule of this table sets")
        };
    }
    if is_for_answers(m) {
        return Fate::Implied;
    }
    if m.destination.is_some() || m.ports.is_some() {
        return Fate::left("translates towards some destinations only");
    }
    if !m.not_source.is_empty() {
        return Fate::left("translates all sources but some");
    }
    let Some(from) = m.source.filter(|net| net.prefix_len() > 0) else {
        return match (&m.output, &m.protocol) {
            (Some(uplink), None) => {
                let one = (v.rule, rule.v6, uplink.clone(), source.clone());
                leaving.whoever.push(one);
                return Fate::Implied;
            }
            _ => Fate::left("names neither a source nor the interface that it leaves by"),
        };
    };
    // One container's rule: its chain has left the network's own addresses before.
    let single = from.prefix_len() == from.max_prefix_len();
    let net = match v.spared.iter().find(|net| single && net.contains(&from)) {
        Some(net) => *net,
        None if single => return Fate::left("is for one address, which is no network"),
        None => from,
    };
    let known = |not: &&IpNet| !(not.contains(&net) || is_for_all(**not));
    if let Some(not) = m.not_destination.iter().find(known) {
        return Fate::left(format!("spares {not}; netpath knows no exceptions"));
    }
    if m.protocol.is_some() {
        leaving.of_protocol.push((v.rule, net));
        leaving
            .choices
            .push((v.rule, (source.random, source.ports)));
        return Fate::Implied;
    }
    let how = Leave {
        rule: v.rule,
        name: names::network(&m.comments),
        bridge: m.not_output.first().cloned(),
        uplink: m.output.clone(),
        snat: source.addr,
    };
    match nets.leaves(net, &how) {
        Ok(()) => {
            leaving
                .choices
                .push((v.rule, (source.random, source.ports)));
            Fate::Used
        }
        Err(why) => Fate::Left(why),
    }
}

/// What a rule that translates may not ask for.
fn strange(m: &Matches) -> Option<String> {
    if let Some(other) = m.others.first() {
        return Some(format!("asks for `{other}`"));
    }
    if m.share.is_some() {
        return Some("is for a share of the packets".into());
    }
    (m.input.is_some() || m.not_output.len() > 1 || m.local_destination)
        .then(|| "asks for more than a source and an interface".into())
}

/// Whether a rule only makes answers find back: of a container that asks itself, and of the host that
/// asks by 127.0.0.1.
fn is_for_answers(m: &Matches) -> bool {
    let itself = m.source.is_some() && m.source == m.destination;
    let by_host = m.local_source && m.output.is_some();
    itself || by_host || m.source.is_some_and(|net| net.addr().is_loopback())
}

/// Multicast and broadcast, which never leave.
fn is_for_all(net: IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.network().is_multicast() || net.addr().is_broadcast(),
        IpNet::V6(net) => net.network().is_multicast(),
    }
}
