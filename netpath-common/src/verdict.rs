//! What to do with a packet that is not dropped.

/// The decision about a packet. Only the hooks know the kernel's action codes.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Go on as it is: bridge or stack decide.
    Pass,
    /// A frame of IPv6: the hook's program for that family decides.
    Ipv6,
    /// A fragment that waits for its first one: a copy is kept, this packet is done with.
    Held,
    /// It has been translated; go on up the stack.
    TranslatedToStack,
    /// It has been translated; send it out of this uplink.
    ToUplink {
        /// Interface index.
        ifindex: u32,
        /// The MAC addresses are written; otherwise the kernel finds the next hop.
        leased: bool,
    },
    /// It is as it was; deliver it to the container behind this host-side veth instead of the bridge.
    ToNeighbour {
        /// Interface index of the host side.
        ifindex: u32,
    },
    /// It has been translated; deliver it to the container behind this host-side veth.
    ToEndpoint {
        /// Interface index of the host side.
        ifindex: u32,
    },
}
