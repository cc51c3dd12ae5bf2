//! The tricky cases of address translation, by number: each input with its exact output.
//!
//! Owns cases 1 to 30, a function or more for each, named after its number. Without case 29, the
//! upgrade of a running instance, and without what concerns IPv6: neither is built yet. Cases that
//! need processors, sockets or a kernel have their real counterparts in `tests/prog` and
//! `tests/netns`, named where they are; what the engine does in them is exact here. How each
//! mechanism works at its edges is `tests/datapath`'s.
//!
//! The host is that of `netpath_common::testing`: containers C1 172.17.0.2 and C2 172.17.0.3,
//! gateway 172.17.0.1, host H 192.0.2.1, servers S 198.51.100.9 and S2 203.0.113.5.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod change;
mod checksum;
mod forward;
mod fragments;
mod full;
mod headers;
mod help;
mod icmp;
mod lifetime;
mod ports;
mod published;
mod races;
mod reset;
