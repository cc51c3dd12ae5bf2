//! The tricky cases of address translation, by number: each input with its exact output.
//!
//! Owns cases 1 to 30, a function or more for each, named after its number, for both families
//! (`both`) but for what IPv4 has alone (`ipv4`). Without case 29, the upgrade of a running instance.
//! Cases that need processors, sockets or a kernel have their real counterparts in `tests/prog` and
//! `tests/netns`, named where they are; what the engine does in them is exact here. How each
//! mechanism works at its edges is `tests/datapath`'s.
//!
//! The host is that of `netpath_common::testing`: containers C1 172.17.0.2 and C2 172.17.0.3,
//! gateway 172.17.0.1, host H 192.0.2.1, servers S 198.51.100.9 and S2 203.0.113.5;
//! in IPv6 C1 fd00:17::2, C2 fd00:17::3, gateway fd00:17::1, H 2001:db8:1::1, S 2001:db8:2::9, S2
//! 2001:db8:3::5.

#![expect(
    clippy::duplicate_mod,
    reason = "each family has tests of its own by the same text"
)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod ipv4;
mod v4;
mod v6;
