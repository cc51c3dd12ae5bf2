//! What tests of the datapath stand on: tables in memory, frames, packets and a checksum oracle.
//!
//! Owns no test and no decision. Packets and checksums are made and judged here by code of its own,
//! so that a fault of the datapath cannot hide in the test that should find it.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a broken surrounding fails the test that needs it"
)]

mod as_tables;
mod budget;
mod build;
mod flows;
mod frags;
mod frame;
pub mod fuzz;
mod host;
mod judge;
mod oracle;
pub mod plain;
mod ports;
mod randomness;
mod routes;
mod tables;
mod topology;

pub use build::*;
pub use flows::{Seen, numbered_flow};
pub use frame::{Frame, Offload};
pub use host::{Host, Outcome};
pub use judge::{judge, mss, reassemble};
pub use oracle::{describe, verify};
pub use randomness::{Randomness, randomness};
pub use routes::Route;
pub use tables::MemTables;
pub use topology::*;
