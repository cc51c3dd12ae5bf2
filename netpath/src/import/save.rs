//! The form of `iptables-save`, `ip6tables-save` and `iptables -S`: tables, chains, rules.
//!
//! Owns which table and which family a line belongs to. What a rule means is others' matter.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    rule::{Rule, parse},
    target::Target,
    words::words,
};

/// A line that is no rule and should be one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Odd {
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) why: String,
}

/// What the text holds.
#[derive(Debug, Default)]
pub(super) struct Saved {
    /// Rules of the nat tables.
    pub(super) nat: Vec<Rule>,
    /// Rules of the filter tables, as far as they can be taken apart.
    pub(super) filter: Vec<Rule>,
    /// Lines that cannot be taken apart, outside other tables.
    pub(super) odd: Vec<Odd>,
    /// Rules of other tables, filter's among them.
    pub(super) others: BTreeMap<String, usize>,
    /// Chains that are declared, by family.
    pub(super) chains: BTreeSet<(bool, String)>,
}

/// A run of lines of one table.
#[derive(Default)]
struct Section {
    table: String,
    /// `ip6tables`, where the text says which it is.
    v6: Option<bool>,
    rules: Vec<Rule>,
    chains: Vec<String>,
}

/// The table of lines that name none: those of `iptables -t nat -S`.
const NAT: &str = "nat";
const FILTER: &str = "filter";

/// Reads the text of one or several tools.
pub(super) fn read(text: &str) -> Saved {
    let mut saved = Saved::default();
    let fresh = |v6, table: &str| Section {
        table: table.to_owned(),
        v6,
        ..Section::default()
    };
    let mut section = fresh(None, NAT);
    for (line, raw) in (1..).zip(text.lines()) {
        let raw = raw.trim();
        let text = without_counters(raw);
        if let Some(comment) = raw.strip_prefix('#') {
            if let Some(v6) = family_of(comment) {
                saved.close(std::mem::replace(&mut section, fresh(Some(v6), NAT)));
            }
        } else if let Some(table) = raw.strip_prefix('*') {
            let next = fresh(section.v6, table.trim());
            saved.close(std::mem::replace(&mut section, next));
        } else if raw == "COMMIT" {
            let next = fresh(section.v6, NAT);
            saved.close(std::mem::replace(&mut section, next));
        } else if let Some(chain) = raw.strip_prefix(':') {
            section
                .chains
                .extend(chain.split(' ').next().map(str::to_owned));
        } else if !raw.is_empty() {
            saved.line(&mut section, line, text);
        }
    }
    saved.close(section);
    saved
}

impl Saved {
    fn line(&mut self, section: &mut Section, line: usize, text: &str) {
        let odd = |why: &str| Odd {
            line,
            text: text.to_owned(),
            why: why.to_owned(),
        };
        let counted = section.table != NAT && section.table != FILTER;
        let found = match words(text) {
            _ if counted => {
                if text.starts_with("-A") {
                    *self.others.entry(section.table.clone()).or_default() += 1;
                }
                return;
            }
            Ok(found) => found,
            Err(e) => return self.odd_line(section, odd(&e.to_string())),
        };
        let mut found = found.iter().map(String::as_str);
        match (found.next(), found.next()) {
            (Some("-A" | "--append"), Some(chain)) => {
                let chain = chain.to_owned();
                let rest: Vec<String> = found.map(str::to_owned).collect();
                let (matches, target) = parse(&rest);
                section.rules.push(Rule {
                    line,
                    text: text.to_owned(),
                    v6: false,
                    chain,
                    matches,
                    target,
                });
            }
            (Some("-N" | "-P"), Some(chain)) => {
                // Only `iptables -S` of another table has it.
                if chain == "FORWARD" && section.rules.is_empty() {
                    section.table = FILTER.to_owned();
                }
                section.chains.push(chain.to_owned());
            }
            _ => self.odd_line(section, odd("no line of iptables-save")),
        }
    }

    fn odd_line(&mut self, section: &Section, odd: Odd) {
        if section.table == NAT {
            self.odd.push(odd);
        } else {
            *self.others.entry(section.table.clone()).or_default() += 1;
        }
    }

    fn close(&mut self, section: Section) {
        let Section {
            table,
            v6,
            mut rules,
            chains,
        } = section;
        let v6 = v6.unwrap_or_else(|| rules.iter().any(names_ipv6));
        rules.iter_mut().for_each(|r| r.v6 = v6);
        if table == FILTER {
            *self.others.entry(table).or_default() += rules.len();
            self.filter.extend(rules);
            return;
        }
        self.chains.extend(chains.into_iter().map(|c| (v6, c)));
        self.nat.extend(rules);
    }
}

/// Takes `[12:3456] ` of `iptables-save -c` off the front.
fn without_counters(line: &str) -> &str {
    let rest = line.strip_prefix('[').and_then(|l| l.split_once(']'));
    rest.map_or(line, |(_, rest)| rest.trim_start())
}

/// Which tool a comment says has written what follows.
fn family_of(comment: &str) -> Option<bool> {
    let comment = comment.trim();
    let tool = comment.strip_prefix("Generated by ").unwrap_or(comment);
    if tool.starts_with("ip6tables") {
        Some(true)
    } else {
        tool.starts_with("iptables").then_some(false)
    }
}

/// Whether a rule has an address of IPv6.
fn names_ipv6(rule: &Rule) -> bool {
    let m = &rule.matches;
    let nets = m.source.iter().chain(&m.destination);
    let nets = nets.chain(&m.not_source).chain(&m.not_destination);
    let to = match &rule.target {
        Target::Dnat(to) => Some(to.addr),
        Target::Source(to) => to.addr,
        _ => None,
    };
    nets.into_iter().any(|net| net.addr().is_ipv6()) || to.is_some_and(|to| to.is_ipv6())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_families_of_several_tools() {
        let saved = read(
            "# Generated by iptables-save v1.8.9 (nf_tables) on Thu\n*filter\n:FORWARD DROP [0:0]\n\
             -A FORWARD -j DOCKER-USER\nCOMMIT\n*nat\n:PREROUTING ACCEPT [1:60]\n:DOCKER - [0:0]\n\
             [1:60] -A PREROUTING -j DOCKER\nCOMMIT\n# Completed on Thu\n*mangle\n-A X -j MARK\nCOMMIT\n\
             # Warning: iptables-legacy tables present\n\
             # Generated by ip6tables-save v1.8.9\n*nat\n:DOCKER - [0:0]\n-A DOCKER -j RETURN\nCOMMIT\n",
        );
        let nat: Vec<_> = saved
            .nat
            .iter()
            .map(|r| (r.line, r.v6, r.chain.as_str()))
            .collect();
        assert_eq!(nat, [(9, false, "PREROUTING"), (19, true, "DOCKER")]);
        assert_eq!(saved.nat[0].text, "-A PREROUTING -j DOCKER");
        assert_eq!(
            saved.others,
            [("filter".into(), 1), ("mangle".into(), 1)].into()
        );
        assert_eq!(saved.filter.len(), 1);
        let declared: Vec<_> = saved
            .chains
            .iter()
            .map(|(v6, c)| (*v6, c.as_str()))
            .collect();
        assert_eq!(
            declared,
            [(false, "DOCKER"), (false, "PREROUTING"), (true, "DOCKER")]
        );
        assert_eq!(saved.odd, []);
    }

    #[test]
    fn lists_of_a_table_and_headless_ipv6() {
        let nat = read("-P PREROUTING ACCEPT\n-N DOCKER\n-A DOCKER -d 192.0.2.1/32 -j RETURN\n");
        assert_eq!((nat.nat.len(), nat.nat[0].v6), (1, false));
        let six = read("*nat\n-A POSTROUTING -s fd00::/64 -j MASQUERADE\nCOMMIT\n");
        assert!(six.nat[0].v6);
        let filter = read("-P INPUT ACCEPT\n-P FORWARD DROP\n-A FORWARD -j ACCEPT\n");
        assert_eq!((filter.nat.len(), filter.filter.len()), (0, 1));
    }

    #[test]
    fn lines_of_another_kind_are_kept() {
        let saved = read("*nat\n-I DOCKER -j X\n-A X --comment \"open\nhello\n-A\nCOMMIT\n");
        let lines: Vec<_> = saved.odd.iter().map(|o| (o.line, o.why.as_str())).collect();
        assert_eq!(
            lines,
            [
                (2, "no line of iptables-save"),
                (3, "a quotation mark is left open"),
                (4, "no line of iptables-save"),
                (5, "no line of iptables-save"),
            ]
        );
    }
}
