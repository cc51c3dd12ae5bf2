//! The datapath over tables in memory: every path, every reason to drop, by named cases.
//!
//! Owns no helpers: hosts, packets and the checksum oracle are `netpath_common::testing`, which
//! checks checksums and TTL of every translated frame by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod big_tcp;
mod binding;
mod connection;
mod exact;
mod forward;
mod fragment;
mod fragment_order;
mod generation;
mod guard;
mod hairpin;
mod halves;
mod icmp_error;
mod ipv6;
mod link_scope;
mod loopback;
mod malformed;
mod masquerade;
mod mss;
mod next_hop;
mod other_protocol;
mod port_choice;
mod ports;
mod publish;
mod publish_allow;
mod publish_balance;
mod publish_range;
mod quota;
mod race;
mod reasons;
mod refuse;
mod rfc4787;
mod rfc5382;
mod rfc5508;
mod rfc5508_error;
mod rfc6888;
mod rfc7857;
mod room;
mod routed;
mod sctp;
mod shadow;
mod tcp_leak;
mod tcp_table;
mod timeout;
mod truncate;
mod xdp;
mod xdp_model;
mod xdp_nat;
