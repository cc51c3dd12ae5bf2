//! What other processors do in the middle of a packet (cases 5, 6, and the collector).

use netpath_common::{
    DropReason,
    conntrack::STATE_CLAIMED,
    counters::Counter,
    datapath::{Tables, collect},
    tuple,
};

use super::{family::*, masquerade::record_key};

/// What C1:5000 to S:53 becomes on another processor.
fn twin() -> impl Fn(&MemTables) + 'static {
    |t: &MemTables| {
        let mut frame = udp(C1.ip(), 5000, S, 53, b"").frame(C1.mac, BRIDGE1_MAC, C1.ifindex);
        let mut work = netpath_common::datapath::Work::default();
        let verdict = netpath_common::datapath::veth_ingress(&mut frame, t, &mut work);
        assert!(verdict.is_ok());
    }
}

/// Every record has its index and the other way round.
pub(crate) fn pairs(t: &MemTables) {
    for (key, e) in t.entries() {
        let other = t
            .entry(&e.other_key(&key))
            .unwrap_or_else(|| panic!("{key:?} has no other"));
        assert_ne!(other.is_record(), e.is_record());
        assert_eq!(other.state >> 8, e.state >> 8, "salt");
    }
}

#[test]
fn one_flow_made_twice_at_once_is_one_flow() {
    for skip in [0, 1] {
        let mut h = Host::new();
        h.tables.before_insert(skip, twin());
        let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b""));
        assert_eq!(out.to_uplink(), said("udp H:5000 > S:53"));
        assert_eq!(h.tables.entries().len(), 2);
        assert_eq!(h.tables.counter(Counter::FlowNew), 1);
        pairs(&h.tables);
        let _ = h.from_outside(&udp(S, 53, H, 5000, b"")).to_container(&C1);
    }
}

#[test]
fn two_flows_that_want_one_port_at_once() {
    let mut h = Host::new();
    h.tables.before_insert(0, twin());
    let out = h.from(&C2, &udp(C2.ip(), 5000, S, 53, b""));
    assert_ne!(out.to_uplink(), said("udp H:5000 > S:53"));
    assert_eq!(h.tables.entries().len(), 4);
    pairs(&h.tables);
}

#[test]
fn a_winner_that_is_gone_again() {
    let mut h = Host::new();
    let key = record_key(tuple::UDP, 53, 5000);
    // The twin wins between our record and our index, and its flow is flushed at once.
    h.tables.before_insert(1, |t| {
        t.put_entry(record_key(tuple::UDP, 53, 5000), Default::default())
    });
    h.tables.before_insert(1, move |t| t.ct_delete(&key));
    let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b""));
    assert!(out.dropped().is_none() || out.dropped() == Some(DropReason::FlowRace));
}

#[test]
fn a_flow_that_is_being_removed_is_not_adopted() {
    // The collector has claimed the record and deleted the index, but not the record yet.
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    let key = record_key(tuple::UDP, 53, 5000);
    let mut record = h.tables.entry(&key).unwrap();
    record.state |= STATE_CLAIMED;
    h.tables.put_entry(key, record);
    h.tables.ct_delete(&record.other_key(&key));
    let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b""));
    h.tables.ct_delete(&key);
    // Whatever became of the packet, no index stands without a record.
    pairs(&h.tables);
    drop(out);
}

#[test]
fn a_packet_of_a_flow_that_is_being_removed() {
    // Claimed, and both entries still there.
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    let key = record_key(tuple::UDP, 53, 5000);
    let mut record = h.tables.entry(&key).unwrap();
    record.state |= STATE_CLAIMED;
    h.tables.put_entry(key, record);
    h.tables.advance_ms(1000);
    let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b""));
    // The remover goes on: first the index, then the record.
    h.tables.ct_delete(&record.other_key(&key));
    h.tables.ct_delete(&key);
    pairs(&h.tables);
    assert_eq!(out.dropped(), Some(DropReason::FlowRace));
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
}

#[test]
fn a_flow_flushed_between_its_record_and_its_index() {
    let mut h = Host::new();
    let key = record_key(tuple::UDP, 53, 5000);
    h.tables
        .before_insert(1, move |t| assert!(collect(t, &key, true)));
    let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b""));
    pairs(&h.tables);
    assert_eq!(out.dropped(), Some(DropReason::FlowRace));
}

#[test]
fn an_adopted_flow_flushed_before_its_index() {
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    let key = record_key(tuple::UDP, 53, 5000);
    h.tables
        .ct_delete(&h.tables.entry(&key).unwrap().other_key(&key));
    // The record's insert finds it taken; the flush comes before the index's.
    h.tables
        .before_insert(1, move |t| assert!(collect(t, &key, true)));
    let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b""));
    pairs(&h.tables);
    assert_eq!(out.dropped(), Some(DropReason::FlowRace));
}

/// A table without room but for flows that nobody has answered.
fn full_of_unanswered() -> Host {
    let mut h = Host::new();
    for port in 0..40 {
        let _ = h
            .from(&C1, &udp(C1.ip(), 5000 + port, S, 53, b""))
            .to_uplink();
    }
    h.tables.ct_capacity = h.tables.entries().len();
    h
}

/// Takes what places there are.
fn takes_all(t: &MemTables, number: u16) {
    while t.entries().len() < t.ct_capacity {
        let key = Tuple {
            src: S2,
            sport: number * 100 + t.entries().len() as u16,
            proto: tuple::UDP,
            ..Tuple::default()
        };
        t.put_entry(key, CtEntry::default());
    }
}

#[test]
fn room_that_another_processor_takes_is_made_again() {
    // Behind the insert that finds the table full: thrice for the record, or for the index.
    for stolen in [[1, 2, 3], [2, 3, 4]] {
        let mut h = full_of_unanswered();
        for (number, skip) in stolen.into_iter().enumerate() {
            h.tables
                .before_insert(skip, move |t| takes_all(t, number as u16));
        }
        let out = h.from(&C2, &udp(C2.ip(), 6000, S, 53, b""));
        assert_eq!(out.to_uplink(), said("udp H:6000 > S:53"));
        assert_eq!(h.drops_of(DropReason::ConntrackFull), 0);
    }
}

#[test]
fn room_is_not_made_for_ever() {
    let mut h = full_of_unanswered();
    for skip in 1..=6 {
        h.tables
            .before_insert(skip, move |t| takes_all(t, skip as u16));
    }
    let out = h.from(&C2, &udp(C2.ip(), 6000, S, 53, b""));
    assert_eq!(out.dropped(), Some(DropReason::ConntrackFull));
}
