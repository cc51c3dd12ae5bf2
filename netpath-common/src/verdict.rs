//! What to do with a packet that is not dropped.

/// The decision about a packet. Only the hooks know the kernel's action codes.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Go on as it is: bridge or stack decide.
    Pass,
    /// As [`Verdict::Pass`] as far as the bridge, but not up to the host.
    Within,
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
    /// As [`Verdict::ToEndpoint`], through the queue of the host side.
    ByQueue {
        /// Interface index of the host side.
        ifindex: u32,
    },
}

/// A [`Verdict`] without what it says besides, which is in the working memory
/// ([`crate::datapath::Work::verdict`]).
///
/// What an enum leaves undefined in a variant the compiler takes from whatever register is free, and
/// the kernel's verifier refuses a program that stores it. Here nothing is.
#[must_use]
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// [`Verdict::Pass`].
    Pass = 0,
    /// [`Verdict::Ipv6`].
    Ipv6 = 1,
    /// [`Verdict::Held`].
    Held = 2,
    /// [`Verdict::TranslatedToStack`].
    TranslatedToStack = 3,
    /// [`Verdict::ToUplink`], the kernel finds the next hop.
    ToUplink = 4,
    /// [`Verdict::ToUplink`], the MAC addresses are written.
    Leased = 5,
    /// [`Verdict::ToNeighbour`].
    ToNeighbour = 6,
    /// [`Verdict::ToEndpoint`].
    ToEndpoint = 7,
    /// [`Verdict::Pass`], to be translated where it leaves: of a network whose packets the host's own
    /// firewall sees.
    Visible = 8,
    /// [`Verdict::Within`].
    Within = 9,
    /// [`Verdict::ByQueue`].
    ByQueue = 10,
    /// [`Verdict::Pass`], and not beyond the host: what comes of it, the host's firewall decides.
    Foreign = 11,
}

/// Two bytes that are always defined: which of both, and what.
const _: () = assert!(size_of::<Result<Action, crate::DropReason>>() == 2);
