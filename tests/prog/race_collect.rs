//! The collector on one processor while packets of the same flows run on another (case 10).
//!
//! Owns the races of removal. Whatever becomes of a flow, no half of it is left, no outside tuple is
//! given twice, and what has been made anew stays: the collector's keys are always older than what
//! the packets do.

use std::time::{Duration, Instant};

use netpath_common::{
    Tuple,
    testing::*,
    tuple::{self, UDP},
};
use netpath_tests::{
    at_once::{Shared, alone, proposal, rounds},
    runner::{NEXT, REDIRECT, Ran, Runner, SHOT},
};

use crate::race::{BATCH, ENTRIES, Grown, batches, counted, empty, first_packet, left_from, pairs};

/// More than an unanswered UDP flow lives, nanoseconds.
const PAST_EXPIRY: u64 = 31_000_000_000;

/// Packets after which a flow has to have been made, however often the collector was in the way.
const ATTEMPTS: usize = 1000;

/// How many different moments the collector begins at.
const STARTS: u32 = 50;

fn port(round: u32) -> u16 {
    20_000 + round as u16
}

fn index_key(sport: u16) -> Tuple {
    Tuple {
        src: C1.addr,
        dst: S,
        sport,
        dport: 53,
        proto: UDP,
        ..Tuple::default()
    }
}

fn record_key(outside: u16) -> Tuple {
    Tuple {
        src: S,
        dst: H,
        sport: 53,
        dport: outside,
        proto: UDP,
        ..Tuple::default()
    }
}

/// Either key of the flow of a round, as the collector may come upon it.
fn key(round: u32) -> Tuple {
    if round % 2 == 0 {
        record_key(port(round))
    } else {
        index_key(port(round))
    }
}

/// Begins a flow for each round.
fn begin(r: &mut Runner) {
    for round in 0..BATCH {
        let frame = first_packet(&C1, port(round));
        let ran = r.run(netpath_common::event::Hook::Veth, &frame);
        assert_eq!((ran.action, left_from(&ran)), (REDIRECT, port(round)));
    }
}

/// Moves the datapath's clock, and waits until no processor goes by the old time: each reads it once a
/// tick.
fn pass(r: &mut Runner, ns: u64) {
    r.tables.config.as_mut().unwrap().clock_offset_ns += ns;
    r.sync_config();
    let coarse = || {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
        Duration::from(now)
    };
    let (begin, deadline) = (coarse(), Instant::now() + Duration::from_secs(10));
    // The tick after the next one, since it may have moved on between the two clocks of a packet.
    while coarse() < begin + Duration::from_millis(20) {
        assert!(Instant::now() < deadline, "the coarse clock stands still");
        std::thread::yield_now();
    }
}

/// What one round did: how many packets were refused, and the one that was not; or how many flows
/// the collector has removed.
enum Did {
    Sent(usize, Ran),
    Removed(i32),
}

/// Sends until a packet gets through. A flow that is being removed this moment costs packets.
fn send(program: &Shared, frame: &Frame) -> Did {
    for refused in 0..ATTEMPTS {
        let ran = program.run(frame).unwrap();
        if ran.action != SHOT {
            return Did::Sent(refused, ran);
        }
    }
    panic!("the flow is never made");
}

/// Runs a batch: even threads send the packet of the round, odd ones propose its flow.
fn against_the_collector(
    threads: usize,
    program: &Shared,
    collect: &Shared,
    packet: impl Fn(u32) -> Frame + Sync,
) -> Vec<Vec<Did>> {
    rounds(threads, BATCH, |thread, round| {
        if thread % 2 == 0 {
            send(program, &packet(round))
        } else {
            // It has less to do before it meets the flow: another head start for the packet each time.
            for _ in 0..round % STARTS * 3 {
                std::hint::spin_loop();
            }
            let ran = collect.run(&proposal(&[key(round)], false)).unwrap();
            Did::Removed(ran.action)
        }
    })
}

#[test]
fn an_expired_flow_is_made_anew_while_it_is_collected() {
    if alone() {
        return;
    }
    let (mut by_collector, mut by_packet, mut refused, mut moved) = (0, 0, 0, 0);
    for threads in [2, 4] {
        let mut r = Runner::with_entries(ENTRIES);
        let (veth, collect) = (r.shared("np_veth"), r.shared("np_collect"));
        let mut grown = Grown::default();
        for _ in 0..batches(threads) {
            begin(&mut r);
            pass(&mut r, PAST_EXPIRY);
            let _ = grown.since(&r);
            let did = against_the_collector(threads, &veth, &collect, |round| {
                first_packet(&C1, port(round))
            });
            let flows = pairs(&r);
            assert_eq!(
                flows.len() as u32,
                BATCH,
                "one flow a round, and each lives"
            );
            let mut collected = 0;
            for one in did.iter().flatten() {
                match one {
                    Did::Removed(n) => collected += u64::try_from(*n).unwrap(),
                    Did::Sent(times, _) => refused += times,
                }
            }
            for (round, one) in did.iter().step_by(2).flat_map(|all| (0..).zip(all)) {
                let Did::Sent(_, ran) = one else {
                    unreachable!("even threads send")
                };
                assert_eq!(ran.action, REDIRECT);
                let outside = flows[&index_key(port(round))].0;
                assert_eq!(left_from(ran), outside, "it left by a flow that is gone");
                moved += usize::from(outside != port(round));
            }
            let changes = grown.since(&r);
            assert_eq!(changes["flow-removed"], u64::from(BATCH), "once each");
            assert_eq!(changes["flow-new"], u64::from(BATCH));
            assert!(collected <= u64::from(BATCH));
            by_collector += collected;
            by_packet += u64::from(BATCH) - collected;
            assert_eq!(
                counted(&r, C1.slot),
                (i64::from(BATCH), i64::from(BATCH)),
                "what counts is what there is"
            );
            empty(&mut r, &[C1.slot], &mut grown);
        }
    }
    println!(
        "removed by the collector {by_collector}, by the packet {by_packet}; packets refused \
         {refused}, made anew on another port {moved}"
    );
    assert!(by_collector > 0 && by_packet > 0, "no race");
}

#[test]
fn an_answer_to_an_expired_flow_while_it_is_collected() {
    if alone() {
        return;
    }
    let mut r = Runner::with_entries(ENTRIES);
    let (uplink, collect) = (r.shared("np_uplink_in"), r.shared("np_collect"));
    let mut grown = Grown::default();
    for _ in 0..batches(2) / 5 {
        begin(&mut r);
        pass(&mut r, PAST_EXPIRY);
        let _ = grown.since(&r);
        let did = against_the_collector(2, &uplink, &collect, |round| {
            crate::arrived(&udp(S, 53, H, port(round), b"late")).1
        });
        for one in &did[0] {
            let Did::Sent(0, ran) = one else {
                panic!("an answer to nobody is the host's")
            };
            assert_eq!(ran.action, NEXT);
        }
        assert!(pairs(&r).is_empty(), "nothing is left");
        assert_eq!(grown.since(&r)["flow-removed"], u64::from(BATCH), "once");
        assert_eq!(counted(&r, C1.slot), (0, 0));
    }
}

#[test]
fn a_flow_that_lives_is_never_collected() {
    if alone() {
        return;
    }
    let mut r = Runner::with_entries(ENTRIES);
    let (veth, collect) = (r.shared("np_veth"), r.shared("np_collect"));
    let mut grown = Grown::default();
    for _ in 0..batches(2) / 5 {
        begin(&mut r);
        let did = against_the_collector(2, &veth, &collect, |round| first_packet(&C1, port(round)));
        for (round, (sent, proposed)) in (0..).zip(did[0].iter().zip(&did[1])) {
            let (Did::Sent(0, ran), Did::Removed(0)) = (sent, proposed) else {
                panic!("round {round}: a live flow was touched")
            };
            assert_eq!(left_from(ran), port(round));
        }
        assert!(pairs(&r).values().all(|(_, index)| index.packets == 2));
        empty(&mut r, &[C1.slot], &mut grown);
    }
}

/// Case 10: the collector's list is from before the flow was made anew.
#[test]
fn an_old_list_does_not_remove_what_was_made_anew() {
    let mut r = Runner::with_entries(ENTRIES);
    begin(&mut r);
    let old: Vec<Tuple> = r.flows().into_iter().map(|(key, _)| key).collect();
    pass(&mut r, PAST_EXPIRY);
    // Half of them come to life again before the collector gets to them.
    for round in (0..BATCH).step_by(2) {
        let frame = first_packet(&C1, port(round));
        let ran = r.run(netpath_common::event::Hook::Veth, &frame);
        assert_eq!((ran.action, left_from(&ran)), (REDIRECT, port(round)));
    }
    let removed: i32 = old.chunks(64).map(|keys| r.collect(keys, false)).sum();
    assert_eq!(removed as u32, BATCH / 2);
    let flows = pairs(&r);
    assert_eq!(flows.len() as u32, BATCH / 2);
    for round in (0..BATCH).step_by(2) {
        assert_eq!(flows[&index_key(port(round))].0, port(round));
    }
    // And a connection: over, then begun again by a SYN, with the port that it had.
    r.forget();
    let syn = crate::sent(
        &C1,
        &tcp(C1.addr, 40_000, S, 80, netpath_common::conntrack::tcp::SYN),
    )
    .1;
    let run = |r: &mut Runner| {
        let ran = r.run(netpath_common::event::Hook::Veth, &syn);
        assert_eq!((ran.action, left_from(&ran)), (REDIRECT, 40_000));
    };
    run(&mut r);
    let old: Vec<Tuple> = r.flows().into_iter().map(|(key, _)| key).collect();
    pass(&mut r, 4 * PAST_EXPIRY);
    run(&mut r);
    assert_eq!(r.collect(&old, false), 0);
    let left = pairs(&r);
    assert_eq!(left.len(), 1);
    assert!(left.keys().all(|key| key.proto == tuple::TCP));
}
