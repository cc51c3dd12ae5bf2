//! netpath beside the kernel's own NAT: the same packets, the same results.
//!
//! Owns the run: how many sequences, from which seed, and the verdict.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compare;
mod conntrack;
mod craft;
mod differences;
mod engine;
mod packet;
mod play;
mod scenarios;
mod site;
mod step;
mod tally;
mod wire;

use std::{
    cell::{Cell, RefCell},
    env,
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::{differences::TABLE, play::Play, site::Site, step::sequence, tally::Tally};

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

/// Both worlds, and the processor to stay on; `None` where a tool is missing.
fn worlds() -> Option<[Site; 2]> {
    if netpath_tests::skip::missing("nft") {
        return None;
    }
    stay_on_one_processor();
    Some([Site::new(engine::kernel), Site::new(engine::netpath)])
}

/// What has happened, the differences by their names.
fn report(tally: &Tally) {
    println!("{tally}");
    for (wanted, count) in TABLE.iter().zip(&tally.differences) {
        println!(
            "{count:>6} {}: {}; {} ({})",
            wanted.name, wanted.what, wanted.why, wanted.source
        );
    }
}

#[test]
fn the_same_packets_have_the_same_results() {
    let Some(sites) = worlds() else {
        return;
    };
    let long = env::var_os("NETPATH_LONG").is_some();
    let seed: u64 = env::var(SEED).map_or(1, |text| text.parse().unwrap());
    let tally = RefCell::new(Tally::new());
    let id = Cell::new(1);
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
        let mut play = Play::new(&sites, id.get());
        let result = play.all(&steps, &mut tally.borrow_mut());
        id.set(play.next_id());
        result.map_err(TestCaseError::fail)
    });
    let tally = tally.borrow();
    report(&tally);
    if let Err(error) = result {
        panic!("{SEED}={seed}: {error}");
    }
    // A run in which little happens proves little.
    assert!(
        tally
            .delivered
            .iter()
            .all(|n| *n > u64::from(SEQUENCES) / 10),
        "hardly anything arrives: {tally}"
    );
    assert!(tally.chosen_ports > 0 && tally.waits > 0, "{tally}");
    assert!(tally.ended < tally.sequences / 2, "{tally}");
}

#[test]
fn every_wanted_difference_is_there() {
    let Some(sites) = worlds() else {
        return;
    };
    let (mut id, mut missing) = (1, Vec::new());
    for (index, wanted) in TABLE.iter().enumerate() {
        let mut tally = Tally::new();
        let mut play = Play::new(&sites, id);
        let result = play.all(&scenarios::of(wanted.name), &mut tally);
        id = play.next_id();
        if let Err(story) = result {
            missing.push(format!("{}: another difference:\n{story}", wanted.name));
        } else if tally.differences[index] == 0 {
            missing.push(format!("{}: not seen:\n{}", wanted.name, play.story()));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_document_names_every_wanted_difference() {
    let document = include_str!("../../docs/differences.md");
    let mut named: Vec<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let mut wanted: Vec<&str> = TABLE.iter().map(|wanted| wanted.name).collect();
    named.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(named, wanted, "docs/differences.md, and the table");
}
