//! Containers to published ports of their own host (case 24), and between networks.

use netpath_common::{
    DropReason, Verdict,
    conntrack::tcp::{ACK, SYN},
    event::Hook,
    records::{NETWORK_DIRECT, NETWORK_ICC},
};

use super::family::*;

#[test]
fn a_neighbour_sees_the_client() {
    let mut h = Host::new();
    let out = h.from(&C2, &tcp(C2.ip(), 50000, H, 8080, SYN));
    assert_eq!(out.to_container(&C1), said("tcp C2:50000 > C1:80"));
    // The answer goes to the neighbour's own MAC address; the veth hook meets it all the same.
    let answer = tcp(C1.ip(), 80, C2.ip(), 50000, SYN | ACK).frame(C1.mac, C2.mac, C1.ifindex);
    let back = h.run(netpath_common::event::Hook::Veth, &answer);
    assert_eq!(back.to_container(&C2), said("tcp H:8080 > C2:50000"));
    let out = h.from(&C2, &tcp(C2.ip(), 50000, H, 8080, ACK));
    assert_eq!(out.to_container(&C1), said("tcp C2:50000 > C1:80"));
}

#[test]
fn itself_appears_as_the_gateway() {
    let mut h = Host::new();
    let out = h.from(&C1, &tcp(C1.ip(), 50000, H, 8080, SYN));
    assert_eq!(out.to_container(&C1), said("tcp GW1:50000 > C1:80"));
    let back = h.from(&C1, &tcp(C1.ip(), 80, GW1, 50000, SYN | ACK));
    assert_eq!(back.to_container(&C1), said("tcp H:8080 > C1:50000"));
    let out = h.from(&C1, &tcp(C1.ip(), 50000, H, 8080, ACK));
    assert_eq!(out.to_container(&C1), said("tcp GW1:50000 > C1:80"));
    let stats = h.tables.stats(C1.slot);
    assert_eq!(
        (stats.flows, stats.sent().packets, stats.given().packets),
        (1, 3, 3)
    );
}

#[test]
fn by_the_gateways_address_too() {
    let mut h = Host::new();
    let out = h.from(&C2, &udp(C2.ip(), 50000, GW1, 5353, b"?"));
    assert_eq!(out.to_container(&C1), said("udp C2:50000 > C1:53"));
    let back = h.from(&C1, &udp(C1.ip(), 53, C2.ip(), 50000, b"!"));
    assert_eq!(back.to_container(&C2), said("udp GW1:5353 > C2:50000"));
}

#[test]
fn another_network_only_by_published_ports() {
    let mut h = Host::new();
    let out = h.from(&C3, &tcp(C3.ip(), 50000, H, 8080, SYN));
    assert_eq!(out.to_container(&C1), said("tcp C3:50000 > C1:80"));
    let back = h.from(&C1, &tcp(C1.ip(), 80, C3.ip(), 50000, SYN | ACK));
    assert_eq!(back.to_container(&C3), said("tcp H:8080 > C3:50000"));
    for packet in [
        tcp(C3.ip(), 50001, C1.ip(), 80, SYN),
        query(C3.ip(), C1.ip(), ECHO, 1),
    ] {
        assert_eq!(
            h.from(&C3, &packet).dropped(),
            Some(DropReason::OtherNetwork)
        );
    }
    assert!(
        h.from(&C3, &query(C3.ip(), GW1, ECHO, 1)).passed(),
        "the host's own address"
    );
}

#[test]
fn the_hosts_services_are_left_to_the_host() {
    let mut h = Host::new();
    for packet in [
        tcp(C1.ip(), 50000, H, 22, SYN),
        tcp(C1.ip(), 50000, GW1, 22, SYN),
        udp(C1.ip(), 50000, GW1, 53, b""),
        query(C1.ip(), GW1, ECHO, 1),
    ] {
        assert!(h.from(&C1, &packet).passed());
    }
    assert!(h.tables.entries().is_empty());
}

#[test]
fn neighbours_talk_unless_that_is_off() {
    let mut h = Host::new();
    let packets = [
        tcp(C1.ip(), 50000, C2.ip(), 80, SYN),
        query(C1.ip(), C2.ip(), ECHO, 1),
    ];
    for packet in &packets {
        assert!(h.from(&C1, packet).passed());
    }
    h.tables.networks[usize::from(NET1)].flags &= !NETWORK_ICC;
    for packet in &packets {
        assert_eq!(h.from(&C1, packet).dropped(), Some(DropReason::IccDisabled));
    }
    // The gateway and the outside stay reachable, and published ports.
    assert!(h.from(&C1, &query(C1.ip(), GW1, ECHO, 1)).passed());
    let _ = h.from(&C1, &query(C1.ip(), S, ECHO, 1)).to_uplink();
}

#[test]
fn where_neighbours_are_kept_apart_the_gateway_asks_for_them() {
    let mut h = Host::new();
    h.tables.networks[usize::from(NET1)].flags &= !NETWORK_ICC;
    // By ARP and neighbour discovery neither finds the other.
    let out = h.from(&C2, &tcp(C2.ip(), 50000, H, 8080, SYN));
    assert_eq!(out.to_container(&C1), said("tcp GW1:50000 > C1:80"));
    let back = h.from(&C1, &tcp(C1.ip(), 80, GW1, 50000, SYN | ACK));
    assert_eq!(back.to_container(&C2), said("tcp H:8080 > C2:50000"));
    // A container of another network is found by the gateway in any case.
    let out = h.from(&C3, &tcp(C3.ip(), 50000, H, 8080, SYN));
    assert_eq!(out.to_container(&C1), said("tcp C3:50000 > C1:80"));
}

#[test]
fn frames_between_neighbours_skip_the_bridge_where_it_would_do_the_same() {
    let mut h = Host::new();
    let to = |h: &mut Host, p: &Datagram, mac| {
        let frame = p.frame(C1.mac, mac, C1.ifindex);
        let out = h.run(Hook::Veth, &frame);
        assert_eq!(out.frame.bytes, frame.bytes, "as it was");
        out.result
    };
    let straight = Ok(Verdict::ToNeighbour {
        ifindex: C2.ifindex,
    });
    let packet = tcp(C1.ip(), 50000, C2.ip(), 80, SYN);
    let large = udp(C1.ip(), 1, C2.ip(), 2, &vec![0; 1500 - HEADER - 8]);
    assert_eq!(to(&mut h, &packet, C2.mac), Ok(Verdict::Pass), "not asked");
    h.tables.networks[usize::from(NET1)].flags |= NETWORK_DIRECT;
    assert_eq!(to(&mut h, &packet, C2.mac), straight);
    assert_eq!(
        to(&mut h, &query(C1.ip(), C2.ip(), ECHO, 1), C2.mac),
        straight
    );
    assert_eq!(
        to(&mut h, &packet.clone().ttl(1), C2.mac),
        straight,
        "no hop"
    );
    assert_eq!(to(&mut h, &large, C2.mac), straight);
    // Nobody's address, another MAC address, a smaller MTU: as the bridge does it.
    let nobody = tcp(C1.ip(), 50000, NOBODYS[0], 80, SYN);
    assert_eq!(to(&mut h, &nobody, C2.mac), Ok(Verdict::Pass));
    assert_eq!(to(&mut h, &packet, BRIDGE1_MAC), Ok(Verdict::Pass));
    h.tables.endpoints[usize::from(C2.slot)].mtu = 1400;
    assert_eq!(to(&mut h, &large, C2.mac), Ok(Verdict::Pass));
    assert_eq!(to(&mut h, &packet, C2.mac), straight);
    // What is forged or forbidden is dropped before.
    let forged = tcp(NOBODYS[0], 1, C2.ip(), 80, SYN);
    assert_eq!(to(&mut h, &forged, C2.mac), Err(DropReason::SpoofedAddress));
    h.tables.networks[usize::from(NET1)].flags &= !NETWORK_ICC;
    assert_eq!(to(&mut h, &packet, C2.mac), Err(DropReason::IccDisabled));
    assert!(h.tables.entries().is_empty());
}
