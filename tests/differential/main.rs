//! netpath beside the kernel's own NAT: the same packets, the same results.
//!
//! Owns the run: how many sequences, from which seed, and the verdict.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod address;
mod compare;
mod conntrack;
mod craft;
mod datagram;
mod differences;
mod engine;
mod fragments;
mod packet;
mod play;
mod random;
mod rare;
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

use crate::{
    address::Family,
    differences::{TABLE, Wanted},
    engine::Mode,
    play::Play,
    random::sequence,
    site::Site,
    tally::Tally,
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

/// Both worlds, and the processor to stay on; `None` where a tool is missing.
fn worlds(mode: Mode) -> Option<[Site; 2]> {
    if ["nft", "ethtool"]
        .into_iter()
        .any(netpath_tests::skip::missing)
    {
        return None;
    }
    stay_on_one_processor();
    Some([
        Site::new(engine::kernel, mode),
        Site::new(engine::netpath, mode),
    ])
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
    play(Mode::Nat);
}

#[test]
fn and_so_they_have_beside_a_routed_network() {
    play(Mode::Routed);
}

fn play(mode: Mode) {
    let Some(sites) = worlds(mode) else {
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
    let least = u64::from(SEQUENCES) / 20;
    let mut places = tally.delivered.iter().flatten();
    assert!(
        places.all(|n| *n > least),
        "hardly anything arrives: {tally}"
    );
    assert!(tally.chosen_ports > 0 && tally.waits > 0, "{tally}");
    assert!(tally.ended < tally.sequences / 2, "{tally}");
}

#[test]
fn every_wanted_difference_is_there() {
    let (Some(nat), Some(routed)) = (worlds(Mode::Nat), worlds(Mode::Routed)) else {
        return;
    };
    let (mut id, mut missing) = (1, Vec::new());
    for (index, wanted) in TABLE.iter().enumerate() {
        let of = |family: &Family| scenarios::of(wanted.name, *family);
        let each = |family| of(family).into_iter().map(move |one| (family, one));
        for (family, (mode, steps)) in wanted.families.iter().flat_map(each) {
            let sites = match mode {
                Mode::Nat => &nat,
                Mode::Routed => &routed,
            };
            let mut tally = Tally::new();
            let mut play = Play::new(sites, id);
            let result = play.all(&steps, &mut tally);
            id = play.next_id();
            let name = format!("{} by {family:?}, {mode:?}", wanted.name);
            if let Err(story) = result {
                missing.push(format!("{name}: another difference:\n{story}"));
            } else if tally.differences[index] == 0 {
                missing.push(format!("{name}: not seen:\n{}", play.story()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_document_names_every_wanted_difference() {
    let document = include_str!("../../docs/differences.md");
    // Name, the mark of those that end a sequence, and families.
    let mut named: Vec<String> = document
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            line.split('|')
                .skip(1)
                .take(2)
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let of = |wanted: &Wanted| {
        let mark = if wanted.diverges { " →" } else { "" };
        let families = match wanted.families {
            [Family::V4] => "IPv4",
            [Family::V6] => "IPv6",
            _ => "both",
        };
        format!("`{}`{mark} {families}", wanted.name)
    };
    let mut wanted: Vec<String> = TABLE.iter().map(of).collect();
    named.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(named, wanted, "docs/differences.md, and the table");
}
