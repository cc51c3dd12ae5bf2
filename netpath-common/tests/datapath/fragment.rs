//! Fragments follow their first one; none leaves untranslated (case 22).

use netpath_common::{
    DropReason, Verdict, conntrack::tcp::SYN, counters::Counter, testing::*, tuple,
};

/// Puts fragments together and checks the transport checksum.
fn joined(parts: &[Outcome]) -> String {
    let mut bytes = parts[0].frame.bytes.clone();
    for part in &parts[1..] {
        bytes.extend(&part.frame.bytes[34..]);
    }
    let l4 = bytes.split_off(34);
    let ip = &bytes[14..];
    let four = |at: usize| [ip[at], ip[at + 1], ip[at + 2], ip[at + 3]];
    let whole = Datagram::new(four(12), four(16), ip[9], l4).frame([0; 6], [0; 6], 0);
    assert_eq!(verify(&whole), Ok(()));
    describe(&whole)
}

#[test]
fn a_datagram_in_order_both_ways() {
    let mut h = Host::new();
    let parts: Vec<_> = udp(C1.addr, 5000, S, 53, &[3; 4000])
        .fragments(1480)
        .iter()
        .map(|f| h.from(&C1, f))
        .collect();
    parts.iter().for_each(|p| drop(p.to_uplink()));
    assert_eq!(joined(&parts), "udp 192.0.2.1:5000 > 198.51.100.9:53");
    assert_eq!(h.tables.counter(Counter::FragmentTranslated), 2);
    let parts: Vec<_> = udp(S, 53, H, 5000, &[4; 4000])
        .fragments(1480)
        .iter()
        .map(|f| h.from_outside(f))
        .collect();
    parts.iter().for_each(|p| drop(p.to_container(&C1)));
    assert_eq!(joined(&parts), "udp 198.51.100.9:53 > 172.17.0.2:5000");
}

#[test]
fn a_fragmented_echo_and_a_tcp_segment() {
    let mut h = Host::new();
    let echo = icmp(C1.addr, S, 8, 0, [0, 7, 0, 1], &[9; 3000]);
    let parts: Vec<_> = echo
        .fragments(1480)
        .iter()
        .map(|f| h.from(&C1, f))
        .collect();
    assert_eq!(joined(&parts), "icmp 8 192.0.2.1 > 198.51.100.9 id 7");
    let segment = tcp_data(C1.addr, 40000, S, 80, SYN, &[9; 3000]).id(77);
    let parts: Vec<_> = segment
        .fragments(1480)
        .iter()
        .map(|f| h.from(&C1, f))
        .collect();
    assert_eq!(joined(&parts), "tcp 192.0.2.1:40000 > 198.51.100.9:80");
}

#[test]
fn published_and_hairpin_fragments() {
    let mut h = Host::new();
    let ask = |src| udp(src, 51000, H, 5353, &[1; 2000]).fragments(1480);
    for f in ask(S) {
        let _ = h.from_outside(&f).to_container(&C1);
    }
    for f in ask(C2.addr) {
        let _ = h.from(&C2, &f).to_container(&C1);
    }
    for f in udp(C1.addr, 53, C2.addr, 51000, &[2; 2000]).fragments(1480) {
        let _ = h.from(&C1, &f).to_container(&C2);
    }
}

#[test]
fn a_tail_without_its_first_fragment() {
    let mut h = Host::new();
    let parts = udp(C1.addr, 5000, S, 53, &[3; 2000]).fragments(1480);
    assert_eq!(
        h.from_stack(&parts[1]).dropped(),
        Some(DropReason::FragmentUnmatched)
    );
    let _ = h.from(&C1, &parts[0]).to_uplink();
    // Another identification, another protocol, another sender.
    assert_eq!(
        h.from(&C1, &parts[1].clone().id(9)).result,
        Ok(Verdict::Held)
    );
    let other = Datagram {
        proto: tuple::TCP,
        ..parts[1].clone()
    };
    assert_eq!(h.from(&C1, &other).result, Ok(Verdict::Held));
    let other = Datagram {
        src: C2.addr,
        ..parts[1].clone()
    };
    assert_eq!(h.from(&C2, &other).result, Ok(Verdict::Held));
    let _ = h.from(&C1, &parts[1]).to_uplink();
}

#[test]
fn the_outside_cannot_continue_a_containers_datagram() {
    let mut h = Host::new();
    let parts = udp(C2.addr, 51000, H, 5353, &[1; 2000]).fragments(1480);
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
        let parts = udp(C1.addr, 5000, S, 53, &[3; 2000]).fragments(1480);
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
        .from(
            &C1,
            &udp(C1.addr, 5000, S, 53, &[3; 2000]).fragments(1480)[0],
        )
        .to_uplink();
    // Port 5000 to S2 keeps, to S collides; the newer record counts.
    let parts = udp(C1.addr, 5001, S, 53, &[3; 2000]).fragments(1480);
    let parts: Vec<_> = parts.iter().map(|f| h.from(&C1, f)).collect();
    assert_eq!(joined(&parts), "udp 192.0.2.1:5001 > 198.51.100.9:53");
}

#[test]
fn tails_end_with_the_endpoint() {
    // What holds for flows holds for their fragments: no packet enters by a rule that is gone.
    let mut h = Host::new();
    let parts = udp(S, 51000, H, 5353, &[1; 2000]).fragments(1480);
    let _ = h.from_outside(&parts[0]).to_container(&C1);
    h.tables.remove_container(&C1);
    let heir = Container {
        mac: [2, 0x42, 0, 0, 0, 9],
        ifindex: 19,
        addr: [172, 17, 0, 77],
        ..C1
    };
    h.tables.add_container(&heir);
    assert!(h.from_outside(&parts[1]).passed());
}

#[test]
fn tiny_fragments() {
    let mut h = Host::new();
    // RFC 3128: the flags in a second fragment at offset 8.
    let parts = tcp(C1.addr, 40000, S, 80, SYN).fragments(8);
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
    for part in tcp(S, 51000, H, 8080, SYN).fragments(8) {
        assert!(h.from_outside(&part).passed());
    }
    assert!(h.tables.entries().is_empty());
}

#[test]
fn small_tails_of_a_large_first_fragment_that_the_stack_has() {
    let mut h = Host::new();
    h.tables.uplinks[usize::from(UPLINK)].mtu = 1000;
    let parts = udp(C1.addr, 5000, S, 53, &[3; 2000]).fragments(1480);
    assert!(h.from(&C1, &parts[0]).passed());
    // The stack fragments the fragment; every piece is translated on its way out.
    let mut outcomes = Vec::new();
    for (i, piece) in parts[0].l4.chunks(976).enumerate() {
        let frag = (i * 976 / 8) as u16 | 0x2000;
        let piece = Datagram {
            l4: piece.to_vec(),
            frag,
            ..parts[0].clone()
        };
        let out = h.from_stack(&piece);
        let _ = out.to_stack();
        outcomes.push(out);
    }
    let out = h.from(&C1, &parts[1]);
    let _ = out.to_uplink();
    outcomes.push(out);
    assert_eq!(joined(&outcomes), "udp 192.0.2.1:5000 > 198.51.100.9:53");
}
