//! What containers may say by IPv6, and what is not translated, by the real programs.

use netpath_common::{conntrack::tcp::SYN, datapath::link_local, event::Hook, testing::*};
use netpath_tests::runner::{REDIRECT, Runner, SHOT};

use crate::{
    Case, check6 as check,
    ipv6::{arrived, sent, six_headers},
};

#[test]
fn what_is_not_translated() {
    let c1 = C1.addr6;
    let udp = || udp6(c1, 5000, S6, 53, b"?");
    let mut unchecked = udp();
    unchecked.l4[6..8].fill(0);
    check(&[
        Case::drop(
            "old routing",
            sent(&C1, &udp().routing(0, 0)),
            &[("routing-header", 1)],
        ),
        Case::drop(
            "on its way",
            sent(&C1, &udp().routing(4, 1)),
            &[("routing-header", 1)],
        ),
        Case::drop(
            "seven headers",
            sent(
                &C1,
                &(0..7).fold(udp(), |d, _| d.options(header::DESTINATION, 1)),
            ),
            &[("header-chain", 1)],
        ),
        Case::drop(
            "no checksum",
            sent(&C1, &unchecked),
            &[("bad-l4-header", 1)],
        ),
        Case::drop(
            "half a header",
            sent(&C1, &tcp6(c1, 1, S6, 2, SYN).fragments(16, 1)[0]),
            &[("fragment-tiny", 1)],
        ),
        Case::drop(
            "a protocol that signs its addresses",
            sent(&C1, &Datagram6::new(c1, S6, 139, vec![0; 40])),
            &[("unsupported-protocol", 1)],
        ),
        Case::pass(
            "to the host",
            arrived(&udp6(S6, 1, H6, 2, b"?").routing(0, 0)),
        ),
        Case::pass(
            "a redirect to the host",
            arrived(&icmp6(R6, H6, 137, 0, [0; 4], &[0; 32]).hops(255)),
        ),
    ]);
}

#[test]
fn neighbour_discovery() {
    let (own, link) = (C1.addr6, link_local(C1.mac));
    let (none, nodes) = ([0; 16], *b"\xff\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\x01");
    let (mine, theirs) = (mac_option(2, C1.mac), mac_option(2, C2.mac));
    let ask = mac_option(1, C1.mac);
    let spoofed: &[_] = &[("spoofed-neighbour", 1)];
    check(&[
        Case::pass("asks", sent(&C1, &neighbour(own, nodes, 135, GW1_6, &ask))),
        Case::pass(
            "asks by its link",
            sent(&C1, &neighbour(link, nodes, 135, GW1_6, &ask)),
        ),
        Case::pass("probes", sent(&C1, &neighbour(none, nodes, 135, own, &[]))),
        Case::pass(
            "answers",
            sent(&C1, &neighbour(own, nodes, 136, own, &mine)),
        ),
        Case::pass(
            "looks for routers",
            sent(&C1, &router_solicitation(link, nodes, &ask)),
        ),
        Case::pass(
            "reports",
            sent(
                &C1,
                &icmp6(link, nodes, 143, 0, [0, 0, 0, 1], &[0; 20]).options(header::HOP_BY_HOP, 1),
            ),
        ),
        Case::drop(
            "answers for a neighbour",
            sent(&C1, &neighbour(own, nodes, 136, C2.addr6, &mine)),
            spoofed,
        ),
        Case::drop(
            "answers for the gateway",
            sent(&C1, &neighbour(own, nodes, 136, GW1_6, &mine)),
            spoofed,
        ),
        Case::drop(
            "gives another's MAC",
            sent(&C1, &neighbour(own, nodes, 136, own, &theirs)),
            spoofed,
        ),
        Case::drop(
            "hides the option behind seven",
            sent(
                &C1,
                &neighbour(
                    own,
                    nodes,
                    136,
                    own,
                    &[[14, 1, 0, 0, 0, 0, 0, 0].repeat(7), theirs].concat(),
                ),
            ),
            spoofed,
        ),
        Case::drop(
            "plays the router",
            sent(&C1, &router_advertisement(link, nodes, &ask)),
            &[("rogue-ra", 1)],
        ),
        Case::drop(
            "plays it behind headers",
            sent(&C1, &six_headers(router_advertisement(link, nodes, &ask))),
            &[("rogue-ra", 1)],
        ),
        Case::drop(
            "redirects",
            sent(&C1, &icmp6(link, nodes, 137, 0, [0; 4], &[0; 32]).hops(255)),
            &[("icmp-redirect", 1)],
        ),
        Case::drop(
            "gives addresses",
            sent(&C1, &udp6(link, 547, nodes, 546, b"advertise")),
            &[("rogue-dhcp", 1)],
        ),
        Case::drop(
            "gives addresses by its own",
            sent(&C1, &udp6(own, 547, C2.addr6, 546, b"advertise")),
            &[("rogue-dhcp", 1)],
        ),
        Case::drop(
            "another source",
            sent(&C1, &udp6(C2.addr6, 1, S6, 2, b"?")),
            &[("spoofed-address", 1)],
        ),
        Case::drop(
            "a neighbour's link",
            sent(&C1, &udp6(link_local(C2.mac), 1, nodes, 2, b"?")),
            &[("spoofed-address", 1)],
        ),
    ]);
}

/// Every length of a frame, with a header that says so: the programs and the tests' reader agree on
/// what has a transport header, and nothing leaves that has none.
#[test]
fn every_length() {
    let mut r = Runner::dual();
    let whole = six_headers(tcp_data6(C1.addr6, 40000, S6, 80, SYN, b"data"));
    let (_, frame) = sent(&C1, &whole);
    for len in 55..=frame.bytes.len() {
        let mut f = frame.truncated(len);
        let payload = (len - 54) as u16;
        f.bytes[18..20].copy_from_slice(&payload.to_be_bytes());
        let has_header = plain6::line6(&f.bytes).is_some();
        let ran = r.run(Hook::Veth, &f);
        assert_eq!(
            ran.action,
            if has_header { REDIRECT } else { SHOT },
            "{len} bytes"
        );
        r.forget();
    }
}
