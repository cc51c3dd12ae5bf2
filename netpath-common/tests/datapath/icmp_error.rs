//! ICMP errors follow the flow that they are about (RFC 5508; cases 16, 17, 18).

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, SYN},
    counters::Counter,
    datapath::Tables,
    event::Hook,
};

use super::family::*;

/// What C1, or the host for it, sends: TCP, UDP, echo.
fn packets(src: Addr) -> Vec<Datagram> {
    let mut all = vec![tcp_data(src, 40000, S, 80, SYN, b"payload")];
    all.extend(udps(src, 40000, S, 53, b"question"));
    all.push(query(src, S, ECHO, 7));
    all
}

/// Opens one masqueraded flow of each and answers the packets as seen outside.
fn flows(h: &mut Host) -> Vec<Datagram> {
    for packet in &packets(C1.ip()) {
        let _ = h.from(&C1, packet).to_uplink();
    }
    packets(H).into_iter().map(|d| d.ttl(60)).collect()
}

#[test]
fn errors_from_outside_reach_the_container() {
    let mut h = Host::new();
    let seen = flows(&mut h);
    for kind in ERRORS {
        for (packet, mine) in seen.iter().zip(packets(C1.ip())) {
            let inner = describe(&mine.frame([0; 6], [0; 6], 0));
            // Eight bytes are the least (RFC 792), a complete packet the most.
            for quoted in [8, 10, 18, 20, 1000] {
                let out = h.from_outside(&error(R, H, kind, 0, packet, quoted));
                let want = said(&format!("icmp {kind}/0 R > C1 "));
                assert_eq!(out.to_container(&C1), format!("{want}[{inner}]"));
                let word = &out.frame.bytes[L4 + 4..L4 + 8];
                assert_eq!(word, [0, 0, 0x05, 0x14], "the MTU is kept");
            }
        }
    }
}

#[test]
fn with_more_headers_outside_and_inside() {
    let mut h = Host::new();
    let packets = flows(&mut h);
    for outer in [0, 1, 10] {
        for inner in [0, 1, 10] {
            for packet in &packets {
                let packet = packet.clone().padded(inner);
                let out = h.from_outside(&error(R, H, TIME_EXCEEDED, 0, &packet, 8).padded(outer));
                let _ = out.to_container(&C1);
            }
        }
    }
}

#[test]
fn the_server_itself_complains() {
    let mut h = Host::new();
    let packets = flows(&mut h);
    let out = h.from_outside(&no_port(S, H, &packets[1]));
    assert_eq!(
        out.to_container(&C1),
        said(&format!(
            "icmp {}/{} S > C1 [udp C1:40000 > S:53]",
            NO_PORT[0], NO_PORT[1]
        ))
    );
}

#[test]
fn a_container_complains_about_a_published_port() {
    let mut h = Host::new();
    let request = udp(S, 51000, H, 5353, b"question");
    let _ = h.from_outside(&request).to_container(&C1);
    let about = udp(S, 51000, C1.ip(), 53, b"question").ttl(63);
    let [kind, code] = NO_PORT;
    for quoted in [8, 1000] {
        let out = h.from(&C1, &error(C1.ip(), S, kind, code, &about, quoted));
        assert_eq!(
            out.to_uplink(),
            said(&format!(
                "icmp {}/{} H > S [udp S:51000 > H:5353]",
                NO_PORT[0], NO_PORT[1]
            ))
        );
    }
    // A router before the client complains about the answer.
    let _ = h
        .from(&C1, &udp(C1.ip(), 53, S, 51000, b"answer"))
        .to_uplink();
    let out = h.from_outside(&error(
        R,
        H,
        TIME_EXCEEDED,
        0,
        &udp(H, 5353, S, 51000, b"answer"),
        8,
    ));
    assert_eq!(
        out.to_container(&C1),
        said(&format!(
            "icmp {TIME_EXCEEDED}/0 R > C1 [udp C1:53 > S:51000]"
        ))
    );
    assert_eq!(h.tables.counter(Counter::IcmpErrorTranslated), 3);
}

#[test]
fn a_container_complains_to_its_neighbour() {
    let mut h = Host::new();
    let _ = h
        .from(&C2, &udp(C2.ip(), 50000, H, 5353, b"?"))
        .to_container(&C1);
    let about = udp(C2.ip(), 50000, C1.ip(), 53, b"?");
    let out = h.from(&C1, &no_port(C1.ip(), C2.ip(), &about));
    assert_eq!(
        out.to_container(&C2),
        said(&format!(
            "icmp {}/{} H > C2 [udp C2:50000 > H:5353]",
            NO_PORT[0], NO_PORT[1]
        ))
    );
}

#[test]
fn a_wrong_outer_destination_is_not_translated() {
    let mut h = Host::new();
    let packets = flows(&mut h);
    h.tables.host_addrs.insert(H2);
    let out = h.from_outside(&too_big(R, H2, &packets[0]));
    assert!(out.passed(), "the host's own to judge");
    let out = h.from_outside(&too_big(R, C1.ip(), &packets[0]));
    assert_eq!(out.dropped(), Some(DropReason::DirectAccess));
    // A container about a flow of another container, and to a stranger.
    let about = udp(S, 53, C1.ip(), 40000, b"answer");
    let out = h.from(&C2, &no_port(C2.ip(), S, &about));
    assert_eq!(out.dropped(), Some(DropReason::IcmpErrorUnmatched));
    let out = h.from(&C1, &no_port(C1.ip(), S2, &about));
    assert_eq!(out.dropped(), Some(DropReason::IcmpErrorUnmatched));
    assert_eq!(h.drops_of(DropReason::IcmpErrorUnmatched), 2);
    assert_eq!(h.tables.counter(Counter::IcmpErrorTranslated), 0);
}

#[test]
fn about_no_flow_or_one_that_is_over() {
    let mut h = Host::new();
    let packets = flows(&mut h);
    assert!(
        h.from_outside(&too_big(R, H, &tcp(H, 40009, S, 80, SYN)))
            .passed()
    );
    // Of the wrong direction: it quotes what the server sent.
    assert!(
        h.from_outside(&too_big(R, H, &tcp(S, 80, H, 40000, ACK)))
            .passed()
    );
    // Seven bytes are too few, and a later fragment quotes no ports.
    assert!(
        h.from_outside(&error(R, H, TOO_BIG[0], TOO_BIG[1], &packets[0], 7))
            .passed()
    );
    let tail = packets[1].piece(8, 16, false, 9);
    assert!(h.from_outside(&too_big(R, H, &tail)).passed());
    h.tables.advance_ms(30_000);
    assert!(h.from_outside(&too_big(R, H, &packets[1])).passed());
    h.tables.endpoints[usize::from(C1.slot)].generation += 1;
    assert!(h.from_outside(&too_big(R, H, &packets[0])).passed());
    assert_eq!(h.tables.counter(Counter::IcmpErrorTranslated), 0);
}

#[test]
fn errors_neither_make_nor_refresh_nor_end_flows() {
    let mut h = Host::new();
    let packets = flows(&mut h);
    let before = h.tables.entries();
    h.tables.advance_ms(10_000);
    for packet in &packets {
        let _ = h
            .from_outside(&error(R, H, UNREACHABLE, 1, packet, 8))
            .to_container(&C1);
    }
    assert_eq!(h.tables.entries(), before);
}

#[test]
fn what_lies_behind_the_packet_is_not_quoted() {
    // The frame is longer than the IP packet says (padding, or a trailer that somebody planted).
    let mut h = Host::new();
    let packets = flows(&mut h);
    for packet in &packets {
        let whole = error(R, H, TOO_BIG[0], TOO_BIG[1], packet, 1000);
        for l4_len in (8..whole.l4.len()).step_by(2) {
            let mut short = whole.clone();
            short.l4 = icmp(
                R,
                H,
                TOO_BIG[0],
                TOO_BIG[1],
                [0, 0, 5, 0x14],
                &whole.l4[8..l4_len],
            )
            .l4;
            let mut frame = short.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF);
            frame.bytes.extend(&whole.l4[l4_len..]);
            // Checks the checksums of what is translated.
            let out = h.run(Hook::UplinkIngress, &frame);
            assert_eq!(out.passed(), l4_len < 8 + HEADER + 8, "{l4_len}");
            let end = L4 + l4_len;
            assert_eq!(
                out.frame.bytes[end..],
                frame.bytes[end..],
                "the trailer is left alone"
            );
        }
    }
}

#[test]
fn ttl_one_and_the_hosts_own_errors() {
    let mut h = Host::new();
    let packets = flows(&mut h);
    let out = h.from_outside(&error(R, H, TIME_EXCEEDED, 0, &packets[0], 8).ttl(1));
    assert_eq!(
        out.to_stack(),
        said(&format!(
            "icmp {TIME_EXCEEDED}/0 R > C1 [tcp C1:40000 > S:80]"
        ))
    );
    assert!(
        h.from_stack(&no_port(H, S, &udp(S, 53, H, 9, b"")))
            .passed()
    );
    assert!(h.tables.ct(&Tuple::default()).is_none());
}
