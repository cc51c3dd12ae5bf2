//! TCP state as connection tracking sees it from the middle.
//!
//! Owns the state table. The transitions are those of the kernel's
//! `net/netfilter/nf_conntrack_proto_tcp.c` (`tcp_conntracks`), so that states and timeouts mean
//! what users of `conntrack -L` know. Windows are not checked (the kernel's `be_liberal`).

use crate::tuple::Direction;

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

/// Which row of the table a segment belongs to (`get_conntrack_index` of the kernel).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Segment {
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
    None,
}

#[inline(always)]
const fn segment(flags: u8) -> Segment {
    if flags & RST != 0 {
        Segment::Rst
    } else if flags & SYN != 0 {
        if flags & ACK != 0 {
            Segment::SynAck
        } else {
            Segment::Syn
        }
    } else if flags & FIN != 0 {
        Segment::Fin
    } else if flags & ACK != 0 {
        Segment::Ack
    } else {
        Segment::None
    }
}

/// What a segment with `flags`, going `direction`, does to a connection in `state`.
///
/// Source: `tcp_conntracks` in the kernel's `net/netfilter/nf_conntrack_proto_tcp.c`; the RFC 9293
/// reason stands with each row.
#[inline(always)]
#[must_use]
pub const fn next(state: TcpState, direction: Direction, flags: u8) -> Transition {
    use Direction::{Original, Reply};
    use TcpState::{
        Close, CloseWait, Established, FinWait, LastAck, None, SynRecv, SynSent, SynSent2, TimeWait,
    };
    use Transition::{Ignore, Invalid, To};
    match (segment(flags), direction, state) {
        // A connection begins, or its SYN is sent again (3.5).
        (Segment::Syn, Original, None | SynSent) => To(SynSent),
        // A new connection on the same ports may follow TIME-WAIT or a reset (3.6.1).
        (Segment::Syn, Original, TimeWait | Close) => To(SynSent),
        (Segment::Syn, Reply, TimeWait) => To(SynSent),
        // Simultaneous open (3.5, figure 7).
        (Segment::Syn, Reply, SynSent) => To(SynSent2),
        (Segment::Syn, Original | Reply, SynSent2) => To(SynSent2),
        // A SYN within a connection: the receiver answers with an ACK or RST of its own (3.10.7.4).
        (Segment::Syn, Original, SynRecv | Established | FinWait | CloseWait | LastAck) => Ignore,
        (Segment::Syn, Reply, _) => Invalid,

        // The other side accepts.
        (Segment::SynAck, Reply, SynSent | SynSent2) => To(SynRecv),
        // Simultaneous open: each side answers the other's SYN.
        (Segment::SynAck, Original, SynSent2 | SynRecv) => To(SynRecv),
        // Sent again, or it answers an ignored SYN.
        (Segment::SynAck, Reply, None) => Invalid,
        (Segment::SynAck, Reply, _) => Ignore,
        (Segment::SynAck, Original, _) => Invalid,

        // One side, then the other, has nothing more to send (3.6).
        (Segment::Fin, _, SynRecv | Established) => To(FinWait),
        (Segment::Fin, _, FinWait | CloseWait | LastAck) => To(LastAck),
        (Segment::Fin, _, TimeWait) => To(TimeWait),
        (Segment::Fin, _, Close) => To(Close),
        (Segment::Fin, _, None | SynSent | SynSent2) => Invalid,

        // Picked up in the middle.
        (Segment::Ack, Original, None) => To(Established),
        (Segment::Ack, Reply, None) => Invalid,
        // Nothing to acknowledge yet; from the server it may be a half-open connection (3.5.1).
        (Segment::Ack, Original, SynSent | SynSent2) => Invalid,
        (Segment::Ack, Reply, SynSent | SynSent2) => Ignore,
        // The handshake completes.
        (Segment::Ack, Original, SynRecv) => To(Established),
        (Segment::Ack, Reply, SynRecv) => To(SynRecv),
        (Segment::Ack, _, Established) => To(Established),
        (Segment::Ack, _, FinWait | CloseWait) => To(CloseWait),
        (Segment::Ack, _, LastAck | TimeWait) => To(TimeWait),
        (Segment::Ack, _, Close) => To(Close),

        (Segment::Rst, _, None) => Invalid,
        (Segment::Rst, _, _) => To(Close),
        (Segment::None, _, _) => Invalid,
    }
}

/// Whether at least one side has closed, and the ports are not free for anew yet.
///
/// A SYN of the original direction is let pass here and changes nothing: it may be old or forged. The
/// SYN-ACK that acknowledges exactly that SYN proves that the ports are used anew (the case
/// `TCP_CONNTRACK_IGNORE` of `nf_conntrack_tcp_packet`).
#[inline(always)]
#[must_use]
pub const fn is_half_closed(state: TcpState) -> bool {
    matches!(
        state,
        TcpState::FinWait | TcpState::CloseWait | TcpState::LastAck
    )
}

/// What an RST with the sequence number `seq` does to a connection.
///
/// `acked`: the highest number that the other side has acknowledged, 0 for none. `end`: the number
/// that follows the sender's own last segment. `open`: the handshake was completed and nobody has
/// closed.
///
/// A forged RST has to hit one number of 2^32, not a window (RFC 5961, 3): everything else of an
/// open connection is left to the receiver, which answers with a challenge ACK. Source: the case
/// `TCP_CONNTRACK_CLOSE` of `nf_conntrack_tcp_packet` in the kernel's
/// `net/netfilter/nf_conntrack_proto_tcp.c`.
#[inline(always)]
#[must_use]
pub const fn reset(state: TcpState, open: bool, seq: u32, acked: u32, end: u32) -> Transition {
    // The ports of a connection that is closing may be used anew already.
    let closing = !matches!(
        state,
        TcpState::SynSent | TcpState::SynSent2 | TcpState::SynRecv | TcpState::Established
    );
    if closing || acked == 0 || seq == acked {
        return Transition::To(TcpState::Close);
    }
    if seq == 0 && !open {
        // What a host that knows of no connection answers to a SYN (RFC 9293, 3.5.2).
        return Transition::To(TcpState::Close);
    }
    if (seq.wrapping_sub(acked) as i32) < 0 {
        return Transition::Invalid;
    }
    if !open || seq == end {
        return Transition::To(TcpState::Close);
    }
    Transition::Ignore
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays segments and returns the state after each.
    fn play(segments: &[(Direction, u8)]) -> std::vec::Vec<Result<TcpState, Transition>> {
        let mut state = TcpState::None;
        segments
            .iter()
            .map(|(d, f)| match next(state, *d, *f) {
                Transition::To(s) => {
                    state = s;
                    Ok(s)
                }
                other @ (Transition::Ignore | Transition::Invalid) => Err(other),
            })
            .collect()
    }

    #[test]
    fn open_and_close() {
        use Direction::{Original as O, Reply as R};
        use TcpState::*;
        let states = play(&[
            (O, SYN),
            (R, SYN | ACK),
            (O, ACK),
            (R, ACK | PSH),
            (O, FIN | ACK),
            (R, ACK),
            (R, FIN | ACK),
            (O, ACK),
            (O, SYN),
        ]);
        let want = [
            SynSent,
            SynRecv,
            Established,
            Established,
            FinWait,
            CloseWait,
            LastAck,
            TimeWait,
            SynSent,
        ];
        assert_eq!(states, want.map(Ok));
    }

    #[test]
    fn simultaneous_open() {
        use Direction::{Original as O, Reply as R};
        use TcpState::*;
        let states = play(&[(O, SYN), (R, SYN), (O, SYN | ACK), (R, SYN | ACK), (O, ACK)]);
        assert_eq!(
            states,
            [
                Ok(SynSent),
                Ok(SynSent2),
                Ok(SynRecv),
                Err(Transition::Ignore),
                Ok(Established)
            ]
        );
    }

    #[test]
    fn what_cannot_be_is_invalid() {
        use Direction::{Original as O, Reply as R};
        for (state, d, f) in [
            (TcpState::None, O, RST),
            (TcpState::None, O, FIN | ACK),
            (TcpState::None, O, SYN | ACK),
            (TcpState::SynSent, O, ACK),
            (TcpState::SynSent, R, FIN | ACK),
            (TcpState::Established, R, SYN),
            (TcpState::Established, O, 0),
        ] {
            assert_eq!(
                next(state, d, f),
                Transition::Invalid,
                "{state:?} {d:?} {f:#x}"
            );
        }
    }

    #[test]
    fn reset_closes_from_every_state_but_none() {
        for s in 1..=9 {
            for d in [Direction::Original, Direction::Reply] {
                assert_eq!(
                    next(TcpState::from_bits(s), d, RST),
                    Transition::To(TcpState::Close)
                );
            }
        }
    }

    #[test]
    fn reset_closes_an_open_connection_by_the_exact_number_alone() {
        use TcpState::*;
        use Transition::{Ignore, Invalid, To};
        for (state, open, seq, acked, end, want) in [
            (Established, true, 1000, 1000, 900, To(Close)),
            (Established, true, 1100, 1000, 1100, To(Close)),
            (Established, true, 1100, 1000, 900, Ignore),
            (Established, true, 999, 1000, 999, Invalid),
            // Zero is no answer to a SYN any more, but a number like every other.
            (Established, true, 0, 1000, 900, Invalid),
            (Established, true, 0, u32::MAX - 5, 900, Ignore),
            // Over the wrap.
            (Established, true, 5, u32::MAX - 5, 900, Ignore),
            (Established, true, u32::MAX - 5, 5, 900, Invalid),
            // Nothing acknowledged yet.
            (SynSent, false, 77, 0, 0, To(Close)),
            (Established, false, 1100, 1000, 900, To(Close)),
            (SynRecv, false, 999, 1000, 900, Invalid),
            (SynRecv, false, 0, 1000, 900, To(Close)),
            (FinWait, false, 3, 1000, 900, To(Close)),
            (TimeWait, false, 3, 1000, 900, To(Close)),
        ] {
            assert_eq!(
                reset(state, open, seq, acked, end),
                want,
                "{state:?} {open} {seq} {acked} {end}"
            );
        }
    }

    #[test]
    fn bits_round_trip() {
        for s in 0..=9 {
            assert_eq!(TcpState::from_bits(s) as u32, s);
        }
        assert_eq!(TcpState::from_bits(10), TcpState::None);
    }
}
