//! Proof that a variant has done what its name says.
//!
//! Owns what is counted, where, and what is demanded of it. A variant that lost its rules, or whose
//! packets took another way, must not win: the run fails and names it.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    family::Family,
    load::{Direction, Kind},
    site::Site,
    tool,
    variant::{UPLINK, Variant},
};

/// What the router has counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// Packets that its IP stack has forwarded.
    forwarded: u64,
    /// Packets that the variant itself has counted: its rules, its programs, or the uplink.
    handled: u64,
    /// Flows that the variant has translated, as it counts them itself.
    flows: u64,
    /// Connections that the kernel tracks now.
    tracked: u64,
}

/// What a phase has done, to compare with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// What was sent.
    pub(crate) kind: Kind,
    /// Operations that were completed.
    pub(crate) operations: u64,
}

impl Evidence {
    /// Reads all counters of a site.
    pub(crate) fn take(site: &Site, direction: Direction) -> Result<Self> {
        let tracked = tool::sysctl(&site.router_ns, "netfilter/nf_conntrack_count")?;
        let (handled, flows) = own(site, direction)?;
        Ok(Self {
            forwarded: forwarded(site)?,
            handled,
            flows,
            tracked,
        })
    }

    /// Fails where what was counted since `before` does not fit the work.
    pub(crate) fn judge(self, before: Self, variant: Variant, work: Work) -> Result<()> {
        let Work { kind, operations } = work;
        let packets = operations * packets_of(kind);
        let handled = self.handled.saturating_sub(before.handled);
        ensure!(
            // Segments are counted in bytes, and a few are larger than a packet's share.
            handled >= packets - packets / 50,
            "{operations} operations take {packets} packets, but it has handled {handled}"
        );
        let forwarded = self.forwarded.saturating_sub(before.forwarded);
        if bypasses_stack(variant) {
            ensure!(
                forwarded <= packets / 100 + 100,
                "{forwarded} of {packets} packets went through the IP stack, not the fast path"
            );
        } else {
            ensure!(
                forwarded >= packets - packets / 50,
                "{operations} operations take {packets} packets, but the IP stack has forwarded \
                 {forwarded}"
            );
        }
        if variant.translates() {
            let wanted = if kind == Kind::Crr { operations } else { 1 };
            let flows = self.flows.saturating_sub(before.flows);
            ensure!(
                flows >= wanted,
                "{wanted} new flows have come by, but it has translated {flows}"
            );
        }
        ensure!(
            variant.tracked_by_kernel() == (self.tracked > 0),
            "the kernel tracks {} connections in the router",
            self.tracked
        );
        Ok(())
    }
}

/// The fewest packets of an operation.
fn packets_of(kind: Kind) -> u64 {
    match kind {
        Kind::Udp | Kind::Bulk => 1,
        Kind::Rr => 2,
        // SYN, its answer, a byte each way, a FIN each way; acknowledgements may ride along.
        Kind::Crr => 6,
    }
}

/// Whether its packets are redirected before they reach the IP stack.
fn bypasses_stack(variant: Variant) -> bool {
    matches!(variant, Variant::Netpath | Variant::Forward)
}

/// The counter of forwarded datagrams (RFC 4293, ipForwDatagrams).
pub(crate) fn forwarded(site: &Site) -> Result<u64> {
    let file = match site.family {
        Family::V4 => "snmp",
        Family::V6 => "snmp6",
    };
    let text = site
        .router_ns
        .run(|| fs::read_to_string(format!("/proc/thread-self/net/{file}")))?
        .context("cannot read the router's IP counters")?;
    let value = match site.family {
        Family::V4 => snmp_value(&text, "ForwDatagrams"),
        Family::V6 => snmp6_value(&text, "Ip6OutForwDatagrams"),
    };
    value.with_context(|| format!("/proc/net/{file} counts no forwarded packets"))
}

/// A value of the `Ip:` lines: names in the first, numbers in the second.
fn snmp_value(snmp: &str, name: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter(|line| line.starts_with("Ip: "));
    let column = lines.next()?.split(' ').position(|it| it == name)?;
    lines.next()?.split(' ').nth(column)?.parse().ok()
}

/// A value of IPv6: one name and number a line.
fn snmp6_value(snmp6: &str, name: &str) -> Option<u64> {
    let mut lines = snmp6.lines().map(str::split_whitespace);
    lines.find_map(|mut words| (words.next()? == name).then(|| words.next()?.parse().ok())?)
}

/// Packets and flows, as the variant itself counts them.
fn own(site: &Site, direction: Direction) -> Result<(u64, u64)> {
    match site.variant {
        Variant::Netpath => {
            let Some(instance) = &site.instance else {
                bail!("netpath is not up");
            };
            let told = instance.told(&site.router_ns)?;
            Ok((told.packets, told.flows))
        }
        Variant::Legacy | Variant::LegacyAgain => iptables(site, "legacy", direction),
        Variant::IptablesNft => iptables(site, "nft", direction),
        Variant::Nft => nft(site, direction),
        Variant::None | Variant::Forward => {
            let text = site
                .router_ns
                .run(|| fs::read_to_string("/proc/thread-self/net/dev"))?
                .context("cannot read the router's interface counters")?;
            let packets = device_packets(&text, UPLINK);
            Ok((
                packets.with_context(|| format!("no counters of {UPLINK}"))?,
                0,
            ))
        }
    }
}

/// Packets of an interface, both ways, in the form of /proc/net/dev.
fn device_packets(text: &str, interface: &str) -> Option<u64> {
    let counters = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'))?;
    let mut numbers = counters.split_whitespace().map(str::parse::<u64>);
    let received = numbers.nth(1)?.ok()?;
    let sent = numbers.nth(7)?.ok()?;
    Some(received + sent)
}

fn iptables(site: &Site, kind: &str, direction: Direction) -> Result<(u64, u64)> {
    let ip = match site.family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    };
    let program = format!("{ip}tables-{kind}-save");
    let text = tool::run(&site.router_ns, &program, &["-c"], "")?;
    let target = match direction {
        Direction::In => "-j DNAT",
        Direction::Out => "-j MASQUERADE",
    };
    Ok((
        rule_packets(&text, "-A FORWARD -j DOCKER-FORWARD"),
        rule_packets(&text, target),
    ))
}

/// Packets of all rules that hold `words`, in the form of `iptables-save -c`.
pub(crate) fn rule_packets(text: &str, words: &str) -> u64 {
    let count = |line: &str| -> Option<u64> {
        let (counters, rule) = line.strip_prefix('[')?.split_once(']')?;
        let (packets, _bytes) = counters.split_once(':')?;
        rule.contains(words).then(|| packets.parse().ok())?
    };
    text.lines().filter_map(count).sum()
}

fn nft(site: &Site, direction: Direction) -> Result<(u64, u64)> {
    let json = tool::run(&site.router_ns, "nft", &["-j", "list", "counters"], "")?;
    let flows = match direction {
        Direction::In => "to_container",
        Direction::Out => "from_container",
    };
    let counter =
        |name| counter_packets(&json, name).with_context(|| format!("nft shows no counter {name}"));
    Ok((counter("forwarded")?, counter(flows)?))
}

/// Packets of a named counter, in the form of `nft -j list counters`.
fn counter_packets(json: &str, name: &str) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    let objects = value.get("nftables")?.as_array()?;
    objects
        .iter()
        .filter_map(|object| object.get("counter"))
        .find(|counter| counter.get("name").is_some_and(|it| it == name))?
        .get("packets")?
        .as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_in_the_tools_forms() {
        let snmp = "Ip: Forwarding ForwDatagrams InDiscards\nIp: 1 42 0\nIcmp: A\nIcmp: 1\n";
        assert_eq!(snmp_value(snmp, "ForwDatagrams"), Some(42));
        let dev = "  lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n\
                   uplink0: 100 7 0 0 0 0 0 0 200 35 0 0 0 0 0 0\n";
        assert_eq!(device_packets(dev, "uplink0"), Some(42));
        let save = "*nat\n[3:180] -A DOCKER -p tcp -j DNAT --to-destination 172.17.0.2:80\n\
                    [4:240] -A DOCKER -p udp -j DNAT --to-destination 172.17.0.2:80\n\
                    [9:9] -A DOCKER -i docker0 -j RETURN\n";
        assert_eq!(rule_packets(save, "-j DNAT"), 7);
        let nft =
            r#"{"nftables": [{"metainfo": {}}, {"counter": {"name": "dnat", "packets": 5}}]}"#;
        assert_eq!(counter_packets(nft, "dnat"), Some(5));
        assert_eq!(counter_packets(nft, "forwarded"), None);
    }

    fn good(variant: Variant) -> Evidence {
        Evidence {
            forwarded: if bypasses_stack(variant) { 0 } else { 6000 },
            handled: 6000,
            flows: 1000,
            tracked: u64::from(variant.tracked_by_kernel()),
        }
    }

    #[test]
    fn every_kind_of_deceit_is_found() {
        let work = Work {
            kind: Kind::Crr,
            operations: 1000,
        };
        let zero = Evidence::default();
        for variant in Variant::ALL {
            let good = good(variant);
            good.judge(zero, variant, work).unwrap();
            let idle = Evidence {
                handled: 10,
                ..good
            };
            assert!(idle.judge(zero, variant, work).is_err(), "{variant:?}");
            let elsewhere = Evidence {
                forwarded: 6000 - good.forwarded,
                ..good
            };
            assert!(elsewhere.judge(zero, variant, work).is_err(), "{variant:?}");
            let tracked = Evidence {
                tracked: 1 - good.tracked,
                ..good
            };
            assert!(tracked.judge(zero, variant, work).is_err(), "{variant:?}");
            let untranslated = Evidence { flows: 999, ..good };
            let judged = untranslated.judge(zero, variant, work);
            assert_eq!(judged.is_err(), variant.translates(), "{variant:?}");
        }
    }
}
