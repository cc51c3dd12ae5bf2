//! Flows that several processors make at the same time: cases 5 and 6 of the tricky ones.
//!
//! Owns the races of making. What the collector does meanwhile is [`super::race_collect`]'s. The
//! races are real: threads on every processor run the loaded program at once, and where lost races
//! leave a trace the tests demand that there were some.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    env,
};

use netpath_common::{
    Tuple,
    conntrack::{Budget, CtEntry, STATE_CLAIMED, STATE_SALT_MASK},
    records::CONFIG_PRESERVE_PORTS,
    testing::*,
};
use netpath_tests::{
    at_once::{alone, processors, rounds},
    runner::{REDIRECT, Ran, Runner, SHOT},
};

/// Rounds between two looks at the whole table.
pub(crate) const BATCH: u32 = 200;

/// Entries of the table, more than any batch leaves.
pub(crate) const ENTRIES: u32 = 4096;

/// A third container of the first network, which the standard host does not have.
const C4: Container = Container {
    addr: [172, 17, 0, 4],
    addr6: [0xfd, 0, 0, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4],
    mac: [2, 0x42, 0, 0, 0, 5],
    ifindex: 14,
    slot: 4,
    network: NET1,
};

/// How many batches a test with so many threads is to run. Where threads share a processor the others
/// wait for a switch in each round, so there are fewer; and fewest where processors are emulated.
pub(crate) fn batches(threads: usize) -> u32 {
    let rounds = if env::var_os("NETPATH_LONG").is_some() {
        100_000
    } else if env::var_os("NETPATH_SHORT").is_some() {
        1_000
    } else {
        10_000
    };
    let shared = threads > processors().len();
    rounds / BATCH / if shared { 5 } else { 1 }
}

/// The first packet of a flow as its container sends it.
pub(crate) fn first_packet(c: &Container, sport: u16) -> Frame {
    crate::sent(c, &udp(c.addr, sport, S, 53, b"race")).1
}

/// Source port of the round of a batch: others than in the batch before.
fn port(batch: u32, round: u32) -> u16 {
    10_000 + ((batch * BATCH + round) % 40_000) as u16
}

/// The port that a packet has left from.
pub(crate) fn left_from(ran: &Ran) -> u16 {
    u16::from_be_bytes([ran.bytes[34], ran.bytes[35]])
}

/// Every entry has its other half, of the same life and not claimed, and no two flows have one
/// outside tuple. The indexes, each with the outside port of its flow.
pub(crate) fn pairs(r: &Runner) -> HashMap<Tuple, (u16, CtEntry)> {
    let all: HashMap<Tuple, CtEntry> = r.flows().into_iter().collect();
    let mut outside = BTreeSet::new();
    let mut indexes = HashMap::new();
    for (key, e) in &all {
        let other_key = e.other_key(key);
        let other = all.get(&other_key);
        let other = other.unwrap_or_else(|| panic!("half a flow: {key:?}, no {other_key:?}"));
        assert_ne!(e.is_record(), other.is_record(), "{key:?}");
        assert_eq!(
            e.state & STATE_SALT_MASK,
            other.state & STATE_SALT_MASK,
            "two lives: {key:?}"
        );
        assert_eq!(e.state & STATE_CLAIMED, 0, "claimed and left: {key:?}");
        if !e.is_record() {
            let t = e.translated(key);
            assert!(
                outside.insert((t.proto, t.src, t.sport, t.dst, t.dport)),
                "two flows as {t:?}"
            );
            indexes.insert(*key, (t.sport, *e));
        }
    }
    indexes
}

/// What the counters have grown by since the last call.
#[derive(Default)]
pub(crate) struct Grown(BTreeMap<&'static str, u64>);

impl Grown {
    pub(crate) fn since(&mut self, r: &Runner) -> BTreeMap<&'static str, u64> {
        let now = r.counters();
        let grown = crate::change(&self.0, &now);
        self.0 = now;
        grown
    }
}

/// Flows and outside ports that count towards the quotas of an endpoint.
pub(crate) fn counted(r: &Runner, slot: u16) -> (i64, i64) {
    (r.live(Budget::flows(slot)), r.live(Budget::ports(slot)))
}

/// Removes every flow, and sees that each is gone once and counts no more.
pub(crate) fn empty(r: &mut Runner, slots: &[u16], grown: &mut Grown) {
    let records: Vec<Tuple> = r
        .flows()
        .into_iter()
        .filter_map(|(key, e)| e.is_record().then_some(key))
        .collect();
    let removed: i32 = records.chunks(64).map(|keys| r.collect(keys, true)).sum();
    assert_eq!(removed as usize, records.len());
    assert!(r.flows().is_empty());
    assert_eq!(
        grown.since(r).get("flow-removed").copied().unwrap_or(0),
        records.len() as u64
    );
    for slot in slots {
        assert_eq!(counted(r, *slot), (0, 0), "endpoint {slot}");
    }
}

/// Case 5. The first packet of one flow on all processors at once makes one flow, and all leave by it.
/// How many races were lost, where that shows.
fn one_flow(threads: usize, preserve: bool) -> u64 {
    let mut r = Runner::with_entries(ENTRIES);
    if !preserve {
        r.tables.config.as_mut().unwrap().flags &= !CONFIG_PRESERVE_PORTS;
        r.sync_config();
    }
    let veth = r.shared("np_veth");
    let (mut grown, mut lost) = (Grown::default(), 0);
    for batch in 0..batches(threads) {
        let ran = rounds(threads, BATCH, |_, round| {
            veth.run(&first_packet(&C1, port(batch, round))).unwrap()
        });
        let flows = pairs(&r);
        assert_eq!(flows.len() as u32, BATCH, "one flow a round");
        for round in 0..BATCH {
            let sport = port(batch, round);
            let key = Tuple {
                src: C1.addr,
                dst: S,
                sport,
                dport: 53,
                proto: netpath_common::tuple::UDP,
                ..Tuple::default()
            };
            let (outside, index) = flows[&key];
            assert_eq!(index.packets, threads as u64, "{key:?}");
            assert!(!preserve || outside == sport, "{sport} became {outside}");
            for thread in &ran {
                let one = &thread[round as usize];
                assert_eq!(one.action, REDIRECT, "{key:?}");
                assert_eq!(*one, ran[0][round as usize], "all look the same outside");
                assert_eq!(left_from(one), outside, "{key:?}");
            }
        }
        let mut changes = grown.since(&r);
        lost += changes
            .remove("port-changed")
            .map_or(0, |n| n - u64::from(BATCH));
        let packets = threads as u64 * u64::from(BATCH);
        let want = [("flow-new", u64::from(BATCH)), ("to-uplink", packets)];
        assert_eq!(changes, want.into(), "batch {batch}");
        let all = i64::from(BATCH);
        assert_eq!(counted(&r, C1.slot), (all, all));
        empty(&mut r, &[C1.slot], &mut grown);
    }
    lost
}

#[test]
fn one_flow_on_all_processors_at_once() {
    if alone() {
        return;
    }
    for threads in [2, 4] {
        one_flow(threads, true);
    }
}

#[test]
fn one_flow_on_all_processors_at_once_with_random_ports() {
    if alone() {
        return;
    }
    for threads in [2, 4] {
        // Here who comes too late has reserved a port of its own and gives it back.
        let lost = one_flow(threads, false);
        println!(
            "{threads} threads: {lost} reservations given back in {} rounds",
            batches(threads) * BATCH
        );
        assert!(lost > 0, "nothing ran at the same time");
    }
}

/// Case 6.
#[test]
fn flows_that_want_one_port_at_once() {
    if alone() {
        return;
    }
    for senders in [&[C1, C2][..], &[C1, C2, C3, C4]] {
        let mut r = Runner::with_entries(ENTRIES);
        r.ip("link add c4 index 14 type veth peer name c4-peer index 114");
        r.tables.add_container(&C4);
        r.sync();
        let veth = r.shared("np_veth");
        let slots: Vec<u16> = senders.iter().map(|c| c.slot).collect();
        let (mut grown, mut first_of) = (Grown::default(), BTreeMap::<u16, u32>::new());
        for batch in 0..batches(senders.len()) {
            let ran = rounds(senders.len(), BATCH, |thread, round| {
                veth.run(&first_packet(&senders[thread], port(batch, round)))
                    .unwrap()
            });
            let flows = pairs(&r);
            assert_eq!(flows.len(), senders.len() * BATCH as usize);
            let mut changed = 0;
            for round in 0..BATCH {
                let sport = port(batch, round);
                let mut ports = BTreeSet::new();
                for (c, thread) in senders.iter().zip(&ran) {
                    let one = &thread[round as usize];
                    assert_eq!(one.action, REDIRECT);
                    let key = Tuple {
                        src: c.addr,
                        dst: S,
                        sport,
                        dport: 53,
                        proto: netpath_common::tuple::UDP,
                        ..Tuple::default()
                    };
                    assert_eq!(flows[&key].0, left_from(one), "{key:?}");
                    assert_eq!(flows[&key].1.packets, 1);
                    assert!(ports.insert(left_from(one)), "{key:?} shares its port");
                    if left_from(one) == sport {
                        *first_of.entry(c.slot).or_default() += 1;
                    } else {
                        changed += 1;
                    }
                }
                // Unless a flow of another round has been given that port.
                let kept = ports.contains(&sport);
                let taken = flows.iter().any(|(k, f)| f.0 == sport && k.sport != sport);
                assert!(kept != taken, "{sport}: the first keeps its own");
            }
            let all = u64::from(BATCH) * senders.len() as u64;
            let want = [
                ("flow-new", all),
                ("port-changed", changed),
                ("to-uplink", all),
            ];
            assert_eq!(grown.since(&r), want.into(), "batch {batch}");
            for slot in &slots {
                assert_eq!(counted(&r, *slot), (i64::from(BATCH), i64::from(BATCH)));
            }
            empty(&mut r, &slots, &mut grown);
        }
        println!("who kept the port, by endpoint: {first_of:?}");
        assert!(first_of.len() > 1, "nothing ran at the same time");
    }
}

/// The quota is looked at before the flow is counted, so as many more get through as make flows at
/// the same time, and no more; and what counts is what there is.
#[test]
fn a_quota_that_is_reached_on_all_processors_at_once() {
    if alone() {
        return;
    }
    const THREADS: usize = 4;
    const LIMIT: u32 = 2 * BATCH;
    let mut r = Runner::with_entries(ENTRIES);
    r.tables.config.as_mut().unwrap().endpoint_flows = LIMIT;
    r.sync_config();
    let veth = r.shared("np_veth");
    let mut grown = Grown::default();
    for batch in 0..batches(THREADS) / 2 {
        let ran = rounds(THREADS, BATCH, |thread, round| {
            let sport = 10_000 + (thread as u32 * BATCH + round) as u16;
            let ran = veth.run(&first_packet(&C1, sport)).unwrap();
            // Some of the refused become an ICMP error to the container.
            (ran.action, ran.bytes[23] == netpath_common::tuple::ICMP)
        });
        let count = |what| ran.iter().flatten().filter(|ran| **ran == what).count();
        let made = count((REDIRECT, false));
        let told = count((REDIRECT, true));
        let refused = count((SHOT, false)) + told;
        let limit = LIMIT as usize;
        assert!((limit..limit + THREADS).contains(&made), "{made} flows");
        assert_eq!(made + refused, THREADS * BATCH as usize);
        assert_eq!(pairs(&r).len(), made);
        let count = made as u64;
        let want = [
            ("endpoint-quota", refused as u64),
            ("flow-new", count),
            ("to-uplink", count),
        ];
        let mut changes = grown.since(&r);
        // Nobody reads the ring.
        changes.remove("event-lost");
        assert_eq!(changes.remove("refusal-told").unwrap_or(0), told as u64);
        assert_eq!(changes, want.into(), "batch {batch}");
        assert_eq!(counted(&r, C1.slot), (made as i64, made as i64));
        empty(&mut r, &[C1.slot], &mut grown);
    }
}
