//! Which flow gives way in a full table (case 28).

use netpath_common::{
    DropReason, conntrack::tcp::SYN, counters::Counter, datapath::collect, tuple,
};

use super::{family::*, masquerade::record_key};

#[test]
fn what_strangers_begin_goes_before_what_containers_begin() {
    let mut h = Host::new();
    let own = record_key(tuple::UDP, 53, 1001);
    let _ = h.from(&C1, &udp(C1.ip(), 1001, S, 53, b"")).to_uplink();
    let _ = h
        .from_outside(&tcp(S, 4000, H, 8080, SYN))
        .to_container(&C1);
    h.tables.ct_capacity = 4;
    let _ = h.from(&C2, &tcp(C2.ip(), 5000, S, 80, SYN)).to_uplink();
    assert_eq!(h.tables.counter(Counter::FlowReclaimed), 1);
    assert!(h.tables.entry(&own).is_some(), "older, but the container's");
    // With no stranger left, it is the turn of the container's own.
    let _ = h.from(&C2, &tcp(C2.ip(), 5001, S, 80, SYN)).to_uplink();
    assert!(h.tables.entry(&own).is_none());
}

#[test]
fn a_key_that_an_index_holds_by_now_is_no_record() {
    let mut h = Host::new();
    // An unanswered flow is remembered as one that may go. It goes, and its outside port becomes a
    // published one: what is now under its key is half of an answered flow.
    let _ = h.from(&C1, &udp(C1.ip(), 6000, S, 4000, b"")).to_uplink();
    let key = record_key(tuple::UDP, 4000, 6000);
    assert!(collect(&h.tables, &key, true));
    h.tables.publish(tuple::UDP, 6000, &C2, 53, 9);
    let ask = |h: &mut Host| {
        let _ = h
            .from_outside(&udp(S, 4000, H, 6000, b""))
            .to_container(&C2);
    };
    ask(&mut h);
    let _ = h.from(&C2, &udp(C2.ip(), 53, S, 4000, b"")).to_uplink();
    let index = h.tables.entry(&key).unwrap();
    assert!(!index.is_record());
    h.tables.ct_capacity = 2;
    let out = h.from(&C1, &udp(C1.ip(), 7000, S, 53, b""));
    assert_eq!(out.dropped(), Some(DropReason::ConntrackFull));
    let record: Tuple = index.other_key(&key);
    assert!(h.tables.entry(&record).is_some(), "it was answered");
    ask(&mut h);
    assert_eq!(h.tables.counter(Counter::FlowReclaimed), 0);
}
