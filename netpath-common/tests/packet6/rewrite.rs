//! Rewriting IPv6 packets: addresses, ports, hop limit, and every checksum.

use netpath_common::{
    addr::V6,
    packet::{Family, Ip, Kind, Rewrite},
    testing::*,
};

use crate::{c1, chains, frame, h, parsed, s};

/// Rewrites a frame, and judges it.
#[track_caller]
pub(crate) fn rewritten(before: &Frame, to: &Rewrite<V6>) -> Frame {
    let mut after = before.clone();
    V6::rewrite(&mut after, &parsed(before), to).unwrap();
    judge(before, &after).unwrap();
    after
}

/// What makes `ip` a packet from the host's address.
pub(crate) fn masquerade(ip: &Ip<V6>, sport: u16, hop: bool) -> Rewrite<V6> {
    let is_query = matches!(ip.kind, Kind::IcmpQuery);
    Rewrite {
        src: h(),
        dst: ip.tuple.dst,
        sport,
        dport: if is_query { sport } else { ip.tuple.dport },
        hop,
    }
}

/// As the sender's stack leaves it to the device, as it is on a wire, and as a device that has computed
/// the sum of it hands it up.
pub(crate) fn states(d: &Datagram6) -> Vec<Frame> {
    let whole = frame(d);
    vec![whole.clone(), whole.clone().complete()]
}

#[test]
fn the_very_bytes() {
    for hop in [false, true] {
        let hops = if hop { 63 } else { 64 };
        let cases = [
            (
                tcp_data6(c1(), 40000, s(), 80, 0x18, b"data"),
                tcp_data6(h(), 50000, s(), 80, 0x18, b"data"),
            ),
            (
                udp6(c1(), 40000, s(), 53, b"odd"),
                udp6(h(), 50000, s(), 53, b"odd"),
            ),
            (query6(c1(), s(), 128, 1), query6(h(), s(), 128, 50000)),
        ];
        for (inside, outside) in cases {
            for before in states(&inside) {
                let to = masquerade(&parsed(&before), 50000, hop);
                let after = rewritten(&before, &to);
                let want = frame(&outside.clone().hops(hops));
                assert_eq!(after.bytes, want.bytes, "{}", describe(&before));
            }
        }
    }
}

#[test]
fn behind_every_chain_of_headers() {
    for (d, kind) in chains() {
        if matches!(kind, Kind::Unsupported) {
            continue;
        }
        for before in states(&d) {
            let ip = parsed(&before);
            let has_port = ip.has_ports() || matches!(kind, Kind::IcmpQuery);
            let port = if has_port { 50000 } else { 0 };
            let after = rewritten(&before, &masquerade(&ip, port, true));
            let now = parsed(&after);
            assert_eq!(now.tuple.src, h());
            assert_eq!(now.tuple.sport, port);
            assert_eq!((now.ttl, now.l4), (63, ip.l4));
            assert_eq!(after.bytes.len(), before.bytes.len());
        }
    }
}

#[test]
fn there_and_back_is_nothing() {
    for (d, kind) in chains() {
        if matches!(kind, Kind::Unsupported) {
            continue;
        }
        for before in states(&d) {
            let ip = parsed(&before);
            let has_port = ip.has_ports() || matches!(kind, Kind::IcmpQuery);
            let port = if has_port { 50000 } else { 0 };
            let there = rewritten(&before, &masquerade(&ip, port, false));
            let back = Rewrite {
                src: ip.tuple.src,
                dst: ip.tuple.dst,
                sport: ip.tuple.sport,
                dport: ip.tuple.dport,
                hop: false,
            };
            assert_eq!(rewritten(&there, &back), before);
        }
    }
}

#[test]
fn a_change_of_nothing_changes_nothing_but_the_hop_limit() {
    for before in states(&tcp6(c1(), 1, s(), 2, 2)) {
        let ip = parsed(&before);
        let to = Rewrite {
            src: c1(),
            dst: s(),
            sport: 1,
            dport: 2,
            hop: true,
        };
        let after = rewritten(&before, &to);
        assert_eq!(after.bytes[21], ip.ttl - 1);
        let mut want = before.bytes.clone();
        want[21] -= 1;
        assert_eq!(after.bytes, want);
    }
}

#[test]
fn only_an_address_or_only_a_port() {
    for before in states(&udp6(c1(), 5000, s(), 53, b"?")) {
        let ip = parsed(&before);
        let port = rewritten(&before, &masquerade(&ip, 5000, false));
        assert_eq!(port.bytes, frame(&udp6(h(), 5000, s(), 53, b"?")).bytes);
        let to = Rewrite {
            src: c1(),
            dst: s(),
            sport: 5000,
            dport: 54,
            hop: false,
        };
        let address = rewritten(&before, &to);
        assert_eq!(address.bytes, frame(&udp6(c1(), 5000, s(), 54, b"?")).bytes);
    }
}

#[test]
fn what_the_device_is_to_complete_covers_the_addresses_alone() {
    for inside in [
        tcp6(c1(), 40000, s(), 80, 2),
        udp6(c1(), 40000, s(), 80, b"?"),
    ] {
        let mut before = frame(&inside);
        let at = 54
            + if matches!(parsed(&before).kind, Kind::Tcp) {
                16
            } else {
                6
            };
        // What a sender writes there: the sum of the pseudo header, not inverted.
        let mut pseudo = Vec::new();
        pseudo.extend(c1());
        pseudo.extend(s());
        pseudo.extend((inside.l4.len() as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, inside.proto]);
        let [a, b] = netpath_common::checksum::full(&[&pseudo]);
        before.bytes[at..at + 2].copy_from_slice(&[!a, !b]);
        before.offload = Offload::Partial;
        verify(&before).unwrap();
        let ip = parsed(&before);
        let _ = rewritten(&before, &masquerade(&ip, 50000, true));
        let _ = rewritten(&before, &masquerade(&ip, 40000, true));
    }
}

#[test]
fn fragments_make_the_datagram_that_was_sent() {
    let whole = udp6(c1(), 5000, s(), 53, &[7; 3000]);
    let sent: Vec<_> = whole.fragments(1232, 77);
    for complete in [false, true] {
        let parts: Vec<_> = sent
            .iter()
            .map(|part| {
                let before = if complete {
                    frame(part).complete()
                } else {
                    frame(part)
                };
                let ip = parsed(&before);
                let port = if ip.first_fragment { 50000 } else { 0 };
                rewritten(&before, &masquerade(&ip, port, true))
            })
            .collect();
        let again = reassemble6(&parts).unwrap().unwrap();
        verify(&again).unwrap();
        let want = udp6(h(), 50000, s(), 53, &[7; 3000]);
        assert_eq!(again.bytes[54..], want.l4);
    }
}

#[test]
fn a_checksum_that_comes_out_as_none_is_written_as_its_other_form() {
    // RFC 8200, 8.1: as of IPv4, a sum of 0 is sent as 0xffff. One port in 65,536 leads there.
    let before = frame(&udp6(c1(), 5000, s(), 53, b"?"));
    let ip = parsed(&before);
    let hits = (1..=u16::MAX)
        .filter(|port| {
            let mut after = before.clone();
            V6::rewrite(&mut after, &ip, &masquerade(&ip, *port, false)).unwrap();
            verify(&after).unwrap();
            after.bytes[60..62] == [0xff, 0xff]
        })
        .count();
    assert!(hits > 0);
}
