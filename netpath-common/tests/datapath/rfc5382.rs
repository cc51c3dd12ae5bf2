//! RFC 5382, requirement by requirement, as `docs/conformance.md` names them.
//!
//! The table of states is `tcp_table`'s, single segments are `connection`'s.

use netpath_common::{
    conntrack::tcp::{ACK, FIN, RST, SYN, TcpState},
    counters::Counter,
    records::Timeouts,
    tuple,
};

use super::{
    connection::open,
    family::*,
    masquerade::record_key,
    rfc4787::{port, rfc},
};

fn state(h: &Host) -> TcpState {
    let record = h.tables.entry(&record_key(tuple::TCP, 80, 40000));
    record.unwrap().tcp_state()
}

/// A reset where it closes: at what the other side has acknowledged, 2000 in every segment here.
fn exact(p: Datagram, flags: u8) -> Datagram {
    if flags & RST == 0 {
        return p;
    }
    p.numbered(2000, 0)
}

fn out(h: &mut Host, flags: u8) {
    let p = exact(tcp(C1.ip(), 40000, S, 80, flags), flags);
    let _ = h.from(&C1, &p).to_uplink();
}

fn back(h: &mut Host, flags: u8) {
    let _ = h
        .from_outside(&tcp(S, 80, H, 40000, flags))
        .to_container(&C1);
}

#[test]
fn req1_a_mapping_depends_on_the_destination() {
    let mut h = Host::new();
    let mut ask = |c: &Container, dst| port(&h.from(c, &tcp(c.ip(), 5000, dst, 80, SYN)));
    assert_eq!(ask(&C1, S), 5000);
    assert_eq!(ask(&C2, S2), 5000);
    assert_ne!(ask(&C2, S), 5000);
    assert_ne!(ask(&C1, S2), 5000);
}

#[test]
fn req2_a_connection_begun_outside_and_every_way_to_close() {
    // Begun outside, at a published port; closed by either side, by both at once, or half.
    let client = |flags| exact(tcp(S, 51000, H, 8080, flags), flags);
    let server = |flags| exact(tcp(C1.ip(), 80, S, 51000, flags), flags);
    for closing in [
        &[
            (true, FIN | ACK),
            (false, ACK),
            (false, FIN | ACK),
            (true, ACK),
        ][..],
        &[
            (false, FIN | ACK),
            (true, ACK),
            (true, FIN | ACK),
            (false, ACK),
        ],
        &[
            (true, FIN | ACK),
            (false, FIN | ACK),
            (true, ACK),
            (false, ACK),
        ],
        &[(true, FIN | ACK), (false, ACK), (false, ACK), (false, ACK)],
        &[(true, RST)],
        &[(false, RST)],
    ] {
        let mut h = Host::new();
        let opening = [(true, SYN), (false, SYN | ACK), (true, ACK)];
        for (by_client, flags) in opening.iter().chain(closing) {
            if *by_client {
                let _ = h.from_outside(&client(*flags)).to_container(&C1);
            } else {
                let _ = h.from(&C1, &server(*flags)).to_uplink();
            }
        }
        assert!(h.drops.is_empty(), "{:?}", h.drops);
    }
}

#[test]
fn req2a_simultaneous_open() {
    // RFC 9293, figure 7: the SYNs cross, each side answers the other's.
    for c1_first in [true, false] {
        let mut h = Host::new();
        out(&mut h, SYN);
        back(&mut h, SYN);
        assert_eq!(state(&h), TcpState::SynSent2);
        // Either answer may be the first to come by.
        if c1_first {
            out(&mut h, SYN | ACK);
            back(&mut h, SYN | ACK);
        } else {
            back(&mut h, SYN | ACK);
            out(&mut h, SYN | ACK);
        }
        assert_eq!(state(&h), TcpState::SynRecv);
        out(&mut h, ACK);
        back(&mut h, ACK);
        assert_eq!(state(&h), TcpState::Established);
        assert!(h.drops.is_empty(), "{:?}", h.drops);
    }
}

#[test]
fn req2_a_half_open_connection_begins_anew() {
    // The container has forgotten its SYN and begins again with the same ports: while the server has
    // not answered, after it has, and after a reset.
    let mut h = Host::new();
    out(&mut h, SYN);
    out(&mut h, SYN);
    assert_eq!(state(&h), TcpState::SynSent);
    back(&mut h, SYN | ACK);
    // A SYN within a connection passes: its receiver answers, and resets what it does not know.
    out(&mut h, SYN);
    assert_eq!(state(&h), TcpState::SynRecv);
    out(&mut h, RST);
    assert_eq!(state(&h), TcpState::Close);
    out(&mut h, SYN);
    assert_eq!(state(&h), TcpState::SynSent);
    back(&mut h, SYN | ACK);
    out(&mut h, ACK);
    assert_eq!(state(&h), TcpState::Established);
    assert_eq!(h.tables.counter(Counter::FlowNew), 1, "one binding for all");
}

#[test]
fn req2_a_syn_on_a_closing_entry_reopens_it_with_its_binding() {
    // Under another port than its own, so that keeping it is no accident.
    for (by_reset, close) in [(true, TcpState::Close), (false, TcpState::TimeWait)] {
        let mut h = Host::new();
        let _ = h.from(&C2, &tcp(C2.ip(), 40000, S, 80, SYN)).to_uplink();
        let send = |h: &mut Host, flags| port(&h.from(&C1, &tcp(C1.ip(), 40000, S, 80, flags)));
        let outside = send(&mut h, SYN);
        assert_ne!(outside, 40000);
        let key = record_key(tuple::TCP, 80, outside);
        let back = |h: &mut Host, flags| {
            let reply = h.from_outside(&tcp(S, 80, H, outside, flags));
            let _ = reply.to_container(&C1);
        };
        back(&mut h, SYN | ACK);
        send(&mut h, ACK);
        if by_reset {
            let reset = exact(tcp(S, 80, H, outside, RST), RST);
            let _ = h.from_outside(&reset).to_container(&C1);
        } else {
            send(&mut h, FIN | ACK);
            back(&mut h, FIN | ACK);
            send(&mut h, ACK);
        }
        let entry = |h: &Host| h.tables.entry(&key).unwrap();
        assert_eq!(entry(&h).tcp_state(), close);
        assert_eq!(send(&mut h, SYN), outside, "the binding");
        assert_eq!(entry(&h).tcp_state(), TcpState::SynSent);
        back(&mut h, SYN | ACK);
        send(&mut h, ACK);
        assert_eq!(entry(&h).tcp_state(), TcpState::Established);
    }
}

#[test]
fn req3_filtering_by_address_and_port() {
    let mut h = Host::new();
    open(&mut h);
    for (src, sport) in [(S, 81), (S2, 80)] {
        for flags in [SYN, ACK, SYN | ACK] {
            assert!(h.from_outside(&tcp(src, sport, H, 40000, flags)).passed());
        }
    }
    back(&mut h, ACK);
}

#[test]
fn req4_an_unsolicited_syn_is_the_hosts_to_answer() {
    // The datapath answers nothing itself; the host's stack refuses at once, as for its own ports.
    let mut h = Host::new();
    assert!(h.from_outside(&tcp(S, 80, H, 40000, SYN)).passed());
    assert!(h.tables.entries().is_empty(), "and nothing is remembered");
    // A SYN of the container that crosses makes it a simultaneous open.
    out(&mut h, SYN);
    back(&mut h, SYN);
    assert_eq!(state(&h), TcpState::SynSent2);
}

/// Brings C1:40000 to S:80 into each state, and says how long it must live under the profile `rfc`.
fn paths() -> Vec<(TcpState, Vec<(bool, u8)>)> {
    let (o, b) = (true, false);
    let opened = vec![(o, SYN), (b, SYN | ACK), (o, ACK)];
    let then = |more: &[(bool, u8)]| [&opened[..], more].concat();
    vec![
        (TcpState::SynSent, vec![(o, SYN)]),
        (TcpState::SynSent2, vec![(o, SYN), (b, SYN)]),
        (TcpState::SynRecv, vec![(o, SYN), (b, SYN | ACK)]),
        (TcpState::Established, opened.clone()),
        (TcpState::FinWait, then(&[(o, FIN | ACK)])),
        (TcpState::CloseWait, then(&[(o, FIN | ACK), (b, ACK)])),
        (TcpState::LastAck, then(&[(o, FIN | ACK), (b, FIN | ACK)])),
        (
            TcpState::TimeWait,
            then(&[(o, FIN | ACK), (b, FIN | ACK), (o, ACK)]),
        ),
    ]
}

/// Whether the connection still translates `ms` after the last packet that brought it to its state.
fn alive(host: fn() -> Host, path: &[(bool, u8)], ms: u64, want: TcpState) -> bool {
    let mut h = host();
    for (outward, flags) in path {
        if *outward {
            out(&mut h, *flags);
        } else {
            back(&mut h, *flags);
        }
    }
    assert_eq!(state(&h), want);
    h.tables.advance_ms(ms);
    // No state objects to an answer with ACK; SYN-SENT lets it pass for the receiver to judge.
    !h.from_outside(&tcp(S, 80, H, 40000, ACK)).passed()
}

#[test]
fn req5_idle_timeouts_of_the_profile_rfc() {
    for (want, path) in paths() {
        let ms = if want == TcpState::Established {
            (2 * 60 + 4) * 60_000
        } else {
            4 * 60_000
        };
        assert!(alive(rfc, &path, ms - 4, want), "{want:?}");
        assert!(!alive(rfc, &path, ms, want), "{want:?}");
    }
}

#[test]
fn req5_idle_timeouts_of_the_profile_kernel() {
    for (want, path) in paths() {
        let ms = u64::from(Timeouts::KERNEL.tcp[want as usize]);
        assert!(alive(Host::new, &path, ms - 4, want), "{want:?}");
        assert!(!alive(Host::new, &path, ms, want), "{want:?}");
        // Longer than asked for while it is established, shorter in every other state.
        let floor = if want == TcpState::Established {
            7_440_000
        } else {
            240_000
        };
        assert_eq!(ms >= floor, want == TcpState::Established, "{want:?}");
    }
}

#[test]
fn req7_ports_overlap_only_where_destinations_differ() {
    let mut h = Host::new();
    let mut ask = |c: &Container, dst| port(&h.from(c, &tcp(c.ip(), 5000, dst, 80, SYN)));
    assert_eq!(ask(&C1, S), ask(&C2, S2));
    assert_ne!(ask(&C2, S), 5000);
}

#[test]
fn req9_destination_unreachable_with_every_code() {
    let mut h = Host::new();
    open(&mut h);
    for code in 0..=15 {
        let about = tcp(H, 40000, S, 80, ACK);
        let out = h.from_outside(&error(R, H, UNREACHABLE, code, &about, 8));
        assert_eq!(
            out.to_container(&C1),
            said(&format!(
                "icmp {UNREACHABLE}/{code} R > C1 [tcp C1:40000 > S:80]"
            ))
        );
    }
}

#[test]
fn req10_no_icmp_message_ends_a_connection() {
    let mut h = Host::new();
    open(&mut h);
    let before = h.tables.entries();
    for kind in 0..=255 {
        for code in [0, 1, 2, 3, 4, 9, 10, 13] {
            let about = tcp(H, 40000, S, 80, ACK);
            let _ = h.from_outside(&error(R, H, kind, code, &about, 8));
        }
    }
    assert_eq!(h.tables.entries(), before);
    let key: Tuple = record_key(tuple::TCP, 80, 40000);
    assert!(h.tables.entry(&key).is_some());
    back(&mut h, ACK);
}
