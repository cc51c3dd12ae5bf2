//! ICMP errors follow the flow that they are about (RFC 5508; cases 16, 17, 18).

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, SYN},
    counters::Counter,
    datapath::Tables,
    event::Hook,
    testing::*,
};

/// Opens one masqueraded flow of each protocol and answers the packets as seen outside.
fn flows(h: &mut Host) -> Vec<Datagram> {
    let packets = [
        tcp_data(C1.addr, 40000, S, 80, SYN, b"payload"),
        udp(C1.addr, 40000, S, 53, b"question"),
        udp_without_checksum(C1.addr, 40001, S, 53, b"question"),
        query(C1.addr, S, 8, 7),
    ];
    for packet in &packets {
        let _ = h.from(&C1, packet).to_uplink();
    }
    vec![
        tcp_data(H, 40000, S, 80, SYN, b"payload").ttl(60),
        udp(H, 40000, S, 53, b"question").ttl(60),
        udp_without_checksum(H, 40001, S, 53, b"question").ttl(60),
        query(H, S, 8, 7).ttl(60),
    ]
}

#[test]
fn errors_from_outside_reach_the_container() {
    let inner = [
        "tcp 172.17.0.2:40000 > 198.51.100.9:80",
        "udp 172.17.0.2:40000 > 198.51.100.9:53",
        "udp 172.17.0.2:40001 > 198.51.100.9:53",
        "icmp 8 172.17.0.2 > 198.51.100.9 id 7",
    ];
    let mut h = Host::new();
    let packets = flows(&mut h);
    for (kind, code) in [(3, 4), (3, 1), (11, 0), (12, 0), (4, 0)] {
        for (packet, inner) in packets.iter().zip(inner) {
            // Eight bytes are the least (RFC 792), a complete packet the most.
            for quoted in [8, 10, 18, 20, 1000] {
                let out = h.from_outside(&error(R, H, kind, code, packet, quoted));
                let want = format!("icmp {kind}/{code} 192.0.2.254 > 172.17.0.2 [{inner}]");
                assert_eq!(out.to_container(&C1), want);
                assert_eq!(out.frame.bytes[40..42], [0x05, 0x14], "the MTU is kept");
            }
        }
    }
    let zero = h.from_outside(&error(R, H, 3, 4, &packets[2], 1000));
    assert_eq!(
        zero.frame.bytes[68..70],
        [0, 0],
        "a quoted UDP checksum of 0 stays 0"
    );
}

#[test]
fn with_options_outside_and_inside() {
    let mut h = Host::new();
    let packets = flows(&mut h);
    for outer in [0, 1, 10] {
        for inner in [0, 1, 10] {
            for packet in &packets {
                let packet = packet.clone().options(inner);
                let out = h.from_outside(&error(R, H, 11, 0, &packet, 8).options(outer));
                let _ = out.to_container(&C1);
            }
        }
    }
}

#[test]
fn the_server_itself_complains() {
    let mut h = Host::new();
    let packets = flows(&mut h);
    let out = h.from_outside(&error(S, H, 3, 3, &packets[1], 8));
    assert_eq!(
        out.to_container(&C1),
        "icmp 3/3 198.51.100.9 > 172.17.0.2 [udp 172.17.0.2:40000 > 198.51.100.9:53]"
    );
}

#[test]
fn a_container_complains_about_a_published_port() {
    let mut h = Host::new();
    let request = udp(S, 51000, H, 5353, b"question");
    let _ = h.from_outside(&request).to_container(&C1);
    let about = udp(S, 51000, C1.addr, 53, b"question").ttl(63);
    for quoted in [8, 1000] {
        let out = h.from(&C1, &error(C1.addr, S, 3, 3, &about, quoted));
        assert_eq!(
            out.to_uplink(),
            "icmp 3/3 192.0.2.1 > 198.51.100.9 [udp 198.51.100.9:51000 > 192.0.2.1:5353]"
        );
    }
    // A router before the client complains about the answer.
    let _ = h
        .from(&C1, &udp(C1.addr, 53, S, 51000, b"answer"))
        .to_uplink();
    let out = h.from_outside(&error(R, H, 11, 0, &udp(H, 5353, S, 51000, b"answer"), 8));
    assert_eq!(
        out.to_container(&C1),
        "icmp 11/0 192.0.2.254 > 172.17.0.2 [udp 172.17.0.2:53 > 198.51.100.9:51000]"
    );
    assert_eq!(h.tables.counter(Counter::IcmpErrorTranslated), 3);
}

#[test]
fn a_container_complains_to_its_neighbour() {
    let mut h = Host::new();
    let _ = h
        .from(&C2, &udp(C2.addr, 50000, H, 5353, b"?"))
        .to_container(&C1);
    let about = udp(C2.addr, 50000, C1.addr, 53, b"?");
    let out = h.from(&C1, &error(C1.addr, C2.addr, 3, 3, &about, 8));
    assert_eq!(
        out.to_container(&C2),
        "icmp 3/3 192.0.2.1 > 172.17.0.3 [udp 172.17.0.3:50000 > 192.0.2.1:5353]"
    );
}

#[test]
fn a_wrong_outer_destination_is_not_translated() {
    let mut h = Host::new();
    let packets = flows(&mut h);
    h.tables.host_addrs.insert([192, 0, 2, 9]);
    let out = h.from_outside(&error(R, [192, 0, 2, 9], 3, 4, &packets[0], 8));
    assert!(out.passed(), "the host's own to judge");
    let out = h.from_outside(&error(R, C1.addr, 3, 4, &packets[0], 8));
    assert_eq!(out.dropped(), Some(DropReason::DirectAccess));
    // A container about a flow of another container, and to a stranger.
    let about = udp(S, 53, C1.addr, 40000, b"answer");
    let out = h.from(&C2, &error(C2.addr, S, 3, 3, &about, 8));
    assert_eq!(out.dropped(), Some(DropReason::IcmpErrorUnmatched));
    let out = h.from(&C1, &error(C1.addr, S2, 3, 3, &about, 8));
    assert_eq!(out.dropped(), Some(DropReason::IcmpErrorUnmatched));
    assert_eq!(h.drops_of(DropReason::IcmpErrorUnmatched), 2);
    assert_eq!(h.tables.counter(Counter::IcmpErrorTranslated), 0);
}

#[test]
fn about_no_flow_or_one_that_is_over() {
    let mut h = Host::new();
    let packets = flows(&mut h);
    assert!(
        h.from_outside(&error(R, H, 3, 4, &tcp(H, 40009, S, 80, SYN), 8))
            .passed()
    );
    // Of the wrong direction: it quotes what the server sent.
    assert!(
        h.from_outside(&error(R, H, 3, 4, &tcp(S, 80, H, 40000, ACK), 8))
            .passed()
    );
    // Seven bytes are too few, and a later fragment quotes no ports.
    assert!(h.from_outside(&error(R, H, 3, 4, &packets[0], 7)).passed());
    let mut tail = packets[1].clone();
    tail.frag = 1;
    assert!(h.from_outside(&error(R, H, 3, 4, &tail, 8)).passed());
    h.tables.advance_ms(30_000);
    assert!(h.from_outside(&error(R, H, 3, 4, &packets[1], 8)).passed());
    h.tables.endpoints[usize::from(C1.slot)].generation += 1;
    assert!(h.from_outside(&error(R, H, 3, 4, &packets[0], 8)).passed());
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
            .from_outside(&error(R, H, 3, 1, packet, 8))
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
        let whole = error(R, H, 3, 4, packet, 1000);
        for l4_len in (8..whole.l4.len()).step_by(2) {
            let mut short = whole.clone();
            short.l4 = icmp(R, H, 3, 4, [0, 0, 5, 0x14], &whole.l4[8..l4_len]).l4;
            let mut frame = short.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF);
            frame.bytes.extend(&whole.l4[l4_len..]);
            // Checks the checksums of what is translated.
            let out = h.run(Hook::UplinkIngress, &frame);
            assert_eq!(out.passed(), l4_len < 8 + 20 + 8, "{l4_len}");
            let end = 14 + 20 + l4_len;
            assert_eq!(
                out.frame.bytes[end..],
                frame.bytes[end..],
                "the trailer is left alone"
            );
        }
    }
}

#[test]
fn redirects_are_never_translated() {
    let mut h = Host::new();
    let packets = flows(&mut h);
    assert!(
        h.from_outside(&error(R, H, 5, 1, &packets[0], 8)).passed(),
        "the host's own"
    );
    let out = h.from(
        &C1,
        &error(C1.addr, S, 5, 1, &udp(S, 53, C1.addr, 40000, b""), 8),
    );
    assert_eq!(out.dropped(), Some(DropReason::IcmpRedirect));
}

#[test]
fn ttl_one_and_the_hosts_own_errors() {
    let mut h = Host::new();
    let packets = flows(&mut h);
    let out = h.from_outside(&error(R, H, 11, 0, &packets[0], 8).ttl(1));
    assert_eq!(
        out.to_stack(),
        "icmp 11/0 192.0.2.254 > 172.17.0.2 [tcp 172.17.0.2:40000 > 198.51.100.9:80]"
    );
    assert!(
        h.from_stack(&error(H, S, 3, 3, &udp(S, 53, H, 9, b""), 8))
            .passed()
    );
    assert!(h.tables.ct(&netpath_common::Tuple::default()).is_none());
}
