//! Cases 9, 10, 11, 13, 14, 15: flows that lose a half, expire, are used anew or are forgotten.

use netpath_common::{
    DropReason,
    conntrack::{
        STATE_PICKUP,
        tcp::{ACK, FIN, RST, SYN, TcpState},
    },
    counters::Counter,
    datapath::{Tables, collect},
    tuple,
};

use super::{
    family::*,
    help::{c1, flows, open, outside_port, record, record_key, s, state},
};

/// Loses the index of the record under `key`.
fn lose_index(h: &mut Host, key: &Tuple) -> Tuple {
    let index = h.tables.entry(key).unwrap().other_key(key);
    h.tables.ct_delete(&index);
    assert_eq!(
        h.tables
            .entries()
            .iter()
            .filter(|(k, _)| *k == index)
            .count(),
        0
    );
    index
}

#[test]
fn c09_lost_index_repaired_by_egress_of_a_preserved_port() {
    let mut h = Host::new();
    open(&mut h);
    let index = lose_index(&mut h, &record_key(tuple::TCP, 80, 40000));
    let out = h.from(&C1, &c1(ACK, 1001, 5001));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
    assert!(h.tables.entry(&index).is_some());
    assert_eq!(flows(&h.tables), 1);
    assert_eq!(state(&h), TcpState::Established, "the same connection");
    assert_eq!(h.tables.counter(Counter::FlowNew), 1);
}

#[test]
fn c09_lost_index_repaired_by_any_reply() {
    // With a preserved port, and with another one.
    for taken in [false, true] {
        let mut h = Host::new();
        if taken {
            let _ = h.from(&C2, &tcp(C2.ip(), 40000, S, 80, SYN)).to_uplink();
        }
        let port = outside_port(&h.from(&C1, &c1(SYN, 1000, 0)));
        assert_eq!(port != 40000, taken);
        let index = lose_index(&mut h, &record_key(tuple::TCP, 80, port));
        let reply = tcp(S, 80, H, port, SYN | ACK).numbered(5000, 1001);
        let back = h.from_outside(&reply);
        assert_eq!(back.to_container(&C1), said("tcp S:80 > C1:40000"));
        assert!(h.tables.entry(&index).is_some(), "repaired");
        let out = h.from(&C1, &c1(ACK, 1001, 5001));
        assert_eq!(outside_port(&out), port, "the same port");
        assert_eq!(flows(&h.tables), 1 + usize::from(taken));
    }
}

/// The limit: the key of the record is not known on the way out, so what was given another port
/// begins anew when its own side speaks first.
#[test]
fn c09_lost_index_of_another_port_is_not_found_by_egress() {
    let mut h = Host::new();
    let _ = h.from(&C2, &udp(C2.ip(), 40000, S, 53, b"")).to_uplink();
    let old = outside_port(&h.from(&C1, &udp(C1.ip(), 40000, S, 53, b"")));
    assert_ne!(old, 40000);
    let _ = lose_index(&mut h, &record_key(tuple::UDP, 53, old));
    let new = outside_port(&h.from(&C1, &udp(C1.ip(), 40000, S, 53, b"")));
    assert!(new != old && new != 40000, "{old} {new}");
    // Answers to either port reach the container, as what it asked.
    for port in [old, new] {
        let back = h.from_outside(&udp(S, 53, H, port, b""));
        assert_eq!(back.to_container(&C1), said("udp S:53 > C1:40000"));
    }
    // A connection cannot change its port: its segment does not leave.
    let mut h = Host::new();
    let _ = h.from(&C2, &tcp(C2.ip(), 40000, S, 80, SYN)).to_uplink();
    let port = outside_port(&h.from(&C1, &c1(SYN, 1000, 0)));
    let reply = tcp(S, 80, H, port, SYN | ACK).numbered(5000, 1001);
    let _ = h.from_outside(&reply).to_container(&C1);
    let _ = lose_index(&mut h, &record_key(tuple::TCP, 80, port));
    let out = h.from(&C1, &c1(ACK, 1001, 5001));
    assert_eq!(out.dropped(), Some(DropReason::TcpNotSyn));
}

#[test]
fn c10_expired_and_not_collected() {
    let mut h = Host::new();
    open(&mut h);
    h.tables.advance_ms(432_000_000);
    assert_eq!(h.tables.entries().len(), 2, "nobody has collected it");
    let out = h.from(&C1, &c1(SYN, 77_000, 0));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
    assert_eq!(state(&h), TcpState::SynSent, "opened again");
    assert_eq!(h.tables.counter(Counter::FlowNew), 2, "as a new flow");
    assert_eq!(flows(&h.tables), 1);
}

#[test]
fn c10_collection_by_an_old_snapshot() {
    let mut h = Host::new();
    open(&mut h);
    h.tables.advance_ms(432_000_000);
    let snapshot: Vec<Tuple> = h.tables.entries().iter().map(|(key, _)| *key).collect();
    let _ = h.from(&C1, &c1(SYN, 77_000, 0)).to_uplink();
    for key in &snapshot {
        assert!(!collect(&h.tables, key, false), "alive again");
    }
    assert_eq!(flows(&h.tables), 1);
    let back = h.from_outside(&s(SYN | ACK, 9000, 77_001));
    assert_eq!(back.to_container(&C1), said("tcp S:80 > C1:40000"));
    // What nobody has used again does go.
    h.tables.advance_ms(60_000);
    assert!(collect(&h.tables, &snapshot[0], false));
    assert_eq!(h.tables.entries(), []);
}

#[test]
fn c11_time_wait_is_used_again() {
    let mut h = Host::new();
    open(&mut h);
    let _ = h.from(&C1, &c1(FIN | ACK, 1001, 5001)).to_uplink();
    let _ = h.from_outside(&s(FIN | ACK, 5001, 1002)).to_container(&C1);
    let _ = h.from(&C1, &c1(ACK, 1002, 5002)).to_uplink();
    assert_eq!(state(&h), TcpState::TimeWait);
    let out = h.from(&C1, &c1(SYN, 2_000_000, 0));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
    assert_eq!(state(&h), TcpState::SynSent);
    assert_eq!(h.tables.counter(Counter::FlowNew), 1, "the binding is kept");
    // The new connection's numbers are its own: a reset is judged by them, and it lives as one.
    let _ = h
        .from_outside(&s(SYN | ACK, 300, 2_000_001))
        .to_container(&C1);
    let _ = h.from(&C1, &c1(ACK, 2_000_001, 301)).to_uplink();
    assert_eq!(state(&h), TcpState::Established);
    assert_eq!(h.drops.len(), 0, "nothing was invalid: {:?}", h.drops);
    let _ = h.from_outside(&s(RST, 301, 0)).to_container(&C1);
    assert_eq!(state(&h), TcpState::Close);
}

#[test]
fn c13_picked_up_in_the_middle() {
    let mut h = Host::new();
    open(&mut h);
    for (key, _) in h.tables.entries() {
        h.tables.ct_delete(&key);
    }
    let out = h.from(&C1, &c1(ACK, 1001, 5001));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
    assert_eq!(state(&h), TcpState::Established);
    assert_ne!(record(&h).state & STATE_PICKUP, 0);
    // Five minutes from its last packet; the clock goes in steps of four milliseconds.
    h.tables.advance_ms(299_996);
    let _ = h.from(&C1, &c1(ACK, 1001, 5001)).to_uplink();
    h.tables.advance_ms(300_000);
    assert!(h.from_outside(&s(ACK, 5001, 1001)).passed(), "over");
    // With an answer it is as any other.
    let _ = h.from(&C1, &c1(ACK, 1001, 5001)).to_uplink();
    let _ = h.from_outside(&s(ACK, 5001, 1001)).to_container(&C1);
    h.tables.advance_ms(431_999_996);
    let _ = h.from_outside(&s(ACK, 5001, 1001)).to_container(&C1);
}

#[test]
fn c13_not_picked_up_where_the_port_is_taken() {
    let mut h = Host::new();
    let _ = h.from(&C2, &tcp(C2.ip(), 40000, S, 80, SYN)).to_uplink();
    let out = h.from(&C1, &c1(ACK, 1001, 5001));
    assert_eq!(out.dropped(), Some(DropReason::TcpNotSyn));
    let out = h.from_stack(&c1(ACK, 1001, 5001));
    assert_eq!(out.dropped(), Some(DropReason::TcpNotSyn));
    assert_eq!(flows(&h.tables), 1);
}

#[test]
fn c14_late_fin_and_reset() {
    for flags in [FIN | ACK, RST, RST | ACK] {
        let mut h = Host::new();
        open(&mut h);
        assert!(collect(&h.tables, &record_key(tuple::TCP, 80, 40000), true));
        let late = c1(flags, 1001, 5001);
        assert_eq!(h.from(&C1, &late).dropped(), Some(DropReason::TcpNotSyn));
        assert_eq!(h.from_stack(&late).dropped(), Some(DropReason::TcpNotSyn));
        assert_eq!(h.tables.entries(), [], "and it begins nothing");
    }
}

/// S:51000 to H:8080, which is C1:80, in the state that `close` leaves it in.
fn stale(close: impl Fn(&mut Host)) -> Host {
    let mut h = Host::new();
    let _ = h
        .from_outside(&tcp(S, 51000, H, 8080, SYN))
        .to_container(&C1);
    let _ = h
        .from(&C1, &tcp(C1.ip(), 80, S, 51000, SYN | ACK))
        .to_uplink();
    let _ = h
        .from_outside(&tcp(S, 51000, H, 8080, ACK))
        .to_container(&C1);
    close(&mut h);
    h
}

#[test]
fn c15_direction() {
    let finish = |h: &mut Host| {
        let _ = h
            .from_outside(&tcp(S, 51000, H, 8080, FIN | ACK))
            .to_container(&C1);
        let _ = h
            .from(&C1, &tcp(C1.ip(), 80, S, 51000, FIN | ACK))
            .to_uplink();
        let _ = h
            .from_outside(&tcp(S, 51000, H, 8080, ACK))
            .to_container(&C1);
    };
    let expire = |h: &mut Host| h.tables.advance_ms(432_000_000);
    let unpublish = |h: &mut Host| h.tables.unpublish(tuple::TCP, 8080, RULE_WEB);
    for mut h in [stale(finish), stale(expire), stale(unpublish)] {
        let out = h.from(&C1, &tcp(C1.ip(), 80, S, 51000, SYN));
        assert_eq!(out.to_uplink(), said("tcp H:80 > S:51000"));
        assert_eq!(flows(&h.tables), 1, "the stale one is gone");
        let back = h.from_outside(&tcp(S, 51000, H, 80, SYN | ACK));
        assert_eq!(back.to_container(&C1), said("tcp S:51000 > C1:80"));
    }
    // While the inbound connection lives, the tuple is its own.
    let mut h = stale(|_| ());
    let out = h.from(&C1, &tcp(C1.ip(), 80, S, 51000, SYN));
    assert_eq!(out.dropped(), Some(DropReason::TcpInvalid));
}
