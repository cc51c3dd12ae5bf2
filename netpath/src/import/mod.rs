//! From iptables' rules to a configuration.
//!
//! Owns what becomes of each rule of the nat table: it is used, implied by how netpath works, or listed
//! with the reason; none is dropped in silence. So are the administrator's own that drop what is forwarded. Reads text alone, not the host, and makes nothing. The
//! text is taken apart here: no well-kept library reads `iptables-save`, those that there are run the
//! tool itself.

#[cfg(test)]
mod any_text;
mod assemble;
mod coming;
mod dropped;
mod fate;
mod given;
mod hints;
mod leaving;
mod matches;
mod names;
mod network;
mod pair;
#[cfg(test)]
mod real;
mod rule;
mod save;
mod settle;
mod target;
#[cfg(test)]
mod tests;
mod walk;
mod words;
mod write;

use std::collections::BTreeMap;

use serde::Serialize;

use self::{
    fate::{Fate, Fates},
    leaving::{Choice, Leaving},
    network::Nets,
    rule::Rule,
    save::{Saved, read},
    target::Target,
    walk::{Visit, walk},
};
use crate::config::{self, Config};

/// What rules come to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Import {
    /// The configuration, with what is left as comments at its end.
    pub config: String,
    /// Rules that it says.
    pub used: usize,
    /// Rules that only are how the generator builds its own.
    pub implied: Vec<Line>,
    /// Rules that it does not say, or not all of.
    pub left: Vec<Left>,
    /// Rules of other tables by table: filtering is not netpath's.
    pub others: BTreeMap<String, usize>,
    /// How many of those told something of a network.
    pub noticed: usize,
    /// How many of those are listed as left.
    pub dropped: usize,
}

/// A line of the text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Line {
    /// Its number, from 1.
    pub line: usize,
    /// What it says.
    pub rule: String,
}

/// A rule that is not expressed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Left {
    /// Its line, from 1.
    pub line: usize,
    /// What it says.
    pub rule: String,
    /// Why it is not expressed.
    pub reason: String,
    /// All of it is expressed but for that.
    pub partly: bool,
}

impl Left {
    /// The reason as it is shown.
    #[must_use]
    pub fn why(&self) -> String {
        if self.partly {
            format!("expressed in part: {}", self.reason)
        } else {
            self.reason.clone()
        }
    }
}

/// Turns the text of `iptables-save`, `ip6tables-save` and `iptables -t nat -S`, one or several of
/// them, into a configuration.
///
/// # Errors
/// netpath cannot read its own configuration: that is a fault of netpath's.
pub fn import(text: &str) -> Result<Import, config::Error> {
    let saved = read(text);
    let rules = &saved.nat;
    let mut fates = Fates::new(rules.len());
    let mut visits = Vec::new();
    for v6 in [false, true] {
        let walked = walk(rules, v6, &saved.chains);
        for at in &walked.jumps {
            fates.note(*at, jump(rules.get(*at)));
        }
        for (at, why) in walked.refused {
            fates.note(at, Fate::Left(why));
        }
        visits.extend(walked.visits);
    }
    let mut nets = Nets::default();
    let leaving = leaving::leaving(rules, &visits, &mut nets, &mut fates);
    let hinted = hints::take(&saved.filter, &mut nets);
    let ports = coming::coming(rules, &visits, &bridges(rules), &mut fates);
    let settled = settle::settle(rules, ports, &mut fates);
    let drawn = assemble::assemble(rules, nets, settled, &leaving, &mut fates);
    let choice = choice(&leaving, &mut fates);
    let mut import = verdicts(&saved, &visits, fates);
    import.noticed = hinted.len();
    let dropped = dropped::dropped(&saved.filter, &hinted);
    import.dropped = dropped.len();
    import.left.extend(dropped);
    import.left.sort_by_key(|l| l.line);
    import.config = write::config(&drawn, choice, &import.left);
    Config::parse(&import.config, "the configuration that was made")?;
    Ok(import)
}

/// A jump narrows what comes after, where what it asks for is understood.
fn jump(rule: Option<&Rule>) -> Fate {
    match rule.and_then(|r| r.matches.others.first()) {
        Some(other) => Fate::left(format!("asks for `{other}`")),
        None => Fate::Implied,
    }
}

/// Bridges by which packets do not leave a network, or are not led into it.
fn bridges(rules: &[Rule]) -> std::collections::BTreeSet<String> {
    let names = |r: &Rule| {
        let m = &r.matches;
        let all = m.not_output.iter().chain(&m.not_input);
        let translates = matches!(r.target, Target::Source(_) | Target::Dnat(_));
        all.filter(|_| translates).cloned().collect::<Vec<_>>()
    };
    rules.iter().flat_map(names).collect()
}

/// The one way in which ports are chosen: that of all rules, where they agree.
fn choice(leaving: &Leaving, fates: &mut Fates) -> Choice {
    let first = leaving.choices.first().map(|(_, choice)| *choice);
    let first = first.unwrap_or_default();
    if leaving.choices.iter().all(|(_, choice)| *choice == first) {
        return first;
    }
    // Ranges by protocol are those of each flow's own class, which netpath keeps to.
    for (rule, choice) in &leaving.choices {
        let usual = choice
            .1
            .is_none_or(|p| p.first() == 1024 && p.last() == u16::MAX);
        if choice.0 || !usual {
            fates.note(
                *rule,
                Fate::Partly("chooses ports in another way than other rules; netpath has one way for all networks".into()),
            );
        }
    }
    Choice::default()
}

/// Sorts the rules by what has become of them.
fn verdicts(saved: &Saved, visits: &[Visit], fates: Fates) -> Import {
    let rules = &saved.nat;
    let seen: std::collections::BTreeSet<_> = visits.iter().map(|v| v.rule).collect();
    let unreached = |at: usize| {
        let chain = rules.get(at).map_or("", |r| r.chain.as_str());
        if seen.contains(&at) {
            "matches nothing, with the jumps that lead to it".to_owned()
        } else {
            format!("no rule leads to the chain {chain}, or in too many ways")
        }
    };
    let mut import = Import {
        config: String::new(),
        used: 0,
        implied: Vec::new(),
        left: Vec::new(),
        others: saved.others.clone(),
        noticed: 0,
        dropped: 0,
    };
    for (rule, fate) in rules.iter().zip(fates.all(unreached)) {
        let (line, text) = (rule.line, rule.text.clone());
        let left = |reason, partly| Left {
            line,
            rule: text.clone(),
            reason,
            partly,
        };
        match fate {
            Fate::Used => import.used += 1,
            Fate::Implied => import.implied.push(Line { line, rule: text }),
            Fate::Partly(why) => import.left.push(left(why, true)),
            Fate::Left(why) => import.left.push(left(why, false)),
        }
    }
    import.left.extend(saved.odd.iter().map(|odd| Left {
        line: odd.line,
        rule: odd.text.clone(),
        reason: odd.why.clone(),
        partly: false,
    }));
    import.left.sort_by_key(|l| l.line);
    import
}
