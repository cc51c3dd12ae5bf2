//! Lifetimes at their edges: alive just before, over at the exact moment; and the collector.

use netpath_common::{
    conntrack::{
        STATE_TCP_MASK,
        tcp::{ACK, SYN, TcpState},
    },
    counters::Counter,
    datapath::{Tables, collect},
    tuple,
};

use super::{connection::open, family::*, masquerade::record_key};

const SECOND: u64 = 1_000_000_000;

/// Kernel defaults in seconds (Documentation/networking/nf_conntrack-sysctl.rst).
const TCP: [(TcpState, u64); 9] = [
    (TcpState::SynSent, 120),
    (TcpState::SynRecv, 60),
    (TcpState::Established, 432_000),
    (TcpState::FinWait, 120),
    (TcpState::CloseWait, 60),
    (TcpState::LastAck, 30),
    (TcpState::TimeWait, 120),
    (TcpState::Close, 10),
    (TcpState::SynSent2, 120),
];

/// Puts the flow C1:40000 to S:80 into a state.
fn set_state(h: &Host, state: TcpState) {
    let key = record_key(tuple::TCP, 80, 40000);
    let e = h.tables.entry(&key).unwrap();
    h.tables.put_entry(
        key,
        CtEntry {
            state: e.state & !STATE_TCP_MASK | state as u32,
            ..e
        },
    );
}

#[test]
fn every_tcp_state_lives_as_long_as_the_kernels() {
    for (state, seconds) in TCP {
        for (late, alive) in [(0, true), (1, false)] {
            let mut h = Host::new();
            open(&mut h);
            set_state(&h, state);
            h.tables.now += seconds * SECOND - 1 + late;
            let key = record_key(tuple::TCP, 80, 40000);
            // An answer, which no state but SYN_SENT objects to; there it is ignored.
            let out = h.from_outside(&tcp(S, 80, H, 40000, ACK));
            if alive {
                let _ = out.to_container(&C1);
            } else {
                assert!(out.passed(), "{state:?}: a flow that is over is a miss");
                assert!(h.tables.entry(&key).is_none(), "{state:?}");
                assert_eq!(h.tables.counter(Counter::FlowRemoved), 1);
            }
        }
    }
}

#[test]
fn the_other_direction_keeps_a_connection_alive() {
    let mut h = Host::new();
    open(&mut h);
    for _ in 0..10 {
        h.tables.advance_ms(431_999_000);
        let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, ACK)).to_uplink();
    }
    h.tables.advance_ms(431_999_000);
    let _ = h.from_outside(&tcp(S, 80, H, 40000, ACK)).to_container(&C1);
}

/// Whether an answer to `H:5000` of `proto` still finds its flow.
fn answered(h: &mut Host, proto: u8) -> bool {
    let out = match proto {
        tuple::UDP => h.from_outside(&udp(S, 53, H, 5000, b"")),
        _ => h.from_outside(&query(S, H, ECHO_REPLY, 5000)),
    };
    !out.passed()
}

fn ask(h: &mut Host, proto: u8) {
    let packet = match proto {
        tuple::UDP => udp(C1.ip(), 5000, S, 53, b""),
        _ => query(C1.ip(), S, ECHO, 5000),
    };
    let _ = h.from(&C1, &packet).to_uplink();
}

#[test]
fn udp_and_icmp_without_answer_live_thirty_seconds() {
    for proto in [tuple::UDP, ICMP] {
        for (late, alive) in [(0, true), (1, false)] {
            let mut h = Host::new();
            ask(&mut h, proto);
            h.tables.now += 30 * SECOND - 1 + late;
            assert_eq!(answered(&mut h, proto), alive);
        }
    }
}

#[test]
fn an_answered_udp_flow_becomes_a_stream_after_two_seconds() {
    // The clock goes in ticks of four milliseconds.
    for (age, seconds) in [(2 * SECOND, 30), (2 * SECOND + 4_000_000, 120)] {
        for (late, alive) in [(0, true), (1, false)] {
            let mut h = Host::new();
            ask(&mut h, tuple::UDP);
            assert!(answered(&mut h, tuple::UDP));
            h.tables.now += age;
            assert!(answered(&mut h, tuple::UDP));
            h.tables.now += seconds * SECOND - 1 + late;
            assert_eq!(answered(&mut h, tuple::UDP), alive, "age {age}");
        }
    }
    // ICMP knows no streams.
    let mut h = Host::new();
    ask(&mut h, ICMP);
    h.tables.now += 3 * SECOND;
    assert!(answered(&mut h, ICMP));
    h.tables.now += 30 * SECOND;
    assert!(!answered(&mut h, ICMP));
}

#[test]
fn a_picked_up_connection_has_five_minutes_until_its_answer() {
    for (late, alive) in [(0, true), (1, false)] {
        let mut h = Host::new();
        let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, ACK)).to_uplink();
        h.tables.now += 300 * SECOND - 1 + late;
        assert_eq!(!h.from_outside(&tcp(S, 80, H, 40000, ACK)).passed(), alive);
        if alive {
            h.tables.now += 432_000 * SECOND - 1;
            let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, ACK)).to_uplink();
        }
    }
}

#[test]
fn an_expired_flow_is_opened_again_without_a_collector() {
    let mut h = Host::new();
    open(&mut h);
    h.tables.advance_ms(432_000_000);
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
    let record = h.tables.entry(&record_key(tuple::TCP, 80, 40000)).unwrap();
    assert_eq!(record.tcp_state(), TcpState::SynSent);
    assert_eq!(h.tables.counter(Counter::FlowNew), 2);
}

#[test]
fn the_collector_takes_what_is_over_by_either_key() {
    for by_index in [false, true] {
        let mut h = Host::new();
        ask(&mut h, tuple::UDP);
        let record = record_key(tuple::UDP, 53, 5000);
        let index = h.tables.entry(&record).unwrap().other_key(&record);
        let key = if by_index { index } else { record };
        assert!(!collect(&h.tables, &key, false), "alive");
        h.tables.now += 30 * SECOND - 1;
        assert!(!collect(&h.tables, &key, false), "alive");
        h.tables.now += 1;
        assert!(collect(&h.tables, &key, false));
        assert!(h.tables.entries().is_empty());
        assert!(!collect(&h.tables, &key, false), "gone");
        assert_eq!(h.tables.counter(Counter::FlowRemoved), 1);
    }
}

#[test]
fn the_collector_leaves_a_flow_that_has_come_back() {
    // Case 10: the key was proposed from an old snapshot; the flow has been opened again since.
    let mut h = Host::new();
    ask(&mut h, tuple::UDP);
    let key = record_key(tuple::UDP, 53, 5000);
    h.tables.now += 30 * SECOND;
    ask(&mut h, tuple::UDP);
    assert!(!collect(&h.tables, &key, false));
    assert!(answered(&mut h, tuple::UDP));
}

#[test]
fn the_collector_takes_anything_by_force_and_half_flows() {
    let mut h = Host::new();
    open(&mut h);
    assert!(collect(&h.tables, &record_key(tuple::TCP, 80, 40000), true));
    assert!(h.tables.entries().is_empty());
    open(&mut h);
    let record = record_key(tuple::TCP, 80, 40000);
    let index: Tuple = h.tables.entry(&record).unwrap().other_key(&record);
    h.tables.ct_delete(&record);
    assert!(
        collect(&h.tables, &index, false),
        "an index without its record"
    );
    assert!(h.tables.entries().is_empty());
}

#[test]
fn the_collector_takes_outdated_flows() {
    let mut h = Host::new();
    open(&mut h);
    h.tables.endpoints[usize::from(C1.slot)].generation += 1;
    assert!(collect(
        &h.tables,
        &record_key(tuple::TCP, 80, 40000),
        false
    ));
}
