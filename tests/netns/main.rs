//! netpath in network namespaces: real sockets through the real program.
//!
//! Owns nothing itself. Each test has namespaces of its own and can run beside every other.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod address_management;
mod adopt;
mod agent;
mod bad_input;
mod big_tcp;
mod blackbox_fragment;
mod blackbox_guard;
mod blackbox_icmp;
mod blackbox_leak;
mod blackbox_ports;
mod bulk;
mod coexist;
mod collector;
mod doctor;
mod drivers;
mod firewall;
mod firewall_again;
mod flood;
mod fragment;
mod guard;
mod hairpin;
mod heal;
mod host;
mod host_bind;
mod host_bind_range;
mod host_lo;
mod host_six;
mod icmp_error;
mod import;
mod in_force;
mod ipv6;
mod ipv6_forwarding;
mod ipv6_host;
mod isolated;
mod lab;
mod lifecycle;
mod lifetime;
mod link_scope;
mod mapping;
mod masquerade;
mod network_commands;
mod networks;
mod no_masquerade;
mod offload;
mod other_protocol;
mod path_mtu;
mod publish;
mod publish_allow;
mod publish_range;
mod reachability;
mod refuse;
mod rules;
mod scale;
mod several_networks;
mod shaping;
mod uplink_kinds;
mod uplinks;
mod uplinks_by_rule;
mod vlan;
mod xdp;
mod xdp_attach;
mod xdp_nat;
