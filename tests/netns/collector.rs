//! A million flows: collected in short steps, shown and followed without being held in memory.

use std::{
    fs,
    time::{Duration, Instant},
};

use netpath::{
    bpf::Datapath,
    ct::{
        Filter,
        collect::{Orphans, STEP_BUCKETS, STEP_ENTRIES, Sweep, SweepStats},
        count,
    },
};
use netpath_common::V4;
use netpath_tests::{
    agent::Agent,
    flows::{Age, flow, insert},
    netns::within,
    topology::World,
};

/// Flows that the table of these tests holds.
const TABLE: u32 = 1_048_576;
/// Alive throughout a test.
const FRESH: Age = Age::of(3600);
/// Longer ago than any UDP flow lives.
const OLD: Age = Age::of(-10_000);
/// Resident memory of the agent's own, KiB.
const RESIDENT: u64 = 8 * 1024;

fn big() -> World {
    let world = World::new(&[]);
    let file = world.file("netpath.toml");
    let network = world.network("bridge", "netpath0", "172.17.0.0/16", "");
    fs::write(&file, format!("[limits]\nconntrack = {TABLE}\n{network}")).unwrap();
    world.run(&["up", "-c", file.to_str().unwrap()]);
    world
}

fn datapath(world: &World) -> Datapath {
    let datapath = Datapath::open(world.instance()).unwrap();
    datapath.expect("nothing is loaded")
}

fn pass(datapath: &Datapath, orphans: Orphans) -> SweepStats {
    let mut sweep = Sweep::<V4>::begin(datapath, orphans).unwrap();
    let mut before = 0;
    while sweep.step().unwrap() {
        let seen = sweep.stats().seen;
        assert!(seen - before <= STEP_ENTRIES, "{} at once", seen - before);
        before = seen;
    }
    sweep.stats()
}

#[test]
fn a_million_flows_are_collected_in_short_steps_and_live_ones_stay() {
    let world = big();
    within(&world.host, || {
        let dp = datapath(&world);
        let all = Filter::default();
        // Nine of ten are over; of the others, some live by one direction alone.
        insert(&dp, 0..900_000, OLD);
        insert(&dp, 900_000..950_000, FRESH);
        let (old, new) = (OLD.reply, FRESH.reply);
        let by_original = Age {
            original: new,
            reply: old,
        };
        let by_reply = Age {
            original: old,
            reply: new,
        };
        insert(&dp, 950_000..975_000, by_original);
        insert(&dp, 975_000..1_000_000, by_reply);
        assert_eq!(count(&dp, &all).unwrap(), 100_000);

        let stats = pass(&dp, Orphans::Slice(0));
        assert_eq!(stats.removed, 900_000, "{stats:?}");
        // An index that is deleted with its record is not seen any more.
        assert!(
            stats.seen <= 2_000_000 && stats.seen > 1_100_000,
            "{stats:?}"
        );
        assert!(
            stats.most_entries <= STEP_ENTRIES && stats.most_keys <= 64,
            "{stats:?}"
        );
        assert!(stats.steps >= stats.seen / STEP_ENTRIES, "{stats:?}");
        assert_eq!(count(&dp, &all).unwrap(), 100_000);

        let again = pass(&dp, Orphans::All);
        assert_eq!((again.seen, again.removed), (200_000, 0), "{again:?}");
        assert!(again.most_buckets <= 2 * STEP_BUCKETS, "{again:?}");
    });
    assert_eq!(
        world.run(&["ct", "flush", "--json"]).trim(),
        "{\"removed\":100000}"
    );
}

#[test]
fn a_sparse_table_is_walked_in_parts() {
    let world = big();
    within(&world.host, || {
        let dp = datapath(&world);
        insert(&dp, 0..5_000, FRESH);
        let stats = pass(&dp, Orphans::All);
        assert_eq!((stats.seen, stats.removed), (10_000, 0));
        // Ten thousand entries would fit five steps, two million buckets do not.
        assert!(stats.most_buckets <= 2 * STEP_BUCKETS, "{stats:?}");
        assert!(stats.steps >= 8, "{stats:?}");
    });
}

#[test]
fn an_index_without_its_record_goes_with_its_slice() {
    let world = World::with_ports(&[], &[]);
    within(&world.host, || {
        let dp = datapath(&world);
        let aged = Age::of(-5);
        for number in 0..160 {
            let [_, (key, index)] = flow(number, aged);
            dp.write_flows(&[key], &[index]).unwrap();
        }
        // The destination port is the same in all, so each slice has one source port in sixteen.
        let removed: Vec<usize> = (0..16)
            .map(|turn| pass(&dp, Orphans::Slice(turn)).removed)
            .collect();
        assert_eq!(removed, [10; 16]);
        assert_eq!(pass(&dp, Orphans::All).seen, 0);
    });
}

#[test]
fn flows_of_what_is_gone_are_collected_though_they_live() {
    let world = World::with_ports(&[], &[]);
    within(&world.host, || {
        let dp = datapath(&world);
        insert(&dp, 0..100, FRESH);
        for number in 100..200 {
            // Made by an endpoint, uplink or rule that has moved on since.
            for (key, mut entry) in flow(number, FRESH) {
                entry.generation = 7;
                dp.write_flows(&[key], &[entry]).unwrap();
            }
        }
        assert_eq!(pass(&dp, Orphans::Slice(0)).removed, 100);
        assert_eq!(count(&dp, &Filter::default()).unwrap(), 100);
    });
}

#[test]
fn the_agent_stays_small_and_ct_streams_with_a_million_flows() {
    let world = big();
    within(&world.host, || {
        let dp = datapath(&world);
        insert(&dp, 0..990_000, FRESH);
        // These tell when the agent has been through the table.
        insert(&dp, 990_000..1_000_000, OLD);
    });
    let agent = Agent::start(&world);
    let deadline = Instant::now() + Duration::from_secs(60);
    let left = || within(&world.host, || removed(&datapath(&world)));
    while left() < 10_000 {
        assert!(Instant::now() < deadline, "{} of 10,000 collected", left());
        std::thread::sleep(Duration::from_millis(100));
    }
    // Without the pages of the program's own file, of which a debug build has many.
    let peak = agent.number("VmHWM") - agent.number("RssFile");
    assert!(
        peak < RESIDENT,
        "the agent had {peak} KiB of its own resident at its peak"
    );
    drop(agent);

    assert_eq!(world.run(&["ct", "count"]).trim(), "990000");
    let mut list = world.netpath_command();
    let list = list.args(["ct", "list", "--sport", "77"]);
    let out = list.output().unwrap();
    // One in 65,536 has this port.
    let lines = String::from_utf8(out.stdout).unwrap();
    assert_eq!(lines.lines().count(), 16, "{lines}");
}

fn removed(dp: &Datapath) -> u64 {
    let counters = dp.counters().unwrap();
    let found = counters.iter().find(|(c, _)| c.as_str() == "flow-removed");
    found.map_or(0, |(_, n)| *n)
}

#[test]
fn an_idle_agent_wakes_for_its_timers_alone() {
    let world = World::with_ports(&["a"], &["8080:80"]);
    let agent = Agent::start(&world);
    agent.wait_until_ready();
    let read = || (agent.number("voluntary_ctxt_switches"), agent.ticks());
    // What it does at its start is over with the first look by its timer.
    let window = Duration::from_secs(11);
    std::thread::sleep(Duration::from_secs(2));
    let (switches, ticks) = read();
    std::thread::sleep(window);
    let (switches_after, ticks_after) = read();
    // Two or three looks at the host of a few netlink dumps each, and at most three passes.
    assert!(
        switches_after - switches < 150,
        "{} wakes",
        switches_after - switches
    );
    assert!(
        ticks_after - ticks < 30,
        "{} ticks of 10 ms",
        ticks_after - ticks
    );
}
