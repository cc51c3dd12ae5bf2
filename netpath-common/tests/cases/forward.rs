//! Case 30: what the fast path must not forward itself, and the hop that it counts.
//!
//! The stack's own answers, time exceeded of the gateway and fragmentation needed, on real sockets:
//! `tests/netns/icmp_error.rs`.

use netpath_common::conntrack::tcp::{ACK, SYN};

use super::{
    family::*,
    help::{delivered, is, left, open},
};

#[test]
fn c30_ttl() {
    let mut h = Host::new();
    open(&mut h);
    // Once, down to the last hop.
    for ttl in [255, 64, 2] {
        let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, ACK).ttl(ttl));
        left(&out, &tcp(H, 40000, S, 80, ACK).ttl(ttl - 1));
        let back = h.from_outside(&tcp(S, 80, H, 40000, ACK).ttl(ttl));
        delivered(&back, &C1, &tcp(S, 80, C1.ip(), 40000, ACK).ttl(ttl - 1));
    }
    // At 1 the stack has it as it was sent, and answers from the gateway's address.
    let last = tcp(C1.ip(), 40000, S, 80, ACK).ttl(1);
    assert!(h.from(&C1, &last).passed());
    assert!(
        h.from(&C2, &tcp(C2.ip(), 1, S, 80, SYN).ttl(1)).passed(),
        "also a first one"
    );
    // Inward it is translated, so that the stack can tell whom it is for.
    let back = h.from_outside(&tcp(S, 80, H, 40000, ACK).ttl(1));
    let _ = back.to_stack();
    is(&back, &tcp(S, 80, C1.ip(), 40000, ACK).ttl(1));
    // What it answers quotes that, and leaves as if no container were there.
    let answer = error(
        H,
        S,
        TIME_EXCEEDED,
        0,
        &tcp(S, 80, C1.ip(), 40000, ACK).ttl(1),
        8,
    );
    let out = h.from_stack(&answer);
    let _ = out.to_stack();
    is(
        &out,
        &error(H, S, TIME_EXCEEDED, 0, &tcp(S, 80, H, 40000, ACK).ttl(1), 8),
    );
}

#[test]
fn c30_mtu() {
    let mut h = Host::new();
    h.tables.uplinks[usize::from(UPLINK)].mtu = 1000;
    let fits = |mtu: usize| mtu - HEADER - 8;
    let packet = |src: Addr, len| udp(src, 5000, S, 53, &vec![7; len]).unfragmented();
    // 1000 bytes fit; a byte more is the stack's to refuse.
    let most = fits(1000);
    left(
        &h.from(&C1, &packet(C1.ip(), most)),
        &packet(H, most).ttl(63),
    );
    assert!(h.from(&C1, &packet(C1.ip(), most + 1)).passed());
    // A route with an MTU of its own counts as well, and a smaller container.
    let mut h = Host::new();
    h.tables.routes[0].2.mtu = 900;
    let most = fits(900);
    left(
        &h.from(&C1, &packet(C1.ip(), most)),
        &packet(H, most).ttl(63),
    );
    assert!(h.from(&C1, &packet(C1.ip(), most + 1)).passed());
    h.tables.endpoints[usize::from(C1.slot)].mtu = 800;
    let back = |len| udp(S, 53, H, 5000, &vec![7; len]).unfragmented();
    let _ = h.from_outside(&back(fits(800))).to_container(&C1);
    let _ = h.from_outside(&back(fits(800) + 1)).to_stack();
}
