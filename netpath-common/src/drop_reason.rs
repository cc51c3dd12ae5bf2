//! Why a packet was dropped: one variant for each decision, each with its own counter.
//!
//! Owns the names and their numbers. Does not count: hooks do, in the map `np_drops`.

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Why the datapath dropped a packet. The number is the index of its counter.
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl DropReason {
            /// Every reason in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The short text that users see.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What the reason means, in one sentence.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc,)+),)+ }
            }
        }
    };
}

drop_reasons! {
    /// The frame ends before the headers that it announces.
    Truncated = "truncated",
    /// The IP header has a wrong version, a header length below 20 bytes, or a total length that does not fit.
    BadIpHeader = "bad-ip-header",
    /// The TCP or UDP header contradicts itself: data offset below 20, UDP length below 8, or no flag set.
    BadL4Header = "bad-l4-header",
    /// A container sent a frame that is neither ARP nor IPv4 nor, where it has an address of that, IPv6, or one with a VLAN tag.
    BadEthertype = "bad-ethertype",
    /// A container sent with a MAC address that is not its own.
    SpoofedMac = "spoofed-mac",
    /// A container sent with an address that is not its own.
    SpoofedAddress = "spoofed-address",
    /// A container sent an ARP message that speaks for an address or MAC that is not its own.
    SpoofedArp = "spoofed-arp",
    /// A frame reached the bridge through a port that belongs to no endpoint.
    UnknownPort = "unknown-port",
    /// A packet arrived at an uplink with a source or destination address that cannot be there.
    Martian = "martian",
    /// The outside addressed a container directly instead of a published port.
    DirectAccess = "direct-access",
    /// A container addressed another network's container other than by a published port.
    OtherNetwork = "other-network",
    /// Traffic between containers of this network is off (icc = false).
    IccDisabled = "icc-disabled",
    /// The network is internal, or has masquerade off, and the packet would leave it.
    NotRoutable = "not-routable",
    /// A protocol that breaks when addresses change (AH, HIP, mobility headers): it is not translated.
    UnsupportedProtocol = "unsupported-protocol",
    /// An ICMP message that belongs to no flow and asks nothing that is tracked.
    IcmpUnmatched = "icmp-unmatched",
    /// An ICMP error whose quoted packet belongs to no flow, or that was sent to the wrong address.
    IcmpErrorUnmatched = "icmp-error-unmatched",
    /// An ICMP error that tells of an MTU which no link has (below 68 bytes, of IPv6 1280).
    IcmpBadMtu = "icmp-bad-mtu",
    /// An ICMP redirect: never translated.
    IcmpRedirect = "icmp-redirect",
    /// A segment that the state of its TCP connection does not allow.
    TcpInvalid = "tcp-invalid",
    /// A TCP segment other than SYN that belongs to no connection, where picking it up would need another port.
    TcpNotSyn = "tcp-not-syn",
    /// A fragment whose first fragment has not been seen.
    FragmentUnmatched = "fragment-unmatched",
    /// A fragment that overlaps another one of its datagram, or repeats it.
    FragmentOverlap = "fragment-overlap",
    /// A first fragment that does not hold the whole transport header, or one that overlaps it.
    FragmentTiny = "fragment-tiny",
    /// The conntrack table is full.
    ConntrackFull = "conntrack-full",
    /// The container has as many flows, or as many outside ports, as one container may have.
    EndpointQuota = "endpoint-quota",
    /// As many connections from the outside as may be are waiting to be established.
    InboundBudget = "inbound-budget",
    /// No free port for the translated tuple was found.
    NoPort = "no-port",
    /// Two processors made the same flow at once and this packet lost the race.
    FlowRace = "flow-race",
    /// No uplink of this network leads to the destination.
    NoUplink = "no-uplink",
    /// The kernel has no route to the destination.
    NoRoute = "no-route",
    /// Rewriting the packet failed; it was not sent half-translated.
    RewriteFailed = "rewrite-failed",
    /// A packet with a container's private source reached an uplink untranslated.
    UntranslatedSource = "untranslated-source",
    /// The uplink, network or endpoint record that the packet needs is missing.
    NoConfig = "no-config",
    /// A packet to a port of the host that is neither published nor has a socket, beyond the rate at which such packets are let up to be refused.
    UnpublishedFlood = "unpublished-flood",
    /// An IPv6 packet that is not at its last destination yet, or has a routing header of type 0.
    RoutingHeader = "routing-header",
    /// Extension headers of IPv6 that are more than six or in an impossible order.
    HeaderChain = "header-chain",
    /// A container sent a message of neighbour discovery that speaks for an address or MAC that is not its own, or that no host may accept.
    SpoofedNeighbour = "spoofed-neighbour",
    /// A container sent a router advertisement.
    RogueRa = "rogue-ra",
    /// A container sent what only a DHCP server or relay sends, to a neighbour or the host: from port 67 or to port 68, with IPv6 547 and 546.
    RogueDhcp = "rogue-dhcp",
    /// A client that the allow list of the published port does not have.
    NotAllowed = "not-allowed",
    /// The host sent a published port of its own a packet that does not fit the container's interface, or whose TTL is 1.
    TooLarge = "too-large",
    /// A packet to a multicast, broadcast or link-local address, which means nothing beyond its link, would have left by masquerade.
    LinkScope = "link-scope",
    /// A packet from the outside to the outside: the host forwards because netpath has it do so, and that for containers alone.
    NotARouter = "not-a-router",
}

impl DropReason {
    /// How many reasons there are: the length of the counter array.
    pub const COUNT: usize = Self::ALL.len();

    /// The reason with this number.
    #[must_use]
    pub fn from_index(index: u32) -> Option<Self> {
        Self::ALL.get(index as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_index_the_table_and_texts_are_unique() {
        for (i, r) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*r as usize, i);
            assert_eq!(DropReason::from_index(i as u32), Some(*r));
            assert!(
                DropReason::ALL
                    .iter()
                    .filter(|o| o.as_str() == r.as_str())
                    .count()
                    == 1
            );
            assert!(r.help().ends_with('.'));
        }
        assert_eq!(DropReason::from_index(DropReason::COUNT as u32), None);
    }
}
