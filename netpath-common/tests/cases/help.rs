//! What several cases begin with, and how they look at the result.
//!
//! Owns no case.

use netpath_common::{
    conntrack::tcp::{ACK, SYN, TcpState},
    tuple,
};

use super::family::*;

/// The record of a masqueraded flow to S, by its outside port.
pub(crate) fn record_key(proto: u8, dport: u16, outside: u16) -> Tuple {
    Tuple {
        src: S,
        dst: H,
        sport: dport,
        dport: outside,
        proto,
        ..Tuple::default()
    }
}

/// The record of C1:40000 to S:80.
pub(crate) fn record(h: &Host) -> CtEntry {
    h.tables
        .entry(&record_key(tuple::TCP, 80, 40000))
        .expect("the record of C1:40000 to S:80")
}

/// The state of C1:40000 to S:80.
pub(crate) fn state(h: &Host) -> TcpState {
    record(h).tcp_state()
}

/// A segment of C1:40000 to S:80, as C1 sends it.
pub(crate) fn c1(flags: u8, seq: u32, ack: u32) -> Datagram {
    tcp(C1.ip(), 40000, S, 80, flags).numbered(seq, ack)
}

/// A segment of the same connection, as S sends it.
pub(crate) fn s(flags: u8, seq: u32, ack: u32) -> Datagram {
    tcp(S, 80, H, 40000, flags).numbered(seq, ack)
}

/// Opens C1:40000 to S:80 with the initial sequence numbers 1000 and 5000: C1 is at 1001, S at 5001,
/// and each has acknowledged that.
pub(crate) fn open(h: &mut Host) {
    let out = h.from(&C1, &c1(SYN, 1000, 0));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
    let back = h.from_outside(&s(SYN | ACK, 5000, 1001));
    assert_eq!(back.to_container(&C1), said("tcp S:80 > C1:40000"));
    let out = h.from(&C1, &c1(ACK, 1001, 5001));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
    assert_eq!(state(h), TcpState::Established);
}

/// The outside port of a frame that has left by the uplink, with the host's source.
#[track_caller]
pub(crate) fn outside_port(o: &Outcome) -> u16 {
    let text = o.to_uplink();
    assert_eq!(source(&o.frame), H, "{text}");
    source_port(&o.frame)
}

/// The identifier of an ICMP query that has left by the uplink, with the host's source.
#[track_caller]
pub(crate) fn outside_id(o: &Outcome) -> u16 {
    let text = o.to_uplink();
    assert_eq!(source(&o.frame), H, "{text}");
    query_id(&o.frame)
}

/// Every record has its index and the other way round: nothing is an orphan. How many flows.
#[track_caller]
pub(crate) fn flows(t: &MemTables) -> usize {
    let entries = t.entries();
    for (key, e) in &entries {
        let other = t.entry(&e.other_key(key)).expect("the other entry");
        assert_ne!(other.is_record(), e.is_record(), "{key:?}");
        assert_eq!(other.state >> 8, e.state >> 8, "one life: {key:?}");
    }
    entries.len() / 2
}

/// That the packet behind the Ethernet header is `want` to the last byte.
#[track_caller]
pub(crate) fn is(out: &Outcome, want: &Datagram) {
    let whole = want.frame([0; 6], [0; 6], 0);
    assert_eq!(
        out.frame.bytes[14..],
        whole.bytes[14..],
        "\n     {}\nnot  {}",
        out.text(),
        describe(&whole)
    );
}

/// That it left by the uplink as `want`.
#[track_caller]
pub(crate) fn left(out: &Outcome, want: &Datagram) {
    let _ = out.to_uplink();
    is(out, want);
}

/// That it was delivered to `c` as `want`.
#[track_caller]
pub(crate) fn delivered(out: &Outcome, c: &Container, want: &Datagram) {
    let _ = out.to_container(c);
    is(out, want);
}
