//! How long a flow lives without packets.
//!
//! Owns the rule; the figures come from [`Timeouts`]. Shared by the datapath, which judges expiry
//! on every miss-or-hit decision, and by user space, which shows what is left.

use super::{
    entry::{STATE_PICKUP, STATE_SEEN_REPLY, STATE_TCP_MASK, age_ns},
    tcp::TcpState,
};
use crate::{records::Timeouts, tuple};

/// A UDP flow with answers is a stream once it is older than this (kernel:
/// `net/netfilter/nf_conntrack_proto_udp.c`, `stream_ts`), nanoseconds.
pub const UDP_STREAM_AGE_NS: u64 = 2_000_000_000;

/// Whether a UDP flow is a stream: answered, and with a packet later than two seconds after it was
/// made. `last` is the later stamp of both directions, `state` the record's.
#[inline(always)]
#[must_use]
pub const fn is_udp_stream(state: u32, created: u32, last: u64) -> bool {
    state & STATE_SEEN_REPLY != 0 && age_ns(created, last) > UDP_STREAM_AGE_NS
}

/// Lifetime of a flow after its last packet, nanoseconds. Arguments as in [`is_udp_stream`].
#[inline(always)]
#[must_use]
pub fn lifetime_ns(t: &Timeouts, proto: u8, state: u32, created: u32, last: u64) -> u64 {
    let ms = match proto {
        tuple::TCP => {
            let tcp = TcpState::from_bits(state & STATE_TCP_MASK);
            if matches!(tcp, TcpState::Established) && state & STATE_PICKUP != 0 {
                t.tcp_pickup
            } else {
                tcp_ms(t, tcp)
            }
        }
        tuple::UDP if is_udp_stream(state, created, last) => t.udp_stream,
        tuple::UDP => t.udp,
        _ => t.icmp,
    };
    ms as u64 * 1_000_000
}

#[inline(always)]
fn tcp_ms(t: &Timeouts, state: TcpState) -> u32 {
    t.tcp.get(state as usize).copied().unwrap_or(0)
}

/// Whether a flow is over at `now`.
#[inline(always)]
#[must_use]
pub fn is_expired(t: &Timeouts, proto: u8, state: u32, created: u32, last: u64, now: u64) -> bool {
    now.saturating_sub(last) >= lifetime_ns(t, proto, state, created, last)
}
