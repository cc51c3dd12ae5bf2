//! Connection tracking: entries, states and lifetimes.
//!
//! Owns what a flow is and how long it lives. Does not choose translations (see `nat`).

mod admit;
mod entry;
mod reclaim;
mod shared;
pub mod tcp;
pub mod timeout;

pub use admit::*;
pub use entry::*;
pub use reclaim::{is_reclaimable, make_room};
pub use shared::CtRef;
