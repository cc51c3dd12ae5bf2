//! The memory that a CPU's programs use one after the other.
//!
//! Owns the references to it. What they hold is the datapath's.

use netpath_common::datapath::{Bucket, Work};

use crate::{family::Maps, maps};

/// The working memory of this CPU. Programs at tc and XDP hooks run with softirqs off, so none
/// interrupts another on the same CPU.
#[inline(always)]
pub(crate) fn work<'a, A: Maps>() -> Option<&'a mut Work<A>> {
    // SAFETY: no other reference exists on this CPU while this program runs.
    A::work().map(|w| unsafe { &mut *w })
}

/// This CPU's bucket of packets to ports that nobody has.
#[inline(always)]
pub(crate) fn refused<'a>() -> Option<&'a mut Bucket> {
    // SAFETY: no other reference exists on this CPU while this program runs.
    maps::REFUSED.get_ptr_mut(0).map(|b| unsafe { &mut *b })
}
