//! What means something on one link only does not leave by masquerade.

use netpath_common::{DropReason, conntrack::tcp::SYN, records::NETWORK_ROUTED, testing::*};

const BROADCAST: Addr = [255; 4];
const MDNS: Addr = [224, 0, 0, 251];
const METADATA: Addr = [169, 254, 169, 254];

#[test]
fn multicast_and_broadcast_stay_on_the_bridge() {
    let mut h = Host::new();
    for dst in [MDNS, [239, 255, 255, 250], BROADCAST, [172, 17, 255, 255]] {
        assert!(h.from(&C1, &udp(C1.addr, 5353, dst, 5353, b"?")).passed());
    }
    assert!(h.tables.entries().is_empty());
}

#[test]
fn what_the_stack_would_forward_of_it_is_dropped_at_the_uplink() {
    let mut h = Host::new();
    for (n, dst) in [MDNS, BROADCAST, [240, 0, 0, 1], METADATA]
        .into_iter()
        .enumerate()
    {
        for packet in [
            udp(C1.addr, 5353, dst, 5353, b"?"),
            tcp(C1.addr, 5353, dst, 80, SYN),
            Datagram::new(C1.addr, dst, 47, vec![0; 8]),
        ] {
            let out = h.from_stack(&packet);
            assert_eq!(out.dropped(), Some(DropReason::LinkScope), "{dst:?}");
        }
        assert_eq!(h.drops_of(DropReason::LinkScope), 3 * (n as u64 + 1));
    }
    assert!(h.tables.entries().is_empty());
}

#[test]
fn link_local_addresses_are_not_reached_through_the_host() {
    let mut h = Host::new();
    for dst in [METADATA, [169, 254, 0, 1], [169, 254, 255, 255]] {
        let out = h.from(&C1, &tcp(C1.addr, 40000, dst, 80, SYN));
        assert_eq!(out.dropped(), Some(DropReason::LinkScope), "{dst:?}");
    }
    for dst in [[169, 253, 255, 255], [169, 255, 0, 0]] {
        let _ = h.from(&C1, &tcp(C1.addr, 40000, dst, 80, SYN)).to_uplink();
    }
    // Of the host itself: its own service.
    h.tables.host_addrs.insert(METADATA);
    assert!(
        h.from(&C1, &tcp(C1.addr, 40000, METADATA, 80, SYN))
            .passed()
    );
}

/// DHCPDISCOVER as far as it matters: BOOTP with the hardware address of the client.
fn discover(src: Addr, dst: Addr, mac: [u8; 6], ports: (u16, u16)) -> Datagram {
    let mut bootp = [0; 240];
    bootp[..4].copy_from_slice(&[1, 1, 6, 0]);
    bootp[28..34].copy_from_slice(&mac);
    udp(src, ports.0, dst, ports.1, &bootp)
}

#[test]
fn a_container_without_an_address_may_ask_for_one() {
    let mut h = Host::new();
    let none = [0; 4];
    let asked = discover(none, BROADCAST, C1.mac, (68, 67));
    assert!(h.from(&C1, &asked).passed());
    for lie in [
        // For somebody else, to somebody, of other services.
        discover(none, BROADCAST, C2.mac, (68, 67)),
        discover(none, S, C1.mac, (68, 67)),
        discover(none, BROADCAST, C1.mac, (67, 68)),
        discover(none, BROADCAST, C1.mac, (68, 69)),
        discover(none, BROADCAST, C1.mac, (5353, 5353)),
        discover(C2.addr, BROADCAST, C1.mac, (68, 67)),
        udp(none, 68, BROADCAST, 67, b"short"),
    ] {
        let out = h.from(&C1, &lie);
        assert_eq!(out.dropped(), Some(DropReason::SpoofedAddress), "{lie:?}");
    }
    // Nobody but the host's own server answers.
    let out = h.from(&C2, &discover(C2.addr, BROADCAST, C1.mac, (67, 68)));
    assert_eq!(out.dropped(), Some(DropReason::RogueDhcp));
}

#[test]
fn a_routed_network_may_send_multicast_and_not_to_link_local_addresses() {
    let mut h = Host::new();
    h.tables.networks[usize::from(NET1)].flags |= NETWORK_ROUTED;
    let out = h.from_stack(&udp(C1.addr, 5004, [239, 1, 2, 3], 5004, b"?"));
    assert_eq!(out.dropped(), None);
    let out = h.from_stack(&udp(C1.addr, 5004, METADATA, 80, b"?"));
    assert_eq!(out.dropped(), Some(DropReason::LinkScope));
}

/// It could not say on which link it answers, and no router forwards such a packet (RFC 4291, 2.5.6).
#[test]
fn a_routed_network_is_not_asked_by_link_local_addresses() {
    let mut h = Host::new();
    for tables in [&mut h.tables.networks, &mut h.tables6.networks] {
        tables[usize::from(NET1)].flags |= NETWORK_ROUTED;
    }
    let near = netpath_common::datapath::link_local(ROUTER_MAC);
    let out = h.from_outside6(&query6(near, C1.addr6, 128, 7));
    assert_eq!(out.dropped(), Some(DropReason::LinkScope));
    let out = h.from_outside6(&query6(S6, C1.addr6, 128, 7));
    let _ = out.to_container(&C1);
}

/// They stand for something else: this host or network, IPv4 in a socket's words.
#[test]
fn addresses_of_no_destination_never_leave() {
    let mut h = Host::new();
    for dst in [[0; 4], [0, 1, 2, 3], [127, 0, 0, 1]] {
        let out = h.from(&C1, &udp(C1.addr, 5000, dst, 53, b"?"));
        assert_eq!(out.dropped(), Some(DropReason::Martian), "{dst:?}");
    }
    let mapped = *b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\0\x71\x09";
    let compatible = *b"\0\0\0\0\0\0\0\0\0\0\0\0\xcb\0\x71\x09";
    for dst in [mapped, compatible, [0; 16]] {
        let out = h.from6(&C1, &udp6(C1.addr6, 5000, dst, 53, b"?"));
        assert_eq!(out.dropped(), Some(DropReason::Martian), "{dst:?}");
    }
    // Their neighbours are as good as any.
    for dst in [[1, 0, 0, 1], [126, 0, 0, 1]] {
        let _ = h.from(&C1, &udp(C1.addr, 5000, dst, 53, b"?")).to_uplink();
    }
    let translated = *b"\0\x64\xff\x9b\0\0\0\0\0\0\0\0\xcb\0\x71\x09";
    let _ = h
        .from6(&C1, &udp6(C1.addr6, 5000, translated, 53, b"?"))
        .to_uplink();
}
