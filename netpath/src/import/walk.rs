//! The ways through the chains: what holds for a packet when it comes to a rule.
//!
//! Owns the order of chains and the bounds of the walk, since the text may be anybody's.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{matches::Matches, rule::Rule, target::Target};

/// A chain that the kernel begins with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Base {
    Prerouting,
    Input,
    Output,
    Postrouting,
}

impl Base {
    const ALL: [(Self, &str); 4] = [
        (Self::Prerouting, "PREROUTING"),
        (Self::Input, "INPUT"),
        (Self::Output, "OUTPUT"),
        (Self::Postrouting, "POSTROUTING"),
    ];
}

/// A rule that a packet may come to.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    /// Its place among the rules.
    pub(super) rule: usize,
    /// Where the packet began.
    pub(super) base: Base,
    /// What holds for it, the rule's own conditions included.
    pub(super) matches: Matches,
    /// Destinations that have left the chain before.
    pub(super) spared: Vec<IpNet>,
    /// It is the last of its chain.
    pub(super) last: bool,
}

/// Every visit, and what there is to say of the jumps.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) visits: Vec<Visit>,
    /// Jumps that are followed, or lead to an empty chain.
    pub(super) jumps: BTreeSet<usize>,
    /// Jumps that cannot be followed.
    pub(super) refused: BTreeMap<usize, String>,
}

/// Chains within chains that iptables itself would follow, and more.
const DEEPEST: usize = 32;
/// Visits in all: a text may lead through its chains in more ways than there is time.
const MOST: usize = 300_000;

/// Walks through the chains of a family.
pub(super) fn walk(rules: &[Rule], v6: bool, declared: &BTreeSet<(bool, String)>) -> Walked {
    let mut chains: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (_, chain) in declared.iter().filter(|(of, _)| *of == v6) {
        chains.entry(chain).or_default();
    }
    for (at, rule) in rules.iter().enumerate().filter(|(_, r)| r.v6 == v6) {
        chains.entry(&rule.chain).or_default().push(at);
    }
    let mut walker = Walker {
        rules,
        chains,
        walked: Walked::default(),
        steps: 0,
    };
    for (base, name) in Base::ALL {
        walker.chain(base, name, &Matches::default(), &mut vec![name.to_owned()]);
    }
    walker.walked
}

struct Walker<'r> {
    rules: &'r [Rule],
    chains: BTreeMap<&'r str, Vec<usize>>,
    walked: Walked,
    steps: usize,
}

impl Walker<'_> {
    fn chain(&mut self, base: Base, name: &str, path: &Matches, stack: &mut Vec<String>) {
        let Some(chain) = self.chains.get(name).cloned() else {
            return;
        };
        let mut spared = Vec::new();
        for at in &chain {
            self.steps += 1;
            let Some(rule) = self.rules.get(*at).filter(|_| self.steps < MOST) else {
                return;
            };
            let matches = path.and(&rule.matches);
            if let Target::Jump(to) = &rule.target {
                self.jump((base, *at), to, &matches, stack);
                continue;
            }
            self.walked.visits.push(Visit {
                rule: *at,
                base,
                matches,
                spared: spared.clone(),
                last: chain.last() == Some(at),
            });
            if matches!(rule.target, Target::Accept | Target::Return) {
                spared.extend(only_destination(&rule.matches));
            }
        }
    }

    fn jump(&mut self, (base, at): (Base, usize), to: &str, m: &Matches, stack: &mut Vec<String>) {
        let mut refuse = |why: String| {
            self.walked.refused.insert(at, why);
        };
        if !self.chains.contains_key(to) {
            return refuse(format!(
                "{to} is neither a chain of this table nor a known target"
            ));
        }
        if stack.iter().any(|s| s == to) || stack.len() >= DEEPEST {
            return refuse(format!("the chains lead in a circle or too deep at {to}"));
        }
        self.walked.jumps.insert(at);
        stack.push(to.to_owned());
        self.chain(base, to, m, stack);
        stack.pop();
    }
}

/// The destination, where a rule asks for nothing else.
fn only_destination(m: &Matches) -> Option<IpNet> {
    let rest = Matches {
        destination: None,
        ..m.clone()
    };
    m.destination.filter(|_| rest.is_nothing())
}

#[cfg(test)]
mod tests {
    use super::{super::save::read, *};

    fn walked(text: &str) -> Walked {
        let saved = read(text);
        walk(&saved.nat, false, &saved.chains)
    }

    #[test]
    fn conditions_of_jumps_hold_behind_them() {
        let w = walked(
            "-N A\n-A POSTROUTING -s 10.1.0.2/32 -j A\n-A A -d 10.1.0.0/16 -j ACCEPT\n\
             -A A ! -d 224.0.0.0/4 -j MASQUERADE\n",
        );
        let visit = w.visits.iter().find(|v| v.rule == 2).unwrap();
        assert_eq!(visit.matches.source, "10.1.0.2/32".parse().ok());
        assert_eq!(visit.spared, ["10.1.0.0/16".parse().unwrap()]);
        assert!(visit.last && w.jumps.contains(&0));
    }

    #[test]
    fn circles_and_unknown_chains_are_refused() {
        let w = walked("-A PREROUTING -j A\n-A A -j B\n-A B -j A\n-A OUTPUT -j NETMAP\n");
        assert!(w.refused[&2].contains("circle"));
        assert!(w.refused[&3].contains("neither a chain"));
    }

    #[test]
    fn a_text_with_too_many_ways_ends() {
        let mut text = "-A PREROUTING -j C0\n".to_owned();
        for n in 0..30 {
            let next = n + 1;
            text += &format!("-A C{n} -j C{next}\n-A C{n} -j C{next}\n-A C{n} -j C{next}\n");
        }
        assert!(walked(&text).visits.len() <= MOST);
    }
}
