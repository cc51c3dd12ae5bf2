//! Any frames at any hook of a host with any tables.
//!
//! Owns nothing but the entry: what an input means and what must hold is
//! [`netpath_common::testing::fuzz`]'s.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netpath_common::testing::fuzz;

fuzz_target!(|data: &[u8]| fuzz::run(data));
