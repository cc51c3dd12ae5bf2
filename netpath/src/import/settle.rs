//! Several rules for one port of the host.
//!
//! Owns what they come to together: iptables takes the first that matches, so rules for one container
//! are one allow list, rules with shares are one shared port, and what comes after is never asked.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use ipnet::IpNet;
use netpath_common::publish::MAX_BACKENDS;

use super::{
    coming::Port,
    fate::{Fate, Fates},
    rule::Rule,
};
use crate::config::{PortRange, Protocol};

/// A published port of one family, with all that rules say about it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Settled {
    /// One of the rules that say it, with everything that they share.
    pub(super) port: Port,
    /// All of them.
    pub(super) rules: Vec<usize>,
    /// Who is let in; none: everybody.
    pub(super) allow: Vec<IpNet>,
    /// Others lead there as well.
    pub(super) balance: bool,
}

/// Shares that differ by less are the same: the kernel keeps them in parts of 2^31.
const SAME_SHARE: f64 = 0.001;

/// Puts ports together.
pub(super) fn settle(rules: &[Rule], ports: Vec<Port>, fates: &mut Fates) -> Vec<Settled> {
    let (host_only, ports): (Vec<_>, Vec<_>) = ports.into_iter().partition(|p| p.host_only);
    let mut keys: Vec<_> = Vec::new();
    let mut by_key: BTreeMap<_, Vec<Port>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for port in ports {
        let key = port.key();
        // The same by another way through the chains is the same.
        if seen.insert((key, port.rule, port.allow)) {
            let same = by_key.entry(key).or_default();
            if same.is_empty() {
                keys.push(key);
            }
            same.push(port);
        }
    }
    let mut settled = Vec::new();
    for key in keys {
        let same = by_key.remove(&key).unwrap_or_default();
        settled.extend(one_port(rules, same, fates));
    }
    let mut places: HashMap<_, Vec<usize>> = HashMap::new();
    for (at, s) in settled.iter().enumerate() {
        places.entry(way(&s.port)).or_default().push(at);
    }
    for port in host_only {
        let places = places.entry(way(&port)).or_default();
        of_host(port, places, &mut settled, fates);
    }
    settled
}

/// What leads where, whatever address of the host is asked.
fn way(p: &Port) -> (Protocol, PortRange, IpAddr, PortRange) {
    (p.proto, p.ports, p.to, p.to_ports)
}

/// Rules for one port, in their order.
fn one_port(rules: &[Rule], same: Vec<Port>, fates: &mut Fates) -> Vec<Settled> {
    // Runs of rules for one container and one share.
    let mut runs: Vec<Vec<Port>> = Vec::new();
    for port in same {
        let share = port.share.map(f64::to_bits);
        match runs.last_mut() {
            Some(run)
                if run.last().is_some_and(|last| {
                    (last.to, last.to_ports, last.share.map(f64::to_bits))
                        == (port.to, port.to_ports, share)
                }) =>
            {
                run.push(port);
            }
            _ => runs.push(vec![port]),
        }
    }
    let shares: Vec<_> = runs
        .iter()
        .map(|run| run.first().and_then(|p| p.share))
        .collect();
    if are_even(&shares) && runs.len() <= MAX_BACKENDS {
        let shared = runs.len() > 1;
        return runs
            .into_iter()
            .filter_map(|run| together(run, shared))
            .collect();
    }
    let mut runs = runs.into_iter();
    let Some(first) = runs.next() else {
        return Vec::new();
    };
    let line = first
        .first()
        .and_then(|p| rules.get(p.rule))
        .map_or(0, |r| r.line);
    let is_share = first.iter().any(|p| p.share.is_some());
    let mut rest: Vec<Port> = runs.flatten().collect();
    let kept = if is_share {
        rest.extend(first);
        Vec::new()
    } else {
        together(first, false).into_iter().collect()
    };
    for port in rest {
        fates.note(
            port.rule,
            Fate::Left(if is_share {
                format!(
                    "has a share of the connections; netpath shares a port evenly, among {MAX_BACKENDS} at most"
                )
            } else {
                format!("the port leads elsewhere by line {line}; netpath leads a port to one container, or shares it")
            }),
        );
    }
    kept
}

/// Whether the n-th of several that share takes its part of what those before have left, and the last
/// the rest.
fn are_even(shares: &[Option<f64>]) -> bool {
    let count = shares.len();
    (0..count).zip(shares).all(|(n, share)| match share {
        Some(share) => count - n > 1 && (share - 1.0 / (count - n) as f64).abs() < SAME_SHARE,
        None => count - n == 1,
    })
}

/// Rules for one container are one port; if one of them is for everybody, all of it is.
fn together(run: Vec<Port>, balance: bool) -> Option<Settled> {
    let open = run.iter().any(|p| p.allow.is_none());
    let mut allow: Vec<IpNet> = run.iter().filter_map(|p| p.allow).collect();
    if open {
        allow.clear();
    }
    let mut rules: Vec<usize> = run.iter().map(|p| p.rule).collect();
    rules.dedup();
    allow.sort_unstable();
    allow.dedup();
    Some(Settled {
        port: run.into_iter().next()?,
        rules,
        allow,
        balance,
    })
}

/// A rule for the host's own connections: netpath does that for each published port. `places`: of the
/// ports that lead the same way.
fn of_host(port: Port, places: &mut Vec<usize>, settled: &mut Vec<Settled>, fates: &mut Fates) {
    let same = |at: &usize| {
        let host = settled.get(*at).and_then(|s| s.port.host);
        host.is_none() || host == port.host
    };
    let known = places.iter().copied().find(same);
    if let Some(known) = known.and_then(|at| settled.get_mut(at)) {
        if known.rules.last() != Some(&port.rule) {
            known.rules.push(port.rule);
        }
    } else if port.host.is_some_and(|host| host.is_loopback()) && port.share.is_none() {
        places.push(settled.len());
        settled.push(Settled {
            rules: vec![port.rule],
            allow: Vec::new(),
            balance: false,
            port,
        });
    } else {
        fates.note(
            port.rule,
            Fate::left(
                "is for the host's own connections; netpath would let in the outside as well, unless it \
                 named 127.0.0.1",
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_to_be_even() {
        for even in [
            &[None][..],
            &[Some(0.5), None],
            &[Some(0.333_333_333_49), Some(0.5), None],
            &[],
        ] {
            assert!(are_even(even), "{even:?}");
        }
        for odd in [
            &[Some(0.5)][..],
            &[None, None],
            &[Some(0.9), None],
            &[Some(0.5), Some(0.5), None],
            &[Some(0.5), Some(0.5)],
        ] {
            assert!(!are_even(odd), "{odd:?}");
        }
    }
}
