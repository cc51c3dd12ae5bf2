//! Cases 24, 25, 26: published ports by hairpin, from the host itself, and when they move.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, SYN},
    event::Hook,
    tuple,
};

use super::{
    family::*,
    help::{delivered, flows, left},
};

// On real sockets: `tests/netns/hairpin.rs`.
#[test]
fn c24_hairpin_of_a_container_to_itself() {
    let mut h = Host::new();
    let out = h.from(&C1, &tcp(C1.ip(), 50000, H, 8080, SYN));
    delivered(&out, &C1, &tcp(GW1, 50000, C1.ip(), 80, SYN).ttl(63));
    let back = h.from(&C1, &tcp(C1.ip(), 80, GW1, 50000, SYN | ACK));
    delivered(&back, &C1, &tcp(H, 8080, C1.ip(), 50000, SYN | ACK).ttl(63));
    let out = h.from(&C1, &tcp(C1.ip(), 50000, H, 8080, ACK));
    delivered(&out, &C1, &tcp(GW1, 50000, C1.ip(), 80, ACK).ttl(63));
    assert_eq!(flows(&h.tables), 1);
}

#[test]
fn c24_hairpin_of_a_neighbour() {
    let mut h = Host::new();
    let out = h.from(&C2, &tcp(C2.ip(), 50000, H, 8080, SYN));
    delivered(&out, &C1, &tcp(C2.ip(), 50000, C1.ip(), 80, SYN).ttl(63));
    // The answer goes to the neighbour's own MAC address, as on any network.
    let answer = tcp(C1.ip(), 80, C2.ip(), 50000, SYN | ACK);
    let back = h.run(Hook::Veth, &answer.frame(C1.mac, C2.mac, C1.ifindex));
    delivered(&back, &C2, &tcp(H, 8080, C2.ip(), 50000, SYN | ACK).ttl(63));
    let out = h.from(&C2, &tcp(C2.ip(), 50000, H, 8080, ACK));
    delivered(&out, &C1, &tcp(C2.ip(), 50000, C1.ip(), 80, ACK).ttl(63));
    assert_eq!(flows(&h.tables), 1);
}

/// The host's own sockets are translated at the socket, not on their packets, so the cases of
/// 127.0.0.1 and of a second bind are real ones: `tests/netns/host.rs`. What the engine has to do with
/// it is to leave the packets of those sockets alone, and to keep 127.0.0.1 off the wire.
#[test]
fn c25_localhost() {
    let mut h = Host::new();
    // The host talks to the container from the gateway's address; the container answers.
    for answer in [
        tcp(C1.ip(), 80, GW1, 37000, SYN | ACK),
        udp(C1.ip(), 53, GW1, 37000, b"answer"),
    ] {
        assert!(h.from(&C1, &answer).passed());
    }
    for (proto, port) in [(tuple::TCP, 8080), (tuple::UDP, 5353)] {
        for dst in LOOPBACK {
            let packet = |src| match proto {
                tuple::TCP => tcp(src, 51000, dst, port, SYN),
                _ => udp(src, 51000, dst, port, b""),
            };
            let out = h.from(&C2, &packet(C2.ip()));
            assert_eq!(out.dropped(), Some(DropReason::Martian));
            let out = h.from_outside(&packet(S));
            assert_eq!(out.dropped(), Some(DropReason::Martian));
        }
        // And no container is given the port, which the host's sockets may be answered by.
        let out = match proto {
            tuple::TCP => h.from(&C2, &tcp(C2.ip(), port, S, 80, SYN)),
            _ => h.from(&C2, &udp(C2.ip(), port, S, 80, b"")),
        };
        assert_ne!(super::help::outside_port(&out), port);
    }
}

#[test]
fn c26_republish() {
    let mut h = Host::new();
    let ask = udp(S, 51000, H, 5353, b"question");
    delivered(
        &h.from_outside(&ask),
        &C1,
        &udp(S, 51000, C1.ip(), 53, b"question").ttl(63),
    );
    let answer = udp(C1.ip(), 53, S, 51000, b"answer");
    left(
        &h.from(&C1, &answer),
        &udp(H, 5353, S, 51000, b"answer").ttl(63),
    );
    // To C2, and to another port of it.
    h.tables.publish(tuple::UDP, 5353, &C2, 5300, RULE_DNS);
    delivered(
        &h.from_outside(&ask),
        &C2,
        &udp(S, 51000, C2.ip(), 5300, b"question").ttl(63),
    );
    left(
        &h.from(&C2, &udp(C2.ip(), 5300, S, 51000, b"answer")),
        &udp(H, 5353, S, 51000, b"answer").ttl(63),
    );
    assert_eq!(flows(&h.tables), 1, "the old flow is gone");
    // What C1 still sends is no answer of the published port any more.
    let out = h.from(&C1, &answer);
    left(&out, &udp(H, 53, S, 51000, b"answer").ttl(63));
}
