//! netpath on kernels that have what others may not: SCTP sockets, VLAN devices and tunnels.
//!
//! Owns nothing itself. `cargo xtask vm` runs it, where a test that is skipped is a failure. Each test has
//! namespaces of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod association;
mod kernel_tunnels;
mod sctp;

mod vlan;
