//! Options of a network that say how its packets go: by the host's firewall, without the host, to
//! destinations that see the containers' addresses.
//!
//! Owns their form and the rules between them. Pure.

use ipnet::IpNet;

use super::{Error, raw};

/// Whether the host's own firewall sees what containers exchange with the outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firewall {
    /// It does not: netpath forwards by itself.
    #[default]
    Bypass,
    /// It does, in its FORWARD chain, with the containers' addresses.
    Visible,
}

pub(super) struct Options {
    pub(super) firewall: Firewall,
    pub(super) isolated: bool,
    pub(super) no_masquerade: Vec<IpNet>,
}

pub(super) fn options(raw: &raw::Network) -> Result<Options, Error> {
    let invalid = |key: &'static str, value: &str, reason: &str| Error::Invalid {
        object: format!("network `{}`", raw.name),
        key,
        value: format!("{value:?}"),
        reason: reason.into(),
    };
    let firewall = match raw.firewall.as_deref() {
        None | Some("bypass") => Firewall::Bypass,
        Some("visible") => Firewall::Visible,
        Some(other) => {
            return Err(invalid("firewall", other, "the values are bypass, visible"));
        }
    };
    if firewall == Firewall::Visible && raw.xdp_translate == Some(true) {
        let reason =
            "what a driver translates no firewall sees: leave xdp_translate out, or firewall";
        return Err(invalid("firewall", "visible", reason));
    }
    let isolated = raw.isolated.unwrap_or(false);
    if isolated && raw.internal != Some(true) {
        let reason =
            "without the host nothing leaves the network either: set internal = true as well";
        return Err(invalid("isolated", "true", reason));
    }
    let routed = raw.mode.as_deref() == Some("routed");
    let mut no_masquerade = Vec::new();
    for text in raw.no_masquerade.iter().flatten() {
        let wrong = |reason: &str| invalid("no_masquerade", text, reason);
        if routed || raw.masquerade == Some(false) {
            return Err(wrong(
                "nothing is masqueraded in this network: leave it out",
            ));
        }
        let net: IpNet = text
            .parse()
            .map_err(|_| wrong("it must be a prefix such as 10.0.0.0/8 or 2001:db8::/32"))?;
        if net.trunc() != net {
            let reason = format!("it has bits below its prefix; write {}", net.trunc());
            return Err(wrong(&reason));
        }
        if net.prefix_len() == 0 {
            return Err(wrong("that is every destination: set mode = \"routed\""));
        }
        no_masquerade.push(net);
    }
    no_masquerade.sort_unstable();
    no_masquerade.dedup();
    Ok(Options {
        firewall,
        isolated,
        no_masquerade,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(lines: &str) -> Result<Config, Error> {
        Config::parse(&format!("[[network]]\nname = \"n\"\n{lines}"), "t")
    }

    #[track_caller]
    fn refused(lines: &str, why: &str) {
        let e = parse(lines).unwrap_err().to_string();
        assert!(e.contains("network `n`") && e.contains(why), "{e}");
    }

    #[test]
    fn the_firewall_is_bypassed_unless_it_shall_see() {
        assert_eq!(parse("").unwrap().networks[0].firewall, Firewall::Bypass);
        let n = &parse("firewall = \"visible\"").unwrap().networks[0];
        assert_eq!(n.firewall, Firewall::Visible);
        refused("firewall = \"on\"", "bypass, visible");
        let both = "firewall = \"visible\"\nuplink_hook = \"xdp\"\nxdp_translate = true";
        refused(both, "leave xdp_translate out");
        assert!(parse("firewall = \"visible\"\nuplink_hook = \"xdp\"").is_ok());
    }

    #[test]
    fn an_isolated_network_is_internal_too() {
        let n = &parse("internal = true\nisolated = true").unwrap().networks[0];
        assert!(n.isolated && n.internal);
        assert!(!parse("isolated = false").unwrap().networks[0].isolated);
        refused("isolated = true", "internal = true as well");
        refused("isolated = true\ninternal = false", "internal = true");
    }

    #[test]
    fn prefixes_that_are_not_masqueraded() {
        let text = "no_masquerade = [\"2001:db8::/32\", \"10.0.0.0/8\", \"10.0.0.0/8\"]";
        let nets = &parse(text).unwrap().networks[0].no_masquerade;
        let shown: Vec<_> = nets.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "2001:db8::/32"]);
        refused("no_masquerade = [\"10.0.0.1/8\"]", "write 10.0.0.0/8");
        refused("no_masquerade = [\"ten\"]", "10.0.0.0/8 or");
        refused("no_masquerade = [\"10.0.0.1\"]", "10.0.0.0/8 or");
        refused("no_masquerade = [\"0.0.0.0/0\"]", "routed");
        for other in ["mode = \"routed\"", "masquerade = false"] {
            let both = format!("{other}\nno_masquerade = [\"10.0.0.0/8\"]");
            refused(&both, "nothing is masqueraded");
        }
    }
}
