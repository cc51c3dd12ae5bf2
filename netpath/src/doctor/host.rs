//! Settings of the host's network that matter to packets.

use super::{Finding, Patient};
use crate::{instance::not_forwarding, net::sysctl};

pub(super) fn findings(patient: &Patient) -> Vec<Finding> {
    let read = |key: &str| sysctl::read_optional(key).ok().flatten();
    let is_up = patient
        .state
        .as_ref()
        .is_some_and(|state| !state.networks.is_empty());
    let uses6 = patient
        .state
        .iter()
        .flat_map(|state| &state.networks)
        .any(|network| network.ipv6.is_some());
    // What cannot be read is not there, which the setting of all interfaces tells.
    let off = |is_v6| {
        let state = patient.state.as_ref();
        state
            .and_then(|s| not_forwarding(s, is_v6).ok())
            .unwrap_or_default()
    };
    let mut findings = vec![forwarding(
        read(sysctl::IP_FORWARD).as_deref(),
        is_up.then(|| off(false)).as_deref(),
        "IPv4 forwarding",
    )];
    if uses6 {
        findings.push(forwarding(
            read(sysctl::FORWARDING6).as_deref(),
            Some(&off(true)),
            "IPv6 forwarding",
        ));
    }
    findings.push(uplinks(patient));
    let filter = |name: &str| read(&format!("net/ipv4/conf/{name}/rp_filter"));
    let strict: Vec<&str> = patient
        .uplinks
        .iter()
        .map(String::as_str)
        .filter(|name| is_strict(filter("all").as_deref(), filter(name).as_deref()))
        .collect();
    findings.push(reverse_path(&strict, patient.uplinks.len()));
    findings.push(bridge_calls(
        read("net/bridge/bridge-nf-call-iptables").as_deref(),
        read("net/bridge/bridge-nf-call-ip6tables").as_deref(),
    ));
    findings
}

/// Forwarding by the kernel: netpath asks its routes, which answer only for an interface that forwards.
/// `all`: the setting of the whole host; `off`: those that are off and have to be on, `None` where nothing
/// is up.
fn forwarding(all: Option<&str>, off: Option<&[String]>, check: &'static str) -> Finding {
    match (all, off) {
        (None, _) => Finding::failed(check, "not in this kernel", "boot a kernel that has it"),
        (Some("0"), None) => Finding::ok(
            check,
            "off; `netpath up` turns it on for its bridges and uplinks",
        ),
        (Some("0"), Some([])) => {
            Finding::ok(check, "on for containers alone; the host is no router")
        }
        (Some(_), None | Some([])) => Finding::ok(check, "on"),
        (Some(_), Some(keys)) => Finding::failed(
            check,
            format!(
                "{}: 0, so that containers do not reach the outside",
                keys.join(", ")
            ),
            "run `netpath up`, or the agent, and find out what turns it off",
        ),
    }
}

fn uplinks(patient: &Patient) -> Finding {
    const CHECK: &str = "uplink";
    if patient.uplinks.is_empty() {
        return Finding::warning(
            CHECK,
            "none: no default route leads out of an interface with an Ethernet header",
            "add a default route, or name interfaces with `uplinks` in the configuration",
        );
    }
    let missing: Vec<&str> = patient
        .uplinks
        .iter()
        .map(String::as_str)
        .filter(|name| patient.index_of(name).is_none())
        .collect();
    let others = patient.other_ways_in();
    let is_up = patient.state.iter().any(|s| !s.networks.is_empty());
    if missing.is_empty() && is_up && !others.is_empty() {
        let (uplinks, others) = (patient.uplinks.join(", "), others.join(", "));
        return Finding::warning(
            CHECK,
            format!(
                "{uplinks}, and not {others}: who is behind that reaches no published port, and \
                 containers do not reach him"
            ),
            format!(
                "if that is not as wanted: name {others} too in `uplinks` of the networks, or leave \
                 `uplinks` out, and run `netpath up`, or the agent, which follows the interfaces"
            ),
        );
    }
    if missing.is_empty() {
        return Finding::ok(CHECK, patient.uplinks.join(", "));
    }
    Finding::failed(
        CHECK,
        format!("{} is gone", missing.join(", ")),
        "bring it back, or run `netpath agent`, which follows the routes",
    )
}

/// Of the two settings the larger one counts; 1 is strict, 2 is loose (`ip-sysctl.rst`).
fn is_strict(all: Option<&str>, own: Option<&str>) -> bool {
    let value = |text: Option<&str>| text.and_then(|it| it.parse::<u8>().ok()).unwrap_or(0);
    value(all).max(value(own)) == 1
}

fn reverse_path(strict: &[&str], uplinks: usize) -> Finding {
    const CHECK: &str = "rp_filter";
    if strict.is_empty() {
        return Finding::ok(CHECK, "off or loose on the uplinks");
    }
    let names = strict.join(", ");
    if uplinks < 2 {
        return Finding::ok(CHECK, format!("strict on {names}, the only uplink"));
    }
    let commands: Vec<_> = strict
        .iter()
        .map(|name| format!("sysctl -w net/ipv4/conf/{name}/rp_filter=2"))
        .collect();
    Finding::warning(
        CHECK,
        format!(
            "strict on {names}: what the host itself gets by one uplink while its route leads out of \
             another is dropped"
        ),
        commands.join("; "),
    )
}

/// With these the bridge hands what it switches to the host's firewall.
fn bridge_calls(v4: Option<&str>, v6: Option<&str>) -> Finding {
    const CHECK: &str = "br_netfilter";
    let on: Vec<&str> = [(v4, "iptables"), (v6, "ip6tables")]
        .iter()
        .filter(|(setting, _)| *setting == Some("1"))
        .map(|(_, name)| *name)
        .collect();
    if on.is_empty() {
        return Finding::ok(CHECK, "no bridge calls the firewall");
    }
    let commands: Vec<_> = on
        .iter()
        .map(|name| format!("sysctl -w net.bridge.bridge-nf-call-{name}=0"))
        .collect();
    Finding::warning(
        CHECK,
        format!(
            "bridges call {}: its forward chains judge what containers of one network say to each \
             other where the bridge switches it",
            on.join(" and ")
        ),
        format!("{}, where no other bridge needs it", commands.join("; ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn forwarding_that_somebody_turned_off_is_a_failure() {
        let of = |all, off: Option<&[String]>| forwarding(all, off, "f");
        let key = ["k".to_owned()];
        for (all, off, level, says) in [
            (Some("0"), None, Level::Ok, "off; `netpath up`"),
            (Some("0"), Some(&[][..]), Level::Ok, "the host is no router"),
            (Some("1"), Some(&[][..]), Level::Ok, "on"),
            (Some("1"), None, Level::Ok, "on"),
            (Some("0"), Some(&key[..]), Level::Failed, "k: 0"),
            (Some("1"), Some(&key[..]), Level::Failed, "k: 0"),
            (None, None, Level::Failed, "not in this kernel"),
        ] {
            let found = of(all, off);
            assert_eq!(found.level, level, "{all:?} {off:?}");
            assert!(found.found.contains(says), "{}", found.found);
        }
    }

    #[test]
    fn the_larger_of_both_filters_counts() {
        for (all, own, strict) in [
            (Some("0"), Some("1"), true),
            (Some("1"), Some("0"), true),
            (Some("2"), Some("1"), false),
            (Some("1"), Some("2"), false),
            (Some("0"), None, false),
        ] {
            assert_eq!(is_strict(all, own), strict, "{all:?} {own:?}");
        }
    }

    #[test]
    fn a_strict_filter_matters_with_several_uplinks() {
        assert_eq!(reverse_path(&["a"], 1).level, Level::Ok);
        let found = reverse_path(&["a", "b.7"], 2);
        assert_eq!(found.level, Level::Warning);
        assert_eq!(
            found.remedy.unwrap(),
            "sysctl -w net/ipv4/conf/a/rp_filter=2; sysctl -w net/ipv4/conf/b.7/rp_filter=2"
        );
    }

    #[test]
    fn bridges_that_call_the_firewall() {
        assert_eq!(bridge_calls(None, None).level, Level::Ok);
        assert_eq!(bridge_calls(Some("0"), Some("0")).level, Level::Ok);
        let found = bridge_calls(Some("1"), Some("0"));
        assert_eq!(found.level, Level::Warning);
        assert!(
            found.found.starts_with("bridges call iptables:"),
            "{}",
            found.found
        );
        assert!(found.remedy.unwrap().contains("bridge-nf-call-iptables=0,"));
    }
}
