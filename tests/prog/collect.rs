//! The collector removes what is over and nothing else.

use netpath_common::{Tuple, testing::*};
use netpath_tests::runner::{REDIRECT, Runner};

use crate::sent;

fn keys(r: &Runner) -> Vec<Tuple> {
    r.flows().into_iter().map(|(key, _)| key).collect()
}

#[test]
fn expired_flows_go_and_live_ones_stay() {
    let mut r = Runner::new();
    for packet in [udp(C1.addr, 5000, S, 53, b""), query(C1.addr, S, 8, 7)] {
        let (hook, frame) = sent(&C1, &packet);
        assert_eq!(r.run(hook, &frame).action, REDIRECT);
    }
    let all = keys(&r);
    assert_eq!(all.len(), 4);
    assert_eq!(r.collect(&all, false), 0, "all alive");
    assert_eq!(keys(&r).len(), 4);
    // UDP flows are over at once, ICMP's are not.
    r.tables.config.as_mut().unwrap().timeouts.udp = 0;
    r.sync();
    assert_eq!(r.collect(&all, false), 1);
    let left = keys(&r);
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|k| k.proto == netpath_common::tuple::ICMP));
    assert_eq!(r.counters()["flow-removed"], 1);
    assert_eq!(
        r.collect(&left[..1], true),
        1,
        "by force, either key takes both"
    );
    assert!(keys(&r).is_empty());
    assert_eq!(r.collect(&all, true), 0, "nothing is left");
}

#[test]
fn sixty_four_at_once() {
    let mut r = Runner::new();
    for port in 0..40 {
        let (hook, frame) = sent(&C1, &udp(C1.addr, 5000 + port, S, 53, b""));
        assert_eq!(r.run(hook, &frame).action, REDIRECT);
    }
    let all = keys(&r);
    assert_eq!(all.len(), 80);
    let first = r.collect(&all[..64], true);
    let second = r.collect(&all[64..], true);
    assert_eq!(first + second, 40);
    assert!(keys(&r).is_empty());
}

#[test]
fn a_full_table_makes_room_by_unanswered_flows() {
    let mut r = Runner::new();
    // The runner's table has 1,024 entries, two a flow.
    for port in 0..520 {
        let (hook, frame) = sent(&C1, &udp(C1.addr, 5000 + port, S, 53, b""));
        assert_eq!(r.run(hook, &frame).action, REDIRECT, "flow {port}");
    }
    assert_eq!(keys(&r).len(), 1024);
    assert_eq!(r.counters()["flow-reclaimed"], 8);
    assert_eq!(r.counters()["flow-new"], 520);
}
