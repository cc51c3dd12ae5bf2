//! What a container may say on its own link.

use netpath_common::{
    DropReason,
    datapath::{link_local, on_link},
    packet::{Eth, Ip, parse_eth, parse_ipv6},
    records::{EndpointRecord, NETWORK_ICC, NetworkRecord},
    testing::*,
};

use crate::{c1, s, six};

const MAC: Mac = [2, 0, 0x5e, 0, 0, 0x17];
const OTHER: Mac = [2, 0, 0x5e, 0, 0, 0x18];
const BRIDGE: Mac = [2, 0, 0x5e, 0, 0, 1];
const GROUP: Mac = [0x33, 0x33, 0, 0, 0, 1];

const ON_LINK: Result<bool, DropReason> = Ok(true);
const FORWARDED: Result<bool, DropReason> = Ok(false);
const SPOOFED: Result<bool, DropReason> = Err(DropReason::SpoofedNeighbour);

/// The container's link-local address.
fn own() -> Addr6 {
    six("fe80::5eff:fe00:17")
}

/// A neighbour's address.
fn c2() -> Addr6 {
    six("fd00:17::3")
}

fn all_nodes() -> Addr6 {
    six("ff02::1")
}

fn none() -> Addr6 {
    [0; 16]
}

/// Judges a frame to the MAC address `to`; the network lets containers talk where `icc`.
fn sent_to(d: &Datagram6, to: Mac, icc: bool) -> Result<bool, DropReason> {
    let frame = d.frame(MAC, to, 9);
    let (mut eth, mut ip) = (Eth::default(), Ip::default());
    parse_eth(&frame, &mut eth).unwrap();
    parse_ipv6(&frame, &mut ip).unwrap();
    let endpoint = EndpointRecord {
        addr6: c1(),
        mac: MAC,
        ..EndpointRecord::default()
    };
    let network = NetworkRecord {
        bridge_mac: BRIDGE,
        flags: if icc { NETWORK_ICC } else { 0 },
        ..NetworkRecord::default()
    };
    on_link(&frame, &ip, &eth, &endpoint, &network)
}

fn said(d: &Datagram6) -> Result<bool, DropReason> {
    sent_to(d, GROUP, false)
}

#[test]
fn the_address_that_is_made_of_the_mac() {
    assert_eq!(link_local(MAC), own());
    assert_eq!(link_local([0; 6]), six("fe80::200:ff:fe00:0"));
}

#[test]
fn questions_are_asked_with_the_own_names() {
    let mac = mac_option(1, MAC);
    for src in [c1(), own()] {
        for target in [c2(), six("fd00:17::1"), six("fe80::1"), c1()] {
            assert_eq!(
                said(&neighbour(src, all_nodes(), 135, target, &mac)),
                ON_LINK
            );
            assert_eq!(said(&neighbour(src, target, 135, target, &[])), ON_LINK);
        }
        let others = mac_option(1, OTHER);
        assert_eq!(
            said(&neighbour(src, all_nodes(), 135, c2(), &others)),
            SPOOFED
        );
        assert_eq!(
            said(&neighbour(src, all_nodes(), 135, all_nodes(), &mac)),
            SPOOFED
        );
    }
    for src in [c2(), link_local(OTHER), six("fe80::1"), s()] {
        assert_eq!(said(&neighbour(src, all_nodes(), 135, c1(), &mac)), SPOOFED);
    }
}

#[test]
fn probes_are_of_the_own_addresses() {
    for target in [c1(), own()] {
        assert_eq!(
            said(&neighbour(none(), all_nodes(), 135, target, &[])),
            ON_LINK
        );
        // RFC 7527: with a nonce.
        let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
        assert_eq!(
            said(&neighbour(none(), all_nodes(), 135, target, &nonce)),
            ON_LINK
        );
        // RFC 4861, 7.1.1: without a MAC address.
        let mac = mac_option(1, MAC);
        assert_eq!(
            said(&neighbour(none(), all_nodes(), 135, target, &mac)),
            SPOOFED
        );
    }
    for target in [c2(), link_local(OTHER), all_nodes()] {
        assert_eq!(
            said(&neighbour(none(), all_nodes(), 135, target, &[])),
            SPOOFED
        );
    }
}

#[test]
fn answers_are_about_the_own_addresses() {
    let mac = mac_option(2, MAC);
    for (src, target) in [(c1(), c1()), (own(), own()), (c1(), own()), (own(), c1())] {
        assert_eq!(
            said(&neighbour(src, all_nodes(), 136, target, &mac)),
            ON_LINK
        );
        assert_eq!(
            said(&neighbour(src, all_nodes(), 136, target, &[])),
            ON_LINK
        );
        let others = mac_option(2, OTHER);
        assert_eq!(
            said(&neighbour(src, all_nodes(), 136, target, &others)),
            SPOOFED
        );
        // In the second option too.
        let both = [mac.clone(), others].concat();
        assert_eq!(
            said(&neighbour(src, all_nodes(), 136, target, &both)),
            SPOOFED
        );
    }
    for target in [c2(), link_local(OTHER), six("fd00:17::1"), six("fe80::1")] {
        assert_eq!(
            said(&neighbour(c1(), all_nodes(), 136, target, &mac)),
            SPOOFED
        );
    }
    for src in [c2(), none()] {
        assert_eq!(said(&neighbour(src, all_nodes(), 136, c1(), &[])), SPOOFED);
    }
}

#[test]
fn what_receivers_refuse_is_not_sent_on() {
    let good = neighbour(c1(), all_nodes(), 136, c1(), &mac_option(2, MAC));
    assert_eq!(said(&good), ON_LINK);
    assert_eq!(said(&good.clone().hops(254)), SPOOFED);
    assert_eq!(said(&good.clone().options(header::DESTINATION, 1)), SPOOFED);
    assert_eq!(said(&good.clone().fragment(0, false, 1)), SPOOFED);
    // A target that would be an option, were it read where the message is not, and hide the next one.
    let mut target = c2();
    target[8..10].copy_from_slice(&[14, 2]);
    let hidden = neighbour(c1(), all_nodes(), 135, target, &mac_option(1, OTHER));
    assert_eq!(said(&hidden.options(header::DESTINATION, 1)), SPOOFED);
    let mut code = good.clone();
    code.l4[1] = 1;
    assert_eq!(said(&code), SPOOFED);
    // Options that end early, or never.
    let with = |options: &[u8]| said(&neighbour(c1(), all_nodes(), 136, c1(), options));
    assert_eq!(with(&[14, 0, 0, 0, 0, 0, 0, 0]), SPOOFED);
    assert_eq!(with(&[14, 2, 0, 0, 0, 0, 0, 0]), SPOOFED);
    assert_eq!(with(&[14, 1, 0, 0]), SPOOFED);
    let two_words = [mac_option(2, MAC), vec![0; 8]].concat();
    let mut long = two_words.clone();
    long[1] = 2;
    assert_eq!(with(&long), SPOOFED, "a MAC address of 14 bytes");
    assert_eq!(with(&[14, 1, 0, 0, 0, 0, 0, 0].repeat(8)), ON_LINK);
    assert_eq!(with(&[14, 1, 0, 0, 0, 0, 0, 0].repeat(9)), SPOOFED);
    // Every length that is shorter than the message.
    for len in 8..24 {
        let mut short = good.clone();
        short.l4.truncate(len);
        assert_eq!(said(&short), SPOOFED, "{len} bytes");
    }
}

#[test]
fn routers_are_asked_and_not_played() {
    let mac = mac_option(1, MAC);
    let routers = six("ff02::2");
    assert_eq!(said(&router_solicitation(own(), routers, &mac)), ON_LINK);
    assert_eq!(said(&router_solicitation(none(), routers, &[])), ON_LINK);
    assert_eq!(said(&router_solicitation(none(), routers, &mac)), SPOOFED);
    let others = mac_option(1, OTHER);
    assert_eq!(said(&router_solicitation(own(), routers, &others)), SPOOFED);
    assert_eq!(
        said(&router_solicitation(six("fe80::1"), routers, &[])),
        SPOOFED
    );
    let rogue = Err(DropReason::RogueRa);
    for src in [own(), c1(), six("fe80::1"), none()] {
        let ra = router_advertisement(src, all_nodes(), &mac);
        assert_eq!(said(&ra), rogue);
        // However it is wrapped.
        assert_eq!(said(&ra.clone().hops(1)), rogue);
        assert_eq!(said(&ra.clone().options(header::HOP_BY_HOP, 1)), rogue);
        assert_eq!(said(&ra.clone().fragment(0, true, 1)), rogue);
        let cut = ra.fragments(8, 1).remove(0).options(header::DESTINATION, 1);
        assert_eq!(said(&cut), rogue);
        let mut hidden = ra
            .clone()
            .fragment(0, true, 1)
            .options(header::DESTINATION, 3);
        hidden.l4.clear();
        hidden.headers[1].1.truncate(16);
        assert_eq!(said(&hidden), Err(DropReason::FragmentTiny));
        let deep = (0..7).fold(ra, |d, _| d.options(header::DESTINATION, 1));
        assert_eq!(said(&deep), Err(DropReason::HeaderChain));
    }
    let redirect = icmp6(own(), c2(), 137, 0, [0; 4], &[0; 32]).hops(255);
    assert_eq!(said(&redirect), Err(DropReason::IcmpRedirect));
}

#[test]
fn listeners_report() {
    let routers = six("ff02::16");
    for (src, want) in [
        (own(), ON_LINK),
        (none(), ON_LINK),
        (link_local(OTHER), Err(DropReason::SpoofedAddress)),
    ] {
        for kind in [131, 132, 143] {
            let report = icmp6(src, routers, kind, 0, [0, 0, 0, 1], &[0; 20]).hops(1);
            assert_eq!(said(&report.options(header::HOP_BY_HOP, 1)), want);
        }
    }
    let astray = icmp6(none(), c2(), 143, 0, [0; 4], &[0; 20]);
    assert_eq!(said(&astray), Err(DropReason::SpoofedAddress));
}

#[test]
fn nobody_gives_addresses() {
    let rogue = Err(DropReason::RogueDhcp);
    for (sport, dport) in [(547, 546), (547, 40000), (40000, 546)] {
        {
            // With a global source it is judged by the rules of networks.
            let answer = udp6(c1(), sport, c2(), dport, b"advertise");
            assert_eq!(said(&answer), FORWARDED);
            let answer = udp6(own(), sport, c2(), dport, b"advertise");
            assert_eq!(said(&answer), rogue);
            assert_eq!(said(&answer.clone().options(header::DESTINATION, 1)), rogue);
            let mut unchecked = answer;
            unchecked.l4[6..8].fill(0);
            assert_eq!(said(&unchecked), rogue);
        }
    }
    // Asking is allowed.
    let solicit = udp6(own(), 546, six("ff02::1:2"), 547, b"solicit");
    assert_eq!(said(&solicit), ON_LINK);
    assert_eq!(said(&tcp6(c1(), 547, c2(), 546, 2)), FORWARDED);
}

#[test]
fn link_local_traffic_stays_on_the_link() {
    let to = |dst, mac, icc| sent_to(&udp6(own(), 5353, dst, 5353, b"?"), mac, icc);
    assert_eq!(to(six("ff02::fb"), GROUP, false), ON_LINK);
    for dst in [link_local(BRIDGE), six("fd00:17::1"), s()] {
        assert_eq!(
            to(dst, BRIDGE, false),
            ON_LINK,
            "the host's stack judges it"
        );
    }
    for (dst, mac) in [
        (link_local(OTHER), OTHER),
        (c2(), OTHER),
        (link_local(OTHER), GROUP),
    ] {
        assert_eq!(to(dst, mac, true), ON_LINK);
        assert_eq!(to(dst, mac, false), Err(DropReason::IccDisabled));
    }
    // From the global address as well.
    let mixed = |src, mac, icc| {
        let d = udp6(src, 5353, link_local(OTHER), 5353, b"?");
        sent_to(&d, mac, icc)
    };
    assert_eq!(mixed(c1(), BRIDGE, false), ON_LINK);
    assert_eq!(mixed(c1(), OTHER, true), ON_LINK);
    assert_eq!(mixed(c1(), OTHER, false), Err(DropReason::IccDisabled));
    assert_eq!(mixed(c2(), BRIDGE, true), Err(DropReason::SpoofedAddress));
    let stolen = udp6(link_local(OTHER), 5353, six("ff02::fb"), 5353, b"?");
    assert_eq!(said(&stolen), Err(DropReason::SpoofedAddress));
    let nobody = udp6(none(), 5353, six("ff02::fb"), 5353, b"?");
    assert_eq!(said(&nobody), Err(DropReason::SpoofedAddress));
}

#[test]
fn everything_else_is_for_the_rules_of_networks() {
    for d in [
        tcp6(c1(), 40000, s(), 80, 2),
        udp6(c1(), 40000, c2(), 53, b"?"),
        query6(c1(), s(), 128, 1),
        udp6(c2(), 40000, s(), 53, b"?"),
        udp6(c1(), 40000, s(), 53, b"?").fragment(1232, false, 1),
        Datagram6::new(c1(), s(), header::ESP, vec![0; 40]),
    ] {
        assert_eq!(said(&d), FORWARDED, "{d:?}");
    }
}

#[test]
fn a_container_without_ipv6_has_none() {
    let frame = neighbour(none(), all_nodes(), 135, own(), &[]).frame(MAC, GROUP, 9);
    let (mut eth, mut ip) = (Eth::default(), Ip::default());
    parse_eth(&frame, &mut eth).unwrap();
    parse_ipv6(&frame, &mut ip).unwrap();
    let endpoint = EndpointRecord {
        mac: MAC,
        ..EndpointRecord::default()
    };
    let judged = on_link(&frame, &ip, &eth, &endpoint, &NetworkRecord::default());
    assert_eq!(judged, Err(DropReason::BadEthertype));
}
