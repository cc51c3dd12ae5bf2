//! Cases 16, 17, 18: ICMP errors, compared to the last byte, so that every checksum is compared too:
//! the outer IP header's, the ICMP message's, the inner IP header's, and the inner transport's where
//! it is quoted.
//!
//! On real sockets: `tests/netns/icmp_error.rs`.

use netpath_common::{DropReason, conntrack::tcp::SYN, counters::Counter, tuple};

use super::{
    family::*,
    help::{delivered, left},
};

/// The MTU 1300 in an error that says "too big" (RFC 1191, RFC 4443).
const MTU: [u8; 4] = [0, 0, 0x05, 0x14];

/// An ICMP error that quotes the first bytes of a packet as somebody saw it.
fn quoting(src: Addr, dst: Addr, [kind, code]: [u8; 2], word: [u8; 4], seen: &[u8]) -> Datagram {
    icmp(src, dst, kind, code, word, seen)
}

/// What C1 sends: TCP, UDP, echo.
fn sent() -> Vec<Datagram> {
    let mut all = udps(C1.ip(), 40000, S, 53, b"question");
    all.push(tcp_data(C1.ip(), 40000, S, 80, SYN, b"payload"));
    all.push(query(C1.ip(), S, ECHO, 7));
    all
}

#[test]
fn c16_fragmentation_needed() {
    // With the port kept, and with another one because C2 has it.
    for taken in [false, true] {
        for packet in sent() {
            let mut h = Host::new();
            if taken {
                let mut twin = packet.clone();
                twin.src = C2.ip();
                let twin = match twin.proto {
                    tuple::TCP => tcp(C2.ip(), 40000, S, 80, SYN),
                    tuple::UDP => {
                        let sport = u16::from_be_bytes([twin.l4[0], twin.l4[1]]);
                        udp(C2.ip(), sport, S, 53, b"")
                    }
                    _ => query(C2.ip(), S, ECHO, 7),
                };
                let _ = h.from(&C2, &twin).to_uplink();
            }
            let out = h.from(&C1, &packet);
            let _ = out.to_uplink();
            // The router has the packet as it left, and quotes eight bytes of transport header, or more
            // of it, or all.
            let seen = &out.frame.bytes[14..];
            let mine = packet.clone().ttl(63).bytes();
            for quoted in [HEADER + 8, HEADER + 9, HEADER + 16, seen.len()] {
                let error = quoting(R, H, TOO_BIG, MTU, &seen[..quoted]);
                let want = quoting(R, C1.ip(), TOO_BIG, MTU, &mine[..quoted]).ttl(63);
                delivered(&h.from_outside(&error), &C1, &want);
            }
        }
    }
}

#[test]
fn c17_error_of_a_container() {
    let mut h = Host::new();
    let requests = udps(S, 51000, H, 5353, b"question");
    for request in &requests {
        let out = h.from_outside(request);
        let _ = out.to_container(&C1);
        // Port unreachable, about what C1 received.
        let seen = &out.frame.bytes[14..];
        let asked = request.clone().ttl(63).bytes();
        for quoted in [HEADER + 8, seen.len()] {
            let error = quoting(C1.ip(), S, NO_PORT, [0; 4], &seen[..quoted]);
            let want = quoting(H, S, NO_PORT, [0; 4], &asked[..quoted]).ttl(63);
            left(&h.from(&C1, &error), &want);
        }
    }
    let translated = h.tables.counter(Counter::IcmpErrorTranslated);
    assert_eq!(translated, 2 * requests.len() as u64);
}

#[test]
fn c18_forged_error() {
    let mut h = Host::new();
    h.tables.host_addrs.insert(H2);
    let all = sent();
    for packet in &all {
        let out = h.from(&C1, packet);
        let _ = out.to_uplink();
        let seen = &out.frame.bytes[14..];
        // To another address of the host, whose stack knows of no such packet.
        let error = quoting(R, H2, TOO_BIG, MTU, seen);
        assert!(h.from_outside(&error).passed());
        // To a container's own address.
        for dst in [C1.ip(), C2.ip()] {
            let error = quoting(R, dst, TOO_BIG, MTU, seen);
            let out = h.from_outside(&error);
            assert_eq!(out.dropped(), Some(DropReason::DirectAccess));
        }
        // Of a container, about what another one would have been answered.
        let answer = match packet.proto {
            ICMP => query(S, C1.ip(), ECHO_REPLY, 7),
            tuple::TCP => tcp(S, 80, C1.ip(), 40000, SYN),
            _ => udp(S, 53, C1.ip(), 40000, b""),
        };
        let error = quoting(C2.ip(), S, NO_PORT, [0; 4], &answer.bytes());
        let out = h.from(&C2, &error);
        assert_eq!(out.dropped(), Some(DropReason::IcmpErrorUnmatched));
        // Of the container itself, to somebody else than who sent the quoted packet.
        let error = quoting(C1.ip(), S2, NO_PORT, [0; 4], &answer.bytes());
        let out = h.from(&C1, &error);
        assert_eq!(out.dropped(), Some(DropReason::IcmpErrorUnmatched));
    }
    let twice = 2 * all.len() as u64;
    assert_eq!(h.drops_of(DropReason::DirectAccess), twice);
    assert_eq!(h.drops_of(DropReason::IcmpErrorUnmatched), twice);
    assert_eq!(h.tables.counter(Counter::IcmpErrorTranslated), 0);
}
