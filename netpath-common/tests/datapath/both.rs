//! The tests that are the same for both families: `v4` and `v6` have them each.
//!
//! `family` is the standard host in the words of one. What a family has alone is `ipv4`'s or `ipv6`'s.

use super::family;

pub(crate) mod big_tcp;
mod binding_life;
pub(crate) mod connection;
mod exact;
pub(crate) mod fragment;
pub(crate) mod fragment_order;
mod generation;
mod guard;
mod hairpin;
mod halves;
mod icmp_error;
mod isolated;
mod long;
mod loopback;
pub(crate) mod malformed;
pub(crate) mod masquerade;
mod mss;
mod next_hop;
mod no_masquerade;
mod other_protocol;
mod port_choice;
mod ports;
mod publish;
mod publish_allow;
mod publish_balance;
mod publish_range;
mod quota;
mod race;
mod refuse;
pub(crate) mod rfc4787;
mod rfc5382;
mod rfc5508;
mod rfc5508_error;
mod rfc6888;
mod rfc7857;
mod room;
mod routed;
mod rule_stats;
mod sctp;
mod shadow;
mod shaped;
mod tcp_leak;
mod timeout;
mod visible;
