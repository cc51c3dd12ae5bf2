//! Removal of flows on request of user space.
//!
//! Owns the last word about what may be removed: user space only proposes keys.

use super::Tables;
use crate::{
    conntrack::{forget, is_useless},
    tuple::Tuple,
};

/// Removes the flow that `key` belongs to if it is over, or in any case when `force` is set.
/// Whether it did.
#[inline(always)]
pub fn collect<T: Tables>(t: &T, key: &Tuple<T::A>, force: bool) -> bool {
    let Some(e) = t.ct(key) else { return false };
    let salt = e.salt();
    (force || is_useless(t, key, e, t.now())) && forget(t, key, e, salt)
}
