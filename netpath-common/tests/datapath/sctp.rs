//! SCTP: the life of an association, and a port that cannot change.

use netpath_common::{
    DropReason,
    conntrack::Budget,
    datapath::Tables,
    tuple::{self, SCTP},
};

use super::family::*;

// Chunks of SCTP.
const DATA: u8 = 0;
pub(crate) const INIT: u8 = 1;
pub(crate) const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

/// C1:4000 to S:4000 by SCTP, and the answer, one chunk each; false: the outside sends.
fn talk(h: &mut Host, chunks: &[(bool, u8)]) {
    for (inside, chunk) in chunks {
        let out = if *inside {
            h.from(&C1, &sctp(C1.ip(), 4000, S, 5000, *chunk))
        } else {
            h.from_outside(&sctp(S, 5000, H, 4000, *chunk))
        };
        let text = if *inside {
            out.to_uplink()
        } else {
            out.to_container(&C1)
        };
        let want = if *inside {
            said("sctp H:4000 > S:5000")
        } else {
            said("sctp S:5000 > C1:4000")
        };
        assert_eq!(text, want);
    }
}

const OPEN: [(bool, u8); 4] = [
    (true, INIT),
    (false, INIT_ACK),
    (true, COOKIE_ECHO),
    (false, COOKIE_ACK),
];

/// Whether the outside's packet still reaches C1 after so many milliseconds.
fn lives(h: &mut Host, ms: u64) -> bool {
    h.tables.advance_ms(ms);
    !h.from_outside(&sctp(S, 5000, H, 4000, DATA)).passed()
}

#[test]
fn sctp_lives_as_long_as_in_the_kernel() {
    for (chunks, ms) in [
        (&OPEN[..1], 3_000),
        (&OPEN[..2], 3_000),
        (&OPEN[..], 210_000),
    ] {
        for (at, alive) in [(ms - 4, true), (ms, false)] {
            let mut h = Host::new();
            talk(&mut h, chunks);
            assert_eq!(lives(&mut h, at), alive, "{chunks:?} {at} ms");
        }
    }
    let down = [
        (true, SHUTDOWN),
        (false, SHUTDOWN_ACK),
        (true, SHUTDOWN_COMPLETE),
    ];
    for (n, ms) in [(1, 3_000), (2, 3_000), (3, 10_000)] {
        for (at, alive) in [(ms - 4, true), (ms, false)] {
            let mut h = Host::new();
            talk(&mut h, &OPEN);
            talk(&mut h, &down[..n]);
            assert_eq!(lives(&mut h, at), alive, "{n} {at} ms");
        }
    }
    let mut h = Host::new();
    talk(&mut h, &OPEN);
    talk(&mut h, &[(false, ABORT)]);
    assert!(!lives(&mut h, 10_000));
}

#[test]
fn sctp_keeps_its_port_or_does_not_leave() {
    let mut h = Host::new();
    talk(&mut h, &OPEN[..1]);
    let out = h.from(&C2, &sctp(C2.ip(), 4000, S, 5000, INIT));
    assert_eq!(out.dropped(), Some(DropReason::NoPort));
    assert!(out.answer.is_some(), "and is told");
    // To another peer, and by another port.
    let _ = h
        .from(&C2, &sctp(C2.ip(), 4000, S2, 5000, INIT))
        .to_uplink();
    let _ = h.from(&C2, &sctp(C2.ip(), 4001, S, 5000, INIT)).to_uplink();
    // Also where every other protocol is given other ports.
    let config = h.tables.config.as_mut().unwrap();
    (config.port_min, config.port_max, config.flags) = (50_000, 50_010, 0);
    let out = h.from(&C1, &sctp(C1.ip(), 4002, S, 5000, INIT));
    assert_eq!(out.to_uplink(), said("sctp H:4002 > S:5000"));
}

#[test]
fn sctp_in_the_middle_goes_on_and_nothing_else_begins_there() {
    let mut h = Host::new();
    talk(&mut h, &[(true, DATA), (false, DATA)]);
    assert!(lives(&mut h, 209_000), "answered, so it is established");
    let mut h = Host::new();
    talk(&mut h, &[(true, DATA)]);
    assert!(!lives(&mut h, 30_000), "as after a heartbeat");
    for chunk in [INIT_ACK, ABORT, SHUTDOWN] {
        let mut h = Host::new();
        let out = h.from(&C1, &sctp(C1.ip(), 4000, S, 5000, chunk));
        assert_eq!(out.dropped(), Some(DropReason::TcpNotSyn));
    }
}

#[test]
fn a_published_port_of_sctp() {
    let mut h = Host::new();
    h.tables.publish(SCTP, 5000, &C1, 5000, 3);
    let out = h.from_outside(&sctp(S, 7000, H, 5000, INIT));
    assert_eq!(out.to_container(&C1), said("sctp S:7000 > C1:5000"));
    let out = h.from(&C1, &sctp(C1.ip(), 5000, S, 7000, INIT_ACK));
    assert_eq!(out.to_uplink(), said("sctp H:5000 > S:7000"));
    let out = h.from(&C2, &sctp(C2.ip(), 7000, H, 5000, INIT));
    assert_eq!(out.to_container(&C1), said("sctp C2:7000 > C1:5000"));
    // Nothing that is not published.
    assert!(h.from_outside(&sctp(S, 7000, H, 5001, INIT)).passed());
}

#[test]
fn a_port_of_sctp_is_never_changed() {
    // Whoever writes the table is to ask; one that has it all the same does not make broken packets.
    assert!(tuple::keeps_ports(SCTP) && !tuple::keeps_ports(tuple::DCCP));
    let mut h = Host::new();
    h.tables.publish(SCTP, 5000, &C1, 5001, 3);
    let out = h.from_outside(&sctp(S, 7000, H, 5000, INIT));
    assert_eq!(out.dropped(), Some(DropReason::RewriteFailed));
}

#[test]
fn the_outside_begins_sctp_within_its_budget() {
    let mut h = Host::new();
    h.tables.publish(SCTP, 5000, &C1, 5000, 3);
    let inbound = |h: &Host| h.tables.live(Budget::inbound::<Addr>());
    let _ = h.from_outside(&sctp(S, 7000, H, 5000, INIT));
    let _ = h.from(&C1, &sctp(C1.ip(), 5000, S, 7000, INIT_ACK));
    assert_eq!(inbound(&h), 1, "an answer proves nothing");
    let _ = h.from_outside(&sctp(S, 7000, H, 5000, COOKIE_ECHO));
    let _ = h.from(&C1, &sctp(C1.ip(), 5000, S, 7000, COOKIE_ACK));
    let _ = h.from_outside(&sctp(S, 7000, H, 5000, DATA));
    assert_eq!(inbound(&h), 0);
}
