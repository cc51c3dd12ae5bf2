//! netpath in network namespaces: real sockets through the real program.
//!
//! Owns nothing itself. Each test has namespaces of its own and can run beside every other.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;
mod announce;
mod bad_input;
mod big_tcp;
mod blackbox_fragment;
mod blackbox_guard;
mod blackbox_icmp;
mod blackbox_leak;
mod blackbox_ports;
mod boot;
mod bulk;
mod coexist;
mod collector;
mod consent;
mod doctor;
mod drift;
mod flood;
mod fragment;
mod gone;
mod guard;
mod hairpin;
mod heal;
mod host;
mod host_bind;
mod host_bind_range;
mod host_lo;
mod host_six;
mod icmp_error;
mod ipv6;
mod ipv6_forwarding;
mod ipv6_host;
mod killed;
mod lab;
mod lifecycle;
mod lifetime;
mod link_scope;
mod many;
mod mapping;
mod masquerade;
mod networks;
mod offload;
mod other_protocol;
mod packaging;
mod path_mtu;
mod publish;
mod publish_allow;
mod publish_range;
mod reachability;
mod refuse;
mod rules;
mod scale;
mod uplink_kinds;
mod uplinks;
mod vlan;
mod xdp;
mod xdp_attach;
mod xdp_nat;
