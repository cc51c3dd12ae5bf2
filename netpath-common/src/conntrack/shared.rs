//! A conntrack entry as a place that other processors read and write at the same time.
//!
//! Owns every atomic operation of the datapath. The BPF target of rustc declares no
//! compare-and-exchange, so intrinsics are used there, `core::sync::atomic` elsewhere.

use core::ptr::NonNull;

use crate::addr::{Addr, V4};

use super::entry::{CtEntry, FLAG_STEADY, STATE_CLAIMED, STATE_SALT_MASK};

/// A live entry in the conntrack table.
///
/// The table may give the slot to another flow while it is held (preallocated hash tables reuse
/// at once); what is written then is a stamp or counter of a flow that is being made this moment,
/// or a compare-and-exchange that fails by the salt in the state word.
#[derive(Clone, Copy, Debug)]
pub struct CtRef<A: Addr = V4>(NonNull<CtEntry<A>>);

impl<A: Addr> CtRef<A> {
    /// Wraps a pointer that a table gave.
    ///
    /// # Safety
    /// `p` must stay readable and writable for as long as the reference and its copies are used:
    /// in BPF for the rest of the program, on the host as long as the table.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn new(p: NonNull<CtEntry<A>>) -> Self {
        Self(p)
    }

    #[inline(always)]
    const fn p(self) -> *mut CtEntry<A> {
        self.0.as_ptr()
    }
}

macro_rules! load {
    ($($(#[$m:meta])* $field:ident: $t:ty,)+) => { impl<A: Addr> CtRef<A> { $(
        $(#[$m])*
        #[inline(always)]
        #[must_use]
        pub fn $field(self) -> $t {
            // SAFETY: the pointer is valid by the contract of `new`; volatile because others write.
            unsafe { (&raw const (*self.p()).$field).read_volatile() }
        }
    )+ } };
}

load! {
    /// Source port after translation.
    sport: u16,
    /// Destination port after translation.
    dport: u16,
    /// `FLAG_*`.
    flags: u8,
    /// See [`CtEntry::from`].
    from: u16,
    /// See [`CtEntry::to`].
    to: u16,
    /// See [`CtEntry::rule`].
    rule: u16,
    /// State word.
    state: u32,
    /// Sum of generations.
    generation: u32,
    /// Stamp, nanoseconds.
    stamp: u64,
    /// See [`CtEntry::created`].
    created: u32,
    /// See [`CtEntry::max_ack`].
    max_ack: u32,
    /// See [`CtEntry::end`].
    end: u32,
}

impl<A: Addr> CtRef<A> {
    /// Source address after translation.
    #[inline(always)]
    #[must_use]
    pub fn src(self) -> A {
        // SAFETY: the pointer is valid by the contract of `new`, and entries are aligned as `u64` is:
        // so are the first field and, of IPv6, the second.
        unsafe { A::read_words(&raw const (*self.p()).src) }
    }

    /// Destination address after translation.
    #[inline(always)]
    #[must_use]
    pub fn dst(self) -> A {
        // SAFETY: as in `src`.
        unsafe { A::read_words(&raw const (*self.p()).dst) }
    }
}

/// No window is larger than this (RFC 7323, 2.3), so no acknowledgement moves further at once.
const MAX_WINDOW: u32 = 1 << 30;

impl<A: Addr> CtRef<A> {
    /// Counts a packet and marks the direction as alive.
    #[inline(always)]
    pub fn touch(self, now: u64, bytes: u64) {
        // SAFETY: the pointer is valid by the contract of `new`.
        unsafe {
            (&raw mut (*self.p()).stamp).write_volatile(now);
            add64(&raw mut (*self.p()).packets, 1);
            add64(&raw mut (*self.p()).bytes, bytes);
        }
    }

    /// Index of a binding: how many flows use it. Below zero for a moment, see [`Tables::live`].
    ///
    /// [`Tables::live`]: crate::datapath::Tables::live
    #[inline(always)]
    #[must_use]
    pub fn flows(self) -> i64 {
        // SAFETY: the pointer is valid by the contract of `new`; volatile because others write.
        unsafe { (&raw const (*self.p()).packets).read_volatile() as i64 }
    }

    /// Index of a binding: changes that number at `now`.
    #[inline(always)]
    pub fn add_flows(self, by: i64, now: u64) {
        // SAFETY: the pointer is valid by the contract of `new`.
        unsafe {
            (&raw mut (*self.p()).stamp).write_volatile(now);
            add64(&raw mut (*self.p()).packets, by as u64);
        }
    }

    /// Remembers how far a TCP segment of this direction goes: `end` is the sequence number that
    /// follows it, `ack` what it acknowledges, 0 for nothing.
    #[inline(always)]
    pub fn note_segment(self, end: u32, ack: u32) {
        let was = self.max_ack();
        let further = ack.wrapping_sub(was) < MAX_WINDOW || was == 0;
        let highest = if ack != 0 && further { ack } else { was };
        // SAFETY: the pointer is valid by the contract of `new`.
        unsafe {
            (&raw mut (*self.p()).max_ack).write_volatile(highest);
            (&raw mut (*self.p()).end).write_volatile(end);
        }
    }

    /// Forgets what [`CtRef::note_segment`] has remembered: the ports are used anew.
    #[inline(always)]
    pub fn forget_segments(self) {
        // SAFETY: the pointer is valid by the contract of `new`.
        unsafe {
            (&raw mut (*self.p()).max_ack).write_volatile(0);
            (&raw mut (*self.p()).end).write_volatile(0);
        }
    }

    /// Remembers a SYN that came within a connection: `end` is the number that follows it.
    #[inline(always)]
    pub fn note_syn(self, end: u32) {
        // SAFETY: the pointer is valid by the contract of `new`.
        unsafe {
            (&raw mut (*self.p()).max_ack).write_volatile(0);
            (&raw mut (*self.p()).end).write_volatile(end);
        }
    }

    /// Whether a SYN-ACK of the other direction with this acknowledgement answers the SYN that
    /// [`CtRef::note_syn`] has remembered last.
    #[inline(always)]
    #[must_use]
    pub fn is_answered_by(self, ack: u32) -> bool {
        self.max_ack() == 0 && self.end() == ack
    }

    /// Slot of the uplink that the flow uses, see [`CtEntry::uplink`].
    #[inline(always)]
    #[must_use]
    pub fn uplink(self) -> u16 {
        // SAFETY: the pointer is valid by the contract of `new`; volatile because others write.
        u16::from(unsafe { (&raw const (*self.p()).uplink).read_volatile() })
    }

    /// Whether packets that cannot change the state skip the record.
    #[inline(always)]
    #[must_use]
    pub fn is_steady(self) -> bool {
        self.flags() & FLAG_STEADY != 0
    }

    /// Sets [`FLAG_STEADY`].
    #[inline(always)]
    pub fn set_steady(self, on: bool) {
        let others = self.flags() & !FLAG_STEADY;
        let steady = if on { FLAG_STEADY } else { 0 };
        // SAFETY: the pointer is valid by the contract of `new`.
        unsafe { (&raw mut (*self.p()).flags).write_volatile(others | steady) }
    }

    /// Clears [`FLAG_STEADY`] unless `keep` holds.
    #[inline(always)]
    pub fn keep_steady_if(self, keep: bool) {
        let mask = if keep { u8::MAX } else { !FLAG_STEADY };
        let was = self.flags();
        // SAFETY: the pointer is valid by the contract of `new`.
        unsafe { (&raw mut (*self.p()).flags).write_volatile(was & mask) }
    }

    /// Replaces the state word if it is still `old`; whether it was.
    #[inline(always)]
    #[must_use]
    pub fn exchange_state(self, old: u32, new: u32) -> bool {
        // SAFETY: the pointer is valid by the contract of `new`, and aligned.
        unsafe { cas32(&raw mut (*self.p()).state, old, new) }
    }

    /// Replaces the sum of generations if it is still `old`. Where it is not, the slot has another life,
    /// or another processor has done it.
    #[inline(always)]
    pub(super) fn renew(self, old: u32, new: u32) {
        // SAFETY: the pointer is valid by the contract of `new`, and aligned.
        let _ = unsafe { cas32(&raw mut (*self.p()).generation, old, new) };
    }

    /// Claims the flow for removal: true for exactly one caller, and for none once the slot has another
    /// life than the one with this salt. To be read before the flow is judged: a flow that is made in
    /// between in the same slot is not the one that was found over.
    #[inline(always)]
    #[must_use]
    pub fn claim(self, salt: u32) -> bool {
        let old = self.state();
        old & (STATE_SALT_MASK | STATE_CLAIMED) == salt
            && self.exchange_state(old, old | STATE_CLAIMED)
    }

    /// The bits that tell this flow from another life of the slot.
    #[inline(always)]
    #[must_use]
    pub fn salt(self) -> u32 {
        self.state() & STATE_SALT_MASK
    }
}

/// Adds to a number that other processors add to as well.
///
/// # Safety
/// `p` must be valid and aligned, and only be written atomically.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn add64(p: *mut u64, v: u64) {
    use core::intrinsics::{AtomicOrdering, atomic_xadd};
    // SAFETY: the caller gives a valid, aligned pointer into a map value.
    unsafe {
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(p, v);
    }
}

#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) unsafe fn cas32(p: *mut u32, old: u32, new: u32) -> bool {
    use core::intrinsics::{AtomicOrdering, atomic_cxchg};
    // SAFETY: the caller gives a valid, aligned pointer into a map value.
    let (was, _) = unsafe {
        atomic_cxchg::<u32, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(p, old, new)
    };
    was == old
}

/// Adds to a number that other processors add to as well.
///
/// # Safety
/// `p` must be valid and aligned, and only be written atomically.
#[cfg(not(target_arch = "bpf"))]
pub unsafe fn add64(p: *mut u64, v: u64) {
    use core::sync::atomic::{AtomicU64, Ordering};
    // SAFETY: the caller gives a valid, aligned pointer that is only written atomically.
    unsafe { AtomicU64::from_ptr(p) }.fetch_add(v, Ordering::Relaxed);
}

#[cfg(not(target_arch = "bpf"))]
pub(crate) unsafe fn cas32(p: *mut u32, old: u32, new: u32) -> bool {
    use core::sync::atomic::{AtomicU32, Ordering};
    // SAFETY: the caller gives a valid, aligned pointer that is only written atomically.
    unsafe { AtomicU32::from_ptr(p) }
        .compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
        .is_ok()
}
