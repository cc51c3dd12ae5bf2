//! RFC 7857, section by section, as `docs/conformance.md` names them.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, FIN, RST, SYN, TcpState},
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

/// A reset of the server at exactly what C1 has acknowledged.
fn reset(h: &mut Host) {
    let _ = h
        .from_outside(&tcp(S, 80, H, 40000, RST).numbered(2000, 0))
        .to_container(&C1);
    assert_eq!(state(h), TcpState::Close);
}

/// Data of the server.
fn data(h: &mut Host) -> bool {
    let out = h.from_outside(&tcp_data(S, 80, H, 40000, ACK, b"data"));
    if out.passed() {
        return false;
    }
    assert_eq!(out.to_container(&C1), said("tcp S:80 > C1:40000"));
    true
}

#[test]
fn s2_1_opening_closing_and_reset_have_timers_of_their_own() {
    // Each is a number of its own in the configuration; the others do not move with it.
    for (changed, at) in [
        (TcpState::SynSent, 60_000),
        (TcpState::FinWait, 61_000),
        (TcpState::Close, 62_000),
    ] {
        for tried in [TcpState::SynSent, TcpState::FinWait, TcpState::Close] {
            let mut h = rfc();
            let config = h.tables.config.as_mut().unwrap();
            config.timeouts.tcp[changed as usize] = at;
            let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN)).to_uplink();
            if tried != TcpState::SynSent {
                open(&mut h);
            }
            if tried == TcpState::FinWait {
                let fin = tcp(C1.ip(), 40000, S, 80, FIN | ACK);
                let _ = h.from(&C1, &fin).to_uplink();
            } else if tried == TcpState::Close {
                reset(&mut h);
            }
            assert_eq!(state(&h), tried);
            h.tables.advance_ms(u64::from(at));
            assert_eq!(data(&mut h), tried != changed, "{changed:?} {tried:?}");
        }
    }
}

#[test]
fn s2_2_a_reset_is_translated_and_keeps_the_session_four_minutes() {
    let mut h = rfc();
    open(&mut h);
    reset(&mut h);
    h.tables.advance_ms(180_000);
    assert!(data(&mut h), "three minutes later");
    // Any packet of those begins them again.
    h.tables.advance_ms(239_996);
    assert!(data(&mut h));
    h.tables.advance_ms(240_000);
    assert!(!data(&mut h));
}

#[test]
fn s2_2_a_reset_keeps_the_session_ten_seconds_as_the_kernel_does() {
    let mut h = Host::new();
    open(&mut h);
    reset(&mut h);
    h.tables.advance_ms(9_996);
    assert!(data(&mut h));
    h.tables.advance_ms(10_000);
    assert!(!data(&mut h));
}

#[test]
fn s3_ports_overlap_where_destinations_differ() {
    let mut h = Host::new();
    let mut ask = |c: &Container, dst, dport| port(&h.from(c, &udp(c.ip(), 5000, dst, dport, b"")));
    // By address or by port.
    assert_eq!(ask(&C1, S, 53), 5000);
    assert_eq!(ask(&C2, S2, 53), 5000);
    assert_eq!(ask(&C2, S, 54), 5000);
    assert_ne!(ask(&C2, S, 53), 5000);
}

#[test]
fn s7_1_outbound_errors_and_resets_do_not_keep_a_mapping() {
    // A flood from outside to a port where nobody listens: the container refuses each packet.
    let mut h = rfc();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    let key = record_key(tuple::UDP, 53, 5000);
    let index = h.tables.entry(&key).unwrap().other_key(&key);
    let before = h.tables.entry(&index).unwrap();
    h.tables.advance_ms(100_000);
    for _ in 0..10 {
        let refused = no_port(C1.ip(), S, &udp(S, 53, C1.ip(), 5000, b""));
        let _ = h.from(&C1, &refused).to_uplink();
    }
    assert_eq!(h.tables.entry(&index).unwrap(), before, "not refreshed");
    h.tables.advance_ms(200_000);
    assert!(h.from_outside(&udp(S, 53, H, 5000, b"")).passed(), "over");
    // A reset of the container that says nothing about the connection.
    let mut h = rfc();
    open(&mut h);
    let key = record_key(tuple::TCP, 80, 40000);
    let index = h.tables.entry(&key).unwrap().other_key(&key);
    let before = h.tables.entry(&index).unwrap();
    h.tables.advance_ms(100_000);
    let challenge = tcp(C1.ip(), 40000, S, 80, RST).numbered(9000, 0);
    let _ = h.from(&C1, &challenge).to_uplink();
    assert_eq!(h.tables.entry(&index).unwrap().stamp, before.stamp);
    assert_eq!(state(&h), TcpState::Established);
}

#[test]
fn s10_the_identification_is_left_as_it_is() {
    let mut h = Host::new();
    for id in [0, 1, 0x7fff, 0xffff] {
        let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"").id(id));
        let _ = out.to_uplink();
        assert_eq!(identification(&out.frame), id.into());
        let back = h.from_outside(&udp(S, 53, H, 5000, b"").id(id));
        let _ = back.to_container(&C1);
        assert_eq!(identification(&back.frame), id.into());
    }
    // Two containers may send fragments with one identification to one server at once: the parts are
    // told from each other inside, and carry the same one outside.
    let one = udp(C1.ip(), 5000, S, 53, &[1; 2000]).parts(7);
    let two = udp(C2.ip(), 5001, S, 53, &[2; 2000]).parts(7);
    for (first, second) in one.iter().zip(&two) {
        for (c, part) in [(&C1, first), (&C2, second)] {
            let out = h.from(c, part);
            let _ = out.to_uplink();
            assert_eq!(identification(&out.frame), 7);
        }
    }
}

#[test]
fn s11_a_query_mapping_goes_with_its_session() {
    let mut h = rfc();
    let _ = h.from(&C1, &query(C1.ip(), S, ECHO, 7)).to_uplink();
    let _ = h.from(&C1, &query(C1.ip(), S2, ECHO, 7)).to_uplink();
    h.tables.advance_ms(59_996);
    let _ = h
        .from_outside(&query(S, H, ECHO_REPLY, 7))
        .to_container(&C1);
    h.tables.advance_ms(4);
    assert!(
        h.from_outside(&query(S2, H, ECHO_REPLY, 7)).passed(),
        "it alone is over"
    );
    let _ = h
        .from_outside(&query(S, H, ECHO_REPLY, 7))
        .to_container(&C1);
}

#[test]
fn s12_a_query_to_the_host_is_the_hosts() {
    // No ICMP is published, so none is led back in: the host itself answers.
    let mut h = Host::new();
    let _ = h.from(&C2, &query(C2.ip(), S, ECHO, 7)).to_uplink();
    assert!(h.from(&C1, &query(C1.ip(), H, ECHO, 7)).passed());
    assert_eq!(h.drops_of(DropReason::IcmpUnmatched), 0);
}
