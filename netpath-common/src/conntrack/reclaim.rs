//! Room for a new flow in a full table, at the cost of flows that are worth less.
//!
//! Owns which those are: flows that nobody has answered and TCP connections that are closing. An
//! established flow is never taken. A program cannot search a hash table for them, so their keys
//! are pushed to a bounded queue when they come to be, and popped when the table is full.

use super::{
    admit::{forget, is_record},
    entry::{STATE_CLAIMED, STATE_SEEN_REPLY, STATE_TCP_MASK},
    tcp::TcpState,
};
use crate::{counters::Counter, datapath::Tables, tuple};

/// Keys looked at for one new flow.
const POPS: u32 = 8;

/// Whether a flow with this state word may be removed for a new one.
#[inline(always)]
#[must_use]
pub const fn is_reclaimable(proto: u8, state: u32) -> bool {
    let closing = proto == tuple::TCP && is_closing(TcpState::from_bits(state & STATE_TCP_MASK));
    state & STATE_CLAIMED == 0 && (state & STATE_SEEN_REPLY == 0 || closing)
}

/// Whether both sides of a TCP connection are done with it.
#[inline(always)]
pub(super) const fn is_closing(state: TcpState) -> bool {
    matches!(
        state,
        TcpState::LastAck | TcpState::TimeWait | TcpState::Close
    )
}

struct Room<'t, T> {
    t: &'t T,
    made: bool,
}

/// Removes one reclaimable flow, oldest first; false where none was found in a few looks.
#[inline(never)]
pub fn make_room<T: Tables>(t: &T) -> bool {
    let mut room = Room { t, made: false };
    t.repeat(POPS, &mut room, look::<T>);
    if room.made {
        t.count(Counter::FlowReclaimed);
    }
    room.made
}

/// Looks at one key; 1 ends the search.
extern "C" fn look<T: Tables>(_i: u32, room: *mut Room<'_, T>) -> i64 {
    // SAFETY: `repeat` hands on the pointer that `make_room` gave it, and nobody else uses it.
    let room = unsafe { &mut *room };
    let Some(key) = room.t.reclaim_pop() else {
        return 1;
    };
    // The flow may have been answered since, or have gone.
    if let Some(e) = room.t.ct(&key)
        && is_record(e)
        && is_reclaimable(key.proto, e.state())
        && forget(room.t, &key, e)
    {
        room.made = true;
    }
    i64::from(room.made)
}
