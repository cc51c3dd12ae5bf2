//! Connection tracking: entries, states and lifetimes.
//!
//! Owns what a flow is and how long it lives. Does not choose translations (see `nat`).

mod entry;
pub mod tcp;
pub mod timeout;

pub use entry::*;
