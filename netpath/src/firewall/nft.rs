//! What `nft -j list ruleset` prints.
//!
//! Owns which of its rules may concern a bridge. Knows no match but interfaces and "invalid".

use serde::Deserialize;
use serde_json::Value;

use super::{Dropping, may_be};

#[derive(Deserialize)]
struct Ruleset {
    nftables: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    chain: Option<Chain>,
    rule: Option<Rule>,
}

#[derive(Deserialize)]
struct Chain {
    family: String,
    table: String,
    name: String,
    hook: Option<String>,
    policy: Option<String>,
}

#[derive(Deserialize)]
struct Rule {
    family: String,
    table: String,
    chain: String,
    #[serde(default)]
    expr: Vec<Value>,
}

/// The value of an expression of this kind: null for `drop` and `accept`.
fn of<'v>(rule: &'v Rule, kind: &'static str) -> impl Iterator<Item = &'v Value> {
    rule.expr.iter().filter_map(move |it| it.get(kind))
}

impl Rule {
    fn is_in(&self, chain: &Chain, name: &str) -> bool {
        self.family == chain.family && self.table == chain.table && self.chain == name
    }

    /// Interface names that it asks for, and whether they are excluded.
    fn interfaces(&self) -> impl Iterator<Item = (&str, bool)> {
        of(self, "match").filter_map(|it| {
            let key = it["left"]["meta"]["key"].as_str()?;
            let is_name = matches!(key, "iifname" | "oifname" | "iif" | "oif");
            Some((it["right"].as_str().filter(|_| is_name)?, it["op"] == "!="))
        })
    }

    /// Whether it asks for what conntrack finds invalid, which is nobody's traffic.
    fn is_of_invalid(&self) -> bool {
        of(self, "match").any(|it| {
            let right = &it["right"];
            let right = right.get(0).unwrap_or(right);
            it["left"]["ct"]["key"] == "state" && it["op"] != "!=" && right == "invalid"
        })
    }

    fn concerns(&self, bridges: &[&str]) -> bool {
        let mut interfaces = self.interfaces();
        !self.is_of_invalid() && interfaces.all(|(name, not)| not || may_be(name, '*', bridges))
    }

    /// Accepts everything from a bridge, or everything to it: the only interface is that, and nothing
    /// else is asked for.
    fn accepts(&self, bridge: &str) -> bool {
        of(self, "accept").next().is_some()
            && self.interfaces().all(|(name, not)| !not && name == bridge)
            && of(self, "match").count() == self.interfaces().count()
    }
}

/// The forward chains that may drop packets of the bridges; `None` where the text is something else.
pub(super) fn dropping(json: &str, bridges: &[&str]) -> Option<Vec<Dropping>> {
    let ruleset: Ruleset = serde_json::from_str(json).ok()?;
    let (mut chains, mut rules) = (Vec::new(), Vec::new());
    for object in ruleset.nftables {
        chains.extend(object.chain);
        rules.extend(object.rule);
    }
    let forward = chains
        .iter()
        .filter(|it| it.hook.as_deref() == Some("forward"));
    let found = forward.filter_map(|chain| {
        let by_default = chain.policy.as_deref() == Some("drop")
            && !bridges.iter().all(|bridge| {
                let of = rules.iter().filter(|it| it.is_in(chain, &chain.name));
                let of: Vec<_> = of.filter(|it| it.accepts(bridge)).collect();
                // One for each direction, or one for both.
                of.len() >= 2 || of.iter().any(|it| it.interfaces().next().is_none())
            });
        let drops = by_default || drops(&rules, chain, &chain.name, bridges, 0);
        drops.then(|| Dropping {
            chain: format!("{} {} {}", chain.family, chain.table, chain.name),
            by_default,
        })
    });
    Some(found.collect())
}

/// Chains that call each other further than this are not looked into: the kernel's own bound.
const DEPTH: usize = 16;

fn drops(rules: &[Rule], base: &Chain, name: &str, bridges: &[&str], depth: usize) -> bool {
    let mut concerned = rules
        .iter()
        .filter(|it| it.is_in(base, name) && it.concerns(bridges));
    concerned.any(|it| {
        if ["drop", "reject"]
            .iter()
            .any(|kind| of(it, kind).next().is_some())
        {
            return true;
        }
        let mut calls = of(it, "jump").chain(of(it, "goto"));
        depth < DEPTH
            && calls.any(|call| {
                let target = call["target"].as_str();
                target.is_some_and(|target| drops(rules, base, target, bridges, depth + 1))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ruleset of one forward chain with this policy and rules, and one chain more.
    fn found(policy: &str, rules: &[&str], more: &[&str]) -> Option<Vec<bool>> {
        let mut objects = vec![
            r#"{"metainfo": {"version": "1.0.6"}}"#.to_owned(),
            format!(
                r#"{{"chain": {{"family": "inet", "table": "t", "name": "f", "hook": "forward",
                   "policy": "{policy}"}}}}"#
            ),
            r#"{"chain": {"family": "inet", "table": "t", "name": "in", "hook": "input",
               "policy": "drop"}}"#
                .to_owned(),
        ];
        for (chain, rules) in [("f", rules), ("more", more)] {
            objects.extend(rules.iter().map(|expr| {
                format!(
                    r#"{{"rule": {{"family": "inet", "table": "t", "chain": "{chain}",
                       "expr": [{expr}]}}}}"#
                )
            }));
        }
        let json = format!(r#"{{"nftables": [{}]}}"#, objects.join(","));
        let found = dropping(&json, &["netpath0"])?;
        assert!(found.iter().all(|it| it.chain == "inet t f"));
        Some(found.iter().map(|it| it.by_default).collect())
    }

    fn on(key: &str, name: &str, then: &str) -> String {
        format!(
            r#"{{"match": {{"op": "==", "left": {{"meta": {{"key": "{key}"}}}},
               "right": "{name}"}}}}, {{"{then}": null}}"#
        )
    }

    #[test]
    fn policies() {
        assert_eq!(found("accept", &[], &[]), Some(vec![]));
        assert_eq!(found("drop", &[], &[]), Some(vec![true]));
        let (from, to) = (
            on("iifname", "netpath0", "accept"),
            on("oifname", "netpath0", "accept"),
        );
        assert_eq!(found("drop", &[&from, &to], &[]), Some(vec![]));
        assert_eq!(
            found("drop", &[&from], &[]),
            Some(vec![true]),
            "one direction"
        );
        let other = on("oifname", "docker0", "accept");
        assert_eq!(found("drop", &[&from, &other], &[]), Some(vec![true]));
        assert_eq!(found("drop", &[r#"{"accept": null}"#], &[]), Some(vec![]));
        assert_eq!(dropping("no JSON", &[]), None);
    }

    #[test]
    fn rules() {
        let drop = r#"{"drop": null}"#;
        assert_eq!(found("accept", &[drop], &[]), Some(vec![false]));
        assert_eq!(
            found("accept", &[r#"{"reject": null}"#], &[]),
            Some(vec![false])
        );
        let here = on("oifname", "netpath*", "drop");
        assert_eq!(found("accept", &[&here], &[]), Some(vec![false]));
        let elsewhere = on("oifname", "docker0", "drop");
        assert_eq!(found("accept", &[&elsewhere], &[]), Some(vec![]));
        let invalid = r#"{"match": {"op": "in", "left": {"ct": {"key": "state"}},
            "right": "invalid"}}, {"drop": null}"#;
        assert_eq!(found("accept", &[invalid], &[]), Some(vec![]));
        let jump = r#"{"jump": {"target": "more"}}"#;
        assert_eq!(found("accept", &[jump], &[drop]), Some(vec![false]));
        assert_eq!(
            found("accept", &[jump], &[jump]),
            Some(vec![]),
            "a circle ends"
        );
        assert_eq!(
            found("accept", &[], &[drop]),
            Some(vec![]),
            "nothing calls it"
        );
    }
}
