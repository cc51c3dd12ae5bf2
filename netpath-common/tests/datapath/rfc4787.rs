//! RFC 4787, requirement by requirement, as `docs/conformance.md` names them: what netpath complies
//! with, and what it does where it differs.
//!
//! Fragments (REQ-14), MTU (REQ-13) and hairpin (REQ-9) are in files of their own as well.

use std::collections::HashSet;

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, PSH},
    datapath::Tables,
    records::Timeouts,
};

use super::{connection::open, family::*};

/// The host under the profile `rfc`.
pub(crate) fn rfc() -> Host {
    let mut h = Host::new();
    h.tables.config.as_mut().unwrap().timeouts = Timeouts::RFC;
    h
}

/// The outside source port of a UDP or TCP frame that has left.
#[track_caller]
pub(crate) fn port(o: &Outcome) -> u16 {
    let _ = o.to_uplink();
    source_port(&o.frame)
}

/// C:5000 to `dst`:53.
fn ask(h: &mut Host, c: &Container, dst: Addr) -> u16 {
    port(&h.from(c, &udp(c.ip(), 5000, dst, 53, b"")))
}

/// Whether S's answer to H:5000 reaches C1.
fn answered(h: &mut Host) -> bool {
    let out = h.from_outside(&udp(S, 53, H, 5000, b""));
    if out.passed() {
        return false;
    }
    assert_eq!(out.to_container(&C1), said("udp S:53 > C1:5000"));
    true
}

#[test]
fn req1_a_mapping_depends_on_the_destination() {
    // One port for all destinations as long as nobody else has it there; else another one there.
    let mut h = Host::new();
    assert_eq!(ask(&mut h, &C1, S), 5000);
    assert_eq!(ask(&mut h, &C2, S2), 5000);
    assert_ne!(ask(&mut h, &C2, S), 5000);
    assert_eq!(
        ask(&mut h, &C1, S2).cmp(&5000),
        core::cmp::Ordering::Greater
    );
}

#[test]
fn req2_one_address_for_all_flows_of_a_container() {
    let mut h = Host::new();
    for n in 0..100 {
        for out in [
            h.from(&C1, &udp(C1.ip(), 5000 + n, S, 53, b"")),
            h.from(&C1, &udp(C1.ip(), 5000 + n, S2, 53, b"")),
            h.from(&C1, &tcp(C1.ip(), 5000 + n, S, 80, 2)),
            h.from(&C1, &query(C1.ip(), S, ECHO, n)),
        ] {
            let _ = out.to_uplink();
            assert_eq!(source(&out.frame), H);
        }
    }
}

#[test]
fn req3_ports_overlap_only_where_destinations_differ() {
    let mut h = Host::new();
    // The same outside port for two containers, to two destinations (RFC 7857, 3).
    assert_eq!(ask(&mut h, &C1, S), ask(&mut h, &C2, S2));
    // To one destination never: as many ports as flows.
    let mut seen = HashSet::from([5000]);
    for n in 0..10 {
        let c = another(n);
        h.tables.add_container(&c);
        assert!(seen.insert(ask(&mut h, &c, S)), "overloaded");
    }
}

#[test]
fn req4_parity_of_a_replaced_port_is_chance() {
    let mut odd = 0;
    for seed in 1..=100 {
        let mut h = Host::seeded(seed);
        assert_eq!(ask(&mut h, &C1, S), 5000, "a free port keeps its parity");
        odd += ask(&mut h, &C2, S) % 2;
    }
    assert!((20..=80).contains(&odd), "{odd} of 100");
}

/// How long after its only packet a flow can be answered, milliseconds.
fn lives(host: impl Fn() -> Host, ms: u64, prepare: impl Fn(&mut Host)) {
    for (at, alive) in [(ms - 4, true), (ms, false)] {
        let mut h = host();
        ask(&mut h, &C1, S);
        prepare(&mut h);
        h.tables.advance_ms(at);
        assert_eq!(answered(&mut h), alive, "{at} ms");
    }
}

#[test]
fn req5_timer_of_the_profile_rfc() {
    lives(rfc, 300_000, |_| ());
    // Also once it is a stream.
    lives(rfc, 300_000, |h| {
        h.tables.advance_ms(3000);
        assert!(answered(h));
    });
}

#[test]
fn req5_timer_of_the_profile_kernel() {
    lives(Host::new, 30_000, |_| ());
    lives(Host::new, 120_000, |h| {
        h.tables.advance_ms(3000);
        assert!(answered(h));
    });
}

#[test]
fn req5a_no_port_has_a_shorter_timer() {
    for dport in [7, 53, 123, 1023, 1024, 60_000] {
        let mut h = rfc();
        let _ = h.from(&C1, &udp(C1.ip(), 5000, S, dport, b"")).to_uplink();
        h.tables.advance_ms(299_996);
        let out = h.from_outside(&udp(S, dport, H, 5000, b""));
        let _ = out.to_container(&C1);
    }
}

#[test]
fn req6_outbound_packets_refresh() {
    for (host, ms) in [(rfc as fn() -> Host, 299_996), (Host::new, 29_996)] {
        let mut h = host();
        for _ in 0..5 {
            ask(&mut h, &C1, S);
            h.tables.advance_ms(ms);
        }
        assert!(answered(&mut h));
    }
}

#[test]
fn req6a_inbound_packets_refresh() {
    for (host, ms) in [(rfc as fn() -> Host, 299_996), (Host::new, 29_996)] {
        let mut h = host();
        ask(&mut h, &C1, S);
        // The first one makes it answered; from then on it lives as a stream or longer.
        for _ in 0..5 {
            h.tables.advance_ms(ms);
            assert!(answered(&mut h));
        }
    }
}

#[test]
fn req8_filtering_by_address_and_port() {
    let mut h = Host::new();
    ask(&mut h, &C1, S);
    for (src, sport) in [(S, 54), (S2, 53), (R, 9)] {
        let out = h.from_outside(&udp(src, sport, H, 5000, b""));
        assert!(out.passed(), "the host's own to refuse");
    }
    assert!(answered(&mut h));
}

#[test]
fn req9_a_masqueraded_port_is_not_reached_from_inside() {
    let mut h = Host::new();
    ask(&mut h, &C2, S);
    let out = h.from(&C1, &udp(C1.ip(), 6000, H, 5000, b""));
    assert!(out.passed(), "to the host, which has no such socket");
}

#[test]
fn req9a_a_neighbour_sees_the_client_itself() {
    let mut h = Host::new();
    // The client's own address, not H: the service sees who asks.
    let out = h.from(&C2, &udp(C2.ip(), 50_000, H, 5353, b""));
    assert_eq!(out.to_container(&C1), said("udp C2:50000 > C1:53"));
    // The client sees H:5353, whom it asked.
    let back = h.from(&C1, &udp(C1.ip(), 53, C2.ip(), 50_000, b""));
    assert_eq!(back.to_container(&C2), said("udp H:5353 > C2:50000"));
}

#[test]
fn req10_payloads_are_left_alone_and_open_nothing() {
    let mut h = Host::new();
    open(&mut h);
    let me = said("C1");
    let sip = format!(
        "REGISTER sip:a SIP/2.0\r\nVia: SIP/2.0/UDP {}\r\nContact: <sip:c@{}>\r\n\r\n",
        said("C1:5060"),
        said("C1:5060")
    );
    let ftp = format!("PORT 172,17,0,2,156,64\r\nEPRT |{AF}|{me}|40000|\r\n");
    for (packet, payload, at) in [
        (udp(C1.ip(), 5060, S, 5060, sip.as_bytes()), sip, L4 + 8),
        (
            tcp_data(C1.ip(), 40000, S, 80, ACK | PSH, ftp.as_bytes()),
            ftp,
            L4 + 20,
        ),
    ] {
        let out = h.from(&C1, &packet);
        let _ = out.to_uplink();
        assert_eq!(out.frame.bytes[at..], *payload.as_bytes());
    }
    assert_eq!(
        h.tables.entries().len(),
        4,
        "two flows, those that were sent"
    );
    // What the payloads name is not open.
    assert!(h.from_outside(&udp(S2, 5060, H, 5060, b"")).passed());
    assert!(h.from_outside(&tcp(S, 20, H, 40_000, 2)).passed());
}

#[test]
fn req11_a_port_depends_on_what_others_have() {
    let mut h = Host::new();
    assert_eq!(ask(&mut h, &C2, S), 5000);
    let mut h = Host::new();
    ask(&mut h, &C1, S);
    assert_ne!(ask(&mut h, &C2, S), 5000, "the same packet, another port");
}

#[test]
fn req12_no_icmp_message_ends_a_mapping() {
    let mut h = Host::new();
    ask(&mut h, &C1, S);
    let before = h.tables.entries();
    let about = udp(H, 5000, S, 53, b"");
    for kind in 0..=255 {
        for code in 0..=15 {
            let _ = h.from_outside(&error(S, H, kind, code, &about, 8));
            let _ = h.from_outside(&error(R, H, kind, code, &about, 8));
        }
    }
    assert_eq!(h.tables.entries(), before, "neither ended nor refreshed");
    assert!(answered(&mut h));
}

#[test]
fn req12a_whoever_sends_an_icmp_error() {
    let mut h = Host::new();
    ask(&mut h, &C1, S);
    let about = udp(H, 5000, S, 53, b"");
    for src in [S, S2, R, STRANGERS[0], STRANGERS[1]] {
        let out = h.from_outside(&error(src, H, TIME_EXCEEDED, 0, &about, 8));
        let _ = out.to_container(&C1);
    }
}

#[test]
fn req12b_destination_unreachable_with_every_code() {
    let mut h = Host::new();
    ask(&mut h, &C1, S);
    for code in 0..=15 {
        let out = h.from_outside(&error(
            R,
            H,
            UNREACHABLE,
            code,
            &udp(H, 5000, S, 53, b""),
            8,
        ));
        assert_eq!(
            out.to_container(&C1),
            said(&format!(
                "icmp {UNREACHABLE}/{code} R > C1 [udp C1:5000 > S:53]"
            ))
        );
    }
}

#[test]
fn req14a_a_flood_of_fragments_leaves_the_others_alone() {
    let mut h = Host::new();
    ask(&mut h, &C1, S);
    // First ones without an end, tails without a beginning, from inside and from outside.
    for id in 0..2000 {
        let parts = udp(C2.ip(), 6000, S, 53, &[1; 3000]).parts(id);
        let _ = h.from(&C2, &parts[usize::from(id % 3)]);
        let parts = udp(S2, 6000, H, 5353, &[1; 3000]).parts(id);
        let _ = h.from_outside(&parts[usize::from(id % 3)]);
    }
    assert!(
        h.tables.live(netpath_common::conntrack::Budget::HELD) <= 768,
        "bounded"
    );
    assert!(
        h.drops_of(DropReason::FragmentUnmatched) > 0,
        "and beyond that dropped"
    );
    // Whole packets and datagrams in order pass.
    assert!(answered(&mut h));
    for part in udp(C1.ip(), 5000, S, 53, &[2; 4000]).parts(9) {
        let _ = h.from(&C1, &part).to_uplink();
    }
    for part in udp(S, 53, H, 5000, &[2; 4000]).parts(9) {
        let _ = h.from_outside(&part).to_container(&C1);
    }
}
