//! Extension headers and fragments.

use netpath_common::{
    DropReason,
    packet::{Ip, Kind, parse_ipv6},
    testing::{
        plain::{Body, Looks},
        plain6::look6,
        *,
    },
    tuple,
};

use crate::{c1, chains, frame, parsed, s};

#[test]
fn each_chain_leads_to_what_is_behind_it() {
    for (d, kind) in chains() {
        let ip = parsed(&frame(&d));
        let what = format!("{d:?}");
        assert_eq!(ip.kind, kind, "{what}");
        assert_eq!((ip.tuple.src, ip.tuple.dst), (c1(), s()), "{what}");
        if !matches!(kind, Kind::Unsupported) {
            assert_eq!(usize::from(ip.l4), 54 + d.chain().len(), "{what}");
            assert_eq!(ip.tuple.proto, d.proto, "{what}");
        }
        if matches!(kind, Kind::Udp) {
            assert_eq!((ip.tuple.sport, ip.tuple.dport), (4000, 53), "{what}");
        }
    }
}

#[test]
fn what_is_not_looked_behind_has_a_reason_of_its_own() {
    let reasons: Vec<_> = chains()
        .into_iter()
        .filter(|(_, kind)| matches!(kind, Kind::Unsupported))
        .map(|(d, _)| parsed(&frame(&d)).fault())
        .collect();
    use DropReason::{HeaderChain, RoutingHeader, UnsupportedProtocol};
    let mut want = vec![RoutingHeader; 2];
    want.extend([HeaderChain; 3]);
    want.extend([UnsupportedProtocol; 1]);
    assert_eq!(reasons, want);
}

#[test]
fn six_headers_are_looked_behind_and_a_seventh_is_not() {
    let with = |n: u8| {
        let d = udp6(c1(), 1, s(), 2, b"?");
        parsed(&frame(
            &(0..n).fold(d, |d, _| d.options(header::DESTINATION, 1)),
        ))
    };
    assert_eq!(with(6).kind, Kind::Udp);
    assert_eq!(with(7).kind, Kind::Unsupported);
    assert_eq!(with(7).fault(), DropReason::HeaderChain);
}

/// Every packet that ends early, and says so in its header, and every frame that does.
#[test]
fn every_length_of_every_chain() {
    for (d, _) in chains() {
        let whole = frame(&d);
        for len in 0..whole.bytes.len() {
            let cut = whole.truncated(len);
            let want = if len < 54 {
                DropReason::Truncated
            } else {
                DropReason::BadIpHeader
            };
            assert_eq!(parse_ipv6(&cut, &mut Ip::default()), Err(want));
            if len < 54 {
                continue;
            }
            let mut short = cut;
            let payload = (len - 54) as u16;
            short.bytes[18..20].copy_from_slice(&payload.to_be_bytes());
            let ip = parsed(&short);
            let Looks::Ip(look) = look6(&short.bytes) else {
                panic!("{len} bytes of {d:?} are a packet");
            };
            agree(&ip, &look, len);
            let least = if ip.tuple.proto == tuple::TCP { 20 } else { 8 };
            let has_header = usize::from(ip.l4) + least <= len;
            let has_none = matches!(ip.kind, Kind::Other);
            assert!(
                has_header || has_none || !ip.is_tracked(),
                "{len} bytes of {d:?}"
            );
        }
    }
}

/// The parser and the tests' own reader see the same.
#[track_caller]
pub(crate) fn agree(
    ip: &Ip<[u8; 16]>,
    look: &netpath_common::testing::plain::Ip<Addr6>,
    len: usize,
) {
    let kind = match look.body {
        Body::Talk(..) if look.proto == tuple::TCP => Kind::Tcp,
        Body::Talk(..) if look.proto == tuple::UDP => Kind::Udp,
        Body::Talk(..) if look.proto == tuple::UDPLITE => Kind::Udp,
        Body::Talk(..) if look.proto == tuple::SCTP => Kind::Sctp,
        Body::Talk(..) if look.proto == tuple::DCCP => Kind::Dccp,
        Body::Talk(..) if look.proto == tuple::ICMPV6 => Kind::IcmpQuery,
        Body::Talk(..) => Kind::Other,
        Body::Error(_) => Kind::IcmpError,
        Body::Redirect => Kind::IcmpRedirect,
        Body::OtherIcmp(_) => Kind::IcmpOther,
        Body::Tail => Kind::Tail,
        Body::Tiny => Kind::Tiny,
        Body::Truncated => Kind::Truncated,
        Body::Bad => Kind::BadL4,
        Body::Other => Kind::Unsupported,
    };
    assert_eq!(ip.kind, kind, "{len} bytes: {look:?}");
    assert_eq!(ip.tuple.proto, look.proto, "{len} bytes: {look:?}");
    assert_eq!(ip.ttl, look.ttl);
    assert_eq!(ip.id, look.id);
    assert_eq!(ip.first_fragment, look.is_head, "{len} bytes: {look:?}");
    assert_eq!((ip.tuple.src, ip.tuple.dst), (look.src, look.dst));
    if let Body::Talk(line, _) = look.body {
        assert_eq!((ip.tuple.sport, ip.tuple.dport), (line.sport, line.dport));
        assert_eq!(ip.tuple.icmp_type, line.icmp_type);
    }
    if matches!(kind, Kind::Tail) || ip.first_fragment && ip.is_tracked() {
        assert_eq!(ip.part(), look.part, "{len} bytes: {look:?}");
    }
}

#[test]
fn parts_of_a_datagram_follow_each_other() {
    let d = udp6(c1(), 5000, s(), 53, &[7; 3000]).options(header::HOP_BY_HOP, 1);
    let parts = d.fragments(1232, 0xdead_beef);
    assert_eq!(parts.len(), 3);
    let mut at = 0;
    for (i, part) in parts.iter().enumerate() {
        let ip = parsed(&frame(part));
        assert_eq!(ip.id, 0xdead_beef);
        assert_eq!(ip.first_fragment, i == 0);
        assert_eq!(ip.kind, if i == 0 { Kind::Udp } else { Kind::Tail });
        assert_eq!(ip.part().0, at);
        at = ip.part().1;
    }
    assert_eq!(at, (3008usize.div_ceil(8)) as u16);
}

#[test]
fn a_part_begins_behind_its_fragment_header() {
    // What follows the fragment header is part of what is fragmented (RFC 8200, 4.5).
    let d = udp6(c1(), 5000, s(), 53, &[7; 32])
        .fragment(0, true, 9)
        .options(header::DESTINATION, 2);
    let ip = parsed(&frame(&d));
    assert_eq!(ip.kind, Kind::Udp);
    assert_eq!(ip.part(), (0, (16 + 8 + 32) / 8));
}

#[test]
fn a_whole_datagram_in_one_fragment_is_none() {
    // RFC 6946.
    let ip = parsed(&frame(
        &udp6(c1(), 5000, s(), 53, b"?").fragment(0, false, 9),
    ));
    assert_eq!(
        (ip.kind, ip.first_fragment, ip.frag_at),
        (Kind::Udp, false, 0)
    );
    assert_eq!((ip.tuple.sport, ip.l4), (5000, 62));
}

#[test]
fn a_first_fragment_has_all_headers() {
    // RFC 7112.
    let d = tcp_data6(c1(), 1, s(), 2, 2, &[0; 64]);
    let first = |chunk| d.fragments(chunk, 1).remove(0);
    assert_eq!(parsed(&frame(&first(24))).kind, Kind::Tcp);
    assert_eq!(parsed(&frame(&first(16))).kind, Kind::Tiny);
    let mut options = udp6(c1(), 1, s(), 2, b"").fragment(0, true, 1);
    options = options.options(header::DESTINATION, 2);
    options.l4.clear();
    options.headers[1].1.truncate(8);
    assert_eq!(parsed(&frame(&options)).kind, Kind::Tiny);
    assert_eq!(parsed(&frame(&options)).fault(), DropReason::FragmentTiny);
    // And the second does not lie in the first one's (RFC 3128).
    let second = Datagram6::new(c1(), s(), tuple::TCP, vec![0; 16]).fragment(8, true, 1);
    assert_eq!(parsed(&frame(&second)).kind, Kind::Tiny);
}
