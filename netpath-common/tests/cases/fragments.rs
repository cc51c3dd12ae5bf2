//! Case 22: fragments. On real sockets: `tests/netns/fragment.rs`.

use netpath_common::{DropReason, Verdict, datapath::HOLD_NS, event::Hook};

use super::family::*;

/// Runs a frame, and what was sent to come in once more after it; what came of the ones that were
/// not held.
fn run(h: &mut Host, hook: Hook, frame: &Frame) -> Vec<Outcome> {
    let mut out = h.run(hook, frame);
    if out.result == Ok(Verdict::Held) {
        return Vec::new();
    }
    let again = std::mem::take(&mut out.frame.again);
    let mut all = vec![out];
    for bytes in again {
        let frame = Frame {
            bytes,
            ifindex: frame.ifindex,
            ..Frame::default()
        };
        all.extend(run(h, hook, &frame));
    }
    all
}

fn sent(h: &mut Host, parts: &[Datagram]) -> Vec<Outcome> {
    let frames = parts
        .iter()
        .map(|p| p.frame(C1.mac, BRIDGE1_MAC, C1.ifindex));
    frames.flat_map(|f| run(h, Hook::Veth, &f)).collect()
}

fn arrived(h: &mut Host, parts: &[Datagram]) -> Vec<Outcome> {
    let frames = parts
        .iter()
        .map(|p| p.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF));
    frames
        .flat_map(|f| run(h, Hook::UplinkIngress, &f))
        .collect()
}

/// That the fragments, in any order, are those of `want` to the last byte.
#[track_caller]
fn are(out: &[Outcome], want: &Datagram, id: u16) {
    let mut got: Vec<_> = out.iter().collect();
    got.sort_by_key(|o| part(&o.frame).0);
    let got: Vec<_> = got.iter().map(|o| o.frame.bytes[14..].to_vec()).collect();
    let want: Vec<_> = want.parts(id).iter().map(Datagram::bytes).collect();
    assert!(
        got == want,
        "{:?}",
        out.iter().map(Outcome::text).collect::<Vec<_>>()
    );
}

/// Orders in which three fragments can come.
const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [2, 1, 0],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
];

#[test]
fn c22_out_in_every_order() {
    for order in ORDERS {
        let mut h = Host::new();
        let parts = udp(C1.ip(), 5000, S, 53, &[3; 4000]).parts(9);
        let parts = order.map(|i| parts[i].clone());
        let out = sent(&mut h, &parts);
        out.iter().for_each(|o| drop(o.to_uplink()));
        are(&out, &udp(H, 5000, S, 53, &[3; 4000]).ttl(63), 9);
        assert_eq!(h.drops.len(), 0, "{order:?}");
    }
}

#[test]
fn c22_in_in_every_order() {
    for order in ORDERS {
        // To a published port, and the answer to a container.
        let mut h = Host::new();
        let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
        for (id, came, want) in [
            (
                1,
                udp(S, 51000, H, 5353, &[3; 4000]),
                udp(S, 51000, C1.ip(), 53, &[3; 4000]),
            ),
            (
                2,
                udp(S, 53, H, 5000, &[4; 4000]),
                udp(S, 53, C1.ip(), 5000, &[4; 4000]),
            ),
        ] {
            let parts = came.parts(id);
            let parts = order.map(|i| parts[i].clone());
            // The host's stack has a copy of what came too early: it may be its own.
            let out: Vec<_> = arrived(&mut h, &parts)
                .into_iter()
                .filter(|o| !o.passed())
                .collect();
            out.iter().for_each(|o| drop(o.to_container(&C1)));
            are(&out, &want.ttl(63), id);
        }
    }
}

#[test]
fn c22_fragmented_echo() {
    for order in ORDERS {
        let mut h = Host::new();
        let echo = |src, dst, kind| icmp(src, dst, kind, 0, [0, 7, 0, 1], &[9; 4000]);
        let parts = echo(C1.ip(), S, ECHO).parts(9);
        let out = sent(&mut h, &order.map(|i| parts[i].clone()));
        are(&out, &echo(H, S, ECHO).ttl(63), 9);
        let parts = echo(S, H, ECHO_REPLY).parts(9);
        let out: Vec<_> = arrived(&mut h, &order.map(|i| parts[i].clone()))
            .into_iter()
            .filter(|o| !o.passed())
            .collect();
        out.iter().for_each(|o| drop(o.to_container(&C1)));
        are(&out, &echo(S, C1.ip(), ECHO_REPLY).ttl(63), 9);
    }
}

#[test]
fn c22_identification_used_again() {
    // The same identification, addresses and protocol; another flow, with another translation.
    let first = udp(S, 51000, H, 5353, &[1; 4000]);
    let second = udp(S, 53, H, 5000, &[2; 4000]);
    for wait_ms in [0, 30_000] {
        let mut h = Host::new();
        let _ = h.from(&C2, &udp(C2.ip(), 5000, S, 53, b"")).to_uplink();
        let out = arrived(&mut h, &first.parts(9));
        out.iter().for_each(|o| drop(o.to_container(&C1)));
        h.tables.advance_ms(wait_ms);
        if wait_ms != 0 {
            // The flow of C2 has ended as well.
            let _ = h.from(&C2, &udp(C2.ip(), 5000, S, 53, b"")).to_uplink();
        }
        let out = arrived(&mut h, &second.parts(9));
        out.iter().for_each(|o| drop(o.to_container(&C2)));
        are(&out, &udp(S, 53, C2.ip(), 5000, &[2; 4000]).ttl(63), 9);
    }
    // After half a minute a tail does not follow the old one: it waits for its own.
    let mut h = Host::new();
    let _ = arrived(&mut h, &first.parts(9));
    h.tables.advance_ms(30_000);
    let _ = h.from(&C2, &udp(C2.ip(), 5000, S, 53, b"")).to_uplink();
    let mut parts = second.parts(9);
    parts.reverse();
    let out: Vec<_> = arrived(&mut h, &parts)
        .into_iter()
        .filter(|o| !o.passed())
        .collect();
    out.iter().for_each(|o| drop(o.to_container(&C2)));
    are(&out, &udp(S, 53, C2.ip(), 5000, &[2; 4000]).ttl(63), 9);
}

#[test]
fn c22_never_untranslated() {
    // A tail without its first one leaves neither at once nor by the stack, and not after it has
    // waited in vain.
    let mut h = Host::new();
    let parts = udp(C1.ip(), 5000, S, 53, &[3; 4000]).parts(9);
    assert!(sent(&mut h, &parts[1..]).is_empty());
    let out = h.from_stack(&parts[1]);
    assert_eq!(out.dropped(), Some(DropReason::FragmentUnmatched));
    h.tables.now += HOLD_NS;
    let out = sent(&mut h, &parts[..1]);
    assert_eq!(out.len(), 1, "what waited is gone");
    assert_eq!(out[0].to_uplink(), said("udp H:5000 > S:53"));
    assert_eq!(h.tables.held_dropped(), 2);
}
