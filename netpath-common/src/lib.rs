//! The decisions of netpath's datapath, compiled both for the kernel (BPF) and for the host.
//!
//! Owns packet parsing, connection tracking, address and port translation, checksum updates and
//! the layout of every map record. Does not own any kernel interface: packets, tables and clocks
//! are reached through the traits of [`packet`] and [`datapath`], so that unit, property and
//! differential tests run the very code that the kernel runs.

#![no_std]
#![cfg_attr(
    target_arch = "bpf",
    feature(core_intrinsics),
    expect(
        internal_features,
        reason = "the BPF target declares no compare-and-exchange"
    )
)]

#[cfg(any(feature = "std", test))]
extern crate std;

pub mod addr;
pub mod checksum;
pub mod conntrack;
pub mod counters;
pub mod datapath;
pub mod drop_reason;
pub mod endpoint_stats;
pub mod event;
pub mod maps;
pub mod nat;
pub mod packet;
#[cfg(feature = "user")]
mod pod;
pub mod publish;
pub mod records;
pub mod sock;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tuple;
pub mod verdict;

pub use addr::{Addr, V4, V6};
pub use drop_reason::DropReason;
pub use tuple::{Direction, Tuple};
pub use verdict::{Action, Verdict};
