//! Early drop at an uplink, before the kernel makes a socket buffer.
//!
//! Owns the choice of what nobody wants: packets that the tc hook or the host's stack would drop,
//! and, beyond a rate, packets that the stack would only refuse. Does not translate and changes no
//! flow: everything else passes as it is, and the tc hook decides about it.

use bytemuck::{Pod, Zeroable};

use super::{Tables, Work, bound, is_martian_source, routed};
use crate::{
    addr::Addr,
    conntrack::{CtRef, tcp},
    drop_reason::DropReason,
    packet::{Eth, Family, Ip, Kind, Packet, parse_eth},
    publish::{Asked, entry_of},
    records::PublishedKey,
    tuple,
    verdict::Action,
};

/// Packets to ports that nobody has which pass in a second, on each CPU: enough for every honest
/// client to be refused at once, too few for a flood to cost anything.
pub const REFUSED_PER_SECOND: u64 = 500;

/// As many of them may come at once after a silence.
pub const REFUSED_AT_ONCE: u64 = 100;

const SECOND: u64 = 1_000_000_000;

/// A token bucket as a moment: when the next token is there (generic cell rate algorithm,
/// ITU-T I.371). All zero is a full bucket.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Bucket {
    /// Nanoseconds of the coarse monotonic clock.
    pub next: u64,
}

impl Bucket {
    /// Takes a token if there is one. `per_second` tokens come in a second, at least one, and
    /// `at_once` are there after a silence.
    #[inline(always)]
    pub fn take(&mut self, now: u64, per_second: u64, at_once: u64) -> bool {
        let interval = SECOND.checked_div(per_second).unwrap_or(SECOND);
        let full = now.saturating_sub(interval * (at_once - 1));
        let next = if self.next < full { full } else { self.next };
        if next > now {
            return false;
        }
        self.next = next + interval;
        true
    }
}

/// What is known about a port of the host, so that the packets of a flood need no look at tables
/// and sockets each.
///
/// The answer about one packet holds for the port: a listener takes packets from everybody, and
/// whoever waits for those of one peer has sent something first, be it a socket of the host or a
/// container behind masquerade. So nobody is there if nobody was for one packet and nothing was ever
/// sent from the port. It holds for a tick, since a socket may begin to listen: to be late by that
/// is to have been asked before.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct PortUse {
    /// The destination (upper half, as in memory) for which, in this tick (lower half), nobody was
    /// found and no token was left.
    pub nobody: u64,
    /// Not zero: packets have been sent from the port since the map was made.
    pub used: u32,
    /// Not zero: the port has been the outside port of a translated flow since then.
    pub translated: u32,
}

/// [`PortUse::nobody`] of an address at this tick.
#[inline(always)]
fn nobody<A: Addr>(dst: A, tick: u32) -> u64 {
    u64::from(dst.mixed()) << 32 | u64::from(tick)
}

/// Notes that packets are sent from a port of the host.
#[inline(always)]
pub(crate) fn mark_used<T: Tables>(t: &T, proto: u8, port: u16) {
    // Looked at first: a line that is only read stays in every CPU's cache.
    if t.port(proto, port).is_some_and(|p| p.used == 0) {
        t.set_used(proto, port);
    }
}

/// Notes that a port is the outside port of a translated flow.
#[inline(always)]
pub(crate) fn mark_translated<T: Tables>(t: &T, proto: u8, port: u16) {
    if t.port(proto, port).is_some_and(|p| p.translated == 0) {
        t.set_translated(proto, port);
    }
}

/// Notes the port that a packet comes from which [`super::uplink_egress`] has left as it is: one of
/// the host's own. Resets do not count: the stack sends them from ports that nobody has.
///
/// Asked after that decision, not within: the verifier would walk each of its ways twice.
#[inline(always)]
pub fn note_sender<T: Tables>(t: &T, w: &Work<T::A>) {
    let ip = &w.ip;
    let reset = ip.tuple.proto == tuple::TCP && ip.flags & tcp::RST != 0;
    if w.eth.ethertype == T::A::ETHERTYPE && !reset {
        mark_used(t, ip.tuple.proto, ip.tuple.sport);
    }
}

/// Whether this tick has shown already that nobody wants a frame: the short way of a flood, asked
/// before [`uplink_xdp`], which is to be asked where the answer is no.
#[inline(always)]
pub fn is_known_nobodys<P: Packet, T: Tables>(pkt: &P, t: &T) -> bool {
    // Not in the working memory: what stays in registers is never written.
    let (mut eth, mut ip) = (Eth::default(), Ip::<T::A>::default());
    if parse_eth(pkt, &mut eth).is_err()
        || eth.ethertype != T::A::ETHERTYPE
        || T::A::parse(pkt, &mut ip).is_err()
        || ip.first_fragment
        || !matches!(ip.kind, Kind::Tcp | Kind::Udp)
    {
        return false;
    }
    t.port(ip.tuple.proto, ip.tuple.dport)
        .is_some_and(|p| p.used == 0 && p.nobody == nobody(ip.tuple.dst, t.tick() as u32))
}

/// Decides about a frame that an uplink's driver has received: [`Action::Pass`], or dropped.
///
/// `refused`: this CPU's bucket of packets to ports that nobody has.
///
/// # Errors
/// Why it is dropped.
#[inline(always)]
pub fn uplink_xdp<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
    refused: &mut Bucket,
) -> Result<Action, DropReason> {
    match look(pkt, t, w)? {
        // An entry that has expired is left to the tc hook as well, which alone judges and removes
        // it.
        Found::Other | Found::Flow(_) => Ok(Action::Pass),
        Found::NoFlow => judge(t, &w.ip, refused),
    }
}

/// What the tables say about a frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<A: Addr> {
    /// Not IPv4.
    Other,
    /// A flow that comes in by an uplink has an entry for it.
    Flow(CtRef<A>),
    /// There is none.
    NoFlow,
}

/// Parses a frame and looks for its flow. Established flows first: they cost one lookup more than
/// without this hook.
#[inline(always)]
pub(super) fn look<P: Packet, T: Tables>(
    pkt: &P,
    t: &T,
    w: &mut Work<T::A>,
) -> Result<Found<T::A>, DropReason> {
    parse_eth(pkt, &mut w.eth)?;
    if w.eth.ethertype != T::A::ETHERTYPE {
        return Ok(Found::Other);
    }
    T::A::parse(pkt, &mut w.ip)?;
    if w.ip.is_tracked()
        && let Some(e) = t.ct(&w.ip.tuple)
        && e.from() == 0
    {
        return Ok(Found::Flow(e));
    }
    Ok(Found::NoFlow)
}

/// Decides about a packet that belongs to no flow.
#[inline(always)]
pub(super) fn judge<T: Tables>(
    t: &T,
    ip: &Ip<T::A>,
    refused: &mut Bucket,
) -> Result<Action, DropReason> {
    let dst = ip.tuple.dst;
    let to_us = t.is_host_addr(&dst);
    if dst.is_loopback() {
        return Err(DropReason::Martian);
    }
    if !to_us && let Some(network) = t.subnet(&dst) {
        // Of a routed network the tc hook knows what is open.
        return if routed::may_be_reached(t, network) {
            Ok(Action::Pass)
        } else {
            Err(DropReason::DirectAccess)
        };
    }
    if is_martian_source(t, &ip.tuple.src) {
        return Err(DropReason::Martian);
    }
    if to_us {
        return to_host(t, ip, refused);
    }
    // Multicast, broadcast, and what the host routes for others.
    Ok(Action::Pass)
}

/// A packet to one of the host's addresses that belongs to no flow.
#[inline(always)]
fn to_host<T: Tables>(t: &T, ip: &Ip<T::A>, refused: &mut Bucket) -> Result<Action, DropReason> {
    // The rest of a datagram may make it whole.
    if ip.first_fragment {
        return Ok(Action::Pass);
    }
    match ip.kind {
        Kind::Tcp | Kind::Udp => {
            // Published ports are reserved, so this bit spares everything else the look-ups. Who may
            // use one is asked where flows are made.
            if t.is_reserved(ip.tuple.proto, ip.tuple.dport) && is_published::<T>(t, ip) {
                return Ok(Action::Pass);
            }
            if bound::is_bound(t, &ip.tuple) {
                return Ok(Action::Pass);
            }
        }
        Kind::Truncated => return Err(DropReason::Truncated),
        Kind::BadL4 if has_wrong_length(ip) => return Err(DropReason::BadL4Header),
        // Flags that no stack sends. A socket may still take the segment for a reset, and the
        // stack answers it where there is none; netpath publishes no port for it.
        Kind::BadL4 => {}
        Kind::Sctp
        | Kind::Dccp
        | Kind::IcmpQuery
        | Kind::IcmpError
        | Kind::IcmpRedirect
        | Kind::IcmpOther
        | Kind::Tail
        | Kind::Tiny
        | Kind::Other
        | Kind::Unsupported => return Ok(Action::Pass),
    }
    if t.host_socket(&ip.tuple) || refused.take(t.now(), REFUSED_PER_SECOND, REFUSED_AT_ONCE) {
        return Ok(Action::Pass);
    }
    // Of a port that is published for segments with other flags, this one tells nothing.
    if matches!(ip.kind, Kind::Tcp | Kind::Udp) {
        t.set_nobody(
            ip.tuple.proto,
            ip.tuple.dport,
            nobody(ip.tuple.dst, t.tick() as u32),
        );
    }
    Err(DropReason::UnpublishedFlood)
}

/// Whether the packet asks for a published port.
#[inline(always)]
fn is_published<T: Tables>(t: &T, ip: &Ip<T::A>) -> bool {
    let asked = Asked {
        dst: ip.tuple.dst,
        dport: ip.tuple.dport,
        proto: ip.tuple.proto,
        ..Asked::default()
    };
    entry_of(t, &mut PublishedKey::default(), &asked).is_some()
}

/// Whether a transport header that contradicts itself does so by a length: those packets every
/// stack drops without an answer (`tcp_v4_rcv`, `__udp4_lib_rcv`).
#[inline(always)]
fn has_wrong_length<A: Addr>(ip: &Ip<A>) -> bool {
    ip.tuple.proto != tuple::TCP
        || ip.tcp_len < 20
        || usize::from(ip.l4) + usize::from(ip.tcp_len) > ip.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::default();
        let start = 5 * SECOND;
        let taken = |bucket: &mut Bucket, now| {
            (0..10_000)
                .filter(|_| bucket.take(now, REFUSED_PER_SECOND, REFUSED_AT_ONCE))
                .count()
        };
        assert_eq!(taken(&mut bucket, start) as u64, REFUSED_AT_ONCE);
        assert_eq!(taken(&mut bucket, start), 0);
        // Ticks of a coarse clock of 250 Hz.
        let mut sum = 0;
        for tick in 1..=250 {
            sum += taken(&mut bucket, start + tick * SECOND / 250);
        }
        assert_eq!(sum as u64, REFUSED_PER_SECOND);
        assert_eq!(
            taken(&mut bucket, start + 60 * SECOND) as u64,
            REFUSED_AT_ONCE
        );
    }

    #[test]
    fn a_bucket_works_right_after_boot() {
        assert!(Bucket::default().take(0, REFUSED_PER_SECOND, REFUSED_AT_ONCE));
    }
}
