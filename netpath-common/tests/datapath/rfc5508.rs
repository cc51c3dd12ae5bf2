//! RFC 5508, requirements 1, 2 and 6 to 11, as `docs/conformance.md` names them: queries, timers, and
//! which messages there are. How an error is translated (3, 4, 5) is `rfc5508_error`'s.

use netpath_common::{DropReason, tuple};

use super::{family::*, masquerade::record_key, rfc4787::rfc};

/// The identifier of a query that has left.
#[track_caller]
fn id(o: &Outcome) -> u16 {
    let _ = o.to_uplink();
    assert_eq!(source(&o.frame), H);
    query_id(&o.frame)
}

#[test]
fn req1_queries_and_their_answers_pass() {
    let mut h = Host::new();
    for (ask, answer) in QUERIES {
        assert_eq!(id(&h.from(&C1, &query(C1.ip(), S, ask, 7))), 7);
        // Any number of answers to one question (RFC 1122, 3.2.2.6, leaves that open).
        for _ in 0..2 {
            let back = h.from_outside(&query(S, H, answer, 7));
            assert_eq!(
                back.to_container(&C1),
                said(&format!("icmp {answer} S > C1 id 7"))
            );
        }
        // Only of whom was asked, and only an answer.
        assert!(h.from_outside(&query(S2, H, answer, 7)).passed());
        assert!(h.from_outside(&query(S, H, ask, 7)).passed());
    }
}

#[test]
fn req1a_an_identifier_depends_on_the_destination() {
    let mut h = Host::new();
    assert_eq!(id(&h.from(&C1, &query(C1.ip(), S, ECHO, 7))), 7);
    assert_eq!(id(&h.from(&C2, &query(C2.ip(), S2, ECHO, 7))), 7);
    assert_ne!(id(&h.from(&C2, &query(C2.ip(), S, ECHO, 7))), 7);
    assert_ne!(id(&h.from(&C1, &query(C1.ip(), S2, ECHO, 7))), 7);
}

#[test]
fn req2_query_timer() {
    for (host, ms) in [(rfc as fn() -> Host, 60_000), (Host::new, 30_000)] {
        for kinds in QUERIES {
            for (at, alive) in [(ms - 4, true), (ms, false)] {
                let mut h = host();
                let _ = h.from(&C1, &query(C1.ip(), S, kinds.0, 7)).to_uplink();
                h.tables.advance_ms(at);
                let back = h.from_outside(&query(S, H, kinds.1, 7));
                assert_eq!(!back.passed(), alive, "{at} ms");
            }
        }
    }
}

#[test]
fn req6_an_error_about_a_query_neither_refreshes_nor_ends_it() {
    let mut h = rfc();
    let _ = h.from(&C1, &query(C1.ip(), S, ECHO, 7)).to_uplink();
    let before = h.tables.entries();
    h.tables.advance_ms(40_000);
    for kind in ERRORS {
        for code in [0, 1] {
            let out = h.from_outside(&error(R, H, kind, code, &query(H, S, ECHO, 7), 8));
            let _ = out.to_container(&C1);
        }
    }
    assert_eq!(h.tables.entries(), before);
    h.tables.advance_ms(19_996);
    let _ = h
        .from_outside(&query(S, H, ECHO_REPLY, 7))
        .to_container(&C1);
    // About an answer of a container: it has no such flow, since nobody can ask it.
    let about = query(S, C1.ip(), ECHO, 9);
    let out = h.from(&C1, &no_port(C1.ip(), S, &about));
    assert_eq!(out.dropped(), Some(DropReason::IcmpErrorUnmatched));
}

#[test]
fn req7_hairpinned_errors_of_both_sides() {
    let [kind, code] = NO_PORT;
    for published in [tuple::UDP, tuple::TCP] {
        let mut h = Host::new();
        let ask = |src, dst, dport| match published {
            tuple::UDP => udp(src, 50_000, dst, dport, b"?"),
            _ => tcp(src, 50_000, dst, dport, 2),
        };
        let (outside, inside) = if published == tuple::UDP {
            (5353, 53)
        } else {
            (8080, 80)
        };
        let _ = h.from(&C2, &ask(C2.ip(), H, outside)).to_container(&C1);
        // 7 a: the outer destination is the source of what the client has sent.
        let about = ask(C2.ip(), C1.ip(), inside);
        let out = h.from(&C1, &no_port(C1.ip(), C2.ip(), &about));
        let name = if published == tuple::UDP {
            "udp"
        } else {
            "tcp"
        };
        assert_eq!(
            out.to_container(&C2),
            said(&format!(
                "icmp {kind}/{code} H > C2 \
                 [{name} C2:50000 > H:{outside}]"
            ))
        );
        // The client about the answer.
        let about = match published {
            tuple::UDP => udp(H, outside, C2.ip(), 50_000, b"!"),
            _ => tcp(H, outside, C2.ip(), 50_000, 0x12),
        };
        let out = h.from(&C2, &no_port(C2.ip(), H, &about));
        assert_eq!(
            out.to_container(&C1),
            said(&format!(
                "icmp {kind}/{code} C2 > C1 \
                 [{name} C1:{inside} > C2:50000]"
            ))
        );
    }
}

#[test]
fn req9_no_policy_mutes_errors() {
    // Every container's errors about its own flows leave, whatever its network allows.
    let mut h = Host::new();
    let _ = h
        .from_outside(&udp(S, 51000, H, 5353, b"?"))
        .to_container(&C1);
    h.tables.networks[usize::from(NET1)].flags &= !netpath_common::records::NETWORK_ICC;
    let about = udp(S, 51000, C1.ip(), 53, b"?");
    let _ = h.from(&C1, &no_port(C1.ip(), S, &about)).to_uplink();
}

#[test]
fn req10a_unreachable_time_exceeded_and_echo() {
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    for (kind, codes) in [(UNREACHABLE, 0..=15), (TIME_EXCEEDED, 0..=1)] {
        for code in codes {
            let about = udp(H, 5000, S, 53, b"");
            let out = h.from_outside(&error(R, H, kind, code, &about, 8));
            let _ = out.to_container(&C1);
        }
    }
    let _ = h.from(&C1, &query(C1.ip(), S, ECHO, 7)).to_uplink();
    let _ = h
        .from_outside(&query(S, H, ECHO_REPLY, 7))
        .to_container(&C1);
}

#[test]
fn req10b_parameter_problem_and_every_query_are_translated() {
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    let about = udp(H, 5000, S, 53, b"");
    let problem = error(R, H, PARAMETER_PROBLEM, 0, &about, 8);
    let _ = h.from_outside(&problem).to_container(&C1);
    for (ask, answer) in QUERIES {
        let _ = h.from(&C1, &query(C1.ip(), S, ask, 7)).to_uplink();
        let _ = h.from_outside(&query(S, H, answer, 7)).to_container(&C1);
    }
}

#[test]
fn req10d_the_ds_field_is_kept() {
    use netpath_common::event::Hook;
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    let about = udp(H, 5000, S, 53, b"");
    for ds in [0x02, 0xb8, 0xc0, 0xff] {
        let sent = udp(C1.ip(), 5000, S, 53, b"").frame(C1.mac, BRIDGE1_MAC, C1.ifindex);
        let out = h.run(Hook::Veth, &with_ds(sent, ds));
        let _ = out.to_uplink();
        assert_eq!(super::family::ds(&out.frame), ds);
        let came =
            error(R, H, TIME_EXCEEDED, 0, &about, 8).frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF);
        let out = h.run(Hook::UplinkIngress, &with_ds(came, ds));
        let _ = out.to_container(&C1);
        assert_eq!(super::family::ds(&out.frame), ds);
    }
}

#[test]
fn req10e_no_error_about_an_error_or_a_later_fragment() {
    // The only error that the datapath makes itself is that a flow is refused.
    let mut h = Host::new();
    h.tables.config.as_mut().unwrap().endpoint_flows = 1;
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    let refused = h.from(&C1, &udp(C1.ip(), 5001, S, 53, b""));
    assert!(refused.answer.is_some());
    let parts = udp(C1.ip(), 5002, S, 53, &[1; 3000]).parts(9);
    for packet in [
        no_port(C1.ip(), S, &udp(S, 53, C1.ip(), 5009, b"")),
        query(C1.ip(), S, ECHO_REPLY, 7),
        parts[1].clone(),
        parts[2].clone(),
    ] {
        assert_eq!(h.from(&C1, &packet).answer, None);
    }
}

#[test]
fn req11_other_messages_are_dropped_or_the_hosts() {
    let mut h = Host::new();
    for kind in 0..=255_u8 {
        if is_known(kind) {
            continue;
        }
        let out = h.from(&C1, &query(C1.ip(), S, kind, 7));
        assert_eq!(out.dropped(), Some(DropReason::IcmpUnmatched), "{kind}");
        let out = h.from_stack(&query(C1.ip(), S, kind, 7));
        assert_eq!(out.dropped(), Some(DropReason::IcmpUnmatched), "{kind}");
        assert!(h.from_outside(&query(S, H, kind, 7)).passed(), "{kind}");
    }
    assert!(h.tables.entry(&record_key(ICMP, 7, 7)).is_none());
    assert!(h.tables.entries().is_empty());
}
