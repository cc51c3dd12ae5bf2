//! What the host sends to itself, to published ports, where its sockets cannot be translated.

use netpath_common::{
    DropReason, Verdict,
    conntrack::tcp::{ACK, FIN, SYN},
    records::{LOOPBACK_IFINDEX, LOOPBACK_UPLINK, NETWORK_INTERNAL, NETWORK_ROUTED, UplinkRecord},
    tuple,
};

use super::family::*;

/// 127.0.0.1, or `::1`.
const LO: Addr = LOOPBACK[0];

fn host() -> Host {
    let mut h = Host::new();
    h.tables.translate_at_loopback();
    h
}

/// The frame in words where it went back to the host, by a route to the host itself.
#[track_caller]
fn to_itself(out: &Outcome) -> String {
    let want = Ok(Verdict::ToUplink {
        ifindex: LOOPBACK_IFINDEX,
        leased: false,
    });
    assert_eq!(out.result, want, "{}", out.text());
    out.text()
}

#[test]
fn a_client_at_loopback_appears_as_the_gateway() {
    let mut h = host();
    // No route is asked for: none says anything about the host itself.
    h.tables.routes.clear();
    let out = h.from_itself(&tcp(LO, 40000, LO, 8080, SYN));
    assert_eq!(out.to_container(&C1), said("tcp GW1:40000 > C1:80"));
    for flags in [SYN | ACK, ACK, ACK] {
        let back = h.from(&C1, &tcp(C1.ip(), 80, GW1, 40000, flags));
        assert_eq!(to_itself(&back), said("tcp LO:8080 > LO:40000"));
    }
    let out = h.from_itself(&tcp(LO, 40000, LO, 8080, ACK));
    assert_eq!(out.to_container(&C1), said("tcp GW1:40000 > C1:80"));
    let back = h.from(&C1, &tcp(C1.ip(), 80, GW1, 40000, FIN | ACK));
    assert_eq!(to_itself(&back), said("tcp LO:8080 > LO:40000"));
}

#[test]
fn the_host_needs_no_listing() {
    let mut h = host();
    h.tables.allow(RULE_WEB, &[(S, BITS)]);
    for src in [LO, H] {
        let (seen, name) = if src == LO { (GW1, "GW1") } else { (src, "H") };
        let out = h.from_itself(&tcp(src, 40000, H, 8080, SYN));
        let want = said(&format!("tcp {name}:40000 > C1:80"));
        assert_eq!(out.to_container(&C1), want);
        h.from(&C1, &tcp(C1.ip(), 80, seen, 40000, SYN | ACK));
        // Another list does not end the flow.
        h.tables.allow(RULE_WEB, &[(S2, BITS)]);
        let out = h.from_itself(&tcp(src, 40000, H, 8080, ACK));
        assert_eq!(out.to_container(&C1), want);
        let back = h.from(&C1, &tcp(C1.ip(), 80, seen, 40000, ACK));
        to_itself(&back);
    }
}

#[test]
fn a_client_at_an_address_of_the_host_keeps_it() {
    let mut h = host();
    for (dst, name) in [(H, "H"), (LO, "LO")] {
        let out = h.from_itself(&udp(H, 40001, dst, 5353, b"?"));
        assert_eq!(out.to_container(&C1), said("udp H:40001 > C1:53"));
        let back = h.from(&C1, &udp(C1.ip(), 53, H, 40001, b"!"));
        assert_eq!(
            to_itself(&back),
            said(&format!("udp {name}:5353 > H:40001"))
        );
        h.tables.advance_ms(1_000_000);
    }
}

#[test]
fn an_error_of_the_container_reaches_the_client() {
    let mut h = host();
    let _ = h
        .from_itself(&udp(LO, 40002, LO, 5353, b"?"))
        .to_container(&C1);
    let about = udp(GW1, 40002, C1.ip(), 53, b"?");
    let out = h.from(&C1, &no_port(C1.ip(), GW1, &about));
    let text = to_itself(&out);
    assert!(text.contains(&said("LO:40002 > LO:5353")), "{text}");
}

#[test]
fn a_port_in_use_at_the_gateway_is_not_taken() {
    let mut h = host();
    h.tables.set_reserved(tuple::UDP, 40003, true);
    let out = h
        .from_itself(&udp(LO, 40003, LO, 5353, b"?"))
        .to_container(&C1);
    assert!(!out.contains(":40003 "), "{out}");
}

#[test]
fn what_is_no_published_port_of_the_host_is_its_own_business() {
    let mut h = host();
    for packet in [
        tcp(LO, 40000, LO, 8081, SYN),
        // A connection that is older than the publication, and answers to the host's own ports.
        tcp(LO, 40000, LO, 8080, ACK),
        tcp(LO, 80, LO, 8080, SYN | ACK),
        udp(LO, 1, S, 5353, b""),
        query(LO, LO, ECHO, 1),
    ] {
        assert_eq!(h.from_itself(&packet).result, Ok(Verdict::Pass));
    }
    for flag in [NETWORK_INTERNAL, NETWORK_ROUTED] {
        let mut h = host();
        h.tables.networks[usize::from(NET1)].flags |= flag;
        let out = h.from_itself(&tcp(LO, 40000, LO, 8080, SYN));
        assert_eq!(out.result, Ok(Verdict::Pass), "{flag}");
    }
}

#[test]
fn nothing_happens_where_sockets_are_translated_and_flows_end_with_the_fallback() {
    let mut h = Host::new();
    let syn = tcp(LO, 40000, LO, 8080, SYN);
    assert_eq!(h.from_itself(&syn).result, Ok(Verdict::Pass));
    h.tables.translate_at_loopback();
    let _ = h.from_itself(&syn).to_container(&C1);
    h.tables.uplinks[usize::from(LOOPBACK_UPLINK)] = UplinkRecord {
        generation: 2,
        ..UplinkRecord::default()
    };
    assert_eq!(h.from_itself(&syn).result, Ok(Verdict::Pass));
}

#[test]
fn what_does_not_fit_is_dropped_with_a_reason() {
    let mut h = host();
    let large = udp(LO, 40000, LO, 5353, &vec![0; 1500 - HEADER - 7]);
    assert_eq!(h.from_itself(&large).dropped(), Some(DropReason::TooLarge));
    let fits = udp(LO, 40000, LO, 5353, &vec![0; 1500 - HEADER - 8]);
    let _ = h.from_itself(&fits).to_container(&C1);
    assert_eq!(h.from_itself(&large).dropped(), Some(DropReason::TooLarge));
}
