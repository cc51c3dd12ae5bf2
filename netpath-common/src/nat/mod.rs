//! Address and port translation: which tuple a new flow gets.
//!
//! Owns masquerade, DNAT of published ports, and the search for a free port. Does not touch
//! packets.

mod create;
mod port;

pub use create::*;
pub use port::Ports;
