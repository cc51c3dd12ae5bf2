//! The differences from the kernel that are wanted.
//!
//! Owns the table; `docs/differences.md` says the same to readers, and a test compares the names.
//! A difference that no entry knows fails the run, and so does an entry that nothing exercises.

use crate::compare::{Both, Difference};

/// A difference and what led to it.
pub(crate) struct Seen<'s> {
    pub(crate) sent: &'s Both,
    /// All that the packet led to.
    pub(crate) all: &'s [Difference],
    pub(crate) difference: &'s Difference,
    /// What was sent before.
    pub(crate) earlier: &'s [Both],
}

/// A kind of difference.
pub(crate) struct Wanted {
    pub(crate) name: &'static str,
    /// Whether it is this one.
    pub(crate) is: fn(&Seen<'_>) -> bool,
    /// The engines know different flows afterwards, so the sequence ends.
    pub(crate) diverges: bool,
}

pub(crate) const TABLE: [Wanted; 0] = [];
