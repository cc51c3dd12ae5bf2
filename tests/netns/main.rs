//! netpath in network namespaces: real sockets through the real program.
//!
//! Owns nothing itself. Each test has namespaces of its own and can run beside every other.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;
mod bad_input;
mod big_tcp;
mod bulk;
mod coexist;
mod collector;
mod fragment;
mod guard;
mod hairpin;
mod heal;
mod host;
mod icmp_error;
mod lab;
mod lifecycle;
mod masquerade;
mod networks;
mod offload;
mod publish;
mod rules;
mod scale;
mod uplinks;
mod xdp;
mod xdp_attach;
mod xdp_nat;
