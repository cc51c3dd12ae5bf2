//! DCCP, UDP-Lite, protocols without ports, and what SCTP has in common with those.

use netpath_common::{
    DropReason,
    counters::Counter,
    tuple::{DCCP, GRE, SCTP, UDPLITE},
};

use super::{
    family::*,
    sctp::{INIT, INIT_ACK},
};

const ESP: u8 = 50;

// Packets of DCCP.
const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;
const PLAIN_ACK: u8 = 3;
const CLOSE: u8 = 6;
const RESET: u8 = 7;

fn raw(src: Addr, dst: Addr, proto: u8) -> Datagram {
    Datagram::new(src, dst, proto, vec![0x20, 0, 0x88, 0x0b, 1, 2, 3, 4, 5, 6])
}

#[test]
fn dccp_is_given_a_port_and_its_checksum_is_right() {
    for words in [0, 1, 3] {
        let mut h = Host::new();
        let _ = h
            .from(&C1, &dccp(C1.ip(), 4000, S, 5000, REQUEST, words))
            .to_uplink();
        let out = h.from(&C2, &dccp(C2.ip(), 4000, S, 5000, REQUEST, words));
        let _ = out.to_uplink();
        let port = source_port(&out.frame);
        assert_ne!(port, 4000);
        let back = h.from_outside(&dccp(S, 5000, H, port, RESPONSE, words));
        assert_eq!(back.to_container(&C2), said("dccp S:5000 > C2:4000"));
    }
}

#[test]
fn dccp_lives_as_long_as_in_the_kernel() {
    let open = [(true, REQUEST), (false, RESPONSE), (true, PLAIN_ACK)];
    let close = [(true, CLOSE), (false, RESET)];
    let cases: [(Vec<(bool, u8)>, u64); 5] = [
        (open[..1].to_vec(), 240_000),
        (open[..2].to_vec(), 480_000),
        (open.to_vec(), 43_200_000),
        ([&open[..], &close[..1]].concat(), 64_000),
        ([&open[..], &close[..]].concat(), 240_000),
    ];
    for (packets, ms) in cases {
        for (at, alive) in [(ms - 4, true), (ms, false)] {
            let mut h = Host::new();
            for (inside, kind) in &packets {
                let out = if *inside {
                    h.from(&C1, &dccp(C1.ip(), 4000, S, 5000, *kind, 0))
                } else {
                    h.from_outside(&dccp(S, 5000, H, 4000, *kind, 0))
                };
                assert_eq!(out.dropped(), None, "{packets:?}");
            }
            h.tables.advance_ms(at);
            let out = h.from_outside(&dccp(S, 5000, H, 4000, PLAIN_ACK, 0));
            assert_eq!(!out.passed(), alive, "{packets:?} {at} ms");
        }
    }
}

#[test]
fn udplite_is_translated_as_udp_is() {
    for covered in [0, 8, 12] {
        let mut h = Host::new();
        let ask = |c: &Container| udplite(c.ip(), 4000, S, 5000, covered, b"question");
        let out = h.from(&C1, &ask(&C1));
        assert_eq!(out.to_uplink(), said("udplite H:4000 > S:5000"));
        let out = h.from(&C2, &ask(&C2));
        let _ = out.to_uplink();
        let port = source_port(&out.frame);
        assert_ne!(port, 4000);
        let back = h.from_outside(&udplite(S, 5000, H, port, covered, b"answer"));
        assert_eq!(back.to_container(&C2), said("udplite S:5000 > C2:4000"));
        // UDP on the same port is another flow's.
        assert!(h.from_outside(&udp(S, 5000, H, port, b"")).passed());
    }
}

#[test]
fn what_no_stack_sends_is_refused() {
    let mut h = Host::new();
    let with = |d: &Datagram, at: usize, bytes: [u8; 2]| {
        let mut d = d.clone();
        d.l4[at..at + 2].copy_from_slice(&bytes);
        d
    };
    let lite = udplite(C1.ip(), 4000, S, 5000, 0, b"question");
    let request = dccp(C1.ip(), 4000, S, 5000, REQUEST, 0);
    for packet in [
        // Less than its header is covered, more than there is, no checksum.
        with(&lite, 4, [0, 1]),
        with(&lite, 4, [0, 7]),
        with(&lite, 4, [0, 17]),
        with(&lite, 6, [0, 0]),
        // A header of 8 bytes, of more than there are; a reserved type.
        with(&request, 4, [2, 0]),
        with(&request, 4, [60, 0]),
        with(&request, 8, [10 << 1, 0]),
    ] {
        let out = h.from(&C1, &packet);
        assert_eq!(out.dropped(), Some(DropReason::BadL4Header), "{packet:?}");
    }
    for (whole, least) in [
        (lite, 8),
        (request, 12),
        (sctp(C1.ip(), 4000, S, 5000, INIT), 16),
    ] {
        for len in [0, 1, least - 1] {
            let mut short = whole.clone();
            short.l4.truncate(len);
            let out = h.from(&C1, &short);
            assert_eq!(out.dropped(), Some(DropReason::Truncated));
            let first = short.piece(0, len, true, 9);
            let out = h.from(&C1, &first);
            assert_eq!(out.dropped(), Some(DropReason::FragmentTiny));
        }
    }
    assert!(h.tables.entries().is_empty());
}

#[test]
fn one_container_has_a_protocol_without_ports_with_a_peer() {
    for proto in [GRE, ESP, 4, 200] {
        let mut h = Host::new();
        let out = h.from(&C1, &raw(C1.ip(), S, proto));
        let _ = out.to_uplink();
        assert_eq!(source(&out.frame), H);
        let back = h.from_outside(&raw(S, H, proto));
        let _ = back.to_container(&C1);
        // The second one is refused, and told; another peer is free.
        let out = h.from(&C2, &raw(C2.ip(), S, proto));
        assert_eq!(out.dropped(), Some(DropReason::NoPort));
        assert!(out.answer.is_some());
        let _ = h.from(&C2, &raw(C2.ip(), S2, proto)).to_uplink();
        assert!(h.from_outside(&raw(R, H, proto)).passed(), "nobody's peer");
    }
}

#[test]
fn protocols_without_ports_live_as_long_as_in_the_kernel() {
    for (proto, unanswered, answered) in [(GRE, 30_000, 180_000), (ESP, 600_000, 600_000)] {
        for (reply, ms) in [(false, unanswered), (true, answered)] {
            for (at, alive) in [(ms - 4, true), (ms, false)] {
                let mut h = Host::new();
                let _ = h.from(&C1, &raw(C1.ip(), S, proto));
                if reply {
                    let _ = h.from_outside(&raw(S, H, proto));
                }
                h.tables.advance_ms(at);
                let out = h.from_outside(&raw(S, H, proto));
                assert_eq!(!out.passed(), alive, "{proto} {reply} {at}");
            }
        }
    }
}

#[test]
fn the_host_comes_first_with_what_has_no_other_port() {
    for packet in [raw(H, S, GRE), sctp(H, 4000, S, 5000, INIT)] {
        let ask = |c: &Container| Datagram {
            src: c.ip(),
            ..packet.clone()
        };
        let answer = if packet.proto == SCTP {
            sctp(S, 5000, H, 4000, INIT_ACK)
        } else {
            raw(S, H, GRE)
        };
        // Who has sent first: a container is refused.
        let mut h = Host::new();
        assert!(h.from_stack(&packet).passed());
        let out = h.from(&C1, &ask(&C1));
        assert_eq!(out.dropped(), Some(DropReason::NoPort));
        let back = h.from_outside(&answer);
        assert_eq!(destination(&back.frame), H, "the host's own");
        // A container has sent first: it gives way.
        let mut h = Host::new();
        let _ = h.from(&C1, &ask(&C1)).to_uplink();
        assert!(h.from_stack(&packet).passed());
        let back = h.from_outside(&answer);
        assert_eq!(destination(&back.frame), H);
        let out = h.from(&C1, &ask(&C1));
        assert_eq!(out.dropped(), Some(DropReason::NoPort));
    }
}

#[test]
fn the_hosts_own_are_let_through_whatever_they_are() {
    let mut h = Host::new();
    for chunk in 0..=255 {
        let packet = sctp(H, 4000, S, 5000, chunk);
        assert_eq!(h.from_stack(&packet).frame.bytes, packet_bytes(&packet));
        let back = sctp(S, 5000, H, 4000, chunk);
        let out = h.from_outside(&back);
        assert_eq!(out.dropped(), None, "chunk {chunk}");
        assert_eq!(destination(&out.frame), H);
    }
    // A full table is no reason either.
    let mut h = Host::new();
    h.tables.ct_capacity = 0;
    assert!(h.from_stack(&raw(H, S, GRE)).passed());
    assert!(h.from_stack(&raw(H, MULTICAST, 89)).passed());
}

fn packet_bytes(d: &Datagram) -> Vec<u8> {
    d.frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF).bytes
}

#[test]
fn fragments_follow_their_first_one() {
    for proto in [GRE, SCTP, UDPLITE] {
        let mut h = Host::new();
        let there = match proto {
            SCTP => sctp(C1.ip(), 4000, S, 5000, INIT),
            UDPLITE => udplite(C1.ip(), 4000, S, 5000, 0, &[1; 40]),
            _ => Datagram::new(C1.ip(), S, GRE, vec![0; 40]),
        };
        let back = match proto {
            SCTP => sctp(S, 5000, H, 4000, INIT_ACK),
            UDPLITE => udplite(S, 5000, H, 4000, 0, &[1; 40]),
            _ => Datagram::new(S, H, GRE, vec![0; 40]),
        };
        for part in there.cut(16, 1) {
            let _ = h.from(&C1, &part).to_uplink();
        }
        let parts: Vec<_> = back
            .cut(16, 2)
            .iter()
            .map(|part| h.from_outside(part))
            .inspect(|out| {
                let _ = out.to_container(&C1);
            })
            .map(|out| out.frame)
            .collect();
        let whole = reassemble(&parts).unwrap().unwrap();
        assert_eq!(verify(&whole), Ok(()));
    }
}

/// It would be a flow of one entry, which is its own other half.
#[test]
fn what_the_host_sends_to_itself_makes_no_flow() {
    let mut h = Host::new();
    assert!(h.from_stack(&raw(H, H, GRE)).passed());
    assert_eq!(h.tables.entry_count(), 0);
    assert_eq!(h.tables.counter(Counter::FlowNew), 0);
}

#[test]
fn icmp_errors_about_them_are_translated() {
    for proto in [GRE, ESP, SCTP, DCCP, UDPLITE] {
        let make = |src: Addr| match proto {
            SCTP => sctp(src, 4000, S, 5000, INIT),
            DCCP => dccp(src, 4000, S, 5000, REQUEST, 0),
            UDPLITE => udplite(src, 4000, S, 5000, 0, b"question"),
            _ => raw(src, S, proto),
        };
        let [kind, code] = TOO_BIG;
        for quoted in [8, 40] {
            let told = |about: &Datagram| error(R, H, kind, code, about, quoted);
            let mut h = Host::new();
            let _ = h.from(&C1, &make(C1.ip())).to_uplink();
            let out = h.from_outside(&told(&make(H)));
            let text = out.to_container(&C1);
            assert!(text.contains("[") && text.contains(&said("C1")), "{text}");
            // About somebody else's.
            let out = h.from_outside(&told(&Datagram { dst: S2, ..make(H) }));
            assert!(out.passed());
        }
    }
}
