//! IPv6 headers and what directly follows them.

use netpath_common::{
    DropReason,
    packet::{Ip, Kind, parse_ipv6},
    testing::*,
    tuple,
};

use crate::{c1, frame, h, parsed, s};

#[test]
fn every_field_of_a_segment() {
    let d = tcp_data6(c1(), 40000, s(), 80, 0x18, b"data").hops(61);
    let ip = parsed(&frame(&d));
    assert_eq!((ip.tuple.src, ip.tuple.dst), (c1(), s()));
    assert_eq!((ip.tuple.sport, ip.tuple.dport), (40000, 80));
    assert_eq!((ip.tuple.proto, ip.tuple.icmp_type), (tuple::TCP, 0));
    assert_eq!((ip.kind, ip.flags, ip.ttl), (Kind::Tcp, 0x18, 61));
    assert_eq!((ip.l4, ip.total_len, ip.tcp_len), (54, 64, 20));
    assert_eq!((ip.seq, ip.ack), (1000, 2000));
    assert_eq!(ip.segment_end(), 1004);
    assert_eq!((ip.first_fragment, ip.frag_at, ip.id), (false, 0, 0));
    assert_eq!(ip.end(), 14 + 64);
}

#[test]
fn echo_has_an_identifier_and_its_type() {
    for (kind, answer) in [(128, 129), (129, 128)] {
        let ip = parsed(&frame(&query6(c1(), s(), kind, 777)));
        assert_eq!(ip.kind, Kind::IcmpQuery);
        assert_eq!((ip.tuple.sport, ip.tuple.dport), (777, 777));
        assert_eq!((ip.tuple.icmp_type, ip.flags), (kind, kind));
        let back = ip.tuple.inverse();
        assert_eq!((back.src, back.icmp_type), (s(), answer));
        assert_eq!(back.inverse(), ip.tuple);
    }
}

#[test]
fn messages_by_type() {
    for kind in 0..=u8::MAX {
        let ip = parsed(&frame(&icmp6(c1(), s(), kind, 0, [0; 4], &[0; 48])));
        let want = match kind {
            1 => Kind::IcmpError, // destination unreachable
            2 => Kind::IcmpError, // packet too big
            3 => Kind::IcmpError, // time exceeded
            4 => Kind::IcmpError, // parameter problem
            128 | 129 => Kind::IcmpQuery,
            137 => Kind::IcmpRedirect,
            _ => Kind::IcmpOther,
        };
        assert_eq!(ip.kind, want, "type {kind}");
        assert_eq!(ip.flags, kind);
    }
    // ICMP of the other family is nobody's.
    let ip = parsed(&frame(&Datagram6::new(c1(), s(), tuple::ICMP, vec![8; 16])));
    assert_eq!(ip.kind, Kind::Unsupported);
    assert_eq!(ip.fault(), DropReason::UnsupportedProtocol);
}

#[test]
fn datagrams_need_a_checksum_and_a_length() {
    let with = |at: usize, bytes: [u8; 2]| {
        let mut d = udp6(c1(), 5000, s(), 53, b"question");
        d.l4[at..at + 2].copy_from_slice(&bytes);
        parsed(&frame(&d))
    };
    assert_eq!(with(4, [0, 16]).kind, Kind::Udp);
    for bad in [with(6, [0, 0]), with(4, [0, 7]), with(4, [0, 17])] {
        assert_eq!(bad.kind, Kind::BadL4);
        assert_eq!(bad.fault(), DropReason::BadL4Header);
        // Whoever looks at the ports of such a datagram sees them.
        assert_eq!((bad.tuple.sport, bad.tuple.dport), (5000, 53));
    }
}

#[test]
fn headers_that_contradict_the_frame() {
    let good = frame(&udp6(c1(), 5000, s(), 53, b"question"));
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut f = good.clone();
        change(&mut f.bytes);
        parse_ipv6(&f, &mut Ip::default()).err()
    };
    let bad = Some(DropReason::BadIpHeader);
    assert_eq!(refused(&|_| ()), None);
    assert_eq!(refused(&|b| b[14] = 0x45), bad);
    assert_eq!(refused(&|b| b[19] += 1), bad);
    assert_eq!(refused(&|b| b.truncate(53)), Some(DropReason::Truncated));
    // Padding behind the packet is none of it.
    assert_eq!(refused(&|b| b.extend([0xff; 20])), None);
    let mut padded = frame(&tcp6(c1(), 1, s(), 2, 2));
    padded.bytes.extend([0xff; 30]);
    assert_eq!(parsed(&padded).end(), padded.bytes.len() - 30);
    // Without a payload nothing is behind the header, whatever the frame has there.
    padded.bytes[18..20].fill(0);
    assert_eq!(parsed(&padded).kind, Kind::Truncated);
}

#[test]
fn super_packets_with_and_without_their_option() {
    let payload = vec![7; 100_000];
    let d = tcp_data6(s(), 80, h(), 40000, 0x10, &payload);
    let whole = |d: &Datagram6| Frame {
        gso_size: 1428,
        ..frame(d)
    };
    let plain = parsed(&whole(&d));
    assert_eq!((plain.kind, plain.total_len), (Kind::Tcp, 100_060));
    let jumbo = parsed(&whole(&d.clone().jumbo()));
    assert_eq!((jumbo.kind, jumbo.total_len), (Kind::Tcp, 100_068));
    for ip in [plain, jumbo] {
        // What the wire carries has no such option, and the same numbers.
        assert_eq!(ip.wire_len(1428), 40 + 20 + 1428);
        assert_eq!(ip.segment_end(), 1000 + 100_000);
        assert_eq!((ip.tuple.sport, ip.tuple.dport), (80, 40000));
    }
    // Only the kernel makes them.
    let mut lie = whole(&d.clone().jumbo());
    lie.gso_size = 0;
    assert_eq!(parsed(&lie).kind, Kind::Truncated);
    // Only of TCP.
    let datagram = whole(&Datagram6::new(s(), h(), tuple::UDP, vec![9; 70_000]));
    let refused = parse_ipv6(&datagram, &mut Ip::default());
    assert_eq!(refused, Err(DropReason::BadIpHeader));
    // Another option of that length is carried by every segment.
    let other = parsed(&whole(&d.options(header::HOP_BY_HOP, 1)));
    assert_eq!(other.wire_len(1428), 40 + 8 + 20 + 1428);
}

#[test]
fn segments_of_a_shorter_super_packet() {
    let d = tcp_data6(s(), 80, h(), 40000, 0x10, &[7; 30_000]);
    let f = Frame {
        gso_size: 1428,
        ..frame(&d)
    };
    assert_eq!(parsed(&f).wire_len(f.gso_size), 40 + 20 + 1428);
    assert_eq!(parsed(&f).wire_len(0), 30_060);
}
