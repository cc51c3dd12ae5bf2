//! Random lives of a host, checked after every packet against a model of what must always hold.
//!
//! The model is the tests' own: it reads frames by itself, keeps time and incarnations by itself, and
//! knows of conversations only what has left, entered or been published. The host has containers of both
//! families, and a life has packets of one or of both. The invariants are those of
//! ARCHITECTURE.md: 1 nothing private leaves, 2 nothing enters uninvited, 3 one outside tuple for
//! one flow, 4 checksums, 6 nobody speaks for another, 7 TTL, 8 every drop has its reason and every
//! packet its counters.
//!
//! Owns how many lives are played. With `NETPATH_LONG` it is as many as a release wants.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and asks about single reasons and verdicts"
)]

mod account;
mod admin;
mod begin;
mod binding;
mod excuse;
mod fragment;
mod life;
mod link;
mod met;
mod mode;
mod observe;
mod packets;
mod play;
mod pool;
mod reason;
mod reduce;
mod scene;
mod side;
mod step;
mod table;
mod talk;
mod talks;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::Write as _,
};

use life::{Life, life};
use met::Shape;
use netpath_common::DropReason;
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
/// Lives of one family with a reason from which on the other family has to have met it: fewer are chance.
const OFTEN: u32 = 5;
/// As many times more, where a release wants it.
const LONG: u32 = 20;

/// What a life has shown, of IPv4 and of IPv6.
#[derive(Default, Debug)]
struct Seen {
    /// Drop reasons.
    reasons: [BTreeSet<&'static str>; 2],
    shapes: [BTreeSet<Shape>; 2],
}

/// Those of one family, or too rare to be expected.
const ONE_SIDED: [DropReason; 8] = [
    DropReason::SpoofedArp,
    DropReason::UnpublishedFlood,
    DropReason::SpoofedNeighbour,
    DropReason::RogueRa,
    DropReason::RoutingHeader,
    DropReason::HeaderChain,
    DropReason::UnsupportedProtocol,
    DropReason::FragmentUnmatched,
];

/// Plays a life.
fn play(life: Life, steps: &[Step]) -> Seen {
    let mut world = World::new(life);
    for step in steps {
        world.take(step);
    }
    world.drain();
    world.seen
}

/// Counts what another life has met.
fn add<T: Ord>(all: &mut [BTreeMap<T, u32>; 2], met: [BTreeSet<T>; 2]) {
    for (all, met) in all.iter_mut().zip(met) {
        for one in met {
            *all.entry(one).or_default() += 1;
        }
    }
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
    // In how many lives a reason is met, by family.
    let mut seen: [BTreeMap<&'static str, u32>; 2] = Default::default();
    let mut shapes: [BTreeMap<Shape, u32>; 2] = Default::default();
    for _ in 0..count {
        let life = life.new_tree(&mut runner).unwrap().current();
        let length = length.new_tree(&mut runner).unwrap().current();
        let steps: Vec<Step> = (0..length)
            .map(|_| step.new_tree(&mut runner).unwrap().current())
            .collect();
        taken += steps.len();
        match reduce::outcome(life, &steps) {
            Ok(met) => {
                add(&mut seen, met.reasons);
                add(&mut shapes, met.shapes);
            }
            Err(_) => {
                let steps = reduce::shortest(life, steps);
                let why = reduce::outcome(life, &steps).unwrap_err();
                let steps: String = steps.iter().map(|step| format!("{step:?}\n")).collect();
                panic!("after {taken} steps: {why}\n{life:?}\n{steps}");
            }
        }
    }
    // What never happens was never judged: what one family meets often the other has to meet.
    let is_of_both = |reason: &str| ONE_SIDED.iter().all(|one| one.as_str() != reason);
    for (own, other) in [(&seen[0], &seen[1]), (&seen[1], &seen[0])] {
        for (reason, lives) in own.iter().filter(|(reason, _)| is_of_both(reason)) {
            assert!(
                *lives < OFTEN || other.contains_key(reason),
                "{reason} in {lives} lives of one family and in none of the other: {seen:?}"
            );
        }
        assert!(own.len() > 20, "{seen:?}");
    }
    for shapes in &shapes {
        for shape in Shape::ALL {
            assert!(shapes.contains_key(&shape), "{shape:?} never: {shapes:?}");
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
