//! TCP connections of containers: states, resets by number, pick-up.

use netpath_common::{
    DropReason,
    conntrack::{
        STATE_ASSURED,
        tcp::{ACK, FIN, PSH, RST, SYN, TcpState},
    },
    counters::Counter,
    tuple,
};

use super::{family::*, masquerade::record_key};

fn state(h: &Host) -> TcpState {
    h.tables
        .entry(&record_key(tuple::TCP, 80, 40000))
        .unwrap()
        .tcp_state()
}

/// Opens C1:40000 to S:80.
pub(crate) fn open(h: &mut Host) {
    let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN)).to_uplink();
    let _ = h
        .from_outside(&tcp(S, 80, H, 40000, SYN | ACK))
        .to_container(&C1);
    let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, ACK)).to_uplink();
}

#[test]
fn a_whole_connection_moves_through_the_states() {
    let mut h = Host::new();
    open(&mut h);
    assert_eq!(state(&h), TcpState::Established);
    let _ = h
        .from_outside(&tcp_data(S, 80, H, 40000, ACK | PSH, b"hello"))
        .to_container(&C1);
    let _ = h
        .from(&C1, &tcp(C1.ip(), 40000, S, 80, FIN | ACK))
        .to_uplink();
    assert_eq!(state(&h), TcpState::FinWait);
    let _ = h.from_outside(&tcp(S, 80, H, 40000, ACK)).to_container(&C1);
    assert_eq!(state(&h), TcpState::CloseWait);
    let _ = h
        .from_outside(&tcp(S, 80, H, 40000, FIN | ACK))
        .to_container(&C1);
    assert_eq!(state(&h), TcpState::LastAck);
    let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, ACK)).to_uplink();
    assert_eq!(state(&h), TcpState::TimeWait);
    // Case 11: the same ports again.
    let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN)).to_uplink();
    assert_eq!(state(&h), TcpState::SynSent);
    assert_eq!(h.tables.counter(Counter::FlowNew), 1, "the binding is kept");
}

/// Closes as far as `state`, and begins anew on the same ports with the number 7000.
fn again(want: TcpState) -> Host {
    let mut h = Host::new();
    open(&mut h);
    let fin = |src, sport, dst, dport| tcp(src, sport, dst, dport, FIN | ACK);
    let _ = h.from(&C1, &fin(C1.ip(), 40000, S, 80)).to_uplink();
    if want != TcpState::FinWait {
        let _ = h.from_outside(&tcp(S, 80, H, 40000, ACK)).to_container(&C1);
    }
    if want == TcpState::LastAck {
        let _ = h.from_outside(&fin(S, 80, H, 40000)).to_container(&C1);
    }
    let syn = tcp(C1.ip(), 40000, S, 80, SYN).numbered(7000, 0);
    let _ = h.from(&C1, &syn).to_uplink();
    assert_eq!(state(&h), want, "a SYN alone proves nothing");
    h
}

/// A closing connection is followed by a new one on its ports as soon as the SYN of that is answered.
#[test]
fn an_answered_syn_reopens_a_closing_connection() {
    for old in [TcpState::FinWait, TcpState::CloseWait, TcpState::LastAck] {
        let mut h = again(old);
        let answer = |ack| tcp(S, 80, H, 40000, SYN | ACK).numbered(9000, ack);
        // Of another SYN: perhaps of the old connection.
        let _ = h.from_outside(&answer(7000)).to_container(&C1);
        assert_eq!(state(&h), old);
        let _ = h.from_outside(&answer(7001)).to_container(&C1);
        assert_eq!(state(&h), TcpState::SynRecv, "{old:?}");
        let record = h.tables.entry(&record_key(tuple::TCP, 80, 40000)).unwrap();
        assert_eq!(record.state & STATE_ASSURED, 0, "its handshake is open");
        let ack = tcp(C1.ip(), 40000, S, 80, ACK).numbered(7001, 9001);
        let _ = h.from(&C1, &ack).to_uplink();
        assert_eq!(state(&h), TcpState::Established);
        assert_eq!(h.tables.counter(Counter::FlowNew), 1, "the binding is kept");
        // It is judged by its own numbers, and lives as long as every open one.
        let old_reset = tcp(S, 80, H, 40000, RST).numbered(2000, 0);
        assert_eq!(
            h.from_outside(&old_reset).dropped(),
            Some(DropReason::TcpInvalid)
        );
        h.tables.advance_ms(400_000_000);
        let _ = h.from(&C1, &ack).to_uplink();
        assert_eq!(h.tables.counter(Counter::FlowNew), 1);
    }
}

#[test]
fn a_syn_ack_that_nobody_asked_for_reopens_nothing() {
    for old in [TcpState::FinWait, TcpState::CloseWait, TcpState::LastAck] {
        let mut h = again(old);
        // The old connection goes on: what is remembered is its own segment.
        let _ = h
            .from(&C1, &tcp(C1.ip(), 40000, S, 80, ACK).numbered(1001, 2000))
            .to_uplink();
        let was = state(&h);
        for ack in [7001, 1001, 1002] {
            let answer = tcp(S, 80, H, 40000, SYN | ACK).numbered(9000, ack);
            let _ = h.from_outside(&answer).to_container(&C1);
            assert_eq!(state(&h), was);
        }
    }
}

/// Case 12: an RST closes by the exact number, or right after the sender's own data.
#[test]
fn reset_closes_by_the_exact_number() {
    // `open` has C1 acknowledge 2000; everybody's own segments end at 1000.
    let from_s = |seq| tcp(S, 80, H, 40000, RST).numbered(seq, 0);
    let from_c1 = |seq| tcp(C1.ip(), 40000, S, 80, RST).numbered(seq, 0);
    for (seq, closes) in [(2000, true), (2100, false), (2001, false)] {
        let mut h = Host::new();
        open(&mut h);
        let _ = h.from_outside(&from_s(seq)).to_container(&C1);
        assert_eq!(state(&h) == TcpState::Close, closes, "in {seq}");
        let mut h = Host::new();
        open(&mut h);
        let _ = h.from(&C1, &from_c1(seq)).to_uplink();
        assert_eq!(state(&h) == TcpState::Close, closes, "out {seq}");
    }
    let mut h = Host::new();
    open(&mut h);
    let out = h.from_outside(&from_s(1999));
    assert_eq!(out.dropped(), Some(DropReason::TcpInvalid));
    let out = h.from(&C1, &from_c1(1999));
    assert_eq!(out.dropped(), Some(DropReason::TcpInvalid));
    assert_eq!(state(&h), TcpState::Established);
    // After own data that the other side has not acknowledged yet.
    let data = tcp_data(S, 80, H, 40000, ACK, &[7; 100]).numbered(2000, 1000);
    let _ = h.from_outside(&data).to_container(&C1);
    let _ = h.from_outside(&from_s(2100)).to_container(&C1);
    assert_eq!(state(&h), TcpState::Close);
}

/// What a host without the connection answers to a SYN is a number like every other once the
/// connection is open: that is what a forger would send too.
#[test]
fn a_refusal_of_an_open_connection_is_judged_by_its_number() {
    let mut h = Host::new();
    open(&mut h);
    let refusal = tcp(S, 80, H, 40000, RST | ACK).numbered(0, 1001);
    let out = h.from_outside(&refusal);
    assert_eq!(out.dropped(), Some(DropReason::TcpInvalid));
    assert_eq!(state(&h), TcpState::Established);
}

#[test]
fn late_segments_of_a_forgotten_connection_never_leave_untranslated() {
    let mut h = Host::new();
    for flags in [FIN | ACK, RST, RST | ACK, SYN | ACK] {
        let packet = tcp(C1.ip(), 40000, S, 80, flags);
        assert_eq!(
            h.from(&C1, &packet).dropped(),
            Some(DropReason::TcpNotSyn),
            "{flags:#x}"
        );
        assert_eq!(
            h.from_stack(&packet).dropped(),
            Some(DropReason::TcpNotSyn),
            "{flags:#x}"
        );
    }
}

#[test]
fn pickup_keeps_the_port_or_fails() {
    let mut h = Host::new();
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, ACK));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
    assert_eq!(state(&h), TcpState::Established);
    let other = h.from(&C2, &tcp(C2.ip(), 40000, S, 80, ACK));
    assert_eq!(other.dropped(), Some(DropReason::TcpNotSyn));
    assert_eq!(
        h.tables.entries().len(),
        2,
        "nothing is left of the attempt"
    );
}

#[test]
fn a_segment_that_the_state_forbids() {
    let mut h = Host::new();
    open(&mut h);
    let out = h.from_outside(&tcp(S, 80, H, 40000, SYN));
    assert_eq!(out.dropped(), Some(DropReason::TcpInvalid));
}

#[test]
fn ignored_segments_pass_but_do_not_keep_the_flow() {
    let mut h = Host::new();
    open(&mut h);
    let before = h.tables.entry(&record_key(tuple::TCP, 80, 40000)).unwrap();
    h.tables.advance_ms(5000);
    let _ = h
        .from_outside(&tcp(S, 80, H, 40000, SYN | ACK))
        .to_container(&C1);
    let after = h.tables.entry(&record_key(tuple::TCP, 80, 40000)).unwrap();
    assert_eq!(before.stamp, after.stamp);
}
