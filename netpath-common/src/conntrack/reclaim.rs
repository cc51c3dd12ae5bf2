//! Room for a new flow in a full table, at the cost of flows that are worth less.
//!
//! Owns which those are: flows that nobody has answered, TCP connections that are closing, and what
//! the outside has begun and not established (an answer to a spoofed SYN proves nothing). An
//! established flow is never taken. A program cannot search a hash table for them, so their keys
//! are pushed to bounded queues when they come to be, and popped when the table is full: first of
//! those that the outside has begun, which cost a sender nothing.

use super::{
    admit::{forget, is_over, is_record},
    budget::is_embryonic,
    entry::{STATE_CLAIMED, STATE_SALT_MASK, STATE_SEEN_REPLY, STATE_TCP_MASK},
    tcp::TcpState,
};
use crate::{
    counters::Counter,
    datapath::Tables,
    nat::NewFlow,
    tuple::{self, Tuple},
};

/// Keys looked at for one new flow.
const POPS: u32 = 8;
/// The same for one that the outside begins beyond the budget. More, since what has gone by itself
/// leaves its key behind, and a flood that comes after another one finds many of those first.
const POPS_INBOUND: u32 = 32;

/// Whether a flow with this state word may be removed for a new one. `inbound`: the outside has begun
/// it.
#[inline(always)]
#[must_use]
pub const fn is_reclaimable(proto: u8, state: u32, inbound: bool) -> bool {
    let closing =
        tuple::has_connections(proto) && is_closing(TcpState::from_bits(state & STATE_TCP_MASK));
    if proto == tuple::BINDING {
        return false;
    }
    let young = state & STATE_SEEN_REPLY == 0 || inbound && is_embryonic(proto, state);
    state & STATE_CLAIMED == 0 && (young || closing)
}

/// Whether both sides of a TCP connection are done with it.
#[inline(always)]
pub(super) const fn is_closing(state: TcpState) -> bool {
    matches!(
        state,
        TcpState::LastAck | TcpState::TimeWait | TcpState::Close
    )
}

struct Room<'t, T: Tables> {
    t: &'t T,
    flow: &'t mut NewFlow<T::A>,
    inbound: bool,
    made: bool,
}

/// What a look for flows that are over is given.
struct Over<'t, T> {
    t: &'t T,
    now: u64,
    made: bool,
}

/// Removes what is over of the flows that were begun longest ago, a few of them; whether something
/// was. What counts towards a quota is thus given back also where nobody collects.
#[inline(never)]
pub fn forget_over<T: Tables>(t: &T, now: u64) -> bool {
    let mut over = Over {
        t,
        now,
        made: false,
    };
    t.repeat(POPS, &mut over, look_over::<T>);
    over.made
}

/// Looks at one key, and puts that of a flow which lives back for a later look; 1 ends the search.
extern "C" fn look_over<T: Tables>(_i: u32, over: *mut Over<'_, T>) -> i64 {
    // SAFETY: `repeat` hands on the pointer that `forget_over` gave it, and nobody else uses it.
    let over = unsafe { &mut *over };
    let mut key = Tuple::default();
    if !over.t.reclaim_pop(false, &mut key) {
        return 1;
    }
    let Some(e) = over.t.ct(&key) else { return 0 };
    let salt = e.salt();
    if !is_record(e) {
        return 0;
    }
    if !is_over(over.t, &key, e, over.now) {
        over.t.reclaim_push(&key, false);
    } else if forget(over.t, &key, e, salt) {
        over.made = true;
    }
    0
}

/// Removes one reclaimable flow, oldest first; false where none was found in a few looks.
///
/// `flow`: what room is made for. A queue may still have its record's key of an earlier life, and the
/// half-made flow would be its own victim. [`NewFlow::asked`] is the memory for the keys looked at: the
/// stack has no room for them.
#[inline(always)]
pub fn make_room<T: Tables>(t: &T, flow: &mut NewFlow<T::A>) -> bool {
    search(t, true, flow, POPS) || search(t, false, flow, POPS)
}

/// As [`make_room`], of flows that the outside has begun.
#[inline(always)]
pub fn make_room_inbound<T: Tables>(t: &T, flow: &mut NewFlow<T::A>) -> bool {
    search(t, true, flow, POPS_INBOUND)
}

#[inline(never)]
fn search<T: Tables>(t: &T, inbound: bool, flow: &mut NewFlow<T::A>, pops: u32) -> bool {
    let mut room = Room {
        t,
        flow,
        inbound,
        made: false,
    };
    t.repeat(pops, &mut room, look::<T>);
    if room.made {
        t.count(Counter::FlowReclaimed);
    }
    room.made
}

/// Looks at one key; 1 ends the search.
extern "C" fn look<T: Tables>(_i: u32, room: *mut Room<'_, T>) -> i64 {
    // SAFETY: `repeat` hands on the pointer that `search` gave it, and nobody else uses it.
    let room = unsafe { &mut *room };
    let key = &mut room.flow.asked;
    if !room.t.reclaim_pop(room.inbound, key) {
        return 1;
    }
    if *key == room.flow.reply {
        return 0;
    }
    // The flow may have been established since, or have gone.
    let Some(e) = room.t.ct(key) else { return 0 };
    let state = e.state();
    if is_record(e)
        && is_reclaimable(key.proto, state, room.inbound)
        && forget(room.t, key, e, state & STATE_SALT_MASK)
    {
        room.made = true;
        return 1;
    }
    0
}
