//! Address and port translation: which tuple a new flow gets.
//!
//! Owns masquerade, DNAT of published ports, and the search for a free port. Does not touch
//! packets.

mod create;
mod flow;
mod full;
mod port;

pub use create::*;
pub use flow::*;
pub use port::Ports;
