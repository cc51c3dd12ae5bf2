//! The datapath over tables in memory: every path, every reason to drop, by named cases.
//!
//! Owns no helpers: hosts, packets and the checksum oracle are `netpath_common::testing`, which
//! checks checksums and TTL of every translated frame by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::duplicate_mod,
    reason = "each family has tests of its own by the same text"
)]

mod binding;
mod binding_limits;
mod either;
mod forward;
mod ipv4;
mod ipv4_link;
mod ipv6;
mod link_scope;
mod reasons;
mod tcp_table;
mod truncate;
mod v4;
mod v6;
mod visible4;
mod visible6;
mod xdp;
mod xdp_model;
mod xdp_nat;

// What others begin with.
use v4::both::{connection, masquerade};
