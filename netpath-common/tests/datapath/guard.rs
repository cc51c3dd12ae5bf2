//! What a container may not send, and what an uplink may not carry.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, SYN},
    datapath::bridge_ingress,
    event::Hook,
    testing::*,
};

#[test]
fn forged_sources() {
    let mut h = Host::new();
    let _ = h.from(&C1, &tcp(C1.addr, 40000, S, 80, SYN)).to_uplink();
    // C2 claims C1's address, on a flow that C1 has and on one that nobody has.
    for sport in [40000, 40001] {
        let packet = tcp(C1.addr, sport, S, 80, ACK);
        assert_eq!(
            h.from(&C2, &packet).dropped(),
            Some(DropReason::SpoofedAddress)
        );
        // With C1's MAC address as well.
        let frame = packet.frame(C1.mac, BRIDGE1_MAC, C2.ifindex);
        assert_eq!(
            h.run(Hook::Veth, &frame).dropped(),
            Some(DropReason::SpoofedMac)
        );
        // C1 itself with another MAC address.
        let frame = packet.frame(C2.mac, BRIDGE1_MAC, C1.ifindex);
        assert_eq!(
            h.run(Hook::Veth, &frame).dropped(),
            Some(DropReason::SpoofedMac)
        );
    }
    for src in [H, S, GW1, C3.addr, [0; 4], [127, 0, 0, 1]] {
        let out = h.from(&C1, &udp(src, 5000, S, 53, b""));
        assert_eq!(out.dropped(), Some(DropReason::SpoofedAddress), "{src:?}");
    }
    assert_eq!(h.tables.entries().len(), 2);
}

#[test]
fn nobody_gives_addresses() {
    let mut h = Host::new();
    let rogue = Some(DropReason::RogueDhcp);
    for dst in [[255; 4], [172, 17, 255, 255], C2.addr, GW1, H] {
        for (sport, dport) in [(67, 68), (67, 40000), (40000, 68)] {
            let answer = udp(C1.addr, sport, dst, dport, b"offer");
            assert_eq!(h.from(&C1, &answer).dropped(), rogue, "{dst:?}");
            // Clients that read raw packets may not mind the length.
            let mut lies = answer;
            lies.l4[5] += 1;
            assert_eq!(h.from(&C1, &lies).dropped(), rogue, "{dst:?}");
        }
        let asks = udp(C1.addr, 68, dst, 67, b"inform");
        assert!(h.from(&C1, &asks).passed(), "{dst:?}");
        assert!(h.from(&C1, &tcp(C1.addr, 67, dst, 68, SYN)).passed());
    }
    // What leaves gives nobody here an address.
    let _ = h.from(&C1, &udp(C1.addr, 67, S, 68, b"offer")).to_uplink();
}

#[test]
fn arp_must_speak_the_truth() {
    let mut h = Host::new();
    for operation in [1, 2] {
        let honest = arp(C1.mac, operation, C1.mac, C1.addr, GW1, C1.ifindex);
        assert!(h.run(Hook::Veth, &honest).passed());
        let probe = arp(C1.mac, operation, C1.mac, [0; 4], C1.addr, C1.ifindex);
        assert!(h.run(Hook::Veth, &probe).passed(), "RFC 5227");
        for (eth, mac, addr, reason) in [
            (C1.mac, C1.mac, GW1, DropReason::SpoofedArp),
            (C1.mac, C1.mac, C2.addr, DropReason::SpoofedArp),
            (C1.mac, C2.mac, C1.addr, DropReason::SpoofedArp),
            (C2.mac, C1.mac, C1.addr, DropReason::SpoofedMac),
        ] {
            let lie = arp(eth, operation, mac, addr, C2.addr, C1.ifindex);
            assert_eq!(h.run(Hook::Veth, &lie).dropped(), Some(reason));
        }
    }
    // Types and lengths that are not Ethernet's and IPv4's.
    for at in 14..20 {
        let mut odd = arp(C1.mac, 1, C1.mac, C1.addr, GW1, C1.ifindex);
        odd.bytes[at] ^= 0x11;
        assert_eq!(
            h.run(Hook::Veth, &odd).dropped(),
            Some(DropReason::SpoofedArp),
            "byte {at}"
        );
    }
}

#[test]
fn other_protocols_of_a_container() {
    let mut h = Host::new();
    for ethertype in [0x8100, 0x88cc, 0x0842] {
        let mut frame = Frame {
            bytes: ethernet(C1.mac, BRIDGE1_MAC, ethertype),
            ..Frame::default()
        };
        frame.ifindex = C1.ifindex;
        frame.bytes.extend([0; 60]);
        assert_eq!(
            h.run(Hook::Veth, &frame).dropped(),
            Some(DropReason::BadEthertype)
        );
    }
    for proto in [51, 58, 135, 139, 255] {
        let out = h.from(&C1, &Datagram::new(C1.addr, S, proto, vec![0; 24]));
        assert_eq!(out.dropped(), Some(DropReason::UnsupportedProtocol));
        let out = h.from_stack(&Datagram::new(C1.addr, S, proto, vec![0; 24]));
        assert_eq!(out.dropped(), Some(DropReason::UnsupportedProtocol));
    }
}

#[test]
fn icmp_that_belongs_to_nothing() {
    let mut h = Host::new();
    let out = h.from(&C1, &query(C1.addr, S, 0, 7));
    assert_eq!(
        out.dropped(),
        Some(DropReason::IcmpUnmatched),
        "an answer without a question"
    );
    let out = h.from(&C1, &icmp(C1.addr, S, 10, 0, [0; 4], b""));
    assert_eq!(
        out.dropped(),
        Some(DropReason::IcmpUnmatched),
        "router solicitation"
    );
    let redirect = error(C1.addr, S, 5, 1, &udp(S, 1, C1.addr, 2, b""), 8);
    assert_eq!(
        h.from(&C1, &redirect).dropped(),
        Some(DropReason::IcmpRedirect)
    );
    assert!(h.tables.entries().is_empty());
}

#[test]
fn loopback_and_multicast() {
    let mut h = Host::new();
    let out = h.from(&C1, &udp(C1.addr, 5000, [127, 0, 0, 1], 53, b""));
    assert_eq!(out.dropped(), Some(DropReason::Martian));
    for dst in [
        [224, 0, 0, 251],
        [239, 1, 2, 3],
        [255; 4],
        [172, 17, 255, 255],
    ] {
        assert!(
            h.from(&C1, &udp(C1.addr, 5000, dst, 53, b"")).passed(),
            "{dst:?}"
        );
    }
}

#[test]
fn frames_of_unknown_ports_stop_at_the_bridge() {
    assert_eq!(bridge_ingress(false), Err(DropReason::UnknownPort));
    assert!(bridge_ingress(true).is_ok());
}

#[test]
fn a_private_source_without_endpoint_does_not_leave() {
    let mut h = Host::new();
    for src in [[172, 17, 0, 99], GW1] {
        let out = h.from_stack(&udp(src, 5000, S, 53, b""));
        assert_eq!(out.dropped(), Some(DropReason::UntranslatedSource));
    }
}

#[test]
fn frames_of_ipv6_are_judged_as_such() {
    let mut h = Host::new();
    for (hook, ifindex, src) in [
        (Hook::Veth, C1.ifindex, C1.mac),
        (Hook::UplinkIngress, UPLINK_IF, ROUTER_MAC),
        (Hook::UplinkEgress, UPLINK_IF, UPLINK_MAC),
    ] {
        let mut bytes = ethernet(src, BRIDGE1_MAC, 0x86dd);
        bytes.extend([0; 40]);
        let frame = Frame {
            bytes,
            ifindex,
            ..Frame::default()
        };
        let dropped = h.run(hook, &frame).dropped();
        assert_eq!(dropped, Some(DropReason::BadIpHeader), "{hook:?}");
    }
}

#[test]
fn other_ethertypes_of_an_uplink_are_the_hosts() {
    let mut h = Host::new();
    for ethertype in [0x0806, 0x8100, 0x88cc] {
        let mut bytes = ethernet(ROUTER_MAC, UPLINK_MAC, ethertype);
        bytes.extend([0; 40]);
        let frame = Frame {
            bytes,
            ifindex: UPLINK_IF,
            ..Frame::default()
        };
        assert!(h.run(Hook::UplinkIngress, &frame).passed());
        assert!(h.run(Hook::UplinkEgress, &frame).passed());
    }
}
