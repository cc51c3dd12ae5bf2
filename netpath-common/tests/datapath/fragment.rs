//! Fragments follow their first one; none leaves untranslated (case 22).

use netpath_common::{DropReason, Verdict, conntrack::tcp::SYN, counters::Counter};

use super::family::*;

/// Puts fragments together, none of which may be missing, and checks the transport checksum.
pub(crate) fn joined(parts: &[Outcome]) -> String {
    let frames: Vec<_> = parts.iter().map(|o| o.frame.clone()).collect();
    let whole = reassemble(&frames).unwrap().expect("a hole");
    assert_eq!(verify(&whole), Ok(()));
    describe(&whole)
}

#[test]
fn a_datagram_in_order_both_ways() {
    let mut h = Host::new();
    let parts: Vec<_> = udp(C1.ip(), 5000, S, 53, &[3; 4000])
        .parts(9)
        .iter()
        .map(|f| h.from(&C1, f))
        .collect();
    parts.iter().for_each(|p| drop(p.to_uplink()));
    assert_eq!(joined(&parts), said("udp H:5000 > S:53"));
    assert_eq!(h.tables.counter(Counter::FragmentTranslated), 2);
    let parts: Vec<_> = udp(S, 53, H, 5000, &[4; 4000])
        .parts(9)
        .iter()
        .map(|f| h.from_outside(f))
        .collect();
    parts.iter().for_each(|p| drop(p.to_container(&C1)));
    assert_eq!(joined(&parts), said("udp S:53 > C1:5000"));
}

#[test]
fn a_fragmented_echo_and_a_tcp_segment() {
    let mut h = Host::new();
    let echo = icmp(C1.ip(), S, ECHO, 0, [0, 7, 0, 1], &[9; 3000]);
    let parts: Vec<_> = echo.parts(9).iter().map(|f| h.from(&C1, f)).collect();
    assert_eq!(joined(&parts), said(&format!("icmp {ECHO} H > S id 7")));
    let segment = tcp_data(C1.ip(), 40000, S, 80, SYN, &[9; 3000]);
    let parts: Vec<_> = segment.parts(9).iter().map(|f| h.from(&C1, f)).collect();
    assert_eq!(joined(&parts), said("tcp H:40000 > S:80"));
}

#[test]
fn published_and_hairpin_fragments() {
    let mut h = Host::new();
    let ask = |src| udp(src, 51000, H, 5353, &[1; 2000]).parts(9);
    for f in ask(S) {
        let _ = h.from_outside(&f).to_container(&C1);
    }
    for f in ask(C2.ip()) {
        let _ = h.from(&C2, &f).to_container(&C1);
    }
    for f in udp(C1.ip(), 53, C2.ip(), 51000, &[2; 2000]).parts(9) {
        let _ = h.from(&C1, &f).to_container(&C2);
    }
}

#[test]
fn a_tail_without_its_first_fragment() {
    let mut h = Host::new();
    let parts = udp(C1.ip(), 5000, S, 53, &[3; 2000]).parts(9);
    assert_eq!(
        h.from_stack(&parts[1]).dropped(),
        Some(DropReason::FragmentUnmatched)
    );
    let _ = h.from(&C1, &parts[0]).to_uplink();
    // Another identification, another sender.
    let whole = udp(C1.ip(), 5000, S, 53, &[3; 2000]);
    assert_eq!(h.from(&C1, &whole.parts(10)[1]).result, Ok(Verdict::Held));
    let other = Datagram {
        src: C2.ip(),
        ..parts[1].clone()
    };
    assert_eq!(h.from(&C2, &other).result, Ok(Verdict::Held));
    let _ = h.from(&C1, &parts[1]).to_uplink();
}

#[test]
fn the_outside_cannot_continue_a_containers_datagram() {
    let mut h = Host::new();
    let parts = udp(C2.ip(), 51000, H, 5353, &[1; 2000]).parts(9);
    let _ = h.from(&C2, &parts[0]).to_container(&C1);
    assert!(
        h.from_outside(&parts[1]).passed(),
        "to the host, whose stack drops it"
    );
}

#[test]
fn a_record_lives_thirty_seconds() {
    for (late, alive) in [(0, true), (1, false)] {
        let mut h = Host::new();
        let parts = udp(C1.ip(), 5000, S, 53, &[3; 2000]).parts(9);
        let _ = h.from(&C1, &parts[0]).to_uplink();
        h.tables.now += 30_000_000_000 - 1 + late;
        let out = h.from(&C1, &parts[1]);
        assert_eq!(out.result != Ok(Verdict::Held), alive);
    }
}

#[test]
fn the_identification_is_used_again_for_another_flow() {
    let mut h = Host::new();
    let _ = h
        .from(&C1, &udp(C1.ip(), 5000, S, 53, &[3; 2000]).parts(9)[0])
        .to_uplink();
    // Port 5000 to S2 keeps, to S collides; the newer record counts.
    let parts = udp(C1.ip(), 5001, S, 53, &[3; 2000]).parts(9);
    let parts: Vec<_> = parts.iter().map(|f| h.from(&C1, f)).collect();
    assert_eq!(joined(&parts), said("udp H:5001 > S:53"));
}

#[test]
fn tails_end_with_the_endpoint() {
    // What holds for flows holds for their fragments: no packet enters by a rule that is gone.
    let mut h = Host::new();
    let parts = udp(S, 51000, H, 5353, &[1; 2000]).parts(9);
    let _ = h.from_outside(&parts[0]).to_container(&C1);
    h.tables.remove_container(&C1);
    let heir = Container {
        slot: C1.slot,
        ..another(7)
    };
    h.tables.add_container(&heir);
    assert!(h.from_outside(&parts[1]).passed());
}

#[test]
fn tiny_fragments() {
    let mut h = Host::new();
    // RFC 3128: the flags in a second fragment at offset 8.
    let parts = tcp(C1.ip(), 40000, S, 80, SYN).cut(8, 9);
    assert_eq!(
        h.from(&C1, &parts[0]).dropped(),
        Some(DropReason::FragmentTiny)
    );
    assert_eq!(
        h.from(&C1, &parts[1]).dropped(),
        Some(DropReason::FragmentTiny)
    );
    assert_eq!(
        h.from_stack(&parts[1]).dropped(),
        Some(DropReason::FragmentTiny)
    );
    // From the outside to a published port: never into the container.
    for part in tcp(S, 51000, H, 8080, SYN).cut(8, 9) {
        assert!(h.from_outside(&part).passed());
    }
    assert!(h.tables.entries().is_empty());
}
