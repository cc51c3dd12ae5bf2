//! The bytes of IPv6 packets: parsing, rewriting, quoted packets, and what a container may say on its
//! own link.
//!
//! Owns the cases and properties of single packets; flows are `datapath`'s. Expected bytes come from
//! `netpath_common::testing`, which reads and writes packets by code of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod chain;
mod link;
mod parse;
mod quoted;
mod random;
mod rewrite;

use netpath_common::{
    addr::V6,
    packet::{Ip, Kind, parse_ipv6},
    testing::*,
};

/// An address in the text form of RFC 4291.
fn six(text: &str) -> Addr6 {
    text.parse::<std::net::Ipv6Addr>().unwrap().octets()
}

/// A container's address.
fn c1() -> Addr6 {
    six("fd00:17::2")
}

/// The outside address of the host.
fn h() -> Addr6 {
    six("2001:db8::7")
}

/// A server outside.
fn s() -> Addr6 {
    six("2001:db8:5::9")
}

fn frame(d: &Datagram6) -> Frame {
    d.frame([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], 7)
}

#[track_caller]
fn parsed(frame: &Frame) -> Ip<V6> {
    let mut ip = Ip::default();
    parse_ipv6(frame, &mut ip).unwrap();
    ip
}

/// Chains of extension headers with what is behind them, each with what the parser is to say.
fn chains() -> Vec<(Datagram6, Kind)> {
    use header::{AUTHENTICATION, DESTINATION, ESP, HOP_BY_HOP, NONE};
    let udp = || udp6(c1(), 4000, s(), 53, b"question");
    let tcp = || tcp6(c1(), 4000, s(), 80, 2);
    let authentication = [
        0, 4, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9,
    ];
    vec![
        (tcp(), Kind::Tcp),
        (udp(), Kind::Udp),
        (query6(c1(), s(), 128, 9), Kind::IcmpQuery),
        (tcp().options(HOP_BY_HOP, 1), Kind::Tcp),
        (
            udp().options(HOP_BY_HOP, 33).options(DESTINATION, 2),
            Kind::Udp,
        ),
        (
            query6(c1(), s(), 129, 9).options(DESTINATION, 1),
            Kind::IcmpQuery,
        ),
        (udp().routing(4, 0), Kind::Udp),
        (tcp().header(AUTHENTICATION, &authentication), Kind::Tcp),
        (
            udp()
                .options(HOP_BY_HOP, 1)
                .options(DESTINATION, 1)
                .routing(4, 0)
                .fragment(0, false, 7)
                .header(AUTHENTICATION, &authentication)
                .options(DESTINATION, 1),
            Kind::Udp,
        ),
        (udp().fragment(0, true, 7), Kind::Udp),
        (
            udp().options(HOP_BY_HOP, 1).fragment(1232, true, 7),
            Kind::Tail,
        ),
        (udp().routing(4, 1), Kind::Unsupported),
        (udp().routing(0, 0), Kind::Unsupported),
        (
            udp().options(DESTINATION, 1).options(HOP_BY_HOP, 1),
            Kind::Unsupported,
        ),
        (
            udp().fragment(0, false, 7).fragment(0, true, 7),
            Kind::Unsupported,
        ),
        (
            (0..7).fold(udp(), |d, _| d.options(DESTINATION, 1)),
            Kind::Unsupported,
        ),
        (Datagram6::new(c1(), s(), ESP, vec![0; 24]), Kind::Other),
        (Datagram6::new(c1(), s(), NONE, vec![]), Kind::Other),
        (Datagram6::new(c1(), s(), 1, vec![8; 24]), Kind::Unsupported),
    ]
}
