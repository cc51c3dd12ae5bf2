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
mod build6;
mod common;
mod flows;
mod frags;
mod frame;
pub mod fuzz;
mod host;
mod host6;
mod judge;
mod judge6;
mod oracle;
mod oracle6;
pub mod plain;
pub mod plain6;
mod plain_other;
mod ports;
mod published;
mod randomness;
mod routes;
mod said;
mod stack;
mod tables;
mod topology;
pub mod v4;
pub mod v6;

pub use build::*;
pub use build6::*;
pub use flows::{Seen, numbered_flow};
pub use frame::{Frame, Offload};
pub use host::{Host, HostOf, Outcome};
pub use host6::{Host6, Host6Of};
pub use judge::{judge, mss, reassemble};
pub use judge6::reassemble6;
pub use oracle::{describe, verify};
pub use randomness::{Randomness, randomness};
pub use routes::Route;
pub use tables::MemTables;
pub use topology::*;
