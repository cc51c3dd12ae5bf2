//! Fragments in any order, overlapping ones, and the bounds of what waits (case 22).

use netpath_common::{
    DropReason, Verdict,
    conntrack::Budget,
    counters::Counter,
    datapath::{HOLD_NS, Tables},
    event::Hook,
    records::NETWORK_MASQUERADE,
};

use super::{family::*, fragment::joined};

/// What was sent to come in once more does so.
pub(crate) fn again(h: &mut Host, hook: Hook, first: &Outcome) -> Vec<Outcome> {
    let frames: Vec<_> = first
        .frame
        .again
        .iter()
        .map(|bytes| Frame {
            bytes: bytes.clone(),
            ifindex: first.frame.ifindex,
            ..Frame::default()
        })
        .collect();
    frames.iter().map(|f| h.run(hook, f)).collect()
}

#[test]
fn a_containers_datagram_in_reverse() {
    for (len, count) in [(4000, 3), (60_000, 42)] {
        let mut h = Host::new();
        let mut parts = udp(C1.ip(), 5000, S, 53, &vec![3; len]).parts(9);
        assert_eq!(parts.len(), count);
        parts.reverse();
        let first = parts.pop().unwrap();
        for tail in &parts {
            assert_eq!(h.from(&C1, tail).result, Ok(Verdict::Held));
        }
        assert_eq!(h.tables.live(Budget::HELD), count as i64 - 1);
        let first = h.from(&C1, &first);
        let _ = first.to_uplink();
        let mut out = again(&mut h, Hook::Veth, &first);
        out.iter().for_each(|o| drop(o.to_uplink()));
        out.push(first);
        assert_eq!(joined(&out), said("udp H:5000 > S:53"));
        assert_eq!(h.tables.live(Budget::HELD), 0);
        assert_eq!(
            h.tables.counter(Counter::FragmentReleased),
            count as u64 - 1
        );
        assert!(h.drops.is_empty(), "{:?}", h.drops);
    }
}

#[test]
fn an_echo_and_a_published_port_in_reverse() {
    let mut h = Host::new();
    let parts = icmp(C1.ip(), S, ECHO, 0, [0, 7, 0, 1], &[9; 2000]).parts(9);
    assert_eq!(h.from(&C1, &parts[1]).result, Ok(Verdict::Held));
    let first = h.from(&C1, &parts[0]);
    let mut out = again(&mut h, Hook::Veth, &first);
    out.push(first);
    assert_eq!(joined(&out), said(&format!("icmp {ECHO} H > S id 7")));
    // From outside: the host's stack has the tail as well, since it may be its own.
    let parts = udp(S, 4000, H, 5353, &[1; 2000]).parts(9);
    assert!(h.from_outside(&parts[1]).passed());
    let first = h.from_outside(&parts[0]);
    let _ = first.to_container(&C1);
    let mut out = again(&mut h, Hook::UplinkIngress, &first);
    out.iter().for_each(|o| drop(o.to_container(&C1)));
    out.push(first);
    assert_eq!(joined(&out), said("udp S:4000 > C1:53"));
}

#[test]
fn the_hosts_own_fragments_are_the_hosts() {
    let mut h = Host::new();
    let parts = udp(S, 4000, H, 9999, &[1; 2000]).parts(9);
    assert!(h.from_outside(&parts[1]).passed());
    let first = h.from_outside(&parts[0]);
    assert!(first.passed());
    assert!(first.frame.again.is_empty(), "its stack has them all");
    // The copy gives its place to another one.
    h.tables.now += HOLD_NS;
    assert!(h.from_outside(&parts[1]).passed());
    assert_eq!(h.tables.live(Budget::HELD), 1);
}

#[test]
fn what_waits_too_long_is_dropped_and_counted() {
    let mut h = Host::new();
    let parts = udp(C1.ip(), 5000, S, 53, &[3; 2000]).parts(9);
    assert_eq!(h.from(&C1, &parts[1]).result, Ok(Verdict::Held));
    h.tables.now += HOLD_NS;
    let first = h.from(&C1, &parts[0]);
    let _ = first.to_uplink();
    assert!(first.frame.again.is_empty());
    assert_eq!(h.tables.held_dropped(), 1);
    assert_eq!(h.tables.live(Budget::HELD), 0);
}

#[test]
fn memory_is_bounded() {
    let mut h = Host::new();
    let parts = udp(C1.ip(), 5000, S, 53, &[3; 60_000]).cut(1000, 9);
    for tail in &parts[1..=48] {
        assert_eq!(h.from(&C1, tail).result, Ok(Verdict::Held));
    }
    for tail in &parts[49..] {
        assert_eq!(
            h.from(&C1, tail).dropped(),
            Some(DropReason::FragmentUnmatched)
        );
    }
    // Of another endpoint, by chance in the same group or not; and one that is too long.
    let long = udp(C2.ip(), 1, S, 53, &[3; 4000]).cut(1600, 9);
    assert_eq!(
        h.from(&C2, &long[1]).dropped(),
        Some(DropReason::FragmentUnmatched)
    );
    // All of it is free again when it has waited its time.
    h.tables.now += HOLD_NS;
    for tail in &parts[1..=48] {
        assert_eq!(h.from(&C1, tail).result, Ok(Verdict::Held));
    }
    assert_eq!(h.tables.live(Budget::HELD), 48);
    assert_eq!(h.tables.held_dropped(), 48);
}

#[test]
fn overlapping_and_repeated_fragments_are_dropped() {
    let whole = udp(C1.ip(), 5000, S, 53, &[3; 4000]);
    let parts = whole.parts(9);
    let overlap = |h: &mut Host, at, len| {
        let part = whole.piece(at, len, true, 9);
        h.from(&C1, &part).dropped()
    };
    let mut h = Host::new();
    let _ = h.from(&C1, &parts[0]).to_uplink();
    // Into the first one, and by a single unit.
    let dropped = Some(DropReason::FragmentOverlap);
    assert_eq!(overlap(&mut h, 8 * 2, 8), dropped);
    assert_eq!(overlap(&mut h, 1432, 16), dropped);
    assert_eq!(h.from(&C1, &parts[2]).dropped(), None);
    assert_eq!(overlap(&mut h, 2872, 16), dropped, "into the one behind");
    assert_eq!(h.from(&C1, &parts[1]).dropped(), None);
    assert_eq!(h.from(&C1, &parts[1]).dropped(), dropped, "the same again");
    assert_eq!(h.drops_of(DropReason::FragmentOverlap), 4);
}

#[test]
fn an_answer_in_reverse_also_without_masquerade() {
    let mut h = Host::new();
    h.tables.networks[usize::from(NET1)].flags &= !NETWORK_MASQUERADE;
    let _ = h
        .from_outside(&udp(S, 4000, H, 5353, b"question"))
        .to_container(&C1);
    let parts = udp(C1.ip(), 53, S, 4000, &[1; 2000]).parts(9);
    assert_eq!(h.from(&C1, &parts[1]).result, Ok(Verdict::Held));
    let first = h.from(&C1, &parts[0]);
    let _ = first.to_uplink();
    let mut out = again(&mut h, Hook::Veth, &first);
    out.push(first);
    assert_eq!(joined(&out), said("udp H:5353 > S:4000"));
    // What belongs to no flow does not leave.
    let parts = udp(C1.ip(), 5000, S, 53, &[1; 2000]).parts(2);
    assert_eq!(h.from(&C1, &parts[1]).result, Ok(Verdict::Held));
    let first = h.from(&C1, &parts[0]);
    assert_eq!(first.dropped(), Some(DropReason::NotRoutable));
    assert!(first.frame.again.is_empty());
}
