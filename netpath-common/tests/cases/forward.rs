//! Case 30: what the fast path must not forward itself, and the hop that it counts.
//!
//! The stack's own answers, time exceeded of the gateway and fragmentation needed, on real sockets:
//! `tests/netns/icmp_error.rs`.

use netpath_common::{
    conntrack::tcp::{ACK, SYN},
    testing::*,
};

use super::help::{delivered, is, left, open};

#[test]
fn c30_ttl() {
    let mut h = Host::new();
    open(&mut h);
    // Once, down to the last hop.
    for ttl in [255, 64, 2] {
        let out = h.from(&C1, &tcp(C1.addr, 40000, S, 80, ACK).ttl(ttl));
        left(&out, &tcp(H, 40000, S, 80, ACK).ttl(ttl - 1));
        let back = h.from_outside(&tcp(S, 80, H, 40000, ACK).ttl(ttl));
        delivered(&back, &C1, &tcp(S, 80, C1.addr, 40000, ACK).ttl(ttl - 1));
    }
    // At 1 the stack has it as it was sent, and answers from the gateway's address.
    let last = tcp(C1.addr, 40000, S, 80, ACK).ttl(1);
    assert!(h.from(&C1, &last).passed());
    assert!(
        h.from(&C2, &tcp(C2.addr, 1, S, 80, SYN).ttl(1)).passed(),
        "also a first one"
    );
    // Inward it is translated, so that the stack can tell whom it is for.
    let back = h.from_outside(&tcp(S, 80, H, 40000, ACK).ttl(1));
    let _ = back.to_stack();
    is(&back, &tcp(S, 80, C1.addr, 40000, ACK).ttl(1));
    // What it answers quotes that, and leaves as if no container were there.
    let answer = error(H, S, 11, 0, &tcp(S, 80, C1.addr, 40000, ACK).ttl(1), 8);
    let out = h.from_stack(&answer);
    let _ = out.to_stack();
    is(
        &out,
        &error(H, S, 11, 0, &tcp(S, 80, H, 40000, ACK).ttl(1), 8),
    );
}

#[test]
fn c30_mtu() {
    let mut h = Host::new();
    h.tables.uplinks[usize::from(UPLINK)].mtu = 1000;
    let packet = |src: Addr, len| udp(src, 5000, S, 53, &vec![7; len]).dont_fragment();
    // 1000 bytes fit; a byte more is the stack's to refuse, with or without the flag.
    left(&h.from(&C1, &packet(C1.addr, 972)), &packet(H, 972).ttl(63));
    assert!(h.from(&C1, &packet(C1.addr, 973)).passed());
    let may = udp(C1.addr, 5000, S, 53, &[7; 973]);
    assert!(h.from(&C1, &may).passed());
    // What the stack makes of the latter is translated on its way out, its hop already counted.
    let parts = may.clone().ttl(63).fragments(968);
    let want = udp(H, 5000, S, 53, &[7; 973]).ttl(63).fragments(968);
    for (part, want) in parts.iter().zip(&want) {
        let out = h.from_stack(part);
        let _ = out.to_stack();
        is(&out, want);
    }
    // A route with an MTU of its own counts as well, and a smaller container.
    let mut h = Host::new();
    h.tables.routes[0].2.mtu = 900;
    left(&h.from(&C1, &packet(C1.addr, 872)), &packet(H, 872).ttl(63));
    assert!(h.from(&C1, &packet(C1.addr, 873)).passed());
    h.tables.endpoints[usize::from(C1.slot)].mtu = 800;
    let back = |len| udp(S, 53, H, 5000, &vec![7; len]).dont_fragment();
    let _ = h.from_outside(&back(772)).to_container(&C1);
    let _ = h.from_outside(&back(773)).to_stack();
}
