//! Fragments that come before their first one.
//!
//! Owns the bounded memory in which they wait, and what becomes of them: as soon as the first
//! fragment has been translated, each is sent once more to where it came in, now behind it. Does not
//! translate and does not reassemble.

use core::ptr::NonNull;

use super::{Tables, work::Work};
use crate::{
    addr::{Addr, V4},
    conntrack::{Budget, cas32},
    counters::Counter,
    drop_reason::DropReason,
    packet::Packet,
    records::FragKey,
    verdict::Action,
};

/// The longest frame that waits, bytes.
pub const HELD_BYTES: usize = 1600;
/// Fragments that one datagram may have waiting: one of 64 KB in reverse order.
const HELD_PER_GROUP: u32 = 48;
/// Groups; a datagram has one by a hash of its key. A power of two.
const HELD_GROUPS: u32 = 16;
/// All places.
pub const HELD: usize = (HELD_PER_GROUP * HELD_GROUPS) as usize;

/// How long a fragment waits, nanoseconds. Reordering takes milliseconds; what waits longer has lost
/// its first fragment.
pub const HOLD_NS: u64 = 2_000_000_000;

const FREE: u32 = 0;
/// Somebody writes or reads the place.
const BUSY: u32 = 1;
const WAITING: u32 = 2;

/// A place for one fragment: the value of `np_held`. All zero is a free one.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Held<A = V4> {
    /// Whose it is; changes by compare-and-exchange alone.
    state: u32,
    /// Length of the frame, bytes.
    len: u32,
    /// When it came, nanoseconds of the coarse monotonic clock.
    stamp: u64,
    /// Its datagram.
    key: FragKey<A>,
    /// Where it came in.
    ifindex: u32,
    /// The frame.
    bytes: [u8; HELD_BYTES],
}

impl<A: Addr> Default for Held<A> {
    fn default() -> Self {
        Self {
            state: FREE,
            len: 0,
            stamp: 0,
            key: FragKey::default(),
            ifindex: 0,
            bytes: [0; HELD_BYTES],
        }
    }
}

/// A place that other processors use as well.
#[derive(Clone, Copy, Debug)]
pub struct HeldRef<A = V4>(NonNull<Held<A>>);

impl<A: Addr> HeldRef<A> {
    /// Wraps a pointer that a table gave.
    ///
    /// # Safety
    /// `p` must stay readable and writable for as long as the reference and its copies are used.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn new(p: NonNull<Held<A>>) -> Self {
        Self(p)
    }

    #[inline(always)]
    const fn p(self) -> *mut Held<A> {
        self.0.as_ptr()
    }

    #[inline(always)]
    fn state(self) -> u32 {
        // SAFETY: the pointer is valid by the contract of `new`; volatile because others write.
        unsafe { (&raw const (*self.p()).state).read_volatile() }
    }

    #[inline(always)]
    fn exchange(self, old: u32, new: u32) -> bool {
        // SAFETY: the pointer is valid by the contract of `new`, and aligned.
        unsafe { cas32(&raw mut (*self.p()).state, old, new) }
    }

    #[inline(always)]
    fn stamp(self) -> u64 {
        // SAFETY: as in `state`.
        unsafe { (&raw const (*self.p()).stamp).read_volatile() }
    }

    #[inline(always)]
    fn is_of(self, key: &FragKey<A>, ifindex: u32) -> bool {
        // SAFETY: as in `state`; who finds a place in the middle of a change finds it busy next. Keys
        // are aligned as `u64` is. Field by field: a copy would lie on the stack.
        unsafe {
            let k = &raw const (*self.p()).key;
            A::read_words(&raw const (*k).src) == key.src
                && A::read_words(&raw const (*k).dst) == key.dst
                && (&raw const (*k).id).read_volatile() == key.id
                && (&raw const (*k).proto).read_volatile() == key.proto
                && (&raw const (*self.p()).ifindex).read_volatile() == ifindex
        }
    }

    #[inline(always)]
    fn len(self) -> u32 {
        // SAFETY: as in `state`.
        unsafe { (&raw const (*self.p()).len).read_volatile() }
    }

    /// The frame of a place that the caller has made busy.
    #[inline(always)]
    fn bytes<'p>(self) -> &'p mut [u8; HELD_BYTES] {
        // SAFETY: the pointer is valid by the contract of `new`, and the place is the caller's.
        unsafe { &mut (*self.p()).bytes }
    }

    /// Gives a place back that the caller has made busy.
    #[inline(always)]
    fn free(self) {
        // SAFETY: as in `state`.
        unsafe { (&raw mut (*self.p()).state).write_volatile(FREE) };
    }
}

/// Where the group of a datagram begins.
#[inline(always)]
fn group<A: Addr>(key: &FragKey<A>) -> u32 {
    let addrs = key.src.mixed() ^ key.dst.mixed().rotate_left(16);
    let mixed = (addrs ^ key.id).wrapping_mul(0x9e37_79b1);
    (mixed >> (32 - HELD_GROUPS.trailing_zeros())) * HELD_PER_GROUP
}

/// What a turn of a search is given.
struct Turn<'s, P, T: Tables> {
    pkt: &'s mut P,
    t: &'s T,
    w: &'s mut Work<T::A>,
}

/// Keeps a copy of a fragment whose first one has not come; whether it waits now.
///
/// The first one may have come on another processor meanwhile: the caller looks again, and takes the
/// copy back by [`take_back`] where it has.
#[inline(never)]
pub(super) fn hold<P: Packet, T: Tables>(pkt: &mut P, t: &T, w: &mut Work<T::A>) -> bool {
    let len = pkt.len();
    if len > HELD_BYTES {
        return false;
    }
    w.held_key = w.frag_key();
    w.held_group = group(&w.held_key);
    w.held = u32::MAX;
    let mut turn = Turn { pkt, t, w };
    t.repeat(HELD_PER_GROUP, &mut turn, keep::<P, T>);
    let kept = turn.w.held != u32::MAX;
    if kept {
        t.count(Counter::FragmentHeld);
    }
    kept
}

/// Puts the fragment into a place if that is free; 1 ends the search.
extern "C" fn keep<P: Packet, T: Tables>(i: u32, turn: *mut Turn<'_, P, T>) -> i64 {
    // SAFETY: `repeat` hands on the pointer that `hold` gave it, and nobody else uses it.
    let Turn { pkt, t, w } = unsafe { &mut *turn };
    let index = w.held_group + i;
    let Some(place) = t.held(index) else { return 1 };
    let expired = place.state() == WAITING && w.now.saturating_sub(place.stamp()) >= HOLD_NS;
    if expired && place.exchange(WAITING, BUSY) {
        // Its first fragment has never come.
        t.count_drop(DropReason::FragmentUnmatched);
    } else if place.exchange(FREE, BUSY) {
        t.add_live(Budget::HELD, 1);
    } else {
        return 0;
    }
    if !pkt.copy_to(place.bytes()) {
        place.free();
        t.add_live(Budget::HELD, -1);
        return 1;
    }
    let p = place.p();
    // SAFETY: the place is this processor's while it is busy.
    unsafe {
        (&raw mut (*p).len).write_volatile(pkt.len() as u32);
        (&raw mut (*p).stamp).write_volatile(w.now);
        (&raw mut (*p).key).write_volatile(w.held_key);
        (&raw mut (*p).ifindex).write_volatile(pkt.ifindex());
    }
    if place.exchange(BUSY, WAITING) {
        w.held = index;
    }
    1
}

/// Takes the copy back that [`hold`] has just made; false where somebody has it already, who sends
/// it on.
#[inline(always)]
pub(super) fn take_back<T: Tables>(t: &T, w: &Work<T::A>) -> bool {
    let Some(place) = t.held(w.held) else {
        return false;
    };
    if !place.exchange(WAITING, BUSY) {
        return false;
    }
    place.free();
    t.add_live(Budget::HELD, -1);
    true
}

/// Sends the fragments on that have waited for the first one that has just been translated. To be
/// called with what became of that; it stays as it is.
#[inline(always)]
pub fn release<P: Packet, T: Tables>(
    pkt: &mut P,
    t: &T,
    w: &mut Work<T::A>,
    result: &Result<Action, DropReason>,
) {
    if w.eth.ethertype != T::A::ETHERTYPE
        || !w.ip.first_fragment
        || matches!(result, Err(_) | Ok(Action::Pass)) && !w.via_stack
        || t.live(Budget::HELD) <= 0
    {
        return;
    }
    release_group(pkt, t, w);
}

/// The packet's buffer becomes each waiting fragment in turn, of which a copy is sent, and then what
/// it was: programs have no other way to make packets.
#[inline(never)]
fn release_group<P: Packet, T: Tables>(pkt: &mut P, t: &T, w: &mut Work<T::A>) -> bool {
    // The packet has been rewritten, but the parsed headers are still those that it came with.
    w.held_key = w.frag_key();
    w.held_group = group(&w.held_key);
    w.saved = 0;
    let mut turn = Turn { pkt, t, w };
    t.repeat(HELD_PER_GROUP, &mut turn, send::<P, T>);
    let (Some(first), saved) = (t.saved(), turn.w.saved) else {
        return false;
    };
    saved == 0 || turn.pkt.replace_by(first, saved as usize)
}

/// Sends the fragment in a place on if it has waited for this datagram; 1 ends the search.
extern "C" fn send<P: Packet, T: Tables>(i: u32, turn: *mut Turn<'_, P, T>) -> i64 {
    // SAFETY: `repeat` hands on the pointer that `release_group` gave it, and nobody else uses it.
    let Turn { pkt, t, w } = unsafe { &mut *turn };
    let Some(place) = t.held(w.held_group + i) else {
        return 1;
    };
    if place.state() != WAITING || !place.is_of(&w.held_key, pkt.ifindex()) {
        return 0;
    }
    if w.saved == 0 {
        let Some(first) = t.saved() else { return 1 };
        if !pkt.copy_to(first) {
            return 1;
        }
        w.saved = pkt.len() as u32;
    }
    if !place.exchange(WAITING, BUSY) {
        return 0;
    }
    let fresh =
        w.now.saturating_sub(place.stamp()) < HOLD_NS && place.is_of(&w.held_key, pkt.ifindex());
    if fresh && pkt.replace_by(place.bytes(), place.len() as usize) && pkt.send_copy_back() {
        t.count(Counter::FragmentReleased);
    } else {
        t.count_drop(DropReason::FragmentUnmatched);
    }
    place.free();
    t.add_live(Budget::HELD, -1);
    0
}

const _: () = assert!(HELD_BYTES.is_multiple_of(8));
