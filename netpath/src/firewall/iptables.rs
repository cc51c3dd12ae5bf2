//! What `iptables-save` prints of the filter table.
//!
//! Owns which of its rules may concern a bridge. Knows no match but interfaces and "invalid".

use super::{Dropping, may_be};

/// A rule as far as it is understood.
struct Rule<'t> {
    chain: &'t str,
    target: &'t str,
    /// Interface names, and whether they are excluded.
    interfaces: Vec<(&'t str, bool)>,
    /// Interfaces are all that it asks for.
    plain: bool,
    /// It asks for what conntrack finds invalid, which is nobody's traffic.
    invalid: bool,
}

fn parse(line: &str) -> Option<Rule<'_>> {
    let mut words = line.split_whitespace().peekable();
    if words.next()? != "-A" {
        return None;
    }
    let mut rule = Rule {
        chain: words.next()?,
        target: "",
        interfaces: Vec::new(),
        plain: true,
        invalid: false,
    };
    let mut not = false;
    while let Some(word) = words.next() {
        match word {
            "!" => {
                not = true;
                continue;
            }
            "-j" | "-g" => {
                rule.target = words.next()?;
                break;
            }
            "-i" | "-o" => rule.interfaces.push((words.next()?, not)),
            "--ctstate" | "--state" => {
                rule.invalid = !not && words.next()? == "INVALID";
                rule.plain = false;
            }
            _ => rule.plain = false,
        }
        not = false;
    }
    Some(rule)
}

impl Rule<'_> {
    fn concerns(&self, bridges: &[&str]) -> bool {
        let fits = |(name, not): &(&str, bool)| *not || may_be(name, '+', bridges);
        !self.invalid && self.interfaces.iter().all(fits)
    }

    /// Accepts everything from a bridge, or everything to it: the only interface is that, and nothing
    /// else is asked for.
    fn accepts(&self, bridge: &str) -> bool {
        self.target == "ACCEPT"
            && self.plain
            && self
                .interfaces
                .iter()
                .all(|(name, not)| !not && *name == bridge)
    }
}

/// The FORWARD chain where it may drop packets of the bridges. `name`: of the program.
pub(super) fn dropping(name: &str, text: &str, bridges: &[&str]) -> Option<Dropping> {
    let rules: Vec<_> = text.lines().filter_map(parse).collect();
    let by_default = text.lines().any(|line| line.starts_with(":FORWARD DROP"))
        && !bridges.iter().all(|bridge| {
            let of = rules
                .iter()
                .filter(|it| it.chain == "FORWARD" && it.accepts(bridge));
            // One for each direction, or one for both.
            let (mut each, mut both) = (0, false);
            of.for_each(|it| {
                each += 1;
                both |= it.interfaces.is_empty();
            });
            both || each >= 2
        });
    let drops = by_default || drops(&rules, "FORWARD", bridges, 0);
    drops.then(|| Dropping {
        chain: format!("{name} FORWARD"),
        by_default,
    })
}

/// Chains that call each other further than this are not looked into.
const DEPTH: usize = 16;

fn drops(rules: &[Rule<'_>], chain: &str, bridges: &[&str], depth: usize) -> bool {
    let mut of = rules
        .iter()
        .filter(|it| it.chain == chain && it.concerns(bridges));
    of.any(|it| match it.target {
        "DROP" | "REJECT" => true,
        "ACCEPT" | "RETURN" | "LOG" | "" => false,
        other => depth < DEPTH && drops(rules, other, bridges, depth + 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &str) -> Option<bool> {
        dropping("x", lines, &["netpath0"]).map(|it| it.by_default)
    }

    #[test]
    fn policies() {
        assert_eq!(found(":FORWARD ACCEPT [0:0]"), None);
        assert_eq!(found(":FORWARD DROP [0:0]"), Some(true));
        let accept = ":FORWARD DROP [0:0]\n-A FORWARD -i netpath0 -j ACCEPT";
        assert_eq!(found(accept), Some(true), "one direction only");
        let both = format!("{accept}\n-A FORWARD -o netpath0 -j ACCEPT");
        assert_eq!(found(&both), None);
        let part = format!("{accept}\n-A FORWARD -o netpath0 -p tcp -j ACCEPT");
        assert_eq!(found(&part), Some(true));
        assert_eq!(found(":INPUT DROP [0:0]"), None);
    }

    #[test]
    fn rules() {
        assert_eq!(found("-A FORWARD -p tcp --dport 80 -j DROP"), Some(false));
        assert_eq!(
            found("-A FORWARD -o netpath0 -j REJECT --reject-with x"),
            Some(false)
        );
        assert_eq!(found("-A FORWARD -i netpath+ -j DROP"), Some(false));
        assert_eq!(found("-A FORWARD ! -i eth0 -j DROP"), Some(false));
        for other in [
            "-A FORWARD -i docker0 -j DROP",
            "-A FORWARD -m conntrack --ctstate INVALID -j DROP",
            "-A INPUT -j DROP",
            "-A FORWARD -j LOG",
            "-A GUARD -j DROP",
        ] {
            assert_eq!(found(other), None, "{other}");
        }
        assert_eq!(found("-A FORWARD -j GUARD\n-A GUARD -j DROP"), Some(false));
        assert_eq!(
            found("-A FORWARD -i docker0 -j GUARD\n-A GUARD -j DROP"),
            None
        );
        assert_eq!(found("-A FORWARD -j A\n-A A -j A"), None, "a circle ends");
    }
}
