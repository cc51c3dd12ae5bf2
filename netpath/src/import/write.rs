//! The configuration as text.
//!
//! Owns its layout and the comments that say what is to be filled in.

use super::{Left, assemble::Drawn, leaving::Choice, network::Net};
use crate::config::NetnsRef;

const HEAD: &str = "\
# Written by `netpath import iptables`.
#
# The rules do not tell which network namespaces the containers are: put the name under /run/netns, or
# a path such as /proc/PID/ns/net, in place of each netns that begins with FILL-IN.
";

/// A string of TOML.
fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A `[[network]]` without endpoints.
pub(super) fn network(n: &Net, name: &str, bridge: &str) -> String {
    let mut lines = vec![
        "[[network]]".to_owned(),
        format!("name = {}", string(name)),
        format!("bridge = {}", string(bridge)),
    ];
    for (key, v6) in [("subnet", false), ("ipv6", true)] {
        if let Some(subnet) = n.subnet(v6) {
            let guessed = if n.guessed.contains(&subnet) {
                "  # no rule names it: by the containers' addresses"
            } else {
                ""
            };
            lines.push(format!("{key} = \"{subnet}\"{guessed}"));
        }
    }
    if n.internal {
        lines.push("internal = true".into());
    } else if !n.masquerades() {
        lines.push("masquerade = false  # no rule masquerades it".into());
    }
    for (key, snat) in ["snat", "snat6"].iter().zip(&n.snat) {
        lines.extend(snat.map(|addr| format!("{key} = \"{addr}\"")));
    }
    if !n.icc {
        lines.push("icc = false".into());
    }
    if !n.uplinks.is_empty() {
        let names: Vec<_> = n.uplinks.iter().map(|u| string(u)).collect();
        lines.push(format!("uplinks = [{}]", names.join(", ")));
    }
    lines.join("\n") + "\n"
}

/// All of it. `choice`: how masquerade chooses ports.
pub(super) fn config(drawn: &[Drawn], choice: Choice, left: &[Left]) -> String {
    let mut text = HEAD.to_owned();
    let (random, ports) = choice;
    if random || ports.is_some() {
        text += "\n[nat]\n";
        if let Some(ports) = ports {
            text += &format!("ports = \"{ports}\"\n");
        }
        if random {
            text += "preserve_ports = false\n";
        }
    }
    for d in drawn {
        text.push('\n');
        text += &network(&d.net, &d.name, &d.bridge);
        if d.net.bridge.is_none() {
            let named = format!("bridge = {}\n", string(&d.bridge));
            let unknown = format!("bridge = {}  # no rule names it\n", string(&d.bridge));
            if let Some(at) = text.rfind(&named) {
                text.replace_range(at..at + named.len(), &unknown);
            }
        }
        for (key, gateway) in [("gateway", d.gateway), ("gateway6", d.gateway6)] {
            if let Some(addr) = gateway {
                text += &format!("{key} = \"{addr}\"  # a container has the first address\n");
            }
        }
        for c in &d.endpoints {
            let netns: NetnsRef = NetnsRef::fill_in(&c.name);
            text += "\n[[network.endpoint]]\n";
            text += &format!("name = {}\nnetns = \"{netns}\"\n", string(&c.name));
            for (key, addr) in ["ip", "ip6"].iter().zip([
                c.v4.map(std::net::IpAddr::V4),
                c.v6.map(std::net::IpAddr::V6),
            ]) {
                if let Some(addr) = addr {
                    text += &format!("{key} = \"{addr}\"\n");
                }
            }
            let specs: Vec<_> = c.publish.iter().map(|s| format!("\"{s}\"")).collect();
            text += &match &specs[..] {
                [one] => format!("publish = [{one}]\n"),
                all => format!("publish = [\n    {},\n]\n", all.join(",\n    ")),
            };
        }
    }
    if !left.is_empty() {
        text += "\n# Not expressed:\n";
        for l in left {
            text += &format!(
                "#\n# line {}: {}\n#   {}\n",
                l.line,
                plain(&l.rule),
                plain(&l.why())
            );
        }
    }
    text
}

/// Text that may stand in a comment.
pub(super) fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}
