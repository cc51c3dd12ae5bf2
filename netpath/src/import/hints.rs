//! What the filter table tells of networks: that containers may not talk to each other, and that
//! nothing enters or leaves.
//!
//! Owns the two forms in which Docker writes that. The other rules of the table are none of netpath's
//! business.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{matches::Matches, network::Nets, rule::Rule, target::Target};

/// Takes what rules of the filter table say; how many did.
pub(super) fn take(filter: &[Rule], nets: &mut Nets) -> usize {
    let mut noticed = 0;
    // Bridge and subnet: what of the two directions has been seen.
    let mut closed: BTreeMap<(&str, IpNet), (bool, bool)> = BTreeMap::new();
    let drops = |r: &&Rule| matches!(r.target, Target::Drop) && r.matches.others.is_empty();
    for rule in filter.iter().filter(drops) {
        let m = &rule.matches;
        if let Some((bridge, subnet, out)) = one_way(m) {
            let seen = closed.entry((bridge, subnet)).or_default();
            seen.0 |= out;
            seen.1 |= !out;
        }
    }
    for ((bridge, subnet), seen) in closed {
        if seen == (true, true) {
            let made = nets.change(subnet, Some(bridge), None, |n| {
                // A network that is masqueraded is not closed, whatever this is.
                n.internal = !n.masquerades();
            });
            noticed += if made.is_ok() { 2 } else { 0 };
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
                noticed += 1;
            }
        }
    }
    noticed
}

/// `! -s SUBNET -o BRIDGE`, or `! -d SUBNET -i BRIDGE`, and nothing else.
fn one_way(m: &Matches) -> Option<(&str, IpNet, bool)> {
    let rest = Matches {
        not_source: Vec::new(),
        not_destination: Vec::new(),
        input: None,
        output: None,
        ..m.clone()
    };
    if !rest.is_nothing() {
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
