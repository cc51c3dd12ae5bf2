//! User space of netpath as a library: the program is a thin shell around it, and so are the tests.
//!
//! Owns the topology (bridge, veth, routes), the configuration and the state, the loading and
//! filling of the datapath, and the commands. Decides nothing about packets: netpath-common does.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "enums of netlink and the standard library are long and grow; the rule is for our own"
)]

pub mod bpf;
pub mod ct;
pub mod monitor;

pub mod agent;
pub mod cli;
pub mod config;
pub mod doctor;
mod firewall;
pub mod import;
pub mod instance;
pub mod net;
pub mod rules;
pub mod state;

pub mod lab;
