//! What the filter table tells of networks: that containers may not talk to each other, and that
//! nothing enters or leaves.
//!
//! Owns the two forms in which Docker writes that. The other rules of the table are none of netpath's
//! business.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{matches::Matches, network::Nets, rule::Rule, target::Target};

/// Takes what rules of the filter table say; which did, by line.
pub(super) fn take(filter: &[Rule], nets: &mut Nets) -> BTreeSet<usize> {
    let mut noticed = BTreeSet::new();
    // Bridge and subnet: the rules of the two directions, by line.
    let mut closed: BTreeMap<(&str, IpNet), [Vec<usize>; 2]> = BTreeMap::new();
    let drops = |r: &&Rule| matches!(r.target, Target::Drop) && r.matches.others.is_empty();
    for rule in filter.iter().filter(drops) {
        let m = &rule.matches;
        if let Some((bridge, subnet, out)) = one_way(m) {
            let [inward, outward] = closed.entry((bridge, subnet)).or_default();
            if out { outward } else { inward }.push(rule.line);
        }
    }
    for ((bridge, subnet), seen) in closed {
        if seen.iter().all(|lines| !lines.is_empty()) {
            let made = nets.change(subnet, Some(bridge), None, |n| {
                // A network that is masqueraded is not closed, whatever this is.
                n.internal = !n.masquerades();
            });
            if made.is_ok() {
                noticed.extend(seen.iter().flatten());
            }
        }
    }
    for rule in filter.iter().filter(drops) {
        let m = &rule.matches;
        let alone = Matches {
            input: None,
            output: None,
            ..m.clone()
        };
        if m.input.is_some() && m.input == m.output && alone.is_nothing() {
            let at = m.input.as_ref().and_then(|b| nets.with_bridge(b));
            if let Some(n) = at.and_then(|at| nets.0.get_mut(at)) {
                n.icc = false;
                noticed.insert(rule.line);
            }
        }
    }
    noticed
}

/// `! -s SUBNET -o BRIDGE`, or `! -d SUBNET -i BRIDGE`, and nothing else; of IPv6 Docker says besides that it
/// comes in by another interface, or leaves by one.
fn one_way(m: &Matches) -> Option<(&str, IpNet, bool)> {
    let rest = Matches {
        not_source: Vec::new(),
        not_destination: Vec::new(),
        input: None,
        output: None,
        not_input: Vec::new(),
        not_output: Vec::new(),
        ..m.clone()
    };
    let but_for = |others: &[String], bridge: &Option<String>| match others {
        [] => true,
        [other] => Some(other) == bridge.as_ref(),
        _ => false,
    };
    if !rest.is_nothing() || !but_for(&m.not_input, &m.output) || !but_for(&m.not_output, &m.input)
    {
        return None;
    }
    match (
        &m.not_source[..],
        &m.not_destination[..],
        &m.input,
        &m.output,
    ) {
        ([net], [], None, Some(bridge)) => Some((bridge, *net, false)),
        ([], [net], Some(bridge), None) => Some((bridge, *net, true)),
        _ => None,
    }
}
