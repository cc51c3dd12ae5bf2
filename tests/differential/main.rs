//! netpath beside the kernel's own NAT: the same packets, the same results.
//!
//! Owns the run: how many sequences, from which seed, and the verdict.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compare;
mod conntrack;
mod differences;
mod engine;
mod packet;
mod play;
mod site;
mod step;
mod wire;

use std::{cell::RefCell, env};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::{
    differences::TABLE,
    play::{Play, Tally},
    site::Site,
    step::sequence,
};

const SEQUENCES: u32 = 300;
const SEQUENCES_LONG: u32 = 10_000;

/// Names the seed of a run; without it every run is the same.
const SEED: &str = "NETPATH_SEED";

/// Every hop of every packet then waits in one queue, see `wire`.
fn stay_on_one_processor() {
    // SAFETY: the call has no preconditions.
    let cpu = unsafe { libc::sched_getcpu() };
    let mut set = CpuSet::new();
    set.set(usize::try_from(cpu).unwrap()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
}

#[test]
fn the_same_packets_have_the_same_results() {
    if netpath_tests::skip::missing("nft") {
        return;
    }
    stay_on_one_processor();
    let long = env::var_os("NETPATH_LONG").is_some();
    let seed: u64 = env::var(SEED).map_or(1, |text| text.parse().unwrap());
    let sites = [Site::new(engine::kernel), Site::new(engine::netpath)];
    let tally = RefCell::new(Tally {
        differences: vec![0; TABLE.len()],
        ..Tally::default()
    });
    let id = RefCell::new(1);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: if long { SEQUENCES_LONG } else { SEQUENCES },
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let result = TestRunner::new_with_rng(config, rng).run(&sequence(), |steps| {
        let mut play = Play::new(&sites, *id.borrow());
        let result = play.all(&steps, &mut tally.borrow_mut());
        *id.borrow_mut() = play.next_id();
        result.map_err(TestCaseError::fail)
    });
    println!("{:#?}", tally.borrow());
    if let Err(error) = result {
        panic!("{SEED}={seed}: {error}");
    }
}
