//! What a rule does with what it matches.
//!
//! Owns the targets of the nat table and their options.

use std::net::{IpAddr, Ipv6Addr};

use super::rule::mark;
use crate::config::PortRange;

/// The target of a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// None: the rule only counts.
    None,
    /// Another chain, if there is one of that name.
    Jump(String),
    /// No further rule of the table.
    Accept,
    /// No further rule of the chain.
    Return,
    /// The packet is dropped or refused.
    Drop,
    /// The address of the interface that it leaves by, or a fixed one.
    Source(Source),
    /// Another destination.
    Dnat(Destination),
    /// The host itself.
    Redirect,
    /// A mark: value and mask.
    Mark(u32, u32),
    /// One that is not understood, with its options.
    Other(String),
}

/// Options of MASQUERADE and SNAT.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Source {
    /// The fixed address.
    pub(super) addr: Option<IpAddr>,
    /// Ports to choose from.
    pub(super) ports: Option<PortRange>,
    /// Never the flow's own port.
    pub(super) random: bool,
}

/// Options of DNAT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Destination {
    /// The address.
    pub(super) addr: IpAddr,
    /// Ports; `None`: the one that was asked for.
    pub(super) ports: Option<PortRange>,
    /// The port that is moved to the first of those.
    pub(super) base: Option<u16>,
}

impl Target {
    /// Takes a target apart; how many words of `options` belong to it: all of them.
    pub(super) fn parse(name: &str, options: &[String]) -> (Self, usize) {
        let target = match name {
            "ACCEPT" | "RETURN" if !options.is_empty() => None,
            "ACCEPT" => Some(Self::Accept),
            "RETURN" => Some(Self::Return),
            "DROP" | "REJECT" => Some(Self::Drop),
            "MASQUERADE" | "SNAT" => source(name, options).map(Self::Source),
            "DNAT" => destination(options).map(Self::Dnat),
            "REDIRECT" => Some(Self::Redirect),
            "MARK" => set_mark(options).map(|(value, mask)| Self::Mark(value, mask)),
            _ if options.is_empty() && !name.is_empty() => Some(Self::Jump(name.to_owned())),
            _ => None,
        };
        let whole = || {
            let words = [name].into_iter().chain(options.iter().map(String::as_str));
            words.collect::<Vec<_>>().join(" ")
        };
        (
            target.unwrap_or_else(|| Self::Other(whole())),
            options.len(),
        )
    }
}

fn source(name: &str, options: &[String]) -> Option<Source> {
    let mut source = Source::default();
    let mut options = options.iter().map(String::as_str);
    while let Some(option) = options.next() {
        match option {
            "--random" | "--random-fully" => source.random = true,
            // One client, one address: there is but one.
            "--persistent" => {}
            "--to-ports" => source.ports = Some(range(options.next()?)?),
            "--to-source" if source.addr.is_none() => {
                let (addr, ports) = addr_and_ports(options.next()?)?;
                source.addr = Some(addr);
                source.ports = ports.map(range).map_or(Some(None), |r| r.map(Some))?;
            }
            _ => return None,
        }
    }
    (source.addr.is_some() == (name == "SNAT")).then_some(source)
}

fn destination(options: &[String]) -> Option<Destination> {
    // One that was left without `--persistent` and `--random` means the same for one address.
    let mut words = options.iter().map(String::as_str);
    let mut found = None;
    while let Some(option) = words.next() {
        match option {
            "--to-destination" if found.is_none() => {
                let (addr, ports) = addr_and_ports(words.next()?)?;
                let (ports, base) = match ports.map(|p| p.split_once('/').unwrap_or((p, ""))) {
                    None => (None, None),
                    Some((ports, "")) => (Some(range(ports)?), None),
                    Some((ports, base)) => (Some(range(ports)?), Some(base.parse().ok()?)),
                };
                found = Some(Destination { addr, ports, base });
            }
            "--persistent" => {}
            _ => return None,
        }
    }
    found
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`, either without port; no ranges of addresses.
fn addr_and_ports(text: &str) -> Option<(IpAddr, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (addr, rest) = rest.split_once(']')?;
        let addr: Ipv6Addr = addr.parse().ok()?;
        return match rest.strip_prefix(':') {
            Some(ports) => Some((addr.into(), Some(ports))),
            None => rest.is_empty().then_some((addr.into(), None)),
        };
    }
    if let Ok(addr) = text.parse() {
        return Some((addr, None));
    }
    let (addr, ports) = text.split_once(':')?;
    Some((IpAddr::V4(addr.parse().ok()?), Some(ports)))
}

/// `80` or `80-89`.
fn range(text: &str) -> Option<PortRange> {
    text.parse().ok()
}

fn set_mark(options: &[String]) -> Option<(u32, u32)> {
    let [option, value] = options else {
        return None;
    };
    match option.as_str() {
        "--set-xmark" | "--set-mark" => mark(value),
        "--or-mark" => mark(value).map(|(value, _)| (value, value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Target {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Target::parse(&words[0], &words[1..]).0
    }

    #[test]
    fn destinations() {
        let to = |addr: &str, ports: Option<&str>, base| {
            Target::Dnat(Destination {
                addr: addr.parse().unwrap(),
                ports: ports.map(|p| p.parse().unwrap()),
                base,
            })
        };
        for (line, want) in [
            ("10.0.0.2", to("10.0.0.2", None, None)),
            ("10.0.0.2:80", to("10.0.0.2", Some("80"), None)),
            (
                "10.0.0.2:80-82/9000",
                to("10.0.0.2", Some("80-82"), Some(9000)),
            ),
            ("[fd00::2]:80", to("fd00::2", Some("80"), None)),
            ("[fd00::2]", to("fd00::2", None, None)),
            ("fd00::2", to("fd00::2", None, None)),
        ] {
            assert_eq!(parse(&format!("DNAT --to-destination {line}")), want);
        }
        for line in [
            "10.0.0.2-10.0.0.9",
            "10.0.0.2:0",
            "10.0.0.2:9-1",
            "[fd00::2]80",
            "x:80",
        ] {
            let line = format!("DNAT --to-destination {line}");
            assert_eq!(parse(&line), Target::Other(line.clone()), "{line}");
        }
        assert!(matches!(parse("DNAT"), Target::Other(_)));
        assert!(matches!(
            parse("DNAT --to-destination 10.0.0.2:80 --random"),
            Target::Other(_)
        ));
    }

    #[test]
    fn sources_and_others() {
        let Target::Source(s) = parse("SNAT --to-source 192.0.2.1:1024-2048 --random-fully") else {
            panic!()
        };
        assert_eq!(s.addr, "192.0.2.1".parse().ok());
        assert_eq!((s.ports, s.random), (PortRange::new(1024, 2048), true));
        let Target::Source(s) = parse("MASQUERADE --to-ports 1024-65535") else {
            panic!()
        };
        assert_eq!((s.addr, s.ports), (None, PortRange::new(1024, 65_535)));
        for other in [
            "SNAT --to-source 192.0.2.1-192.0.2.9",
            "SNAT",
            "NETMAP --to 10.0.0.0/8",
        ] {
            assert_eq!(parse(other), Target::Other(other.into()));
        }
        assert_eq!(parse("DOCKER"), Target::Jump("DOCKER".into()));
        assert_eq!(
            parse("MARK --set-xmark 0x2000/0x2000"),
            Target::Mark(0x2000, 0x2000)
        );
        assert_eq!(parse("MARK --or-mark 0x2000"), Target::Mark(0x2000, 0x2000));
    }
}
