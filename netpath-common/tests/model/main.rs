//! Random lives of a host, checked after every packet against what must always hold.
//!
//! Owns a small model that knows only which packets containers and published ports have asked for;
//! it knows nothing of ports chosen or states. The numbers are those of the invariants: 1 nothing
//! private leaves, 2 nothing enters uninvited, 3 one outside tuple for one flow, 4 checksums, 7 TTL,
//! 8 every drop has a reason. Checksums, TTL and untouched frames are checked by the host itself.

mod packets;
mod step;
mod world;

use netpath_common::testing::Host;
use proptest::prelude::*;
use step::{Step, step};
use world::World;

/// Runs steps on a fresh host.
fn run(seed: u64, capacity: usize, steps: &[Step]) {
    let mut world = World::new(Host::seeded(seed), capacity);
    for step in steps {
        world.take(step);
        world.check();
    }
    world.drain();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 600,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20_260_917),
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_the_invariants_hold(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        run(seed, 4096, &steps);
    }

    #[test]
    fn under_table_pressure(
        seed in any::<u64>(),
        capacity in 0_usize..12,
        steps in prop::collection::vec(step(), 1..150),
    ) {
        run(seed, capacity, &steps);
    }
}
