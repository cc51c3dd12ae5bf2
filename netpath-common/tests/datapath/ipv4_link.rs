//! What containers and uplinks carry beside IP, or by IPv4's own means: ARP, DHCP, other EtherTypes and
//! protocol numbers.

use netpath_common::{DropReason, conntrack::tcp::SYN, event::Hook, testing::*};

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
