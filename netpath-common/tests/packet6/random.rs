//! Random bytes and random chains of headers.

use netpath_common::{
    addr::V6,
    packet::{Family, Ip, Kind, Quoted, Rewrite, parse_ipv6},
    testing::{
        plain::{Body, Looks},
        plain6::look6,
        *,
    },
    tuple::{self, Tuple},
};
use proptest::prelude::*;

use crate::{chain::agree, frame, parsed};

/// Frames of which the Ethernet header says IPv6, and the rest anything; most say that they are whole.
fn bytes() -> impl Strategy<Value = Frame> {
    let rest = prop::collection::vec(
        prop_oneof![3 => any::<u8>(), 1 => Just(0), 1 => 43..61u8],
        0..200,
    );
    (rest, any::<bool>(), any::<u8>()).prop_map(|(rest, whole, next)| {
        let mut bytes = vec![0; 12];
        bytes.extend([0x86, 0xdd]);
        bytes.extend(rest);
        if whole && bytes.len() >= 54 {
            let len = (bytes.len() - 54) as u16;
            bytes[14] = 0x60;
            bytes[18..20].copy_from_slice(&len.to_be_bytes());
            bytes[20] = [0, 43, 44, 51, 60, 6, 17, 58][usize::from(next % 8)];
        }
        Frame {
            bytes,
            ifindex: 7,
            ..Frame::default()
        }
    })
}

fn packet() -> impl Strategy<Value = Datagram6> {
    let ends = (
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        any::<u16>(),
        any::<u16>(),
    );
    let data = prop::collection::vec(any::<u8>(), 0..64);
    let body = (ends, data, 0..4u8).prop_map(|((src, dst, a, b), data, kind)| match kind {
        0 => tcp_data6(src, a, dst, b, 0x18, &data),
        1 => udp6(src, a, dst, b, &data),
        2 => query6(src, dst, 128 + (b & 1) as u8, a),
        _ => icmp6(src, dst, 3, 0, [0; 4], &udp6(dst, b, src, a, &data).bytes()),
    });
    let headers = prop::collection::vec((0..6u8, 1..5u8), 0..8);
    (body, headers, any::<u8>()).prop_map(|(d, headers, hops)| {
        headers
            .into_iter()
            .fold(d.hops(hops), |d, (kind, n)| match kind {
                0 => d.options(header::HOP_BY_HOP, n),
                1 => d.routing(n, n & 1),
                2 => d.fragment(usize::from(n - 1) * 8, n & 1 == 0, 9),
                3 => d.header(
                    header::AUTHENTICATION,
                    &[0, 2 * n, 1, 1, 1, 1, 1, 1].repeat(usize::from(n) + 1),
                ),
                _ => d.options(header::DESTINATION, n),
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("NETPATH_LONG").is_some() { 100_000 } else { 2_000 }))]

    #[test]
    fn any_bytes_are_read_as_the_tests_read_them(mut f in bytes()) {
        let mut ip = Ip::default();
        let result = parse_ipv6(&f, &mut ip);
        match look6(&f.bytes) {
            Looks::Ip(look) => {
                prop_assert_eq!(result, Ok(()));
                agree(&ip, &look, f.bytes.len());
            }
            Looks::Short | Looks::BadIp => prop_assert!(result.is_err()),
            Looks::Foreign => unreachable!(),
        }
        let mut q = Quoted::default();
        if result.is_ok() && matches!(ip.kind, Kind::IcmpError) {
            let found = V6::quoted(&f, &ip, &mut q);
            let Looks::Ip(look) = look6(&f.bytes) else { unreachable!() };
            let Body::Error(line) = look.body else { unreachable!() };
            prop_assert_eq!(found.is_some(), line.is_some());
            if let Some(line) = line {
                prop_assert_eq!((q.tuple.src, q.tuple.dst), (line.src, line.dst));
                prop_assert_eq!((q.tuple.sport, q.tuple.dport), (line.sport, line.dport));
                let _ = V6::rewrite_quoted(&mut f, &ip, &q, &q.tuple.inverse());
            }
        }
    }

    #[test]
    fn what_is_rewritten_is_right_and_can_be_taken_back(
        d in packet(), src: [u8; 16], dst: [u8; 16], sport: u16, dport: u16, hop: bool, complete: bool,
    ) {
        let before = if complete { frame(&d).complete() } else { frame(&d) };
        let ip = parsed(&before);
        let has_ports = matches!(ip.kind, Kind::Tcp | Kind::Udp);
        let is_query = matches!(ip.kind, Kind::IcmpQuery);
        let ports = if has_ports { (sport, dport) } else if is_query { (sport, sport) } else { (0, 0) };
        let can = ip.is_tracked() || matches!(ip.kind, Kind::Tail | Kind::IcmpError);
        if !can || ip.ttl == 0 {
            return Ok(());
        }
        let to = Rewrite { src, dst, sport: ports.0, dport: ports.1, hop };
        let mut after = before.clone();
        V6::rewrite(&mut after, &ip, &to).unwrap();
        prop_assert_eq!(judge(&before, &after), Ok(()));
        let now = parsed(&after);
        let want = Tuple { src, dst, sport: ports.0, dport: ports.1, ..ip.tuple };
        prop_assert_eq!(now.tuple, want);
        prop_assert_eq!(now.ttl, ip.ttl - u8::from(hop));
        let back = Rewrite {
            src: ip.tuple.src,
            dst: ip.tuple.dst,
            sport: ip.tuple.sport,
            dport: ip.tuple.dport,
            hop: false,
        };
        V6::rewrite(&mut after, &now, &back).unwrap();
        after.bytes[21] = before.bytes[21];
        // A sum of nothing has two forms, of which UDP has but one.
        let at = usize::from(ip.l4) + netpath_common::checksum::offset(ip.tuple.proto);
        if !matches!(ip.kind, Kind::Tail) && ip.tuple.proto != tuple::UDP {
            let two = |b: &[u8]| netpath_common::checksum::equal([b[at], b[at + 1]], [before.bytes[at], before.bytes[at + 1]]);
            prop_assert!(two(&after.bytes));
            after.bytes[at..at + 2].copy_from_slice(&before.bytes[at..at + 2]);
        }
        prop_assert_eq!(after.bytes, before.bytes);
    }
}
