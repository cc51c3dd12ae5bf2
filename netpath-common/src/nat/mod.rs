//! Address and port translation: which tuple a new flow gets.
//!
//! Owns masquerade, DNAT of published ports, and the search for a free port. Does not touch
//! packets.

mod attempt;
mod binding;
mod create;
mod flow;
mod full;
mod port;

pub use binding::{bind, inside_key, outside_key};
pub use create::*;
pub use flow::*;
pub use port::Ports;
