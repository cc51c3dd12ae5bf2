//! Case 12: which resets end a connection.
//!
//! In every variant C1 has acknowledged 5001 of S, and S 1001 of C1.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, PSH, RST, TcpState},
    tuple,
};

use super::{
    family::*,
    help::{c1, open, record_key, s, state},
};

/// Who sends the reset.
#[derive(Clone, Copy, Debug)]
enum By {
    C1,
    S,
}

/// A reset `ahead` of what the other side has acknowledged.
fn reset(h: &mut Host, by: By, ahead: i32) -> Outcome {
    match by {
        By::C1 => h.from(&C1, &c1(RST, 1001_u32.wrapping_add_signed(ahead), 0)),
        By::S => h.from_outside(&s(RST, 5001_u32.wrapping_add_signed(ahead), 0)),
    }
}

/// That it was forwarded.
#[track_caller]
fn forwarded(by: By, out: &Outcome) {
    match by {
        By::C1 => assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80")),
        By::S => assert_eq!(out.to_container(&C1), said("tcp S:80 > C1:40000")),
    }
}

#[test]
fn c12_below_what_is_acknowledged() {
    for by in [By::C1, By::S] {
        for ahead in [-1, -100, -500_000, i32::MIN + 1] {
            let mut h = Host::new();
            open(&mut h);
            let out = reset(&mut h, by, ahead);
            assert_eq!(
                out.dropped(),
                Some(DropReason::TcpInvalid),
                "{by:?} {ahead}"
            );
            assert_eq!(state(&h), TcpState::Established);
        }
    }
}

#[test]
fn c12_above_what_is_acknowledged() {
    for by in [By::C1, By::S] {
        for ahead in [1, 100, 1_000_000, i32::MAX] {
            let mut h = Host::new();
            open(&mut h);
            forwarded(by, &reset(&mut h, by, ahead));
            assert_eq!(state(&h), TcpState::Established, "{by:?} {ahead}");
        }
    }
}

/// That the connection is closed, and is over ten seconds later.
#[track_caller]
fn closed(mut h: Host) {
    assert_eq!(state(&h), TcpState::Close);
    h.tables.now += 10_000_000_000 - 1;
    let back = h.from_outside(&s(ACK, 5001, 1001));
    assert_eq!(back.to_container(&C1), said("tcp S:80 > C1:40000"));
    h.tables.now += 10_000_000_000;
    assert!(h.from_outside(&s(ACK, 5001, 1001)).passed(), "over");
    assert!(h.tables.entry(&record_key(tuple::TCP, 80, 40000)).is_none());
}

#[test]
fn c12_exact() {
    for by in [By::C1, By::S] {
        let mut h = Host::new();
        open(&mut h);
        forwarded(by, &reset(&mut h, by, 0));
        closed(h);
    }
}

#[test]
fn c12_behind_own_data() {
    // A hundred bytes that the other side has not acknowledged, and the reset right behind them;
    // a byte before and after it is none of the kind.
    for by in [By::C1, By::S] {
        for (ahead, closes) in [(99, false), (100, true), (101, false)] {
            let mut h = Host::new();
            open(&mut h);
            let data = [7; 100];
            let out = match by {
                By::C1 => h.from(
                    &C1,
                    &tcp_data(C1.ip(), 40000, S, 80, ACK | PSH, &data).numbered(1001, 5001),
                ),
                By::S => h.from_outside(
                    &tcp_data(S, 80, H, 40000, ACK | PSH, &data).numbered(5001, 1001),
                ),
            };
            forwarded(by, &out);
            forwarded(by, &reset(&mut h, by, ahead));
            if closes {
                closed(h);
            } else {
                assert_eq!(state(&h), TcpState::Established, "{by:?} {ahead}");
            }
        }
    }
}
