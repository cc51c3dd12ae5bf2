//! The cases that are the same for both families: `v4` and `v6` have them each.
//!
//! `family` is the standard host in the words of one.

use super::family;

mod change;
mod checksum;
mod forward;
mod fragments;
mod full;
mod headers;
pub(crate) mod help;
mod icmp;
mod lifetime;
mod ports;
mod published;
mod races;
mod reset;
