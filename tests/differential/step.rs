//! What can happen in a sequence.
//!
//! Owns the words. Which ones follow each other is `random`'s, what a step puts on the wires `play`'s.

use crate::{
    address::{Family, Who},
    site::Place,
};

/// A packet that nothing seen so far asks for.
#[derive(Clone, Debug)]
pub(crate) enum L4 {
    Udp {
        len: usize,
        /// Without a checksum, as RFC 768 allows.
        bare: bool,
    },
    Syn,
    /// Flags of a segment out of the blue.
    Flags(u8),
    Echo,
    EchoReply,
    Timestamp,
    /// ICMP of a type that is neither a query with an identifier nor an error.
    OtherIcmp,
    /// A UDP header that announces less than itself.
    ShortUdp,
    /// A UDP checksum that is wrong.
    WrongUdp,
    /// UDP-Lite, whose checksum covers so many bytes.
    UdpLite(u16),
    /// UDP behind IP options, of IPv6 hop-by-hop and destination options.
    Options,
    /// A protocol without ports, by number.
    Other(u8),
}

/// How an answer or a next segment looks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// What a stack would do: SYN-ACK, ACK, echo reply, a datagram back.
    Natural,
    Data(usize),
    Fin,
    /// A reset by the number that is expected next, beyond it, below it, or zero.
    Reset(i64),
    ResetZero,
    /// Flags, and how far both numbers are from what is expected.
    Odd(u8, i32, i32),
}

/// What an ICMP error says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    PortUnreachable,
    HostUnreachable,
    /// "Fragmentation needed", "packet too big".
    TooBig,
    /// The same, with an MTU that no link has.
    ImpossibleMtu,
    TimeExceeded,
    Parameter,
    Redirect,
}

/// What an ICMP error is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Complaint {
    pub(crate) what: What,
    /// By a router on the way instead of the receiver.
    pub(crate) router: bool,
    /// Quotes eight bytes of the transport only.
    pub(crate) short: bool,
    /// About a packet that never was: another port in the quote.
    pub(crate) forged: bool,
}

/// The order in which the fragments of a datagram come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Sent,
    Reversed,
    /// The last one is lost.
    Lost,
}

/// One thing that happens. `back` counts from the latest packet.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A container begins something.
    Open {
        family: Family,
        who: usize,
        to: (Who, u16),
        sport: u16,
        l4: L4,
        ttl: u8,
    },
    /// A stranger knocks.
    Knock {
        family: Family,
        from: Who,
        to: (Who, u16),
        sport: u16,
        l4: L4,
        ttl: u8,
    },
    /// Whoever has seen a packet answers it.
    Answer { back: usize, how: How },
    /// Whoever has sent a packet goes on.
    GoOn { back: usize, how: How },
    /// A packet comes once more: it was duplicated, or overtaken by all since.
    Again { back: usize },
    /// Somebody complains about a packet that has been seen.
    Complain { back: usize, what: Complaint },
    /// A container sends a datagram in fragments, or whoever has seen one answers so.
    Fragments {
        family: Family,
        who: usize,
        to: (Who, u16),
        answer: Option<usize>,
        order: Order,
        len: usize,
        /// In pieces of so many bytes.
        chunk: usize,
    },
    /// Time passes, in seconds.
    Wait(u32),
}

impl Step {
    /// The same of another family. What only goes on with what was seen is of that one's.
    pub(crate) const fn of(mut self, other: Family) -> Self {
        match &mut self {
            Self::Open { family, .. }
            | Self::Knock { family, .. }
            | Self::Fragments { family, .. } => *family = other,
            Self::Answer { .. }
            | Self::GoOn { .. }
            | Self::Again { .. }
            | Self::Complain { .. }
            | Self::Wait(_) => {}
        }
        self
    }
}

/// The place of a container by its number.
pub(crate) const fn place(who: usize) -> Place {
    [Place::C1, Place::C2, Place::C3][who]
}
