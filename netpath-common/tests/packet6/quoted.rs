//! ICMPv6 errors and the packets that they quote.

use netpath_common::{
    addr::V6,
    packet::{Family, Quoted, Rewrite},
    testing::{plain6::line6, *},
    tuple::{self, Tuple},
};

use crate::{c1, frame, h, parsed, s, six};

/// A router on the way.
fn r() -> Addr6 {
    six("2001:db8:1::1")
}

/// The quoted packet as the parser sees it.
fn quoted(f: &Frame) -> Option<Quoted<V6>> {
    let mut q = Quoted::default();
    V6::quoted(f, &parsed(f), &mut q).map(|()| q)
}

/// Translates an error from the outside to the container, about a packet that left as `h():port`.
#[track_caller]
fn translated(before: &Frame, port: u16) -> Frame {
    let (ip, q) = (parsed(before), quoted(before).unwrap());
    let inside = Tuple {
        src: c1(),
        sport: port,
        dport: if q.tuple.icmp_type == 0 {
            q.tuple.dport
        } else {
            port
        },
        ..q.tuple
    };
    let to = Rewrite {
        src: ip.tuple.src,
        dst: c1(),
        sport: 0,
        dport: 0,
        hop: true,
    };
    let mut after = before.clone();
    V6::rewrite_quoted(&mut after, &ip, &q, &inside).unwrap();
    V6::rewrite(&mut after, &ip, &to).unwrap();
    judge(before, &after).unwrap();
    after
}

/// Packets before and behind the translation that errors are about.
fn conversations() -> Vec<(Datagram6, Datagram6)> {
    let pairs = [
        (
            tcp_data6(c1(), 40000, s(), 80, 0x18, &[5; 100]),
            tcp_data6(h(), 50000, s(), 80, 0x18, &[5; 100]),
        ),
        (
            udp6(c1(), 40000, s(), 53, b"question"),
            udp6(h(), 50000, s(), 53, b"question"),
        ),
        (query6(c1(), s(), 128, 40000), query6(h(), s(), 128, 50000)),
    ];
    let mut all = Vec::new();
    for (inside, outside) in pairs {
        for with in [
            |d: Datagram6| d,
            |d: Datagram6| {
                d.options(header::HOP_BY_HOP, 1)
                    .options(header::DESTINATION, 3)
            },
            |d: Datagram6| d.fragment(0, true, 99),
            |d: Datagram6| d.fragment(0, false, 99),
        ] {
            all.push((with(inside.clone()), with(outside.clone())));
        }
    }
    all
}

#[test]
fn every_error_about_every_packet_at_every_length() {
    let errors = [(1, 4, 0), (1, 1, 0), (2, 0, 1400), (3, 0, 0), (4, 1, 40)];
    for (inside, outside) in conversations() {
        for (kind, code, word) in errors {
            for l4 in 8..=outside.l4.len() {
                let f = frame(&error6(r(), h(), kind, code, word, &outside, l4));
                for before in [f.clone(), f.complete()] {
                    let after = translated(&before, 40000);
                    if outside.proto == tuple::TCP && l4 == 17 {
                        // Half a checksum: nobody can verify it, and it is left.
                        continue;
                    }
                    let want = error6(r(), c1(), kind, code, word, &inside, l4).hops(63);
                    assert_eq!(after.bytes, frame(&want).bytes, "{}", describe(&before));
                }
            }
        }
    }
}

#[test]
fn too_little_is_no_packet() {
    for (_, outside) in conversations() {
        let headers = 40 + outside.chain().len();
        for len in 0..headers + 8 {
            let rest = &outside.bytes()[..len];
            let f = frame(&icmp6(r(), h(), 1, 4, [0; 4], rest));
            assert!(quoted(&f).is_none(), "{len} bytes of {outside:?}");
            // What the frame holds behind the packet is none of it.
            let mut padded = f.clone();
            padded.bytes.extend([0; 64]);
            assert!(quoted(&padded).is_none(), "{len} bytes of {outside:?}");
        }
    }
}

#[test]
fn what_names_no_flow() {
    let about = |d: &Datagram6| quoted(&frame(&error6(r(), h(), 1, 4, 0, d, 64)));
    let udp = udp6(h(), 50000, s(), 53, b"question");
    assert!(about(&udp).is_some());
    assert!(
        about(&udp.clone().fragment(1232, false, 9)).is_none(),
        "a later fragment"
    );
    assert!(about(&udp.clone().routing(0, 0)).is_none());
    assert!(about(&udp.clone().routing(4, 1)).is_none());
    // What has no ports is told by its addresses; what breaks with them has no flow.
    assert!(about(&Datagram6::new(h(), s(), header::ESP, vec![0; 64])).is_some());
    let seven = (0..7).fold(udp.clone(), |d, _| d.options(header::DESTINATION, 1));
    assert!(about(&seven).is_none());
    let mut ipv4 = frame(&error6(r(), h(), 1, 4, 0, &udp, 64));
    ipv4.bytes[62] = 0x45;
    assert!(quoted(&ipv4).is_none());
    // An error about an error has a tuple that no flow has.
    let error = error6(h(), s(), 3, 0, 0, &udp, 64);
    assert_eq!(about(&error).unwrap().tuple.icmp_type, 3);
}

#[test]
fn the_smallest_mtu() {
    let about = tcp6(h(), 1, s(), 2, 0x10);
    let is_bad = |kind, mtu| {
        let f = frame(&error6(r(), h(), kind, 0, mtu, &about, 20));
        V6::has_bad_mtu(&f, &parsed(&f))
    };
    for mtu in [0, 68, 1279] {
        assert!(is_bad(2, mtu), "{mtu}");
        assert!(!is_bad(4, mtu), "a pointer");
    }
    for mtu in [1280, 1500, u32::MAX] {
        assert!(!is_bad(2, mtu), "{mtu}");
    }
}

#[test]
fn a_datagram_without_a_checksum_is_quoted_as_it_is() {
    let mut about = udp6(h(), 50000, s(), 53, b"question");
    about.l4[6..8].fill(0);
    let before = frame(&error6(r(), h(), 1, 4, 0, &about, 16));
    let (ip, q) = (parsed(&before), quoted(&before).unwrap());
    let inside = Tuple {
        src: c1(),
        sport: 40000,
        ..q.tuple
    };
    let mut after = before.clone();
    V6::rewrite_quoted(&mut after, &ip, &q, &inside).unwrap();
    let at = usize::from(q.l4);
    assert_eq!(after.bytes[at + 6..at + 8], [0, 0]);
    assert_eq!(after.bytes[at..at + 2], 40000u16.to_be_bytes());
    // The checksum of the message covers it: only the quoted one is missing, as before.
    judge(&before, &after).unwrap();
    assert_eq!(line6(&after.bytes), None);
}
