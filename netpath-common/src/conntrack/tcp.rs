//! TCP state as connection tracking sees it from the middle.
//!
//! Owns the state table. The transitions are those of the kernel's
//! `net/netfilter/nf_conntrack_proto_tcp.c` (`tcp_conntracks`), so that states and timeouts mean
//! what users of `conntrack -L` know. Windows are not checked (the kernel's `be_liberal`).


/// TCP flag FIN.
pub const FIN: u8 = 0x01;
/// TCP flag SYN.
pub const SYN: u8 = 0x02;
/// TCP flag RST.
pub const RST: u8 = 0x04;
/// TCP flag PSH.
pub const PSH: u8 = 0x08;
/// TCP flag ACK.
pub const ACK: u8 = 0x10;

/// State of a TCP connection, numbered as in the kernel's `enum tcp_conntrack`.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TcpState {
    /// Nothing seen yet.
    None = 0,
    /// SYN seen.
    SynSent = 1,
    /// SYN and SYN-ACK seen.
    SynRecv = 2,
    /// Handshake complete.
    Established = 3,
    /// One FIN seen.
    FinWait = 4,
    /// The FIN was acknowledged.
    CloseWait = 5,
    /// Both FINs seen.
    LastAck = 6,
    /// The last FIN was acknowledged.
    TimeWait = 7,
    /// RST seen.
    Close = 8,
    /// SYN seen from both sides (simultaneous open).
    SynSent2 = 9,
}

impl TcpState {
    /// The state from the low bits of a state word; out of range is [`TcpState::None`].
    #[inline(always)]
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        match bits {
            1 => Self::SynSent,
            2 => Self::SynRecv,
            3 => Self::Established,
            4 => Self::FinWait,
            5 => Self::CloseWait,
            6 => Self::LastAck,
            7 => Self::TimeWait,
            8 => Self::Close,
            9 => Self::SynSent2,
            _ => Self::None,
        }
    }

    /// The name in `conntrack -L`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::SynSent2 => "SYN_SENT2",
        }
    }
}

/// What a segment does to the connection's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transition {
    /// The connection is now in this state (perhaps as before).
    To(TcpState),
    /// Let it pass and change nothing: the receiver will answer it.
    Ignore,
    /// The segment cannot belong to the connection.
    Invalid,
}
