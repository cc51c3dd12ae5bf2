//! Who else works on the host's network: its firewall, and what manages interfaces.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde::Deserialize;

use super::{Finding, Patient};
use crate::lab::netfilter;

pub(super) fn findings(patient: &Patient) -> Vec<Finding> {
    let mut findings = vec![firewall()];
    if is_first_namespace() {
        let own: Vec<(&str, u32)> = patient
            .own_links()
            .into_iter()
            .filter_map(|name| Some((name, patient.index_of(name)?)))
            .collect();
        findings.extend(managers(Path::new("/run"), &own));
    }
    findings
}

/// Whether this is the namespace of the machine's services, whose files speak of its interfaces.
fn is_first_namespace() -> bool {
    let of = |path| fs::read_link(path).ok();
    let own = of("/proc/thread-self/ns/net");
    own.is_some() && own == of("/proc/1/ns/net")
}

/// What the firewall does with what netpath leaves to the kernel.
fn firewall() -> Finding {
    const CHECK: &str = "firewall";
    let Ok(there) = netfilter::look() else {
        return Finding::warning(CHECK, "the kernel does not tell", "run it as root");
    };
    if there.nft_tables == 0 && there.iptables_tables.is_empty() {
        return Finding::ok(CHECK, "no rules");
    }
    let mut dropping = Vec::new();
    if there.nft_tables > 0 {
        let text = output("nft", &["-j", "list", "chains"]);
        match text.and_then(|text| nft_chains(&text)) {
            Some(chains) => dropping.extend(chains),
            None => {
                return Finding::warning(
                    CHECK,
                    format!("{} nftables tables, not looked at", there.nft_tables),
                    "install nft (apt-get install nftables) and run it again",
                );
            }
        }
    }
    if there.iptables_tables.iter().any(|name| name == "filter") {
        let text = output("iptables-legacy-save", &["-t", "filter"]);
        if text.is_none_or(|text| text.lines().any(|line| line.starts_with(":FORWARD DROP"))) {
            dropping.push("iptables-legacy FORWARD".to_owned());
        }
    }
    judge(&dropping)
}

fn judge(dropping: &[String]) -> Finding {
    const CHECK: &str = "firewall";
    if dropping.is_empty() {
        return Finding::ok(CHECK, "no forward chain drops by default");
    }
    Finding::warning(
        CHECK,
        format!(
            "{} drops by default: not what netpath forwards, but what it leaves to the kernel, such \
             as packets to be fragmented",
            dropping.join(", ")
        ),
        "accept there what comes from and goes to netpath's bridges",
    )
}

#[derive(Deserialize)]
struct Ruleset {
    nftables: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    chain: Option<Chain>,
}

#[derive(Deserialize)]
struct Chain {
    family: String,
    table: String,
    name: String,
    hook: Option<String>,
    policy: Option<String>,
}

/// The forward chains that drop what no rule accepts, of `nft -j list chains`; `None` where that is
/// something else.
fn nft_chains(json: &str) -> Option<Vec<String>> {
    let ruleset: Ruleset = serde_json::from_str(json).ok()?;
    let chains = ruleset.nftables.into_iter().filter_map(|it| it.chain);
    let chains = chains
        .filter(|it| it.hook.as_deref() == Some("forward") && it.policy.as_deref() == Some("drop"))
        .map(|it| format!("{} {} {}", it.family, it.table, it.name))
        .collect();
    Some(chains)
}

/// What a tool prints; `None` where there is none, or it fails.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let run = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    run.status
        .success()
        .then(|| String::from_utf8_lossy(&run.stdout).into_owned())
}

/// Services that may change interfaces, by what they note about each below `run`.
fn managers(run: &Path, own: &[(&str, u32)]) -> Vec<Finding> {
    let touched = |directory: &str, is_touched: fn(&str) -> bool| -> Vec<&str> {
        let note = |index: u32| fs::read_to_string(run.join(directory).join(index.to_string()));
        own.iter()
            .filter(|(_, index)| note(*index).is_ok_and(|text| is_touched(&text)))
            .map(|(name, _)| *name)
            .collect()
    };
    let findings = [
        (
            "NetworkManager",
            "NetworkManager",
            touched("NetworkManager/devices", |text| {
                text.lines().any(|line| line == "managed=true")
            }),
            "tell it to leave them: [keyfile] unmanaged-devices=interface-name:NAME in \
             /etc/NetworkManager/conf.d/netpath.conf",
        ),
        (
            "systemd-networkd",
            "systemd/netif",
            touched("systemd/netif/links", |text| {
                let state = text
                    .lines()
                    .find_map(|line| line.strip_prefix("ADMIN_STATE="));
                state.is_some_and(|state| state != "unmanaged")
            }),
            "tell it to leave them: [Match] Name=NAME and [Link] Unmanaged=yes in \
             /etc/systemd/network/10-netpath.network",
        ),
    ];
    findings
        .into_iter()
        .filter(|(_, directory, ..)| run.join(directory).exists())
        .map(|(check, _, names, remedy)| {
            if names.is_empty() {
                return Finding::ok(check, "leaves netpath's interfaces alone");
            }
            Finding::failed(check, format!("manages {}", names.join(", ")), remedy)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn forward_chains_that_drop_are_named() {
        let json = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 1,
             "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
            {"chain": {"family": "inet", "table": "t", "name": "input", "handle": 2,
             "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
            {"chain": {"family": "inet", "table": "t", "name": "forward", "handle": 3,
             "type": "filter", "hook": "forward", "prio": 0, "policy": "accept"}},
            {"chain": {"family": "inet", "table": "t", "name": "of_its_own", "handle": 4}}]}"#;
        let chains = nft_chains(json).unwrap();
        assert_eq!(chains, ["ip filter FORWARD"]);
        let found = judge(&chains);
        assert_eq!(found.level, Level::Warning);
        assert!(
            found.found.starts_with("ip filter FORWARD drops"),
            "{}",
            found.found
        );
        assert_eq!(judge(&[]).level, Level::Ok);
        assert_eq!(nft_chains("no JSON"), None, "nothing is known");
    }

    #[test]
    fn who_manages_netpaths_interfaces_is_named() {
        let run = tempfile::tempdir().unwrap();
        let own = [("netpath0", 7), ("npv1", 9)];
        assert_eq!(managers(run.path(), &own), [], "neither runs");
        let note = |path: &str, text: &str| {
            let path = run.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        note("NetworkManager/devices/7", "[device]\nmanaged=false\n");
        note("systemd/netif/links/7", "ADMIN_STATE=unmanaged\n");
        let levels = |found: Vec<Finding>| found.iter().map(|it| it.level).collect::<Vec<_>>();
        assert_eq!(levels(managers(run.path(), &own)), [Level::Ok; 2]);
        note("NetworkManager/devices/9", "[device]\nmanaged=true\n");
        note("systemd/netif/links/7", "ADMIN_STATE=configured\n");
        let found = managers(run.path(), &own);
        assert_eq!(levels(found.clone()), [Level::Failed; 2]);
        assert_eq!(found[0].found, "manages npv1");
        assert_eq!(found[1].found, "manages netpath0");
    }
}
