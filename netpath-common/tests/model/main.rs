//! Random lives of a host, checked after every packet against a model of what must always hold.
//!
//! The model is the tests' own: it reads frames by itself, keeps time and incarnations by itself, and
//! knows of conversations only what has left, entered or been published. The invariants are those of
//! ARCHITECTURE.md: 1 nothing private leaves, 2 nothing enters uninvited, 3 one outside tuple for
//! one flow, 4 checksums, 7 TTL, 8 every drop has its reason and every packet its counters.
//!
//! Owns how many lives are played. With `NETPATH_LONG` it is as many as a release wants.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and asks about single reasons and verdicts"
)]

mod account;
mod fragment;
mod life;
mod observe;
mod packets;
mod play;
mod reason;
mod reduce;
mod scene;
mod step;
mod table;
mod talk;
mod world;

use std::{env, io::Write as _};

use life::{Life, life};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{RngSeed, TestRunner},
};
use step::{Step, step};
use world::World;

/// Steps of the longest life; the mean is half of it.
const LONGEST: usize = 1500;
/// Lives of each kind.
const LIVES: u32 = 1000;
/// As many times more, where a release wants it.
const LONG: u32 = 20;

/// Plays a life.
fn play(life: Life, steps: &[Step]) {
    let mut world = World::new(life);
    for step in steps {
        world.take(step);
    }
    world.drain();
}

/// Plays many lives with tables of this many entries, and says how many steps they took.
fn lives(name: &str, seed: u64, capacity: impl Strategy<Value = usize>) {
    let long = env::var_os("NETPATH_LONG").is_some();
    let count = if long { LIVES * LONG } else { LIVES };
    let mut runner = TestRunner::new(ProptestConfig {
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    });
    // Values one by one: the trees of a whole life, by which it would be shrunk, take more time than
    // playing it. `reduce` shortens one that fails.
    let (life, length, step) = (life(capacity), 1..LONGEST, step());
    let mut taken = 0;
    for _ in 0..count {
        let life = life.new_tree(&mut runner).unwrap().current();
        let length = length.new_tree(&mut runner).unwrap().current();
        let steps: Vec<Step> = (0..length)
            .map(|_| step.new_tree(&mut runner).unwrap().current())
            .collect();
        taken += steps.len();
        if reduce::outcome(life, &steps).is_err() {
            let steps = reduce::shortest(life, steps);
            let why = reduce::outcome(life, &steps).unwrap_err();
            let steps: String = steps.iter().map(|step| format!("{step:?}\n")).collect();
            panic!("after {taken} steps: {why}\n{life:?}\n{steps}");
        }
    }
    // Past the capture of the test harness: the number is part of what the test says.
    let mut output = std::io::stderr();
    writeln!(output, "model, {name}: {taken} steps").unwrap();
}

#[test]
fn whatever_happens_the_invariants_hold() {
    lives("a large table", 20_260_917, Just(4096));
}

#[test]
fn under_table_pressure() {
    lives("a small table", 20_261_125, 0..60_usize);
}
