//! Packets of protocols other than TCP, UDP and ICMP read by plain offsets.
//!
//! Owns the tests' own view of SCTP, DCCP and UDP-Lite, and of what has no ports.

use super::plain::{ACK, Body, FIN, Ip, Line, RST, SYN, be};
use crate::tuple::{DCCP, SCTP, UDPLITE};

/// What is behind the IP header in `b`. `line` makes a direction of ports and ICMP type.
pub(super) fn other<A>(ip: &Ip<A>, b: &[u8], line: impl Fn(u16, u16, u8) -> Line<A>) -> Body<A> {
    // ICMP of the other family, AH, mobility header, HIP, reserved.
    if [1, 58, 51, 135, 139, 255].contains(&ip.proto) {
        return Body::Other;
    }
    let least = match ip.proto {
        SCTP => 16,
        DCCP => 12,
        UDPLITE => 8,
        _ => return Body::Talk(line(0, 0, 0), 0),
    };
    if b.len() < least {
        return if ip.is_head {
            Body::Tiny
        } else {
            Body::Truncated
        };
    }
    let flags = match (
        ip.proto,
        b[12.min(least - 1)],
        b[8.min(least - 1)] >> 1 & 15,
    ) {
        (UDPLITE, ..) => {
            let covered = usize::from(be(b, 4));
            let beyond = covered > b.len() && !ip.is_head;
            if (1..8).contains(&covered) || beyond || be(b, 6) == 0 {
                return Body::Bad;
            }
            0
        }
        // INIT, INIT ACK, ABORT, SHUTDOWN, SHUTDOWN ACK.
        (SCTP, 1, _) => SYN,
        (SCTP, 2, _) => SYN | ACK,
        (SCTP, 6, _) => RST,
        (SCTP, 7 | 8, _) => FIN | ACK,
        (SCTP, ..) => ACK,
        (_, _, kind) => {
            let header = usize::from(b[4]) * 4;
            if header > b.len() && ip.is_head {
                return Body::Tiny;
            }
            if header < 12 || header > b.len() || kind > 9 {
                return Body::Bad;
            }
            // Request, Response, Close, Reset.
            match kind {
                0 => SYN,
                1 => SYN | ACK,
                6 => FIN | ACK,
                7 => RST,
                _ => ACK,
            }
        }
    };
    Body::Talk(line(be(b, 0), be(b, 2), 0), flags)
}
