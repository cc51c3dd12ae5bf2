//! The contestants, and the ports that they publish.
//!
//! Owns their names. How each is set up is `rules`', `instance`'s and `forward`'s business.

use std::{net::Ipv4Addr, ops::Range};

/// A way of getting packets between a container and the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Variant {
    /// The netpath program.
    Netpath,
    /// iptables-legacy with Docker's rules: the baseline.
    Legacy,
    /// iptables on nftables with Docker's rules.
    IptablesNft,
    /// A native nftables ruleset with one map of published ports.
    Nft,
    /// Routing by the kernel, with neither translation nor connection tracking.
    None,
    /// eBPF forwarding by netpath's hooks and next-hop method, without translation: the limit.
    Forward,
    /// The baseline once more, in namespaces of its own: the difference is noise.
    LegacyAgain,
}

impl Variant {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Netpath,
        Self::Legacy,
        Self::IptablesNft,
        Self::Nft,
        Self::None,
        Self::Forward,
        Self::LegacyAgain,
    ];

    /// Those whose cost may depend on the number of published ports.
    pub(crate) const SCALING: [Self; 5] = [
        Self::Netpath,
        Self::Legacy,
        Self::IptablesNft,
        Self::Nft,
        // The noise of a measure is that of its own ports.
        Self::LegacyAgain,
    ];

    /// Those that take part with IPv6. What eBPF forwarding alone costs is known by IPv4, and of
    /// iptables the faster one is enough.
    pub(crate) const SIX: [Self; 5] = [
        Self::Netpath,
        Self::Legacy,
        Self::Nft,
        Self::None,
        Self::LegacyAgain,
    ];

    /// As the results name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Netpath => "netpath",
            Self::Legacy => "legacy",
            Self::IptablesNft => "iptables-nft",
            Self::Nft => "nft",
            Self::None => "none",
            Self::Forward => "forward",
            Self::LegacyAgain => "legacy-again",
        }
    }

    /// Whether it translates addresses.
    pub(crate) fn translates(self) -> bool {
        !matches!(self, Self::None | Self::Forward)
    }

    /// Whether the kernel's connection tracking takes part.
    pub(crate) fn tracked_by_kernel(self) -> bool {
        matches!(
            self,
            Self::Legacy | Self::LegacyAgain | Self::IptablesNft | Self::Nft
        )
    }
}

/// The published ports of a site. All lead to one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Published {
    count: u32,
}

impl Published {
    /// The host port, where it is the only one.
    const SINGLE: u16 = 8080;
    /// The first of several.
    const FIRST: u16 = 10_000;
    /// The most that fit above the first.
    pub(crate) const MOST: u32 = 50_000;

    /// This many TCP ports, 1 at least and [`Self::MOST`] at most.
    pub(crate) fn new(count: u32) -> Self {
        Self {
            count: count.clamp(1, Self::MOST),
        }
    }

    /// How many TCP ports there are.
    pub(crate) fn count(self) -> u32 {
        self.count
    }

    /// The host port that is measured, the last that is inserted. It leads to
    /// [`CONTAINER_PORT`]; the same port is published over UDP.
    pub(crate) fn measured(self) -> u16 {
        match self.others().end {
            Self::FIRST if self.count == 1 => Self::SINGLE,
            end => end,
        }
    }

    /// The other host ports. Each leads to the container port of the same number.
    pub(crate) fn others(self) -> Range<u16> {
        let others = u16::try_from(self.count - 1).unwrap_or_default();
        Self::FIRST..Self::FIRST + others
    }
}

/// The outside host.
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The last of its addresses; all in between are its own too.
pub(crate) const OUTSIDE_LAST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);
/// The router, which is the container's host, on its uplink.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The router on the bridge.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
/// The container.
pub(crate) const CONTAINER: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
/// The bridge's network.
pub(crate) const SUBNET: &str = "172.17.0.0/16";
/// The bridge, by Docker's name.
pub(crate) const BRIDGE: &str = "docker0";
/// The router's way out.
pub(crate) const UPLINK: &str = "uplink0";
/// The router's side of the container's veth, where netpath does not make it.
pub(crate) const PORT: &str = "veth0";
/// What the container serves on.
pub(crate) const CONTAINER_PORT: u16 = 80;
/// What the outside host serves on.
pub(crate) const OUTSIDE_PORT: u16 = 7000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_port_is_the_last_and_leads_nowhere_else() {
        for (count, measured) in [(1, 8080), (2, 10_001), (100, 10_099), (10_000, 19_999)] {
            let ports = Published::new(count);
            assert_eq!(ports.measured(), measured);
            assert_eq!(ports.others().len() + 1, count as usize);
            assert!(!ports.others().contains(&measured));
        }
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::HashSet<_> = Variant::ALL.map(Variant::name).into();
        assert_eq!(names.len(), Variant::ALL.len());
    }
}
