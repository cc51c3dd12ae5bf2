//! How long a flow lives without packets.
//!
//! Owns the rule; the figures come from [`Timeouts`]. Shared by the datapath, which judges expiry
//! on every miss-or-hit decision, and by user space, which shows what is left.

use super::{
    admit::BINDING_IDLE_NS,
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

/// SCTP, milliseconds (kernel: `sctp_timeouts` of `net/netfilter/nf_conntrack_proto_sctp.c`): from
/// INIT to COOKIE ECHO and while it shuts down, established, shut down or aborted, and picked up in the
/// middle (`HEARTBEAT_SENT`).
const SCTP: [u32; 4] = [3_000, 210_000, 10_000, 30_000];
/// DCCP, milliseconds (kernel: `dccp_init_net` of `net/netfilter/nf_conntrack_proto_dccp.c`, Linux 6.15):
/// REQUEST and RESET, RESPONSE and picked up in the middle, open, CLOSE.
const DCCP: [u32; 4] = [240_000, 480_000, 43_200_000, 64_000];
/// GRE without and with an answer, milliseconds (kernel: `nf_conntrack_proto_gre.c`).
const GRE: [u32; 2] = [30_000, 180_000];
/// Protocols that nothing is known of, milliseconds (kernel: `nf_conntrack_proto_generic.c`).
const GENERIC: u32 = 600_000;

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
        tuple::UDP | tuple::UDPLITE if is_udp_stream(state, created, last) => t.udp_stream,
        tuple::UDP | tuple::UDPLITE => t.udp,
        tuple::ICMP | tuple::ICMPV6 => t.icmp,
        tuple::SCTP => sctp_ms(state),
        tuple::DCCP => dccp_ms(state),
        tuple::GRE if state & STATE_SEEN_REPLY != 0 => GRE[1],
        tuple::GRE => GRE[0],
        tuple::BINDING => (BINDING_IDLE_NS / 1_000_000) as u32,
        _ => GENERIC,
    };
    ms as u64 * 1_000_000
}

#[inline(always)]
const fn sctp_ms(state: u32) -> u32 {
    match TcpState::from_bits(state & STATE_TCP_MASK) {
        TcpState::Established if state & STATE_PICKUP != 0 => SCTP[3],
        TcpState::Established => SCTP[1],
        TcpState::TimeWait | TcpState::Close => SCTP[2],
        TcpState::None
        | TcpState::SynSent
        | TcpState::SynRecv
        | TcpState::FinWait
        | TcpState::CloseWait
        | TcpState::LastAck
        | TcpState::SynSent2 => SCTP[0],
    }
}

#[inline(always)]
const fn dccp_ms(state: u32) -> u32 {
    match TcpState::from_bits(state & STATE_TCP_MASK) {
        TcpState::Established if state & STATE_PICKUP != 0 => DCCP[1],
        TcpState::Established => DCCP[2],
        TcpState::SynRecv => DCCP[1],
        TcpState::FinWait | TcpState::CloseWait | TcpState::LastAck => DCCP[3],
        TcpState::None
        | TcpState::SynSent
        | TcpState::TimeWait
        | TcpState::Close
        | TcpState::SynSent2 => DCCP[0],
    }
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
