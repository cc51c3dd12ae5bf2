//! One rule: what it matches and what it does.
//!
//! Owns the options of iptables that are understood. Every other one is kept as it stands, so that a
//! rule is never taken for a simpler one.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::{matches::Matches, target::Target};
use crate::config::{PortRange, check_ifname};

/// A rule of a chain.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Rule {
    /// Line of the file, from 1.
    pub(super) line: usize,
    /// The line, without counters.
    pub(super) text: String,
    /// Of `ip6tables`.
    pub(super) v6: bool,
    /// The chain.
    pub(super) chain: String,
    /// What it matches.
    pub(super) matches: Matches,
    /// What it does.
    pub(super) target: Target,
}

/// A share of packets (`-m statistic`).
#[derive(Clone, Default)]
struct Statistic {
    mode: String,
    probability: Option<f64>,
    every: Option<u32>,
    packet: Option<u32>,
}

impl Statistic {
    /// The share, if it is one that has to do with nothing else.
    fn share(&self) -> Option<f64> {
        match (self.mode.as_str(), self.probability, self.every) {
            ("random", Some(p), None) => Some(p),
            ("nth", None, Some(every)) if every > 0 && self.packet.unwrap_or(0) == 0 => {
                Some(1.0 / f64::from(every))
            }
            _ => None,
        }
    }
}

/// Matches whose own options are understood, or that have none of meaning here.
const KNOWN: &[&str] = &[
    "tcp",
    "udp",
    "sctp",
    "multiport",
    "addrtype",
    "comment",
    "conntrack",
    "state",
    "mark",
    "statistic",
];

/// Takes the words behind `-A CHAIN` apart.
pub(super) fn parse(words: &[String]) -> (Matches, Target) {
    let mut parser = Parser {
        words,
        at: 0,
        not: false,
        foreign: false,
        m: Matches::default(),
        target: Target::None,
        statistic: None,
    };
    while parser.at < words.len() {
        parser.option();
    }
    if let Some(statistic) = &parser.statistic {
        parser.m.share = statistic.share();
        if parser.m.share.is_none() {
            parser.m.others.push("-m statistic".into());
        }
    }
    (parser.m, parser.target)
}

struct Parser<'w> {
    words: &'w [String],
    at: usize,
    /// `!` stands before the option.
    not: bool,
    /// The last `-m` is none that is understood.
    foreign: bool,
    m: Matches,
    target: Target,
    statistic: Option<Statistic>,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<String> {
        let word = self.words.get(self.at).cloned();
        self.at += 1;
        word
    }

    /// The value of the option that has just been read; one that is missing is an empty one.
    fn value(&mut self) -> String {
        // The form of old versions: `--dport ! 80`.
        if self.words.get(self.at).is_some_and(|w| w == "!") {
            self.not = !self.not;
            self.at += 1;
        }
        self.next().unwrap_or_default()
    }

    /// Keeps what is not understood, with the values behind it.
    fn keep(&mut self, option: &str, value: Option<&str>) {
        let mut text = if self.not { "! " } else { "" }.to_owned() + option;
        if let Some(value) = value {
            text = text + " " + value;
        }
        while value.is_none()
            && let Some(word) = self.words.get(self.at)
            && !word.starts_with('-')
            && word != "!"
        {
            text = text + " " + word;
            self.at += 1;
        }
        match self.m.others.last_mut() {
            Some(last) if self.foreign => *last = format!("{last} {text}"),
            _ => self.m.others.push(text),
        }
    }

    fn option(&mut self) {
        let Some(option) = self.next() else { return };
        if option == "!" {
            self.not = true;
            return;
        }
        self.one(&option);
        self.not = false;
    }

    fn one(&mut self, option: &str) {
        match option {
            "-s" | "--source" | "--src" => {
                let value = self.value();
                match net(&value) {
                    Some(net) if self.not => self.m.not_source.push(net),
                    Some(net) if self.m.source.is_none() => self.m.source = Some(net),
                    _ => self.keep(option, Some(&value)),
                }
            }
            "-d" | "--destination" | "--dst" => {
                let value = self.value();
                match net(&value) {
                    Some(net) if self.not => self.m.not_destination.push(net),
                    Some(net) if self.m.destination.is_none() => self.m.destination = Some(net),
                    _ => self.keep(option, Some(&value)),
                }
            }
            "-i" | "--in-interface" => {
                let value = self.value();
                match interface(&value) {
                    true if self.not => self.m.not_input.push(value),
                    true if self.m.input.is_none() => self.m.input = Some(value),
                    _ => self.keep(option, Some(&value)),
                }
            }
            "-o" | "--out-interface" => {
                let value = self.value();
                match interface(&value) {
                    true if self.not => self.m.not_output.push(value),
                    true if self.m.output.is_none() => self.m.output = Some(value),
                    _ => self.keep(option, Some(&value)),
                }
            }
            "-p" | "--protocol" | "--proto" => {
                let value = self.value();
                match value.as_str() {
                    _ if self.not || self.m.protocol.is_some() => self.keep(option, Some(&value)),
                    "all" | "0" => {}
                    _ => self.m.protocol = Some(protocol(&value).to_owned()),
                }
            }
            "--dport" | "--dports" | "--destination-port" | "--destination-ports"
                if !self.foreign =>
            {
                let value = self.value();
                match ports(&value) {
                    Some(ports) if !self.not && self.m.ports.is_none() => {
                        self.m.ports = Some(ports)
                    }
                    _ => self.keep(option, Some(&value)),
                }
            }
            "-m" | "--match" => {
                let value = self.value();
                self.foreign = false;
                if value == "statistic" && self.statistic.is_none() && self.m.share.is_none() {
                    self.statistic = Some(Statistic::default());
                } else if !KNOWN.contains(&value.as_str()) {
                    self.keep("-m", Some(&value));
                    self.foreign = true;
                }
            }
            "--comment" if !self.foreign => {
                let value = self.value();
                self.m.comments.push(value);
            }
            "--dst-type" | "--src-type" | "--ctstate" | "--state" | "--mark" if !self.foreign => {
                self.state(option);
            }
            "--mode" | "--probability" | "--every" | "--packet" if self.statistic.is_some() => {
                self.share(option);
            }
            "-j" | "--jump" | "-g" | "--goto" => {
                let name = self.value();
                let rest = self.words.get(self.at..).unwrap_or_default();
                let (target, read) = Target::parse(&name, rest);
                self.at += read;
                self.foreign = false;
                self.target = target;
            }
            "-c" | "--set-counters" => self.at += 2,
            _ => self.keep(option, None),
        }
    }

    fn state(&mut self, option: &str) {
        let value = self.value();
        match option {
            "--dst-type" if value == "LOCAL" && !self.not => self.m.local_destination = true,
            "--src-type" if value == "LOCAL" && !self.not => self.m.local_source = true,
            // The nat table sees the first packet of each connection alone.
            "--ctstate" | "--state" if !self.not && value.split(',').any(|s| s == "NEW") => {}
            "--mark" if !self.not && self.m.mark.is_none() && mark(&value).is_some() => {
                self.m.mark = mark(&value);
            }
            _ => self.keep(option, Some(&value)),
        }
    }

    fn share(&mut self, option: &str) {
        let value = self.value();
        let not = self.not;
        if let Some(s) = self.statistic.as_mut().filter(|_| !not) {
            match option {
                "--mode" => s.mode = value,
                "--probability" => s.probability = value.parse().ok(),
                "--every" => s.every = value.parse().ok(),
                _ => s.packet = value.parse().ok(),
            }
        } else {
            self.keep(option, Some(&value));
        }
    }
}

/// An address with or without a prefix length or a mask.
pub(super) fn net(text: &str) -> Option<IpNet> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Some(net.trunc());
    }
    if let Ok(addr) = text.parse::<IpAddr>() {
        return Some(addr.into());
    }
    let (addr, mask) = text.split_once('/')?;
    let net = Ipv4Net::with_netmask(addr.parse().ok()?, mask.parse().ok()?).ok()?;
    Some(IpNet::V4(net.trunc()))
}

/// One interface, not a group of them (`eth+`); `auto` has another meaning in the configuration.
fn interface(name: &str) -> bool {
    check_ifname(name).is_ok() && !name.ends_with('+') && name != "auto"
}

/// `80`, `8000:8010`, and several with commas.
fn ports(text: &str) -> Option<Vec<PortRange>> {
    let one = |part: &str| match part.split_once(':') {
        Some((first, last)) => PortRange::new(first.parse().ok()?, last.parse().ok()?),
        None => {
            let port = part.parse().ok()?;
            PortRange::new(port, port)
        }
    };
    text.split(',').map(one).collect()
}

fn protocol(text: &str) -> &str {
    match text {
        "6" => "tcp",
        "17" => "udp",
        "132" => "sctp",
        other => other,
    }
}

/// A mark and its mask: `0x2000/0x2000`.
pub(super) fn mark(text: &str) -> Option<(u32, u32)> {
    let number = |t: &str| match t.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => t.parse().ok(),
    };
    match text.split_once('/') {
        Some((value, mask)) => Some((number(value)?, number(mask)?)),
        None => Some((number(text)?, u32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::words::words, *};

    fn rule(line: &str) -> (Matches, Target) {
        parse(&words(line).unwrap())
    }

    #[test]
    fn what_generators_write_is_understood() {
        let (m, target) = rule(
            "-s 10.0.0.0/255.0.0.0 -d 192.0.2.7/32 ! -i docker0 -p tcp -m tcp --dport 8000:8010 \
             -m comment --comment \"dnat name: \\\"n\\\"\" -m conntrack --ctstate NEW -m addrtype \
             --dst-type LOCAL -m mark --mark 0x2000/0x2000 -j DNAT --to-destination 172.17.0.2:80",
        );
        assert_eq!(m.source, net("10.0.0.0/8"));
        assert_eq!(m.destination, net("192.0.2.7"));
        assert_eq!(m.not_input, ["docker0"]);
        assert_eq!(m.ports, Some(vec![PortRange::new(8000, 8010).unwrap()]));
        assert_eq!(m.mark, Some((0x2000, 0x2000)));
        assert_eq!(m.comments, ["dnat name: \"n\""]);
        assert!(m.local_destination && m.others.is_empty(), "{m:?}");
        assert!(matches!(target, Target::Dnat(_)));
        let (m, _) = rule("-p 17 -m multiport --dports 53,5353:5360 -j X");
        assert_eq!(
            (m.protocol.as_deref(), m.ports.unwrap().len()),
            (Some("udp"), 2)
        );
        let (m, _) = rule("-m statistic --mode nth --every 4 --packet 0 -j X");
        assert_eq!((m.share, m.others.len()), (Some(0.25), 0));
    }

    #[test]
    fn what_is_not_understood_is_kept_as_it_stands() {
        for (line, kept) in [
            (
                "-m set --match-set bad src -j X",
                "-m set --match-set bad src",
            ),
            ("! -p tcp -j X", "! -p tcp"),
            ("-p tcp -m tcp ! --dport 80 -j X", "! --dport 80"),
            ("-p tcp -m tcp --sport 80 -j X", "--sport 80"),
            ("-i eth+ -j X", "-i eth+"),
            ("-o auto -j X", "-o auto"),
            ("-s example.org -j X", "-s example.org"),
            ("-m addrtype ! --dst-type LOCAL -j X", "! --dst-type LOCAL"),
            ("-m conntrack --ctstate DNAT -j X", "--ctstate DNAT"),
            (
                "-m statistic --mode nth --every 2 --packet 1 -j X",
                "-m statistic",
            ),
            ("-p tcp -m tcp --dport 0:99 -j X", "--dport 0:99"),
            ("-p tcp --dport ! 80 -j X", "! --dport 80"),
            ("-s 10.0.0.1 -s 10.0.0.2", "-s 10.0.0.2"),
            ("-m recent --dport 5 -j X", "-m recent --dport 5"),
        ] {
            assert_eq!(rule(line).0.others, [kept], "{line}");
        }
    }
}
