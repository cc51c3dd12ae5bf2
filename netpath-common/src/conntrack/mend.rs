//! Making the index of a flow again that was lost.
//!
//! Owns the case that a reply finds its record alone: without its index the original direction would
//! look like a new flow, and could not go on where its port was changed.

use super::{
    entry::{CtEntry, FLAG_STEADY, STATE_CLAIMED, STATE_SALT_MASK},
    shared::CtRef,
};
use crate::{datapath::Tables, tuple, tuple::Tuple};

/// Writes the index `index_key` that belongs to `record`, whose key is `key`. Where the place is
/// taken or the table full, the flow stays as it is.
#[inline(never)]
pub(super) fn mend<T: Tables>(
    t: &T,
    key: &Tuple<T::A>,
    index_key: &Tuple<T::A>,
    record: CtRef<T::A>,
) -> bool {
    let salt = record.salt();
    let other = key.inverse();
    let index = CtEntry {
        src: other.src,
        dst: other.dst,
        sport: other.sport,
        dport: other.dport,
        from: record.to(),
        to: record.from(),
        rule: record.rule(),
        uplink: record.uplink() as u8,
        flags: if tuple::has_connections(key.proto) {
            0
        } else {
            FLAG_STEADY
        },
        state: salt,
        generation: record.generation(),
        created: record.created(),
        stamp: record.stamp(),
        ..CtEntry::default()
    };
    if t.ct_insert(index_key, &index).is_err() {
        return false;
    }
    // Whoever claims the record deletes the index first. One who did so before it was there again
    // leaves it behind; one who claims after this look finds it.
    let state = record.state();
    let stands = state & STATE_SALT_MASK == salt && state & STATE_CLAIMED == 0;
    if !stands {
        t.ct_delete(index_key);
    }
    stands
}
