//! Keeps the kernel from choosing published ports for the host's own sockets.
//!
//! Owns what netpath adds to `ip_local_reserved_ports`: published ports within the range that the kernel
//! chooses from, for connect(2) and for bind(2) to port 0. A client with such a port would lose its
//! answers to the container. What others have reserved stays theirs.

use std::collections::BTreeSet;

use super::{Error, work::Work};
use crate::{
    config::{Mode, PortRange},
    net::sysctl,
    state::{Rule, State},
};

impl Work<'_> {
    /// Reserves the published ports of the state, without the rules in the slots `gone` and with
    /// `new` ones.
    pub(super) fn reserve_ports(&mut self, gone: &[u16], new: &[&Rule]) -> Result<(), Error> {
        let Some(text) = sysctl::read_optional(sysctl::LOCAL_RESERVED_PORTS)? else {
            return Ok(());
        };
        let range = sysctl::read(sysctl::LOCAL_PORT_RANGE)?.replace('\t', "-");
        let found = parse(&text);
        let ours = parse(&self.state.reserved_ports);
        let others: BTreeSet<u16> = found.difference(&ours).copied().collect();
        let wanted = match range.parse::<PortRange>() {
            Ok(range) => {
                let wanted = published(&self.state, gone, new, range);
                if leaves_some(&others, &wanted, range) {
                    wanted
                } else {
                    tracing::warn!(
                        "the published ports are all that the kernel chooses from ({range}): none is kept \
                         from the host's own sockets, and those that get one lose their answers to the \
                         container; publish fewer or widen net.ipv4.ip_local_port_range"
                    );
                    BTreeSet::new()
                }
            }
            Err(_) => BTreeSet::new(),
        };
        // What others have reserved as well is not given back.
        let added: BTreeSet<u16> = wanted.difference(&others).copied().collect();
        let together: BTreeSet<u16> = others.union(&added).copied().collect();
        if together == found && added == ours {
            return Ok(());
        }
        // Remembered before it is done: what a killed command has added is known to be netpath's.
        self.state.reserved_ports = print(&ours.union(&added).copied().collect())
            .trim()
            .to_owned();
        self.save()?;
        sysctl::write(sysctl::LOCAL_RESERVED_PORTS, &print(&together))?;
        self.state.reserved_ports = print(&added).trim().to_owned();
        Ok(())
    }
}

/// Published ports of the host within `range`, of either protocol: the setting knows none.
fn published(state: &State, gone: &[u16], new: &[&Rule], range: PortRange) -> BTreeSet<u16> {
    state
        .endpoints()
        // A routed network takes no port of the host.
        .filter(|(n, _)| n.mode == Mode::Nat)
        .flat_map(|(_, e)| &e.rules)
        .filter(|r| !gone.contains(&r.slot))
        .chain(new.iter().copied())
        .filter_map(Rule::host_range)
        .flat_map(|r| r.first().max(range.first())..=r.last().min(range.last()))
        .collect()
}

/// Whether the kernel has a port to choose without these: a host without any could not even ask for a
/// name.
fn leaves_some(others: &BTreeSet<u16>, wanted: &BTreeSet<u16>, range: PortRange) -> bool {
    (range.first()..=range.last()).any(|port| !wanted.contains(&port) && !others.contains(&port))
}

/// The kernel's form: `8080,9148-9150`; what cannot be read is left out.
fn parse(text: &str) -> BTreeSet<u16> {
    text.split(',')
        .filter_map(|part| part.trim().parse::<PortRange>().ok())
        .flat_map(|r| r.first()..=r.last())
        .collect()
}

fn print(ports: &BTreeSet<u16>) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*port) => *last = *port,
            Some(_) | None => ranges.push((*port, *port)),
        }
    }
    let range = |(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let text = ranges.iter().map(range).collect::<Vec<_>>().join(",");
    // An empty write changes nothing.
    if text.is_empty() {
        "\n".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_routed_networks_and_of_rules_that_go_are_not_the_host_s() {
        let rule = |slot: u16, host: u16| {
            let value = serde_json::json!({
                "slot": slot, "spec": format!("{host}:80"), "origin": "command",
                "addr": "0.0.0.0", "host": host,
            });
            serde_json::from_value::<Rule>(value).unwrap()
        };
        let mut n = crate::state::testing::network(None, &["fd00::2"]);
        n.endpoints[0].rules = vec![rule(1, 101), rule(2, 102), rule(3, 99)];
        let mut state = State {
            networks: vec![n],
            ..State::default()
        };
        let range: PortRange = "100-110".parse().unwrap();
        let new = rule(4, 110);
        let ports = |state: &State| print(&published(state, &[2], &[&new], range));
        assert_eq!(ports(&state), "101,110");
        state.networks[0].mode = Mode::Routed;
        assert_eq!(ports(&state), "110");
    }

    #[test]
    fn the_host_keeps_a_port_for_itself() {
        let range: PortRange = "100-103".parse().unwrap();
        let left = |others, wanted| leaves_some(&parse(others), &parse(wanted), range);
        assert!(left("", "100-102") && left("101", "100,102"));
        assert!(!left("", "100-103") && !left("103", "100-102") && !left("", "1-65535"));
    }

    #[test]
    fn the_kernels_form_survives_a_round_trip() {
        for text in ["8080", "8080,9148-9150", "1,3,5-65535"] {
            assert_eq!(print(&parse(text)), text);
        }
        assert_eq!(print(&parse("2,1,3-4,4")), "1-4");
        assert_eq!(print(&parse("")), "\n");
        assert!(parse("a,-1,70000").is_empty());
    }
}
