//! Whether a packet may use the flow that it matches, and what it does to the flow's state.
//!
//! Owns expiry, the state word and removal. Does not translate.

use super::{
    budget,
    entry::{
        CtEntry, STATE_ASSURED, STATE_CLAIMED, STATE_PICKUP, STATE_SEEN_REPLY, STATE_TCP_MASK,
    },
    mend::mend,
    reclaim::is_closing,
    shared::CtRef,
    tcp::{self, TcpState, Transition},
    timeout,
};
use crate::{
    addr::Addr,
    counters::Counter,
    datapath::{Tables, generation},
    packet::Ip,
    publish::admits,
    records::{LOOPBACK_UPLINK, REVISION_SHIFT},
    tuple::{self, Direction, Tuple},
};

/// A stamp older than this is worth a look at the record, nanoseconds.
pub const STAMP_FRESH_NS: u64 = 1_000_000_000;

/// How long a binding without flows is kept, nanoseconds: for the one that is being made.
pub const BINDING_IDLE_NS: u64 = 2_000_000_000;

/// The answer about a packet that matches an entry.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Translate it and count it.
    Live = 0,
    /// Translate it, but it does not keep the flow alive.
    Ignored = 1,
    /// The flow is over: as if there were none.
    Miss = 2,
    /// The packet cannot belong to the flow.
    Invalid = 3,
}

impl Admission {
    #[inline(always)]
    const fn from_u32(value: u32) -> Self {
        match value {
            0 => Self::Live,
            1 => Self::Ignored,
            3 => Self::Invalid,
            _ => Self::Miss,
        }
    }
}

/// Judges a packet that matches `e` under its own tuple.
///
/// One lookup has been done; another is done only where state can change or must be read.
#[inline(always)]
pub fn admit<T: Tables>(t: &T, ip: &Ip<T::A>, e: CtRef<T::A>, now: u64) -> Admission {
    let salt = e.salt();
    if !is_current(t, &ip.tuple, e) {
        forget(t, &ip.tuple, e, salt);
        return Admission::Miss;
    }
    let quiet =
        !tuple::has_connections(ip.tuple.proto) || ip.flags & (tcp::SYN | tcp::FIN | tcp::RST) == 0;
    if e.is_steady() && quiet && now.saturating_sub(e.stamp()) < STAMP_FRESH_NS {
        return Admission::Live;
    }
    Admission::from_u32(t.consult(ip, now))
}

/// Whether everything that the flow depends on is as it was when the flow was made, but for an allow
/// list that still has the client.
#[inline(always)]
pub fn is_current<T: Tables>(t: &T, key: &Tuple<T::A>, e: CtRef<T::A>) -> bool {
    let now = generation(t, e.from(), e.to(), e.uplink(), e.rule());
    let was = e.generation();
    now == was || is_revised(t, key, e, was, now)
}

/// Judges a flow anew whose rule has another allow list now. One whose client is still let in takes
/// the new generation: nothing else of it changes.
#[inline(never)]
fn is_revised<T: Tables>(t: &T, key: &Tuple<T::A>, e: CtRef<T::A>, was: u32, now: u32) -> bool {
    // Below that are the generations, which are no others.
    if (was ^ now) << (32 - REVISION_SHIFT) != 0 || e.rule() == 0 {
        return false;
    }
    let client = if is_record(e) { e.dst() } else { key.src };
    // The host itself is on no list and let in by every one.
    if e.uplink() != LOOPBACK_UPLINK && !admits(t, e.rule(), &client) {
        return false;
    }
    e.renew(was, now);
    true
}

/// The key of the other entry of the flow.
#[inline(always)]
#[must_use]
pub fn other_key<A: Addr>(e: CtRef<A>, seen: &Tuple<A>) -> Tuple<A> {
    Tuple {
        src: e.src(),
        dst: e.dst(),
        sport: e.sport(),
        dport: e.dport(),
        proto: seen.proto,
        icmp_type: seen.icmp_type,
        zero: 0,
    }
    .inverse()
}

/// Whether a record's flow has this original tuple, of which protocol and type are known to fit.
#[inline(always)]
#[must_use]
pub fn is_of<A: Addr>(record: CtRef<A>, original: &Tuple<A>) -> bool {
    record.dst() == original.src
        && record.src() == original.dst
        && record.dport() == original.sport
        && record.sport() == original.dport
}

#[inline(always)]
pub(super) fn is_record<A: Addr>(e: CtRef<A>) -> bool {
    e.flags() & super::entry::FLAG_RECORD != 0
}

/// Reads the record, judges expiry, moves the state on: what [`Tables::consult`] is, an [`Admission`] as
/// a number.
///
/// Looks the entry up again: the kernel's verifier looks at it once a program, but lets nothing be
/// handed over that points into a map.
#[inline(always)]
pub fn consult<T: Tables>(t: &T, ip: &Ip<T::A>, now: u64) -> u32 {
    t.ct(&ip.tuple)
        .map_or(Admission::Miss, |e| judge(t, ip, e, now)) as u32
}

#[inline(always)]
fn judge<T: Tables>(t: &T, ip: &Ip<T::A>, e: CtRef<T::A>, now: u64) -> Admission {
    let (key, salt) = (&ip.tuple, e.salt());
    let other_key = other_key(e, key);
    let other = t.ct(&other_key).filter(|o| o.salt() == salt);
    let (record, direction) = if is_record(e) {
        (e, Direction::Reply)
    } else if let Some(record) = other {
        (record, Direction::Original)
    } else {
        forget(t, key, e, salt);
        return Admission::Miss;
    };
    let Some(config) = t.config() else {
        return Admission::Miss;
    };
    let state = record.state();
    let mut last = e.stamp();
    if let Some(o) = other {
        last = last.max(o.stamp());
    }
    if state & STATE_CLAIMED != 0 {
        return Admission::Miss;
    }
    if timeout::is_expired(
        &config.timeouts,
        key.proto,
        state,
        record.created(),
        last,
        now,
    ) {
        forget(t, key, e, salt);
        return Admission::Miss;
    }
    if other.is_none() {
        // Then `e` is the record.
        mend(t, key, &other_key, e);
    }
    let seen = state
        | if matches!(direction, Direction::Reply) {
            STATE_SEEN_REPLY
        } else {
            0
        };
    if !tuple::has_connections(key.proto) {
        if seen != state {
            if !record.exchange_state(state, seen) {
                // Somebody else moved it on, or it is going away: the next packet sees which.
                return Admission::Live;
            }
            budget::moved(t, key.proto, record, state, seen);
        }
        e.set_steady(true);
        return Admission::Live;
    }
    let old = TcpState::from_bits(state & STATE_TCP_MASK);
    let mut step = tcp::next(old, direction, ip.flags);
    if ip.flags & tcp::RST != 0
        && let Some(o) = other
    {
        let open = matches!(old, TcpState::Established) && state & STATE_ASSURED != 0;
        step = tcp::reset(old, open, ip.seq, o.max_ack(), e.end());
    }
    let closing = tcp::is_half_closed(old);
    let reopened = closing
        && ip.flags & (tcp::SYN | tcp::ACK) == tcp::SYN | tcp::ACK
        && matches!(direction, Direction::Reply)
        && other.is_some_and(|o| o.is_answered_by(ip.ack));
    if reopened {
        step = Transition::To(TcpState::SynRecv);
    }
    let new = match step {
        Transition::Invalid => return Admission::Invalid,
        Transition::Ignore => {
            if closing && ip.flags & (tcp::SYN | tcp::ACK) == tcp::SYN {
                // The answer to it will show whether the ports are used anew.
                e.note_syn(ip.segment_end());
            }
            return Admission::Ignored;
        }
        Transition::To(new) => new,
    };
    if matches!(direction, Direction::Reply)
        && matches!((old, new), (TcpState::TimeWait, TcpState::SynSent))
    {
        // The roles change: a new connection, which this flow must neither translate nor admit.
        // The kernel deletes the entry as well and looks the packet up again.
        forget(t, key, e, salt);
        return Admission::Miss;
    }
    let mut word = (seen & !STATE_TCP_MASK) | new as u32;
    if word & STATE_SEEN_REPLY != 0 {
        word &= !STATE_PICKUP;
        // Kernel: assured once a packet moves SYN_RECV or ESTABLISHED to ESTABLISHED after a reply.
        if matches!(old, TcpState::SynRecv | TcpState::Established)
            && matches!(new, TcpState::Established)
        {
            word |= STATE_ASSURED;
        }
    }
    if matches!(old, TcpState::TimeWait | TcpState::Close) && matches!(new, TcpState::SynSent) {
        word &= !(STATE_SEEN_REPLY | STATE_ASSURED | STATE_PICKUP);
        e.forget_segments();
        if let Some(o) = other {
            o.forget_segments();
        }
    }
    if reopened {
        word &= !(STATE_ASSURED | STATE_PICKUP);
        e.forget_segments();
    }
    let steady = matches!(new, TcpState::Established) && word & STATE_ASSURED != 0;
    if word != state {
        if !record.exchange_state(state, word) {
            return Admission::Live;
        }
        budget::moved(t, key.proto, record, state, word);
    }
    if is_closing(new) && !is_closing(old) {
        t.reclaim_push(if is_record(e) { key } else { &other_key }, false);
    }
    e.set_steady(steady);
    // Written in any case: a second condition would be merged with the null check, which the
    // verifier of kernel 6.1 then does not see.
    if let Some(o) = other {
        o.keep_steady_if(steady);
    }
    Admission::Live
}

/// Removes the flow of an entry that is of no use any more. `key` is the entry's key, `salt` the one that
/// it had before it was judged.
///
/// The flow is claimed by its record. Then the index goes first: while the record stands, nobody can be
/// given its outside tuple.
#[inline(never)]
pub fn forget<T: Tables>(t: &T, key: &Tuple<T::A>, e: CtRef<T::A>, salt: u32) -> bool {
    // The only key that is kept here: of IPv6 two would be too large for the stack.
    let mut other = other_key(e, key);
    if is_record(e) {
        if !e.claim(salt) {
            return false;
        }
        let was = budget::removed(t, key.proto, e);
        forget_half(t, &other, salt);
        t.ct_delete(key);
        other = *key;
        budget::unbind(t, &mut other, &was);
    } else {
        let Some(record) = t.ct(&other).filter(|r| r.salt() == salt) else {
            return forget_half(t, key, salt);
        };
        if !record.claim(salt) {
            return false;
        }
        let was = budget::removed(t, other.proto, record);
        forget_half(t, key, salt);
        t.ct_delete(&other);
        budget::unbind(t, &mut other, &was);
    }
    // As it is made: a binding is no flow.
    if key.proto != tuple::BINDING {
        t.count(Counter::FlowRemoved);
    }
    true
}

/// Removes an index; whether it was there.
#[inline(always)]
fn forget_half<T: Tables>(t: &T, key: &Tuple<T::A>, salt: u32) -> bool {
    // Look again: the slot may have a new life by now.
    match t.ct(key) {
        Some(again) if again.salt() == salt && !is_record(again) => {
            t.ct_delete(key);
            true
        }
        _ => false,
    }
}

/// As [`is_over`], or its client is no longer let in.
pub fn is_useless<T: Tables>(t: &T, key: &Tuple<T::A>, e: CtRef<T::A>, now: u64) -> bool {
    !is_current(t, key, e) || is_over(t, key, e, now)
}

/// Whether the flow of an entry has no use any more: expired, outdated, claimed for removal, or
/// without its record.
pub fn is_over<T: Tables>(t: &T, key: &Tuple<T::A>, e: CtRef<T::A>, now: u64) -> bool {
    // An allow list that has changed is judged by the flow's own packets and the collector: nobody
    // else is in a hurry, and the stack of the programs is small.
    let now_is = generation(t, e.from(), e.to(), e.uplink(), e.rule());
    if (now_is ^ e.generation()) << (32 - REVISION_SHIFT) != 0 {
        return true;
    }
    let other = t.ct(&other_key(e, key)).filter(|o| o.salt() == e.salt());
    let record = if is_record(e) {
        e
    } else {
        match other {
            Some(r) => r,
            None => return true,
        }
    };
    if record.state() & STATE_CLAIMED != 0 {
        return true;
    }
    let Some(config) = t.config() else {
        return false;
    };
    let last = other.map_or(e.stamp(), |o| o.stamp().max(e.stamp()));
    if key.proto == tuple::BINDING {
        // Its flows are counted in the index.
        let flows = if is_record(e) {
            other.map_or(0, CtRef::flows)
        } else {
            e.flows()
        };
        return flows <= 0 && now.saturating_sub(last) >= BINDING_IDLE_NS;
    }
    timeout::is_expired(
        &config.timeouts,
        key.proto,
        record.state(),
        record.created(),
        last,
        now,
    )
}

/// The translated tuple that an entry gives to packets of `seen`.
#[inline(always)]
#[must_use]
pub fn snapshot<A: Addr>(e: CtRef<A>, seen: &Tuple<A>) -> Tuple<A> {
    CtEntry {
        src: e.src(),
        dst: e.dst(),
        sport: e.sport(),
        dport: e.dport(),
        ..CtEntry::default()
    }
    .translated(seen)
}
