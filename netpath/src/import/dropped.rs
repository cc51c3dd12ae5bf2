//! What the host's administrator drops of what is forwarded.
//!
//! Owns which rules of the filter table that are: those of FORWARD, of DOCKER-USER and CNI-ADMIN, which are
//! there for it, and of the chains that they lead to. An engine's own rules are netpath's to replace. None is
//! expressed; each is listed, for packets that netpath forwards do not pass there.

use std::collections::BTreeSet;

use super::{Left, rule::Rule, target::Target};

/// Chains that an engine leaves to the administrator.
const ADMINISTRATORS: [&str; 2] = ["DOCKER-USER", "CNI-ADMIN"];

/// How the names of chains begin that a program fills by itself: an engine, or a firewall that the host goes
/// on having.
const PROGRAMS: [&str; 9] = [
    "DOCKER", "NETAVARK", "CNI-", "LIBVIRT", "KUBE-", "CALI", "cali-", "ufw", "f2b-",
];

/// The rules, but for those in `expressed`, by line.
pub(super) fn dropped(filter: &[Rule], expressed: &BTreeSet<usize>) -> Vec<Left> {
    let mut found = Vec::new();
    for v6 in [false, true] {
        let rules: Vec<_> = filter.iter().filter(|r| r.v6 == v6).collect();
        let mut chains: BTreeSet<&str> = ADMINISTRATORS.into_iter().chain(["FORWARD"]).collect();
        let mut new = true;
        while new {
            let led_to = rules.iter().filter(|r| chains.contains(r.chain.as_str()));
            let led_to = led_to.filter_map(|r| match &r.target {
                Target::Jump(to) if !is_program_s(to) => Some(to.as_str()),
                _ => None,
            });
            let before = chains.len();
            chains = chains.iter().copied().chain(led_to).collect();
            new = chains.len() > before;
        }
        let drops = rules.iter().filter(|r| {
            chains.contains(r.chain.as_str())
                && matches!(r.target, Target::Drop)
                && !expressed.contains(&r.line)
        });
        found.extend(drops.map(|r| Left {
            line: r.line,
            rule: r.text.clone(),
            reason: "what netpath forwards does not pass there: say it by `allow` of the ports, or let the \
                     network's packets pass (`firewall = \"visible\"`)"
                .to_owned(),
            partly: false,
        }));
    }
    found
}

fn is_program_s(chain: &str) -> bool {
    !ADMINISTRATORS.contains(&chain) && PROGRAMS.iter().any(|name| chain.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::save::read;

    fn lines(rules: &str) -> Vec<usize> {
        let saved = read(&format!("*filter\n{rules}COMMIT\n"));
        let found = dropped(&saved.filter, &BTreeSet::new());
        found.iter().map(|l| l.line).collect()
    }

    #[test]
    fn the_administrator_s_own_and_where_they_lead() {
        let found = lines(
            "-A INPUT -p tcp -m tcp --dport 22 -j DROP\n\
             -A FORWARD -j DOCKER-USER\n\
             -A FORWARD -j DOCKER-FORWARD\n\
             -A FORWARD -i eth1 -j REJECT --reject-with icmp-port-unreachable\n\
             -A FORWARD -j strict\n\
             -A strict -s 198.51.100.0/24 -j later\n\
             -A later -j DROP\n\
             -A unused -j DROP\n\
             -A DOCKER-FORWARD -i docker0 -o docker0 -j DROP\n\
             -A DOCKER-USER -i eth0 ! -s 198.51.100.0/24 -j DROP\n\
             -A DOCKER-USER -j RETURN\n\
             -A ufw-before-forward -j DROP\n",
        );
        assert_eq!(found, [5, 8, 11]);
    }

    #[test]
    fn a_loop_of_chains_ends() {
        assert_eq!(
            lines("-A FORWARD -j a\n-A a -j b\n-A b -j a\n-A b -j DROP\n"),
            [5]
        );
    }
}
