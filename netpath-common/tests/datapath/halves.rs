//! The two entries of a flow where others work on them at the same time: whose they are, in which
//! order they go, and what becomes of who comes too late (cases 5, 9, 10).

use netpath_common::{
    DropReason,
    conntrack::{Budget, FLAG_RECORD, FLAG_STEADY, created_at, forget},
    counters::Counter,
    datapath::{self, Tables, Work, collect},
    event::Hook,
    records::CONFIG_PRESERVE_PORTS,
    tuple,
};

use super::{family::*, masquerade::record_key, race::pairs};

const SECOND: u64 = 1_000_000_000;

fn index_key(c: &Container, sport: u16) -> Tuple {
    Tuple {
        src: c.ip(),
        dst: S,
        sport,
        dport: 53,
        proto: tuple::UDP,
        ..Tuple::default()
    }
}

/// What a packet of `c` from port 5000 becomes on another processor: the port that it leaves from.
fn elsewhere(t: &MemTables, c: &Container) -> Option<u16> {
    let mut frame = udp(c.ip(), 5000, S, 53, b"").frame(c.mac, BRIDGE1_MAC, c.ifindex);
    let sent = datapath::veth_ingress(&mut frame, t, &mut Work::default());
    let _ = sent.ok()?;
    Some(source_port(&frame))
}

/// Claims the flow of a record.
fn claimed(t: &MemTables, key: &Tuple) -> bool {
    let record = t.ct(key).unwrap();
    record.claim(record.salt())
}

/// The slot of a flow that was found over belongs to a new one by the time it is claimed: the table
/// gives what was deleted last to what is inserted next.
#[test]
fn a_claim_is_of_the_life_that_was_judged() {
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    let key = record_key(tuple::UDP, 53, 5000);
    let judged = h.tables.ct(&key).unwrap().salt();
    assert!(collect(&h.tables, &key, true));
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    let slot = h.tables.ct(&key).unwrap();
    assert!(!slot.claim(judged), "of the life before");
    assert!(!forget(&h.tables, &key, slot, judged));
    let index = index_key(&C1, 5000);
    assert!(!forget(
        &h.tables,
        &index,
        h.tables.ct(&index).unwrap(),
        judged
    ));
    assert_eq!(h.tables.entries().len(), 2, "it lives");
    assert!(slot.claim(slot.salt()));
}

#[test]
fn an_index_does_not_lead_into_the_tuple_of_another_flow() {
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    // The record is lost, and C2 is given its tuple.
    h.tables.ct_delete(&record_key(tuple::UDP, 53, 5000));
    let out = h.from(&C2, &udp(C2.ip(), 5000, S, 53, b""));
    assert_eq!(out.to_uplink(), said("udp H:5000 > S:53"));
    h.tables.now += SECOND;
    let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b""));
    assert_ne!(out.to_uplink(), said("udp H:5000 > S:53"));
    pairs(&h.tables);
    let _ = h.from_outside(&udp(S, 53, H, 5000, b"")).to_container(&C2);
}

#[test]
fn a_tuple_is_taken_until_nothing_leads_to_it() {
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    // Between the two deletions both containers send from the same port.
    h.tables.before_delete(1, |t| {
        let second = elsewhere(t, &C2);
        let first = elsewhere(t, &C1);
        assert!(second.is_some() && second != first, "{second:?} {first:?}");
    });
    let key = record_key(tuple::UDP, 53, 5000);
    assert!(collect(&h.tables, &key, true));
    pairs(&h.tables);
    assert_eq!(h.tables.entries().len(), 4);
}

#[test]
fn a_flow_lives_as_long_as_either_direction() {
    let record = record_key(tuple::UDP, 53, 5000);
    let ask = |h: &mut Host| {
        let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    };
    let answer = |h: &mut Host| {
        let _ = h.from_outside(&udp(S, 53, H, 5000, b"")).to_container(&C1);
    };
    for asked in [true, false] {
        let mut h = Host::new();
        ask(&mut h);
        answer(&mut h);
        h.tables.now += 100 * SECOND / 4;
        // A stream from here on: two minutes, kept alive by one direction alone.
        for _ in 0..4 {
            if asked {
                ask(&mut h);
            } else {
                answer(&mut h);
            }
            h.tables.now += 100 * SECOND;
            for key in [record, index_key(&C1, 5000)] {
                assert!(!collect(&h.tables, &key, false), "asked: {asked}");
            }
        }
        h.tables.now += 20 * SECOND;
        assert!(collect(&h.tables, &record, false));
    }
}

#[test]
fn who_loses_the_index_gives_its_own_port_back() {
    let mut h = Host::new();
    h.tables.config.as_mut().unwrap().flags &= !CONFIG_PRESERVE_PORTS;
    // The other processor does all of its work between our record and our index.
    h.tables
        .before_insert(1, |t| assert!(elsewhere(t, &C1).is_some()));
    let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b""));
    let _ = out.to_uplink();
    assert_eq!(h.tables.counter(Counter::PortChanged), 2, "both have one");
    pairs(&h.tables);
    assert_eq!(h.tables.entries().len(), 2);
    assert_eq!(h.tables.counter(Counter::FlowNew), 1);
    assert_eq!(h.tables.live(Budget::flows(C1.slot)), 1);
    assert_eq!(h.tables.live(Budget::ports(C1.slot)), 1);
    let port = source_port(&out.frame);
    let _ = h.from_outside(&udp(S, 53, H, port, b"")).to_container(&C1);
}

#[test]
fn a_flow_to_another_place_is_no_winner() {
    let mut h = Host::new();
    // To a published port of C1 by the time that ours is to be indexed.
    let original = index_key(&C2, 5000);
    let reply = Tuple {
        src: C1.ip(),
        dst: C2.ip(),
        sport: 53,
        dport: 5000,
        proto: tuple::UDP,
        ..Tuple::default()
    };
    h.tables.before_insert(1, move |t| {
        let entry = |to: Tuple, from: u16, until: u16, flags| CtEntry {
            src: to.src,
            dst: to.dst,
            sport: to.sport,
            dport: to.dport,
            from,
            to: until,
            flags,
            state: 0x500,
            generation: 2,
            created: created_at(Tables::now(t)),
            stamp: Tables::now(t),
            ..CtEntry::default()
        };
        let there = entry(reply.inverse(), C2.slot, C1.slot, FLAG_STEADY);
        let back = entry(original.inverse(), C1.slot, C2.slot, FLAG_RECORD);
        t.put_entry(original, there);
        t.put_entry(reply, back);
    });
    let out = h.from(&C2, &udp(C2.ip(), 5000, S, 53, b""));
    assert_eq!(out.dropped(), Some(DropReason::FlowRace));
    pairs(&h.tables);
    assert_eq!(h.tables.entries().len(), 2, "ours is given back");
    assert_eq!(h.tables.live(Budget::flows(C2.slot)), 0);
}

#[test]
fn a_record_claimed_before_its_new_index_keeps_none() {
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    let key = record_key(tuple::UDP, 53, 5000);
    h.tables.ct_delete(&index_key(&C1, 5000));
    // The index is lost, so the next packet writes it anew. Somebody claims the record just before,
    // finds no index to delete, and has not deleted the record yet.
    h.tables
        .before_insert(1, move |t| assert!(claimed(t, &key)));
    let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b""));
    assert_eq!(out.dropped(), Some(DropReason::FlowRace));
    h.tables.ct_delete(&key);
    assert!(h.tables.entries().is_empty(), "an index without its record");
}

#[test]
fn a_flow_that_is_being_removed_translates_nothing() {
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    let key = record_key(tuple::UDP, 53, 5000);
    assert!(claimed(&h.tables, &key));
    assert!(!claimed(&h.tables, &key), "one claims it");
    h.tables.now += SECOND;
    assert!(h.from_outside(&udp(S, 53, H, 5000, b"")).passed());
    let frame = udp(C1.ip(), 5000, S, 53, b"").frame(C1.mac, BRIDGE1_MAC, C1.ifindex);
    let out = h.run(Hook::Veth, &frame);
    assert_eq!(out.dropped(), Some(DropReason::FlowRace));
}
