//! What IPv6 has and IPv4 has not, by the engine that is the same for both.
//!
//! Tests of RFCs have the numbers of the requirements, as `docs/conformance.md` names them.

use netpath_common::{
    DropReason, V4, V6,
    conntrack::{
        Budget,
        tcp::{ACK, SYN},
    },
    datapath::{Tables as _, link_local},
    event::Hook,
    records::CONFIG_MSS_CLAMP,
    testing::*,
};

fn new() -> Host {
    Host::new()
}

/// All nodes of the link.
const NODES: Addr6 = *b"\xff\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\x01";

#[test]
fn there_and_back_behind_any_headers() {
    let mut h = new();
    let ways: [fn(Datagram6) -> Datagram6; 4] = [
        |d| d,
        |d| d.options(header::HOP_BY_HOP, 1),
        |d| d.options(header::DESTINATION, 3).routing(4, 0),
        |d| d.fragment(0, false, 9),
    ];
    for (i, wrap) in (0..).zip(ways) {
        let port = 40000 + i;
        let out = h.from6(&C1, &wrap(tcp6(C1.addr6, port, S6, 80, SYN)));
        let want = format!("tcp [2001:db8:1::1]:{port} > [2001:db8:2::9]:80");
        assert_eq!(out.to_uplink(), want);
        let out = h.from_outside6(&wrap(tcp6(S6, 80, H6, port, SYN | ACK)));
        let want = format!("tcp [2001:db8:2::9]:80 > [fd00:17::2]:{port}");
        assert_eq!(out.to_container(&C1), want);
    }
}

#[test]
fn the_mss_has_room_for_the_longer_header() {
    for (mtu, want) in [(1500, 1440), (1280, 1220), (576, 1220)] {
        let mut h = new();
        for flags in [
            &mut h.tables6.config.as_mut().unwrap().flags,
            &mut h.tables.config.as_mut().unwrap().flags,
        ] {
            *flags |= CONFIG_MSS_CLAMP;
        }
        let mut syn = tcp6(C1.addr6, 40000, S6, 80, SYN);
        syn.l4[12] = 0x60;
        syn.l4.extend([2, 4, 0x23, 0x28]);
        let syn = syn.summed(16);
        h.tables6.endpoints[usize::from(C1.slot)].mtu = mtu;
        let out = h.from6(&C1, &syn);
        let _ = out.to_uplink();
        assert_eq!(mss(&out.frame.bytes), Some(want), "MTU {mtu}");
    }
}

#[test]
fn parts_follow_their_first_one_whatever_they_say_is_next() {
    // The first one says that options are next; what the others say does not count (RFC 8200, 4.5).
    let mut h = new();
    let options = [17, 0, 1, 4, 0, 0, 0, 0];
    let whole = udp6(C1.addr6, 5000, S6, 53, &[7; 3000]);
    let mut data = options.to_vec();
    data.extend(&whole.l4);
    let datagram = Datagram6 {
        proto: header::DESTINATION,
        l4: data,
        ..whole
    };
    let parts = datagram.fragments(1232, 77);
    for (i, part) in parts.iter().enumerate() {
        let mut part = part.clone();
        if i > 0 {
            part.proto = header::NONE;
        }
        let out = h.from6(&C1, &part);
        let text = out.to_uplink();
        assert!(text.contains("2001:db8:1::1"), "{text}");
    }
}

#[test]
fn parts_that_come_before_their_first_one_wait() {
    let mut h = new();
    let parts = udp6(C1.addr6, 5000, S6, 53, &[7; 3000]).fragments(1232, 77);
    for tail in [&parts[2], &parts[1]] {
        let out = h.from6(&C1, tail);
        assert_eq!(out.result, Ok(netpath_common::Verdict::Held));
    }
    let out = h.from6(&C1, &parts[0]);
    assert!(out.frame.again.len() >= 2, "{:?}", out.result);
}

#[test]
fn a_repeated_part_is_dropped() {
    let mut h = new();
    let parts = udp6(C1.addr6, 5000, S6, 53, &[7; 3000]).fragments(1232, 77);
    let _ = h.from6(&C1, &parts[0]).to_uplink();
    let _ = h.from6(&C1, &parts[1]).to_uplink();
    let again = h.from6(&C1, &parts[1]);
    assert_eq!(again.dropped(), Some(DropReason::FragmentOverlap));
}

#[test]
fn errors_of_routers_find_their_flow() {
    let mut h = new();
    let sent = udp6(C1.addr6, 5000, S6, 53, b"question");
    let _ = h.from6(&C1, &sent).to_uplink();
    let seen = udp6(H6, 5000, S6, 53, b"question").hops(60);
    let too_big = error6(R6, H6, 2, 0, 1280, &seen, 100);
    let text = h.from_outside6(&too_big).to_container(&C1);
    let want =
        "icmpv6 2/0 2001:db8:1::fe > fd00:17::2 [udp [fd00:17::2]:5000 > [2001:db8:2::9]:53]";
    assert_eq!(text, want);
    let bad = h.from_outside6(&error6(R6, H6, 2, 0, 1279, &seen, 100));
    assert_eq!(bad.dropped(), Some(DropReason::IcmpBadMtu));
    let other = udp6(H6, 5001, S6, 53, b"question");
    let out = h.from_outside6(&error6(R6, H6, 1, 4, 0, &other, 100));
    assert!(out.passed(), "the host's own");
    // An error about an error is about no flow.
    let about = error6(H6, S6, 3, 0, 0, &seen, 100);
    assert!(
        h.from_outside6(&error6(R6, H6, 3, 0, 0, &about, 200))
            .passed()
    );
}

#[test]
fn rfc5508_req3b_any_headers_of_the_quoted_packet_are_passed_over() {
    let ways: [fn(Datagram6) -> Datagram6; 4] = [
        |d| d.options(header::HOP_BY_HOP, 1),
        |d| d.options(header::DESTINATION, 2).routing(4, 0),
        |d| d.fragment(0, false, 9),
        // A first fragment: what it quotes is not the whole datagram.
        |d| d.options(header::HOP_BY_HOP, 1).fragment(0, true, 10),
    ];
    for wrap in ways {
        let mut h = new();
        let _ = h
            .from6(&C1, &udp6(C1.addr6, 5000, S6, 53, b"?"))
            .to_uplink();
        let seen = wrap(udp6(H6, 5000, S6, 53, b"question")).hops(60);
        let mine = wrap(udp6(C1.addr6, 5000, S6, 53, b"question")).hops(60);
        for (kind, code) in [(1, 4), (2, 0), (3, 0), (4, 1)] {
            for quoted in [8, 100] {
                let told = |dst, about| error6(R6, dst, kind, code, 1300, about, quoted);
                let out = h.from_outside6(&told(H6, &seen));
                let _ = out.to_container(&C1);
                let want = told(C1.addr6, &mine).hops(63);
                assert_eq!(out.frame.bytes[14..], want.bytes()[..]);
            }
        }
    }
}

#[test]
fn rfc5508_req10b_redirects_and_router_messages_stay_on_their_link() {
    let mut h = new();
    let _ = h
        .from6(&C1, &udp6(C1.addr6, 5000, S6, 53, b"?"))
        .to_uplink();
    let before = h.tables6.entries();
    let reasons = [
        (133, DropReason::SpoofedNeighbour),
        (134, DropReason::RogueRa),
        (135, DropReason::SpoofedNeighbour),
        (136, DropReason::SpoofedNeighbour),
        (137, DropReason::IcmpRedirect),
    ];
    for (kind, reason) in reasons {
        // From the outside they are the host's, whatever they quote; from a container to the outside
        // they are none of its own link's.
        let about = udp6(H6, 5000, S6, 53, b"?").bytes();
        let came = icmp6(R6, H6, kind, 0, [0; 4], &about);
        assert!(h.from_outside6(&came).passed(), "{kind}");
        let about = udp6(S6, 53, C1.addr6, 5000, b"!").bytes();
        let out = h.from6(&C1, &icmp6(C1.addr6, S6, kind, 0, [0; 4], &about));
        assert_eq!(out.dropped(), Some(reason), "{kind}");
    }
    assert_eq!(h.tables6.entries(), before);
}

#[test]
fn the_link_is_the_bridges() {
    let mut h = new();
    let link = link_local(C1.mac);
    let asks = neighbour(C1.addr6, NODES, 135, GW1_6, &mac_option(1, C1.mac));
    assert!(h.from6(&C1, &asks).passed());
    assert!(
        h.from6(&C1, &udp6(link, 546, NODES, 547, b"solicit"))
            .passed()
    );
    let lies = neighbour(C1.addr6, NODES, 136, GW1_6, &mac_option(2, C1.mac));
    let spoofed = Some(DropReason::SpoofedNeighbour);
    assert_eq!(h.from6(&C1, &lies).dropped(), spoofed);
    let router = router_advertisement(link, NODES, &[]);
    assert_eq!(h.from6(&C1, &router).dropped(), Some(DropReason::RogueRa));
    let offer = udp6(C1.addr6, 547, C2.addr6, 546, b"advertise");
    assert_eq!(h.from6(&C1, &offer).dropped(), Some(DropReason::RogueDhcp));
    let stolen = udp6(C2.addr6, 5000, S6, 53, b"?");
    let reason = Some(DropReason::SpoofedAddress);
    assert_eq!(h.from6(&C1, &stolen).dropped(), reason);
    // What the outside says on the uplink's own link is the host's.
    for d in [
        neighbour(R6, NODES, 135, H6, &mac_option(1, ROUTER_MAC)),
        router_advertisement(link_local(ROUTER_MAC), NODES, &[]),
        icmp6(R6, H6, 137, 0, [0; 4], &[0; 32]).hops(255),
    ] {
        assert!(h.from_outside6(&d).passed(), "{d:?}");
    }
    assert!(h.tables6.entries().is_empty());
}

#[test]
fn what_means_something_on_one_link_only_does_not_leave_by_the_stack() {
    let mut h = new();
    let link = *b"\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x09";
    let site = *b"\xff\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\xfb";
    for dst in [NODES, site, link] {
        for packet in [
            udp6(C1.addr6, 5353, dst, 5353, b"?"),
            tcp6(C1.addr6, 5353, dst, 80, SYN),
            query6(C1.addr6, dst, 128, 1),
            Datagram6::new(C1.addr6, dst, 47, vec![0; 8]),
        ] {
            let out = h.from_stack6(&packet);
            assert_eq!(out.dropped(), Some(DropReason::LinkScope), "{packet:?}");
        }
    }
    assert!(h.tables6.entries().is_empty());
}

#[test]
fn sums_that_devices_have_computed_stay_right() {
    let mut h = new();
    let frames = [
        tcp6(C1.addr6, 40000, S6, 80, SYN),
        udp6(C1.addr6, 5000, S6, 53, b"odd").options(header::DESTINATION, 1),
        query6(C1.addr6, S6, 128, 9),
    ];
    for d in frames {
        let frame = d.frame(C1.mac, BRIDGE1_MAC, C1.ifindex).complete();
        // The host checks the sum of what it lets go on.
        let _ = h.run(Hook::Veth, &frame).to_uplink();
    }
    let parts = udp6(C1.addr6, 5000, S6, 54, &[1; 2000]).fragments(1232, 5);
    for part in parts {
        let frame = part.frame(C1.mac, BRIDGE1_MAC, C1.ifindex).complete();
        let _ = h.run(Hook::Veth, &frame).to_uplink();
    }
}

/// What one family's packets have begun can only give way to one of that family: its keys are in a table
/// of their own.
#[test]
fn a_flood_over_one_family_leaves_the_other_its_room() {
    let mut h = Host::new();
    h.tables.config.as_mut().unwrap().inbound_embryonic = 8;
    h.tables6.config = h.tables.config;
    for client in 4000..4100 {
        let _ = h
            .from_outside6(&tcp6(S6, client, H6, 8080, SYN))
            .to_container(&C1);
    }
    let _ = h
        .from_outside(&tcp(S, 3000, H, 8080, SYN))
        .to_container(&C1);
    for client in 4000..4100 {
        let _ = h
            .from_outside(&tcp(S, client, H, 8080, SYN))
            .to_container(&C1);
    }
    let _ = h
        .from_outside6(&tcp6(S6, 3000, H6, 8080, SYN))
        .to_container(&C1);
    assert_eq!(h.drops_of(DropReason::InboundBudget), 0);
    assert_eq!(h.tables.live(Budget::inbound::<V4>()), 8);
    assert_eq!(h.tables.live(Budget::inbound::<V6>()), 8);
}
