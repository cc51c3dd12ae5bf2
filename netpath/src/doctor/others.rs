//! Who else works on the host's network: its firewall, and what manages interfaces.

use std::{fs, path::Path};

use super::{Finding, Patient};
use crate::{
    config::{DEFAULT_BRIDGE, Firewall},
    firewall::{self, Unknown},
};

pub(super) fn findings(patient: &Patient) -> Vec<Finding> {
    let mut findings = vec![firewall(patient)];
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
fn firewall(patient: &Patient) -> Finding {
    const CHECK: &str = "firewall";
    let networks = patient.state.iter().flat_map(|state| &state.networks);
    let (seen, mut bridges): (Vec<_>, Vec<_>) = (
        networks
            .clone()
            .filter(|n| n.firewall == Firewall::Visible)
            .map(|n| n.name.as_str())
            .collect(),
        networks
            .filter(|n| n.firewall == Firewall::Bypass)
            .map(|n| n.bridge.as_str())
            .collect(),
    );
    if seen.is_empty() && bridges.is_empty() {
        bridges.push(DEFAULT_BRIDGE);
    }
    match firewall::dropping(&bridges) {
        Err(Unknown::Kernel) => {
            Finding::warning(CHECK, "the kernel does not tell", "run it as root")
        }
        Err(Unknown::Program(name)) => Finding::warning(
            CHECK,
            format!("there are rules, not looked at: no {name}"),
            format!("install {name} and run it again"),
        ),
        Ok(None) => Finding::ok(CHECK, "no rules"),
        Ok(Some(found)) => match firewall::judge(&found, &bridges) {
            Some((what, remedy)) if !bridges.is_empty() => Finding::warning(CHECK, what, remedy),
            _ if seen.is_empty() => {
                Finding::ok(CHECK, "no forward chain drops what concerns netpath")
            }
            _ => Finding::ok(
                CHECK,
                format!("judges network {}, as asked", seen.join(", ")),
            ),
        },
    }
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
