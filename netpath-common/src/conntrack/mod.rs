//! Connection tracking: entries, states and lifetimes.
//!
//! Owns what a flow is and how long it lives. Does not choose translations (see `nat`).

mod admit;
pub(crate) mod budget;
mod entry;
mod mend;
mod reclaim;
mod shared;
pub mod tcp;
pub mod timeout;

pub use admit::*;
pub use budget::{Budget, is_embryonic};
pub use entry::*;
pub use reclaim::{forget_over, is_reclaimable, make_room, make_room_inbound};
pub(crate) use shared::cas32;
pub use shared::{CtRef, add64};
