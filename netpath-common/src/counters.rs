//! Counters of the datapath other than drops.
//!
//! Owns their names and numbers: indexes of the per-CPU map `np_counters`.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// A counter of the datapath. The number is its index in `np_counters`.
        #[repr(u32)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Counter {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Counter {
            /// Every counter in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The short text that users see.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

counters! {
    /// Packets that were left as they were and went on their usual way.
    Passed = "passed",
    /// Packets that were translated and went on up the host's stack.
    TranslatedToStack = "translated-to-stack",
    /// Packets that were translated and sent straight to an uplink.
    ToUplink = "to-uplink",
    /// Packets that were translated and delivered straight into a container.
    ToEndpoint = "to-endpoint",
    /// Packets between containers of a network that were handed over without the bridge.
    ToNeighbour = "to-neighbour",
    /// Packets, of those that were delivered straight into a container, that were translated in an
    /// uplink's driver.
    TranslatedInXdp = "translated-in-xdp",
    /// Flows that were made.
    FlowNew = "flow-new",
    /// Flows that were removed because they had expired or their configuration had changed.
    FlowRemoved = "flow-removed",
    /// Unanswered or closing flows that were removed because the table was full.
    FlowReclaimed = "flow-reclaimed",
    /// Ports reserved for a flow that are not its own, because that was taken or was not to be kept.
    PortChanged = "port-changed",
    /// ICMP errors that were translated.
    IcmpErrorTranslated = "icmp-error-translated",
    /// Fragments that were translated by the record of their first fragment.
    FragmentTranslated = "fragment-translated",
    /// Fragments that came before their first one, and of which a copy waits for it.
    FragmentHeld = "fragment-held",
    /// Those that were sent on when it came.
    FragmentReleased = "fragment-released",
    /// Sockets of the host that were connected to a published port.
    HostConnect = "host-connect",
    /// Sockets of the host that were not given a published port.
    BindRefused = "bind-refused",
    /// Drop events that found the ring buffer full, or that only repeated another one of a flood.
    EventLost = "event-lost",
    /// Containers that were told by an ICMP error that a flow of theirs was refused.
    RefusalTold = "refusal-told",
}

impl Counter {
    /// How many counters there are.
    pub const COUNT: usize = Self::ALL.len();
}
